//! Keys that an issuer serves, in real Envoy with several workers: rotation, every kind of outage,
//! floods of unknown keys, with traffic running. No wrong answer, and few fetches.
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
#[path = "remote_keys/world.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use forecourt::cli::client::{self, Request};
use forecourt::cli::envoy::Options;
use forecourt::cli::serve::{Reply, Service};
use forecourt::token::algorithm::Algorithm;
use forecourt::token::mint::SigningKey;
use serde_json::{Value, json};
use support::envoy::{bootstrap, start_with};
use world::{ISS, KEYS, Key, PATIENCE, Traffic, World, ask, bad_keys, code, jwks, start_envoy};

#[tokio::test]
async fn requests_wait_for_the_first_keys_and_one_vm_fetches_them() {
    let key = Key::new("a");
    let slow = jwks(&[&key]).after(Duration::from_secs(2));
    let world = Arc::new(World::start(slow, json!({})).await);
    // Many at once, over both workers, while the keys are on their way.
    let asked: Vec<_> = (0..40)
        .map(|n| {
            let (world, token) = (Arc::clone(&world), key.token());
            tokio::spawn(async move {
                if n % 2 == 0 {
                    return world.code(&token).await;
                }
                let request = Request::new("POST", "/orders")
                    .header("authorization", format!("Bearer {token}"))
                    .header("content-type", "application/json")
                    .body_in_chunks(
                        if n % 3 == 0 {
                            "[1, 2, 3]"
                        } else {
                            "{\"a\": 1}"
                        },
                        3,
                    )
                    .trailer("x-sum", "1");
                code(
                    &client::send(world.envoy.listener(), &request)
                        .await
                        .unwrap(),
                )
            })
        })
        .collect();
    for (n, asked) in asked.into_iter().enumerate() {
        let wanted = match (n % 2, n % 3) {
            (1, 0) => "schema_mismatch",
            _ => "forwarded",
        };
        assert_eq!(asked.await.unwrap(), wanted, "{n}");
    }
    assert_eq!(world.issuer.count(), 1, "one fetch for every VM");
    let fetch = &world.issuer.seen()[0];
    assert_eq!(fetch.method, "GET");
    assert_eq!(fetch.authority, world.issuer.address().to_string());
    assert_eq!(world.counted("jwks_fetch.success").await, 1);
    assert_eq!(
        world.code(&Key::new("a").token()).await,
        "signature_invalid"
    );
    world.vm_lives();
}

#[tokio::test]
async fn keys_that_do_not_come_refuse_in_time_and_clients_may_leave() {
    let key = Key::new("a");
    let silent = jwks(&[&key]).after(Duration::from_secs(3600));
    let world = World::start(silent, json!({ "timeout": "1s" })).await;
    // Clients that leave while they wait.
    for _ in 0..10 {
        let request = format!(
            "GET /me HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
            key.token()
        );
        let quiet = Duration::from_millis(20);
        let _ = client::raw(world.envoy.listener(), &[request.as_bytes()], quiet).await;
    }
    let refused = world.ask(&key.token()).await;
    assert_eq!(
        (refused.status, code(&refused).as_str()),
        (503, "keys_unavailable")
    );
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    let open = client::get(world.envoy.listener(), "/open").await.unwrap();
    assert_eq!(open.status, 200, "nobody else waits");
    world.issuer.answer(KEYS, jwks(&[&key]));
    world.becomes(&key.token(), "forwarded").await;
    world.vm_lives();
}

#[tokio::test]
async fn rotation_is_followed_with_traffic_running() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let world = Arc::new(World::start(jwks(&[&old]), json!({})).await);
    world.becomes(&old.token(), "forwarded").await;
    let before = world.issuer.count();
    let began = Instant::now();
    let forged = [("old", old.token()), ("forged", new.named("old"))];
    let traffic = Traffic::start(&world, &forged);
    // The new key is published before it is used, and the old one stays for a time.
    world.issuer.answer(KEYS, jwks(&[&old, &new]));
    world.becomes(&new.token(), "forwarded").await;
    let answers = traffic.end().await;
    assert_eq!(answers, ["forged: signature_invalid", "old: forwarded"]);
    // Then it goes, and its tokens with it, also the ones that were verified before.
    world.issuer.answer(KEYS, jwks(&[&new]));
    let traffic = Traffic::start(&world, &[("new", new.token())]);
    world.becomes(&new.named("x"), "key_unknown").await;
    let until = Instant::now() + PATIENCE;
    let mut n = 0;
    while world.code(&old.token()).await != "key_unknown" {
        assert!(Instant::now() < until);
        // An unknown key makes the proxy look again.
        n += 1;
        world.code(&new.named(&format!("y{n}"))).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(traffic.end().await, ["new: forwarded"]);
    // One fetch a second at the most, and a few for the beginning and the end.
    let fetches = world.issuer.count() - before;
    assert!(fetches as u64 <= began.elapsed().as_secs() + 3, "{fetches}");
    world.vm_lives();
}

#[tokio::test]
async fn known_keys_outlast_every_kind_of_outage() {
    let (key, evil) = (Key::new("a"), Key::new("evil"));
    let short = json!({ "cacheDuration": "1s", "maxStale": "1h", "timeout": "1s" });
    let world = Arc::new(World::start(jwks(&[&key]), short).await);
    world.becomes(&key.token(), "forwarded").await;
    let elsewhere = Service::start().unwrap();
    elsewhere.answer(KEYS, jwks(&[&evil]));
    let redirect = Reply::status(302).header("location", format!("{}{KEYS}", elsewhere.url()));
    let nested = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let many: Vec<_> = (0..101)
        .map(|n| key.key.public_jwk(&n.to_string()))
        .collect();
    let outages = [
        ("error", Reply::status(500)),
        ("slow", jwks(&[&evil]).after(Duration::from_secs(3600))),
        ("garbage", Reply::status(200).body([0xff; 1000])),
        (
            "html",
            Reply::status(200)
                .header("content-type", "text/html")
                .body("<html>"),
        ),
        ("empty", Reply::status(200)),
        ("no keys", jwks(&[])),
        ("huge", Reply::status(200).body(vec![b' '; 3 * 1024 * 1024])),
        ("nested", Reply::status(200).body(nested)),
        ("too many keys", Reply::json(200, &json!({ "keys": many }))),
        ("304 unasked", Reply::status(304)),
        ("redirect", redirect),
        (
            "not the whole status",
            jwks(&[&evil])
                .header("x", "y")
                .after(Duration::from_millis(1500)),
        ),
    ];
    let tokens = [("good", key.token()), ("forged", evil.named("a"))];
    for (name, reply) in outages {
        world.issuer.answer(KEYS, reply);
        let (fetches, failed) = (
            world.issuer.count(),
            world.counted("jwks_fetch.failed").await,
        );
        let began = Instant::now();
        let traffic = Traffic::start(&world, &tokens);
        world.failures(failed + 2).await;
        let answers = traffic.end().await;
        assert_eq!(
            answers,
            ["forged: signature_invalid", "good: forwarded"],
            "{name}"
        );
        // Tried again after half a second, then one, two, four: two a second bounds them all.
        let fetches = world.issuer.count() - fetches;
        assert!(
            fetches as u64 <= 2 * began.elapsed().as_secs() + 4,
            "{name}: {fetches}"
        );
        // Back to normal before the next.
        world.issuer.answer(KEYS, jwks(&[&key]));
        let success = world.counted("jwks_fetch.success").await;
        let until = Instant::now() + PATIENCE;
        while world.counted("jwks_fetch.success").await == success {
            assert!(Instant::now() < until, "{name}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(elsewhere.count(), 0, "nobody follows a redirect");
    world.vm_lives();
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_outlasted_and_found_again() {
    let (key, new) = (Key::new("a"), Key::new("b"));
    let stale = json!({ "cacheDuration": "1s", "maxStale": "4s", "timeout": "1s" });
    let World {
        issuer,
        service,
        envoy,
    } = World::start(jwks(&[&key]), stale).await;
    let address = issuer.address();
    let mut world = World {
        issuer,
        service,
        envoy,
    };
    world.becomes(&key.token(), "forwarded").await;
    // The process ends: nobody listens there any more.
    world.issuer = Service::start().unwrap();
    let world = Arc::new(world);
    let began = Instant::now();
    let forged = new.named("a");
    let traffic = Traffic::start(&world, &[("good", key.token()), ("forged", forged)]);
    world.failures(1).await;
    // What it would have signed with meanwhile, nobody can know.
    world.becomes(&new.token(), "keys_unavailable").await;
    world.becomes(&key.token(), "keys_unavailable").await;
    for answer in traffic.end().await {
        let expected = [
            "good: forwarded",
            "good: keys_unavailable",
            "forged: signature_invalid",
            "forged: keys_unavailable",
        ];
        assert!(expected.contains(&answer.as_str()), "{answer}");
    }
    let failed = world.counted("jwks_fetch.failed").await;
    assert!(failed <= 2 * began.elapsed().as_secs() + 4, "{failed}");
    let mut world = Arc::into_inner(world).unwrap();
    let refused = world.ask(&key.token()).await;
    assert_eq!(refused.status, 503);
    let asked = world.service.count();
    world.code(&key.token()).await;
    assert_eq!(world.service.count(), asked, "nothing passes without keys");
    world.issuer = Service::start_on(address.port()).unwrap();
    world.issuer.answer(KEYS, jwks(&[&new]));
    world.becomes(&new.token(), "forwarded").await;
    world.becomes(&key.token(), "key_unknown").await;
    world.vm_lives();
}

#[tokio::test]
async fn attack_08_a_flood_of_unknown_keys_does_not_reach_the_issuer() {
    let (key, mallory) = (Key::new("a"), Key::new("m"));
    let world = Arc::new(World::start(jwks(&[&key]), json!({ "minRefresh": "2s" })).await);
    world.becomes(&key.token(), "forwarded").await;
    let before = world.issuer.count();
    let traffic = Traffic::start(&world, &[("good", key.token())]);
    let began = Instant::now();
    let flood: Vec<_> = (0..8)
        .map(|client| {
            let (world, mallory) = (Arc::clone(&world), mallory.clone());
            tokio::spawn(async move {
                for n in 0..100 {
                    let token = mallory.named(&format!("{client}-{n}"));
                    assert_eq!(world.code(&token).await, "key_unknown");
                }
            })
        })
        .collect();
    for client in flood {
        client.await.unwrap();
    }
    assert_eq!(traffic.end().await, ["good: forwarded"]);
    let intervals = began.elapsed().as_secs() / 2;
    let fetches = world.issuer.count() - before;
    assert!(
        fetches as u64 <= intervals + 2,
        "{fetches} in {intervals} intervals"
    );
    world.vm_lives();
}

#[tokio::test]
async fn attacks_11_and_12_weak_keys_and_25_tokens_that_are_remembered() {
    let (key, new) = (Key::new("a"), Key::new("b"));
    let bad = bad_keys(&key);
    let mut served: Vec<_> = bad.iter().map(|(_, jwk)| jwk.clone()).collect();
    served.push(key.key.public_jwk("a"));
    let served = Reply::json(200, &json!({ "keys": served }));
    let world = World::start(served, json!({})).await;
    world.becomes(&key.token(), "forwarded").await;
    for (token, jwk) in &bad {
        assert_eq!(world.code(token).await, "key_unknown", "{jwk}");
        assert_eq!(world.code(&key.token()).await, "forwarded");
    }
    // A token that was verified a moment ago, beside one that lives on.
    let mut life = 3;
    loop {
        let (began, token) = (Instant::now(), key.living("a", life));
        let hits = world.counted("token_cache.hit").await;
        for _ in 0..8 {
            world.code(&token).await;
        }
        let last = world.code(&token).await;
        if began.elapsed() < Duration::from_secs(life - 1) {
            assert_eq!(last, "forwarded");
            world.counts("token_cache.hit", hits + 1).await;
            world.becomes(&token, "token_expired").await;
            break;
        }
        life *= 2;
    }
    assert_eq!(world.code(&key.token()).await, "forwarded");
    // Its key goes, and with it the token, remembered or not.
    let token = key.token();
    for _ in 0..8 {
        assert_eq!(world.code(&token).await, "forwarded");
    }
    world.issuer.answer(KEYS, jwks(&[&new]));
    world.becomes(&new.token(), "forwarded").await;
    world.becomes(&token, "key_unknown").await;
    world.vm_lives();
}

#[tokio::test]
async fn unchanged_keys_are_confirmed_by_304() {
    let key = Key::new("a");
    let tagged = jwks(&[&key]).header("etag", "\"v1\"");
    let short = json!({ "cacheDuration": "1s", "maxStale": 0 });
    let world = World::start(tagged, short).await;
    world.becomes(&key.token(), "forwarded").await;
    world
        .issuer
        .answer(KEYS, Reply::status(304).header("etag", "\"v1\""));
    let confirmed = world.counted("jwks_fetch.success").await + 3;
    let until = Instant::now() + PATIENCE;
    while world.counted("jwks_fetch.success").await < confirmed {
        assert_eq!(world.code(&key.token()).await, "forwarded");
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let last = world.issuer.seen().pop().unwrap();
    assert_eq!(last.header("if-none-match"), Some("\"v1\""));
    assert_eq!(world.counted("jwks_fetch.failed").await, 0);
}

#[tokio::test]
async fn metadata_leads_to_keys_at_the_named_host_only() {
    let (key, evil) = (Key::new("a"), Key::new("a"));
    let issuer = Service::start().unwrap();
    let elsewhere = Service::start().unwrap();
    elsewhere.answer(KEYS, jwks(&[&evil]));
    issuer.answer(KEYS, jwks(&[&key]));
    let metadata = |iss: &str, host: &Service| {
        Reply::json(
            200,
            &json!({ "issuer": iss, "jwks_uri": format!("{}{KEYS}", host.url()) }),
        )
    };
    issuer.answer("/meta", metadata(ISS, &elsewhere));
    let (service, envoy) = start_envoy(json!({
        "discovery": { "uri": format!("{}/meta", issuer.url()) },
        "cluster": "issuer", "minRefresh": "1s", "timeout": "10s",
    }))
    .await;
    let world = World {
        issuer,
        service,
        envoy,
    };
    world.failures(2).await;
    world
        .issuer
        .answer("/meta", metadata("http://other.example", &world.issuer));
    world.failures(3).await;
    assert_eq!(world.code(&evil.token()).await, "keys_unavailable");
    world.issuer.answer("/meta", metadata(ISS, &world.issuer));
    world.becomes(&key.token(), "forwarded").await;
    assert_eq!(world.code(&evil.token()).await, "signature_invalid");
    assert_eq!(elsewhere.count(), 0);
    world.vm_lives();
}

#[tokio::test]
async fn certificates_are_keys_too() {
    let rsa = include_str!("data/x509/rsa.pem");
    let weak = include_str!("data/x509/rsa-1024.pem");
    let expired = include_str!("data/x509/rsa-expired.pem");
    let map = Reply::json(200, &json!({ "r": rsa, "weak": weak, "expired": expired }));
    let world = World::start(map, json!({ "format": "x509" })).await;
    let jwk: Value = serde_json::from_str(include_str!("data/x509/rsa.jwk.json")).unwrap();
    let signer = SigningKey::from_jwk(Algorithm::Rs256, &jwk).unwrap();
    let key = Key {
        kid: "r",
        key: signer,
    };
    world.becomes(&key.token(), "forwarded").await;
    assert_eq!(world.code(&key.named("weak")).await, "key_unknown");
    assert_eq!(world.code(&key.named("expired")).await, "key_unknown");
    assert_eq!(world.code(&key.named("r2")).await, "key_unknown");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_refuses_and_harms_nobody() {
    let service = Service::start().unwrap();
    let policy = json!({
        "version": "forecourt/v1",
        "issuers": { "idp": { "issuer": ISS, "audiences": "shop",
            "jwks": { "uri": "http://127.0.0.1:1/keys", "cluster": "idp", "timeout": "1s" } } },
        "routes": [
            { "match": { "path": "/me" }, "access": { "anyOf": ["idp"] } },
            { "match": { "path": "/open" }, "access": "public" },
        ],
    });
    let mut bootstrap = bootstrap(&service, &policy);
    bootstrap.servers.clear();
    let envoy = start_with(&bootstrap, &Options::default()).await;
    let token = Key::new("a").token();
    for _ in 0..3 {
        assert_eq!(code(&ask(&envoy, &token).await), "keys_unavailable");
        let open = client::get(envoy.listener(), "/open").await.unwrap();
        assert_eq!(open.status, 200);
    }
    let world = World {
        issuer: Service::start().unwrap(),
        service,
        envoy,
    };
    world.failures(1).await;
    world.vm_lives();
}
