//! Servers that stand in for the world around Envoy: a service behind it and an issuer beside it.
//! Loopback only.

pub mod issuer;
mod server;
pub mod service;

pub use issuer::Issuer;
pub use service::{Reply, Seen, Service};
