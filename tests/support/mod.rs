//! What several test binaries share.

pub mod envoy;
pub mod keys;
pub mod scenario;
