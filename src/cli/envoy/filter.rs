//! The module as an HTTP filter of Envoy.

use std::path::PathBuf;

use serde_json::{Value, json};

/// The module and the policy it is to enforce.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The module's file, as Envoy will see it.
    pub module: PathBuf,
    /// The policy as JSON text, handed to the module as it is.
    pub policy: String,
}

/// What the types of Envoy's extensions begin with.
pub(super) const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions.";

/// The type of the filter's configuration.
pub(crate) const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

impl Filter {
    pub(super) fn to_value(&self) -> Value {
        let code = json!({ "local": { "filename": self.module } });
        http_filter("forecourt", plugin("forecourt", &self.policy, code))
    }
}

/// A Wasm HTTP filter under that name.
pub(crate) fn http_filter(name: &str, plugin: Value) -> Value {
    json!({ "name": name, "typed_config": { "@type": WASM, "config": plugin } })
}

/// The plugin's configuration in full mode.
///
/// The policy is a string and not a structure, because Envoy would turn every number of a structure
/// into a double and forget the order of its members.
pub(crate) fn plugin(root_id: &str, policy: &str, code: Value) -> Value {
    json!({
        "name": "forecourt",
        "root_id": root_id,
        "vm_config": {
            "vm_id": "forecourt",
            "runtime": "envoy.wasm.runtime.v8",
            "code": code,
        },
        "configuration": string_value(policy),
        // A trap answers 503 and the VM is loaded anew, with a pause that grows while it keeps dying.
        "failure_policy": "FAIL_RELOAD",
        "reload_config": { "backoff": { "base_interval": "1s", "max_interval": "10s" } },
        // Headers wait for the body's check; without it a refused request would reach the service.
        "allow_on_headers_stop_iteration": true,
    })
}

/// Text as Envoy wants it in an `Any`.
pub(crate) fn string_value(text: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text })
}
