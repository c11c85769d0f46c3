//! Envoy's own `jwt_authn` and the module in one Envoy, with the same issuer, the same tokens and
//! the same service: nothing passes the module that jwt_authn refuses, and what only the module
//! refuses is refused for a reason on a short list.
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
#[path = "jwt_authn/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forecourt::cli::client;
use forecourt::cli::envoy::{Envoy, Options, find};
use forecourt::cli::serve::Service;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::envoy::bootstrap;
use tokens::{ALGORITHMS, AUD, Candidate, ISS, Issuer};
use tokio::net::TcpStream;

/// The listener with jwt_authn.
const NATIVE: &str = "jwt_authn";

const CLOCK_SKEW: i64 = 60;

/// Connections to each listener.
const CONNECTIONS: usize = 8;

/// A reason to refuse what jwt_authn accepts.
struct Stricter {
    code: &'static str,
    /// Words of the detail.
    detail: &'static str,
    /// Words of the name of every token that it is about.
    token: &'static str,
    reason: &'static str,
}

const fn stricter(
    code: &'static str,
    detail: &'static str,
    token: &'static str,
    reason: &'static str,
) -> Stricter {
    Stricter {
        code,
        detail,
        token,
        reason,
    }
}

/// All that the module is stricter about. An entry that no token shows any more has to go.
#[rustfmt::skip]
const STRICTER: &[Stricter] = &[
    stricter("token_malformed", "not three non-empty parts", "",
        "empty parts are skipped over there (RFC 7515 §7.1 has three)"),
    stricter("token_malformed", "not canonical base64url", "",
        "white space, padding and spare bits pass there (RFC 7515 §2)"),
    stricter("token_malformed", "header is not one JSON text", "",
        "single quotes, bare names, a comma at the end and raw control characters pass there (RFC 8259)"),
    stricter("token_malformed", "payload is not one JSON text", "",
        "the same in the payload"),
    stricter("token_malformed", "header nests too deeply", "", "nesting is bounded at 32, there at 100"),
    stricter("token_malformed", "payload nests too deeply", "", "the same in the payload"),
    stricter("token_malformed", "token is too large", " of ",
        "size is bounded at 16 KiB for a token and 4 KiB for its header"),
    stricter("token_malformed", "parameter typ is not a string", "",
        "typ is not read there (RFC 7515 §4.1.9)"),
    stricter("token_type_not_allowed", "", "",
        "tokens for other purposes pass there (RFC 8725 §3.11)"),
    stricter("token_unsupported", "parameter crit", "crit",
        "crit is ignored there (RFC 7515 §4.1.11)"),
    stricter("token_unsupported", "parameter b64", "b64", "b64 is ignored there (RFC 7797 §6)"),
    stricter("token_unsupported", "parameter zip", "zip", "zip is ignored there (RFC 7516 §4.1.3)"),
    stricter("token_unsupported", "parameter enc", "enc", "enc is ignored there (RFC 7516 §4.1.2)"),
    stricter("algorithm_not_allowed", "", "free ",
        "a key whose JWK names no algorithm signs with any of its type there (RFC 8725 §3.1)"),
    stricter("key_unknown", "several keys", "without kid", "a token without kid tries every key there"),
    stricter("key_unknown", "no key with this kid", "kid: \"\"", "an empty kid counts as none there"),
    stricter("signature_invalid", "", "signature and one behind",
        "octets behind an ECDSA signature are ignored there (RFC 7518 §3.4)"),
    stricter("expiry_missing", "up to the year 9999", "exp",
        "an exp in milliseconds passes there, and is good for millennia"),
    stricter("token_malformed", "claim iat", "", "iat is not checked there: one beyond the year 9999"),
    stricter("token_not_yet_valid", "issued in the future", "", "iat is not checked there: one in the future"),
    stricter("audience_mismatch", "", "",
        "http and https are one there, a slash at the end counts for nothing, and neither needs to be there"),
];

#[tokio::test]
async fn nothing_passes_that_jwt_authn_refuses() {
    let issuer = Issuer::new();
    let service = Service::start().unwrap();
    let envoy = start(&issuer, &service).await;
    let listeners = Listeners {
        native: listener(&envoy, NATIVE).await,
        ours: envoy.listener(),
    };
    let mut tally = Tally::default();
    for candidate in issuer.good(now()) {
        let verdicts = Client::new(listeners).ask(&candidate.token).await;
        let accepted = (Verdict::Accepted, Verdict::Accepted);
        assert_eq!(verdicts, accepted, "{}", candidate.name);
    }
    at_the_edges(&issuer, listeners, &mut tally).await;
    let before = service.count();
    let counted = tally.accepted();
    let candidates: Vec<_> = issuer
        .candidates(now())
        .into_iter()
        .filter(|candidate| HeaderValue::from_bytes(&candidate.token).is_ok())
        .collect();
    let started = Instant::now();
    for (candidate, verdicts) in ask_all(candidates, listeners).await {
        tally.add(&candidate, verdicts);
    }
    eprintln!("{tally:#?}\nin {:?}", started.elapsed());
    assert_eq!(
        service.count() - before,
        tally.accepted() - counted,
        "what was accepted has reached the service, and nothing else"
    );
    tally.check();
}

/// Times around the edges of the tolerance. A token is judged within two seconds of being made, at
/// least three seconds away from the edge; where the machine was slower, another one is made.
async fn at_the_edges(issuer: &Issuer, listeners: Listeners, tally: &mut Tally) {
    let mut client = Client::new(listeners);
    for name in ["exp", "nbf", "iat"] {
        for edge in [-CLOCK_SKEW, 0, CLOCK_SKEW] {
            for away in [-600, -30, -10, -5, -3, 3, 5, 10, 30, 600] {
                for fraction in [0.0, 0.5] {
                    let offset = (edge + away) as f64 + fraction;
                    let (candidate, verdicts) = loop {
                        let started = Instant::now();
                        let now = now();
                        let mut claims = tokens::claims(now);
                        claims[name] = match fraction {
                            0.0 => json!(now.saturating_add_signed(edge + away)),
                            _ => json!(now as f64 + offset),
                        };
                        let candidate = Candidate {
                            name: format!("{name} {offset:+}"),
                            token: issuer.signed(&claims).into(),
                        };
                        let verdicts = client.ask(&candidate.token).await;
                        if started.elapsed() < Duration::from_secs(2) {
                            break (candidate, verdicts);
                        }
                    };
                    let good = match name {
                        "exp" => edge + away + CLOCK_SKEW > 0,
                        _ => edge + away < CLOCK_SKEW,
                    };
                    assert_eq!(verdicts.1 == Verdict::Accepted, good, "{}", candidate.name);
                    tally.add(&candidate, verdicts);
                }
            }
        }
    }
}

/// One Envoy: the module behind one listener, jwt_authn behind another, the same service.
async fn start(issuer: &Issuer, service: &Service) -> Envoy {
    let jwks = issuer.jwks();
    let policy = json!({
        "version": "forecourt/v1",
        "issuers": { "shop": {
            "issuer": ISS,
            "audiences": [AUD],
            "algorithms": ALGORITHMS,
            "clockSkew": CLOCK_SKEW,
            "jwks": { "inline": jwks },
        }},
        "routes": [{ "match": { "path": "/me" }, "access": { "anyOf": ["shop"] } }],
    });
    let native = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "shop": {
                "issuer": ISS,
                "audiences": [AUD],
                "require_expiration": true,
                "clock_skew_seconds": CLOCK_SKEW,
                "local_jwks": { "inline_string": jwks.to_string() },
                "forward": true,
            }},
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "shop" } }],
        },
    });
    let mut configuration = bootstrap(service, &policy).to_value();
    let listeners = configuration
        .pointer_mut("/static_resources/listeners")
        .and_then(Value::as_array_mut)
        .unwrap();
    let mut other = listeners[0].clone();
    other["name"] = json!(NATIVE);
    let filters = "/filter_chains/0/filters/0/typed_config/http_filters/0";
    *other.pointer_mut(filters).unwrap() = native;
    listeners.push(other);
    let binary = find(None, &mut |note| eprintln!("{note}")).unwrap();
    Envoy::start_with(&binary, &configuration, &Options::default())
        .await
        .unwrap()
}

async fn listener(envoy: &Envoy, name: &str) -> SocketAddr {
    let answer = client::get(envoy.admin(), "/listeners?format=json").await;
    let answer = answer.unwrap().json().unwrap();
    let listeners = answer["listener_statuses"].as_array().unwrap();
    let found = listeners.iter().find(|listener| listener["name"] == name);
    let port = found.unwrap()["local_address"]["socket_address"]["port_value"].as_u64();
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(port.unwrap()).unwrap()))
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

#[derive(Clone, Copy)]
struct Listeners {
    native: SocketAddr,
    ours: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// Our code, or the status of jwt_authn, and what is said of it.
    Refused(String, String),
}

/// A kept connection to each listener.
struct Client {
    native: Connection,
    ours: Connection,
}

impl Client {
    fn new(listeners: Listeners) -> Self {
        let connection = |address| Connection {
            address,
            sender: None,
        };
        Self {
            native: connection(listeners.native),
            ours: connection(listeners.ours),
        }
    }

    /// What jwt_authn says of the token, and what we say.
    async fn ask(&mut self, token: &[u8]) -> (Verdict, Verdict) {
        tokio::join!(self.native.ask(token), self.ours.ask(token))
    }
}

struct Connection {
    address: SocketAddr,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Connection {
    async fn ask(&mut self, token: &[u8]) -> Verdict {
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).unwrap();
        let request = Request::get("/me")
            .header("host", "localhost")
            .header("authorization", value)
            .body(Empty::new())
            .unwrap();
        let sender = self.sender().await;
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        match status {
            200 => Verdict::Accepted,
            400..500 => {
                let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
                match (problem["code"].as_str(), problem["detail"].as_str()) {
                    (Some(code), Some(detail)) => Verdict::Refused(code.into(), detail.into()),
                    _ => Verdict::Refused(status.to_string(), text),
                }
            }
            _ => panic!("{status} {text}"),
        }
    }

    async fn sender(&mut self) -> &mut SendRequest<Empty<Bytes>> {
        if let Some(sender) = &mut self.sender
            && sender.ready().await.is_err()
        {
            self.sender = None;
        }
        if self.sender.is_none() {
            let stream = TcpStream::connect(self.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        self.sender.as_mut().unwrap()
    }
}

type Judged = (Candidate, (Verdict, Verdict));

async fn ask_all(candidates: Vec<Candidate>, listeners: Listeners) -> Vec<Judged> {
    let candidates = Arc::new(candidates);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..CONNECTIONS {
        let (candidates, next) = (Arc::clone(&candidates), Arc::clone(&next));
        workers.push(tokio::spawn(async move {
            let mut client = Client::new(listeners);
            let mut judged = Vec::new();
            while let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
                judged.push((candidate.clone(), client.ask(&candidate.token).await));
            }
            judged
        }));
    }
    let mut judged = Vec::new();
    for worker in workers {
        judged.extend(worker.await.unwrap());
    }
    judged
}

/// How often what came of the tokens.
#[derive(Debug, Default)]
struct Tally {
    both_accept: usize,
    both_refuse: BTreeMap<String, usize>,
    only_jwt_authn_accepts: BTreeMap<&'static str, usize>,
    native_only: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, candidate: &Candidate, verdicts: (Verdict, Verdict)) {
        let token = String::from_utf8_lossy(&candidate.token);
        match verdicts {
            (Verdict::Accepted, Verdict::Accepted) => self.both_accept += 1,
            (Verdict::Refused(..), Verdict::Refused(code, _)) => {
                *self.both_refuse.entry(code).or_default() += 1;
            }
            (Verdict::Refused(status, said), Verdict::Accepted) => self.wrong.push(format!(
                "only we accept {}: jwt_authn says {status} {said}\n  {token}",
                candidate.name
            )),
            (Verdict::Accepted, Verdict::Refused(code, detail)) => {
                self.native_only += 1;
                match reason(&code, &detail, &candidate.name) {
                    Some(reason) => *self.only_jwt_authn_accepts.entry(reason).or_default() += 1,
                    None => self.wrong.push(format!(
                        "only jwt_authn accepts {}: {code}, {detail}\n  {token}",
                        candidate.name
                    )),
                }
            }
        }
    }

    /// Requests that went on to the service.
    fn accepted(&self) -> usize {
        2 * self.both_accept + self.native_only
    }

    fn check(&self) {
        assert!(self.wrong.is_empty(), "\n{}", self.wrong.join("\n"));
        for known in STRICTER {
            assert!(
                self.only_jwt_authn_accepts.contains_key(known.reason),
                "no token shows it any more: {}, {}",
                known.code,
                known.reason
            );
        }
        // Most tokens are hopeless; enough have to pass, or agreeing would say little.
        let refused: usize = self.both_refuse.values().sum();
        assert!(refused > 2000 && self.both_accept > 500, "{self:#?}");
    }
}

fn reason(code: &str, detail: &str, token: &str) -> Option<&'static str> {
    let found = STRICTER.iter().find(|known| {
        known.code == code && detail.contains(known.detail) && token.contains(known.token)
    });
    found.map(|known| known.reason)
}
