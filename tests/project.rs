//! What keeps the project itself in shape: the direction of its dependencies, and documents that
//! must agree with the code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use forecourt::cli::policy_file::PolicyFile;
use forecourt::cli::reference;
use forecourt::cli::schema::policy_schema;
use forecourt::cli::yaml::Document;
use forecourt::config;
use forecourt::token::KeySource;
use forecourt::token::remote::Start;
use forecourt::token::source::Source;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|held| held == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Which modules each module may name; the rest of the core is for everybody.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "wasm",
        &[
            "driver", "host", "config", "policy", "token", "fetch", "reply", "head",
        ],
    ),
    (
        "driver",
        &[
            "exchange", "host", "policy", "service", "token", "fetch", "config", "reply",
        ],
    ),
    (
        "exchange",
        &[
            "policy", "service", "token", "schema", "hints", "route", "reply",
        ],
    ),
    ("host", &["reply"]),
    (
        "config",
        &["policy", "service", "token", "schema", "hints", "route"],
    ),
    ("policy", &["service", "token", "schema", "hints", "route"]),
    ("service", &["token", "reply"]),
    ("token", &["reply"]),
    ("schema", &["reply"]),
    ("hints", &["reply"]),
    ("route", &[]),
    ("fetch", &["host", "token", "hints"]),
    ("reply", &[]),
    ("trace", &[]),
    ("head", &[]),
    ("time", &[]),
];
/// Plain data that every layer may name.
const EVERYWHERE: &[&str] = &["head", "time", "trace"];

#[test]
fn dependencies_point_one_way() {
    let src = root().join("src");
    let mut seen = BTreeSet::new();
    for path in files(&src, "rs") {
        let inner = path.strip_prefix(&src).unwrap();
        let module = inner
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        if matches!(module.as_str(), "cli" | "bin" | "lib") {
            continue;
        }
        let allowed = LAYERS.iter().find(|(name, _)| *name == module);
        let allowed = allowed
            .unwrap_or_else(|| panic!("{} is in no layer", inner.display()))
            .1;
        let text = fs::read_to_string(&path).unwrap();
        // Tests may reach for what makes them short.
        let text = text.split("#[cfg(test)]").next().unwrap();
        if path.ends_with("tests.rs") {
            continue;
        }
        seen.insert(module.clone());
        for part in text.split("crate::").skip(1) {
            let named: String = part
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            assert!(
                named == module
                    || allowed.contains(&named.as_str())
                    || EVERYWHERE.contains(&named.as_str()),
                "{} names crate::{named}",
                inner.display()
            );
        }
        if inner != Path::new("wasm.rs") {
            assert!(
                !text.contains("proxy_wasm::"),
                "{} names proxy_wasm",
                inner.display()
            );
        }
    }
    assert!(seen.len() > 8, "{seen:?}");
}

#[test]
fn the_printed_schema_accepts_what_the_module_accepts_and_knows_the_same_keys() {
    let schema = policy_schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let own = ["envoy/demo-policy.yaml", "envoy/demo-cache-policy.yaml"];
    let mut policies: Vec<_> = own
        .iter()
        .map(|path| document(&root().join(path)))
        .collect();
    for path in files(&root().join("tests/scenarios"), "yaml") {
        policies.push(document(&path)["policy"].clone());
    }
    assert!(policies.len() > 3);
    for mut policy in policies {
        // Scenarios leave the keys to the test run.
        let issuers = policy.get_mut("issuers").and_then(Value::as_object_mut);
        for issuer in issuers.into_iter().flat_map(|map| map.values_mut()) {
            if issuer.get("jwks").is_none() {
                issuer["jwks"] = serde_json::json!({ "inline": { "keys": [] } });
            }
        }
        let errors: Vec<_> = validator
            .iter_errors(&policy)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        policy["routes"][0]["acess"] = "public".into();
        assert!(
            !validator.is_valid(&policy),
            "unknown keys are refused by the schema too"
        );
    }
}

fn document(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    Document::parse(&text)
        .unwrap_or_else(|error| panic!("{}: {error:?}", path.display()))
        .value
}

/// The README's parts that are made from the code stand between `<!-- made: NAME -->` and
/// `<!-- end -->`. With `FORECOURT_BLESS=1` they are written anew.
#[test]
fn the_readme_says_what_the_code_says() {
    let path = root().join("README.md");
    let mut readme = fs::read_to_string(&path).unwrap();
    for (name, made) in [
        ("policy", reference::policy_reference()),
        ("codes", reference::code_reference()),
        ("safety", reference::SAFETY.to_owned()),
        ("profiles", reference::PROFILES.to_owned()),
        ("speed", measured()),
    ] {
        let begin = format!("<!-- made: {name} -->\n");
        let (before, rest) = readme
            .split_once(&begin)
            .unwrap_or_else(|| panic!("no {begin}"));
        let (held, after) = rest.split_once("<!-- end -->").unwrap();
        let same = held == made;
        readme = format!("{before}{begin}{made}<!-- end -->{after}");
        if bless() {
            fs::write(&path, &readme).unwrap();
        } else {
            assert!(
                same,
                "{name} has changed: FORECOURT_BLESS=1 cargo test --test project"
            );
        }
    }
}

/// The short table of the last run of `cargo bench --bench proxy`, and how it was made.
fn measured() -> String {
    let path = root().join("tests/benches/results/proxy.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("\n\n").unwrap();
    let (short, _) = rest.split_once("\n## Every chain").unwrap();
    assert!(short.contains("Measured on 20") && short.contains("| **"));
    short.to_owned()
}

#[allow(
    clippy::disallowed_methods,
    reason = "a switch for whoever runs the test"
)]
fn bless() -> bool {
    std::env::var("FORECOURT_BLESS").is_ok()
}

/// The README's table of presets names what each of them stands for.
#[test]
fn the_readme_knows_what_the_presets_know() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let service = "/projects/1/locations/europe-west1/services/orders";
    let policy = serde_json::json!({
        "version": "forecourt/v1",
        "issuers": {
            "google-id-token": { "preset": "google-id-token", "audience": "a" },
            "identity-platform": { "preset": "identity-platform", "project": "PROJECT" },
            "firebase-session": { "preset": "firebase-session", "project": "PROJECT" },
            "iap": { "preset": "iap", "audience": service },
            "oidc": { "preset": "oidc", "issuer": "https://ISSUER", "audience": "a" },
        },
        "routes": [],
    });
    for issuer in config::from_value(policy).unwrap().issuers {
        let begin = format!("| `{}` | ", issuer.name);
        let row = readme
            .lines()
            .find(|line| line.starts_with(&begin))
            .unwrap();
        let KeySource::Remote(keys) = &issuer.keys else {
            panic!("{}", issuer.name)
        };
        let mut said: Vec<String> = issuer.iss.clone();
        match &keys.start {
            Start::Keys(keys) => said.push(keys.url.to_string()),
            Start::Discovery { .. } => {
                said = vec!["`ISSUER/.well-known/openid-configuration`".into()]
            }
        }
        said.extend(issuer.algorithms.iter().map(ToString::to_string));
        said.extend(issuer.sources.iter().map(|source| match source {
            Source::Header { name, .. } if name == "authorization" => {
                "`Authorization: Bearer`".into()
            }
            Source::Header { name, .. } => format!("`{name}`"),
            other => other.to_string().replace("cookie ", "cookie `"),
        }));
        for words in said {
            assert!(row.contains(&words), "{words}: {row}");
        }
    }
}

/// Every fenced `yaml` block of the README that is a policy compiles, once its keys are there.
#[test]
fn the_readmes_policies_are_policies() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let policies: Vec<_> = blocks
        .filter(|block| block.contains("version: forecourt/v1"))
        .collect();
    assert!(!policies.is_empty());
    for policy in policies {
        if let Err(error) = PolicyFile::parse(policy, "README.md", &root().join("envoy")) {
            panic!("{error}\n{policy}");
        }
    }
}
