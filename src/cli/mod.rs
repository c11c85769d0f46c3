//! The native command line: the same policy, with the same code, before and around Envoy.

pub mod client;
pub mod envoy;
mod home;
pub mod module;
pub mod serve;
pub mod yaml;
