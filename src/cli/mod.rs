//! The command line.
pub mod yaml;
