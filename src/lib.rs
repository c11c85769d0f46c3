//! Forecourt: token validation, request checks and caching hints for Envoy, as one Wasm module.
#![cfg_attr(test, allow(clippy::string_slice))]
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod driver;
pub mod exchange;
pub mod fetch;
pub mod head;
pub mod hints;
pub mod host;
pub mod policy;
pub mod reply;
pub mod route;
pub mod schema;
pub mod service;
pub mod time;
pub mod token;
pub mod trace;
#[cfg(all(target_arch = "wasm32", target_os = "wasi"))]
mod wasm;
