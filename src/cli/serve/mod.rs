//! Servers that stand in for the world around Envoy: a service behind it and an issuer beside it.
//! Loopback only.

mod server;
pub mod service;

pub use service::{Reply, Seen, Service};
