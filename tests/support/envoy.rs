//! The real module in real Envoy.

use std::path::{Path, PathBuf};
use std::process::Command;

use forecourt::cli::envoy::{Bootstrap, Envoy, Filter, Options, find};
use forecourt::cli::module::module;
use forecourt::cli::serve::Service;
use forecourt::config;
use serde_json::Value;

/// Starts Envoy with a policy in front of a service.
pub async fn start(service: &Service, policy: &Value) -> Envoy {
    start_with(&bootstrap(service, policy), &Options::default()).await
}

/// The configuration for a policy in front of a service.
pub fn bootstrap(service: &Service, policy: &Value) -> Bootstrap {
    let mut progress = |note: &str| eprintln!("{note}");
    let filter = Filter {
        module: module(None, &mut progress).unwrap_or_else(|error| panic!("{error}")),
        policy: policy.to_string(),
    };
    let mut bootstrap = Bootstrap::new(service.url().parse().expect("a URL"), Some(filter));
    bootstrap.largest_body = 1024 * 1024;
    if let Ok(policy) = config::from_value(policy.clone()) {
        bootstrap.reach_servers(&policy);
    }
    bootstrap
}

/// The module with the hooks for tests that a release does not have.
pub fn module_with_hooks() -> PathBuf {
    // Among what is never released: the module itself is in `release`.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = target.parent().expect("a folder within that of the build");
    let build = "rustc --locked --quiet --lib --crate-type cdylib --target wasm32-wasip1 \
                 --no-default-features --features test-hooks";
    let output = Command::new(env!("CARGO"))
        .args(build.split_whitespace())
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Signatures that are checked in it would take fourteen times as long.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    target.join("wasm32-wasip1/debug/forecourt.wasm")
}

/// Starts Envoy with a configuration.
pub async fn start_with(bootstrap: &Bootstrap, options: &Options) -> Envoy {
    start_configured(&bootstrap.to_value(), options).await
}

/// Starts Envoy with a configuration that was changed by hand.
pub async fn start_configured(configuration: &Value, options: &Options) -> Envoy {
    let mut progress = |note: &str| eprintln!("{note}");
    let binary = find(None, &mut progress).unwrap_or_else(|error| panic!("{error}"));
    Envoy::start_with(&binary, configuration, options)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}
