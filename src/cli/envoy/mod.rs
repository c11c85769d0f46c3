//! Envoy, from its configuration to its running process.

pub mod backend;
pub mod bootstrap;
pub mod cache;
pub mod filter;
pub mod find;
pub mod log;
pub mod process;
pub mod upstream;

pub use backend::{Backend, NamedUpstream, backends};
pub use bootstrap::Bootstrap;
pub use cache::Cache;
pub use filter::Filter;
pub use find::{EnvoyBinary, Wanted, find};
pub use process::{Envoy, Options, StartError};
pub use upstream::Upstream;

/// The members of `base`, then those of `more`, which win.
pub(crate) fn extended(mut base: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    if let (Some(base), serde_json::Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}
