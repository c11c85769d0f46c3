//! Servers that stand in for the world around Envoy: services behind it, an issuer and a metadata
//! server beside it.
//! Loopback only.

pub mod gate;
pub mod issuer;
pub mod metadata;
mod server;
pub mod service;

pub use gate::Gate;
pub use issuer::Issuer;
pub use metadata::Metadata;
pub use service::{Reply, Seen, Service};
