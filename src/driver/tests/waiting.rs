//! Requests that wait for keys: what comes meanwhile, and how it ends.

use super::super::*;
use super::{Call, Recorder};
use crate::config;
use crate::fetch::answer::Answer;
use crate::host::{KeyHost, Request};
use crate::reply::Code;
use crate::token::InWasm;
use crate::token::algorithm::Algorithm;
use crate::token::mint::{SigningKey, mint};
use serde_json::{Map, json};

/// A proxy with one VM, whose shared data is its own.
#[derive(Default)]
pub(super) struct Proxy {
    shared: std::collections::HashMap<String, (Vec<u8>, u32)>,
    pub(super) calls: u32,
}

impl KeyHost for Proxy {
    fn shared(&mut self, name: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        Ok(self.shared.get(name).cloned())
    }

    fn set_shared(&mut self, name: &str, value: &[u8], _: Option<u32>) -> Result<bool, HostError> {
        self.shared.insert(name.to_owned(), (value.to_vec(), 1));
        Ok(true)
    }

    fn call(&mut self, _: &Request<'_>) -> Result<u32, HostError> {
        self.calls += 1;
        Ok(self.calls)
    }

    fn chance(&mut self) -> u64 {
        0
    }

    fn count(&mut self, _: Counter) {}
}

/// The recorder's clock.
pub(super) const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A stream whose token's keys are on their way.
struct World {
    stream: Stream,
    host: Recorder,
    keys: Store,
    proxy: Proxy,
    signer: SigningKey,
}

impl World {
    fn waiting(body_checks: &str, mode: &str, ends: bool) -> Self {
        let policy = json!({
            "version": "forecourt/v1",
            "bodyChecks": body_checks,
            "issuers": { "idp": { "issuer": "https://idp.example", "audiences": "shop", "algorithms": ["ES256"],
                "jwks": { "uri": "https://idp.example/keys", "cluster": "idp", "timeout": "5s" } } },
            "routes": [{ "match": { "path": "/orders" }, "access": { "anyOf": ["idp"] }, "mode": mode,
                "request": { "body": { "contentTypes": ["application/json"], "maxBytes": 16, "schema": { "type": "object" } } } }],
        });
        let policy = Rc::new(config::from_value(policy).unwrap());
        let signer = SigningKey::generate(Algorithm::Es256).unwrap();
        let claims =
            json!({ "iss": "https://idp.example", "aud": "shop", "exp": NOW.as_secs() + 60 });
        let token = format!("Bearer {}", mint(&signer, "a", &Map::new(), &claims));
        let mut world = Self {
            keys: Store::new(&policy.issuers, &policy.identities),
            stream: Stream::new(policy),
            host: Recorder::new(&[
                (":method", "POST"),
                (":path", "/orders"),
                ("content-type", "application/json"),
                ("authorization", &token),
            ]),
            proxy: Proxy::default(),
            signer,
        };
        world.host.body = b"{}".to_vec();
        world.keys.tick(&mut world.proxy, NOW);
        let (cache, keys) = (Cache::default(), std::mem::take(&mut world.keys));
        let flow = world
            .stream
            .request_headers(&mut world.host, &tools(&keys, &cache), ends);
        world.keys = keys;
        assert_eq!(flow, Flow::Pause);
        let until = world.stream.waits_until(&world.keys);
        assert_eq!(until, Some(NOW + Duration::from_secs(5)));
        world.host.calls.clear();
        world
    }

    fn answer(&mut self, status: &str) {
        let keys = json!({ "keys": [self.signer.public_jwk("a")] });
        let answer = Answer {
            head: ResponseHead {
                headers: super::headers(&[(":status", status)]),
            },
            body: keys.to_string().into_bytes(),
        };
        assert!(self.keys.answered(&mut self.proxy, NOW, 1, &answer));
        self.decide_at(NOW);
    }

    fn decide_at(&mut self, now: Duration) {
        let cache = Cache::default();
        self.stream
            .keys_changed(&mut self.host, &tools(&self.keys, &cache), now);
    }

    fn is_resumed(&self) -> bool {
        self.host.calls.last() == Some(&Call::Resume)
    }
}

pub(super) fn tools<'a>(keys: &'a Store, cache: &'a Cache) -> Tools<'a> {
    Tools {
        keys,
        crypto: &InWasm,
        cache,
    }
}

#[test]
fn a_body_that_came_meanwhile_is_checked_when_the_keys_are_here() {
    for (body, refused) in [(&b"{}"[..], vec![]), (b"[]", vec![Code::SchemaMismatch])] {
        for trailers in [false, true] {
            for body_checks in ["hold", "stream"] {
                let mut world = World::waiting(body_checks, "enforce", false);
                world.host.body = body.to_vec();
                let (stream, host) = (&mut world.stream, &mut world.host);
                assert_eq!(stream.request_body(host, 1, false), Flow::Pause);
                assert_eq!(stream.request_body(host, 2, !trailers), Flow::Pause);
                if trailers {
                    assert_eq!(stream.request_trailers(host), Flow::Pause);
                }
                assert_eq!(host.calls, [], "nothing is decided yet");
                world.answer("200");
                assert_eq!(world.host.replies(), refused, "{body_checks} {trailers}");
                assert_eq!(world.is_resumed(), refused.is_empty());
            }
        }
    }
}

#[test]
fn a_body_that_is_still_coming_is_awaited_after_the_keys() {
    for (body_checks, seen, resumed) in [
        ("hold", false, false),
        ("hold", true, false),
        ("stream", false, true),
        // What is here already must not go on unchecked.
        ("stream", true, false),
    ] {
        let mut world = World::waiting(body_checks, "enforce", false);
        if seen {
            world.stream.request_body(&mut world.host, 1, false);
        }
        world.answer("200");
        assert_eq!(world.is_resumed(), resumed, "{body_checks} {seen}");
        let flow = world.stream.request_body(&mut world.host, 2, true);
        assert_eq!(flow, Flow::Continue);
        assert_eq!(world.host.replies(), []);
    }
}

#[test]
fn a_body_that_grew_too_large_meanwhile_is_refused() {
    let mut world = World::waiting("hold", "enforce", false);
    world.stream.request_body(&mut world.host, 17, false);
    world.answer("200");
    assert_eq!(world.host.replies(), [Code::BodyTooLarge]);
}

#[test]
fn waiting_ends_with_a_refusal_when_its_time_is_over() {
    let mut world = World::waiting("hold", "enforce", false);
    world.decide_at(NOW + Duration::from_millis(4_999));
    assert_eq!((world.host.replies(), world.is_resumed()), (vec![], false));
    world.decide_at(NOW + Duration::from_secs(5));
    assert_eq!(world.host.replies(), [Code::KeysUnavailable]);
    // Keys that come too late change nothing.
    world.host.calls.clear();
    world.answer("200");
    assert_eq!(world.host.calls, []);
    assert_eq!(
        world.stream.request_body(&mut world.host, 2, true),
        Flow::Pause
    );
}

#[test]
fn a_request_that_cannot_even_wait_is_refused_at_once() {
    let mut world = World::waiting("hold", "enforce", false);
    let (cache, keys) = (Cache::default(), std::mem::take(&mut world.keys));
    let flow = world
        .stream
        .stop_waiting(&mut world.host, &tools(&keys, &cache));
    assert_eq!(flow, Flow::Pause);
    assert_eq!(world.host.replies(), [Code::KeysUnavailable]);
}

#[test]
fn monitor_mode_lets_it_pass_without_an_identity() {
    let mut world = World::waiting("hold", "monitor", false);
    world.stream.request_body(&mut world.host, 2, true);
    world.decide_at(NOW + Duration::from_secs(5));
    assert!(world.is_resumed());
    let monitored = Call::Count("forecourt.monitored.keys_unavailable".into(), 1);
    assert!(world.host.calls.contains(&monitored));
}

#[test]
fn a_host_that_fails_on_the_way_refuses() {
    let mut failed = Vec::new();
    for failing in 0..5 {
        let mut world = World::waiting("hold", "enforce", false);
        world.stream.request_body(&mut world.host, 2, true);
        world.host.failing = Some(failing);
        world.answer("200");
        match world.host.calls.get(failing) {
            Some(call @ (Call::Resume | Call::RequestBody(_))) => failed.push(call.clone()),
            _ => continue,
        }
        assert_eq!(world.host.replies(), [Code::Internal], "call {failing}");
    }
    assert_eq!(failed, [Call::RequestBody(2), Call::Resume]);
}
