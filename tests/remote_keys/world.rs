//! Envoy with two workers before a service, an issuer beside it, and traffic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use forecourt::cli::client::{self, Answer, Request};
use forecourt::cli::envoy::{Envoy, Options};
use forecourt::cli::serve::{Reply, Service};
use forecourt::token::algorithm::Algorithm;
use forecourt::token::mint::{SigningKey, mint};
use p256::elliptic_curve::rand_core::OsRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use serde_json::{Map, Value, json};

use super::support::envoy::{bootstrap, start_with};

pub const KEYS: &str = "/keys";
pub const ISS: &str = "http://issuer.example";

/// How long anything may take that has to happen in the end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A key of the issuer.
#[derive(Clone)]
pub struct Key {
    pub kid: &'static str,
    pub key: SigningKey,
}

impl Key {
    pub fn new(kid: &'static str) -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        Self { kid, key }
    }

    pub fn token(&self) -> String {
        self.named(self.kid)
    }

    /// A token signed with this key that names another.
    pub fn named(&self, kid: &str) -> String {
        self.living(kid, 3600)
    }

    /// A token that lives for so many seconds.
    pub fn living(&self, kid: &str, seconds: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let claims = json!({ "iss": ISS, "aud": "shop", "exp": now.as_secs() + seconds });
        mint(&self.key, kid, &Map::new(), &claims)
    }
}

pub fn set(keys: &[&Key]) -> Value {
    let keys: Vec<_> = keys.iter().map(|key| key.key.public_jwk(key.kid)).collect();
    json!({ "keys": keys })
}

/// Envoy with two workers before a service, and an issuer beside it.
pub struct World {
    pub issuer: Service,
    pub service: Service,
    pub envoy: Envoy,
}

impl World {
    /// `jwks` adds to where the keys are.
    pub async fn start(first: Reply, jwks: Value) -> Self {
        let issuer = Service::start().unwrap();
        issuer.answer(KEYS, first);
        let mut source = json!({
            "uri": format!("{}{KEYS}", issuer.url()),
            "cluster": "issuer",
            "minRefresh": "1s",
            "timeout": "10s",
        });
        merge(&mut source, jwks);
        let (service, envoy) = start_envoy(source).await;
        Self {
            issuer,
            service,
            envoy,
        }
    }

    pub async fn ask(&self, token: &str) -> Answer {
        ask(&self.envoy, token).await
    }

    pub async fn code(&self, token: &str) -> String {
        code(&self.ask(token).await)
    }

    /// Asks until the answer is that one.
    pub async fn becomes(&self, token: &str, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let code = self.code(token).await;
            if code == wanted {
                return;
            }
            assert!(Instant::now() < until, "still {code} instead of {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn counted(&self, name: &str) -> u64 {
        let stats = self.envoy.stats().await.unwrap();
        let name = format!("wasmcustom.forecourt.{name}");
        stats.get(&name).copied().unwrap_or(0)
    }

    /// Waits until that many fetches have failed.
    pub async fn failures(&self, least: u64) {
        self.counts("jwks_fetch.failed", least).await;
    }

    /// Waits until a counter stands that high.
    pub async fn counts(&self, name: &str, least: u64) {
        let until = Instant::now() + PATIENCE;
        while self.counted(name).await < least {
            assert!(Instant::now() < until, "{name} stays below {least}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn vm_lives(&self) {
        let log = self.envoy.log().all().join("\n");
        for word in ["panicked", "Function: proxy_on", "Wasm VM failed"] {
            assert!(!log.contains(word), "{log}");
        }
    }
}

pub fn merge(into: &mut Value, more: Value) {
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => into.as_object_mut().unwrap().remove(name),
            _ => into
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
}

pub async fn start_envoy(source: Value) -> (Service, Envoy) {
    let service = Service::start().unwrap();
    let policy = json!({
        "version": "forecourt/v1",
        "issuers": { "idp": { "issuer": ISS, "audiences": "shop", "algorithms": ["ES256", "RS256"], "clockSkew": 0, "jwks": source } },
        "routes": [
            { "match": { "path": "/me" }, "access": { "anyOf": ["idp"] } },
            { "match": { "path": "/open" }, "access": "public" },
            { "match": { "path": "/orders" }, "access": { "anyOf": ["idp"] },
              "request": { "body": { "contentTypes": ["application/json"], "maxBytes": 65536, "schema": { "type": "object" } } } },
        ],
    });
    let options = Options {
        workers: Some(2),
        ..Options::default()
    };
    let envoy = start_with(&bootstrap(&service, &policy), &options).await;
    (service, envoy)
}

pub async fn ask(envoy: &Envoy, token: &str) -> Answer {
    let request = Request::new("GET", "/me").header("authorization", format!("Bearer {token}"));
    client::send(envoy.listener(), &request).await.unwrap()
}

pub fn code(answer: &Answer) -> String {
    match answer.status {
        200 => "forwarded".into(),
        _ => answer.json().unwrap()["code"].as_str().unwrap().to_owned(),
    }
}

/// Requests that never stop, and what came of them.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<BTreeMap<String, usize>>>,
}

impl Traffic {
    /// Clients that ask with these tokens in turn. Their answers are counted by the token's label.
    pub fn start(envoy: &Arc<World>, tokens: &[(&str, String)]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let clients = (0..4).map(|_| {
            let (world, stop) = (Arc::clone(envoy), Arc::clone(&stop));
            let tokens: Vec<_> = tokens
                .iter()
                .map(|(label, token)| ((*label).to_owned(), token.clone()))
                .collect();
            tokio::spawn(async move {
                let mut answers = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    for (label, token) in &tokens {
                        let code = world.code(token).await;
                        *answers.entry(format!("{label}: {code}")).or_default() += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answers
            })
        });
        Self {
            clients: clients.collect(),
            stop,
        }
    }

    pub async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = BTreeMap::<String, usize>::new();
        for client in self.clients {
            for (answer, count) in client.await.unwrap() {
                *answers.entry(answer).or_default() += count;
            }
        }
        eprintln!("{answers:?}");
        answers.into_keys().collect()
    }
}

pub fn jwks(keys: &[&Key]) -> Reply {
    Reply::json(200, &set(keys))
}

/// Keys that nobody may verify with, and for each a token that it would verify, or one that names it.
pub fn bad_keys(good: &Key) -> Vec<(String, Value)> {
    let mut bad = Vec::new();
    for (kid, member, value) in [
        ("encrypts", "use", json!("enc")),
        ("wraps", "key_ops", json!(["wrapKey"])),
        ("other-alg", "alg", json!("ES384")),
        (
            "off-the-curve",
            "y",
            json!("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"),
        ),
        ("short-point", "y", json!("AQ")),
        ("private", "d", json!("AQ")),
    ] {
        let mut jwk = good.key.public_jwk(kid);
        jwk[member] = value;
        bad.push((good.named(kid), jwk));
    }
    let small = rsa::RsaPrivateKey::new(&mut OsRng, 1024).unwrap();
    let number = |number: &rsa::BigUint| BASE64_URL_SAFE_NO_PAD.encode(number.to_bytes_be());
    let (n, e) = (number(small.n()), number(small.e()));
    let (p, q) = (number(&small.primes()[0]), number(&small.primes()[1]));
    let jwk = json!({ "kty": "RSA", "n": n, "e": e, "d": number(small.d()), "p": p, "q": q });
    let signer = SigningKey::from_jwk(Algorithm::Rs256, &jwk).unwrap();
    let weak = Key {
        kid: "weak",
        key: signer,
    };
    bad.push((weak.token(), weak.key.public_jwk("weak")));
    let mut exponent = weak.key.public_jwk("exponent");
    exponent["e"] = json!("AQ");
    bad.push((weak.named("exponent"), exponent));
    bad
}
