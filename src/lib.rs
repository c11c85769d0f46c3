//! Forecourt: token validation, request checks and caching hints for Envoy, as one Wasm module.
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod head;
pub mod hints;
pub mod reply;
pub mod route;
pub mod schema;
pub mod time;
pub mod token;
pub mod trace;
