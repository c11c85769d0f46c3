//! The policy document: JSON in Envoy's plugin configuration, YAML to write, one schema for both.
pub mod access;
pub mod cache;
pub mod issuers;
pub mod problem;
pub mod request;
pub mod schemas;
pub mod types;
