//! The native command line: the same policy, with the same code, before and around Envoy.

pub mod check;
pub mod client;
pub mod envoy;
pub mod explain;
mod home;
pub mod module;
pub mod policy_file;
pub mod schema;
pub mod serve;
pub mod yaml;

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For machines
    Json,
}
