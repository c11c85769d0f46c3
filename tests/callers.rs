//! What the rest of Envoy learns of a verified caller: its access log, and its routes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

#[allow(dead_code, reason = "shared with other test binaries")]
mod support;

use std::time::{Duration, Instant};

use forecourt::cli::client::{self, Request};
use forecourt::cli::envoy::{Envoy, Options, find};
use forecourt::cli::serve::Service;
use serde_json::{Value, json};
use support::envoy::bootstrap;
use support::keys;
use support::scenario::Token;

/// For what comes within a second or two; longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn policy() -> Value {
    let mut policy = json!({
        "version": "forecourt/v1",
        "issuers": { "shop": {
            "issuer": "https://shop.example", "audiences": ["shop"], "algorithms": ["ES256"],
        }},
        "routes": [
            { "match": { "path": "/me" }, "access": { "anyOf": ["shop"], "optional": true, "forward": {
                "claims": { "tier": "x-tier" }, "log": ["tier", "address.city"], "clearRouteCache": true,
            }}},
            { "match": { "path": "/open" }, "access": "public" },
        ],
    });
    keys::put_in(&mut policy);
    policy
}

/// Envoy answers `gold` by itself to requests whose tier is gold, and logs who called.
async fn start(service: &Service, policy: &Value) -> Envoy {
    let mut configuration = bootstrap(service, policy).to_value();
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let manager = configuration.pointer_mut(manager).unwrap();
    let routes = manager.pointer_mut("/route_config/virtual_hosts/0/routes");
    let gold = json!({
        "match": { "prefix": "/", "headers": [
            { "name": "x-tier", "string_match": { "exact": "gold" } },
        ]},
        "direct_response": { "status": 200, "body": { "inline_string": "gold" } },
    });
    routes.unwrap().as_array_mut().unwrap().insert(0, gold);
    let log = manager.pointer_mut("/access_log/0/typed_config/log_format/json_format");
    let log = log.unwrap();
    for name in [
        "forecourt_issuer",
        "forecourt_subject",
        "tier",
        "address.city",
    ] {
        log[name] = json!(format!("%FILTER_STATE(wasm.{name}:PLAIN)%"));
    }
    let binary = find(None, &mut |note| eprintln!("{note}")).unwrap();
    Envoy::start_with(&binary, &configuration, &Options::default())
        .await
        .unwrap()
}

fn token(claims: &Value) -> Token {
    Token {
        issuer: "shop".into(),
        alg: "ES256".into(),
        claims: claims.as_object().unwrap().clone(),
        ..Token::default()
    }
}

#[tokio::test]
async fn logs_and_routes_go_by_the_token_and_never_by_the_client() {
    let (service, policy) = (Service::start().unwrap(), policy());
    let envoy = start(&service, &policy).await;
    let tier = |tier: &str| json!({ "sub": "user-1", "tier": tier, "address": { "city": "Bern" } });
    let bearer = |claims: &Value| Some(keys::bearer(&token(claims), &policy));
    for (path, bearer, claimed, gold) in [
        ("/me", bearer(&tier("gold")), None, true),
        ("/me", bearer(&tier("gold")), Some("iron"), true),
        ("/me", bearer(&tier("iron")), None, false),
        ("/me", bearer(&tier("iron")), Some("gold"), false),
        (
            "/me",
            bearer(&json!({ "sub": "user-1" })),
            Some("gold"),
            false,
        ),
        ("/me", None, Some("gold"), false),
        ("/open", None, Some("gold"), false),
        ("/open", None, None, false),
    ] {
        service.forget();
        let mut request = Request::new("GET", path);
        if let Some(bearer) = &bearer {
            request = request.header("authorization", bearer);
        }
        if let Some(claimed) = claimed {
            request = request.header("x-tier", claimed);
        }
        let answer = client::send(envoy.listener(), &request).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.body == b"gold",
            gold,
            "{path} {bearer:?} {claimed:?}"
        );
        assert_eq!(service.count(), usize::from(!gold));
        if let Some(seen) = service.seen().first() {
            assert_ne!(seen.header("x-tier"), Some("gold"));
        }
    }
    // A subject that would begin a line of its own in a log is not written there.
    let odd = json!({ "sub": "user\n{\"forged\": 1}" });
    let request = Request::new("GET", "/me").header("authorization", bearer(&odd).unwrap());
    let answer = client::send(envoy.listener(), &request).await.unwrap();
    assert_eq!(answer.status, 200);
    let lines = lines(&envoy, 9).await;
    let told = |line: &Value| {
        let names = [
            "forecourt_issuer",
            "forecourt_subject",
            "tier",
            "address.city",
        ];
        names.map(|name| line[name].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(told(&lines[0]), ["shop", "user-1", "gold", "Bern"]);
    assert_eq!(told(&lines[3]), ["shop", "user-1", "iron", "Bern"]);
    assert_eq!(told(&lines[4]), ["shop", "user-1", "-", "-"]);
    assert_eq!(told(&lines[8]), ["shop", "-", "-", "-"]);
    for nobody in [&lines[5], &lines[6], &lines[7]] {
        assert_eq!(told(nobody), ["-"; 4]);
    }
    counted(&envoy, 9, 6).await;
    // Nothing was left to count and the timer has stopped; what comes then starts it anew.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let request = Request::new("GET", "/open");
    client::send(envoy.listener(), &request).await.unwrap();
    counted(&envoy, 10, 6).await;
}

/// Waits until the counters say how many requests went on and how many tokens, known or not, there
/// were; they come late.
async fn counted(envoy: &Envoy, requests: u64, tokens: u64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let stats = envoy.stats().await.unwrap();
        let count = |name| {
            let name = format!("wasmcustom.forecourt.{name}");
            stats.get(&name).copied().unwrap_or(0)
        };
        let held = (
            count("forwarded"),
            count("token_cache.hit") + count("token_cache.miss"),
        );
        if held == (requests, tokens) {
            return;
        }
        assert!(Instant::now() < until, "{held:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn lines(envoy: &Envoy, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut seen = 0;
    while lines.len() < count {
        let (more, so_far) = envoy.access_log().after(seen).await.unwrap();
        lines.extend(more.iter().map(|line| serde_json::from_str(line).unwrap()));
        seen = so_far;
    }
    lines
}
