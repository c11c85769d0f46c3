//! What the host is told of a caller, and when it chooses its route again.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::token::algorithm::Algorithm;
use crate::token::mint::{SigningKey, mint};

struct World {
    policy: Rc<Policy>,
    key: SigningKey,
}

impl World {
    fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let policy = json!({
            "version": "forecourt/v1",
            "issuers": { "shop": { "issuer": "i", "audiences": ["a"],
                "jwks": { "inline": { "keys": [key.public_jwk("k")] } } } },
            "routes": [
                { "match": { "path": "/me" }, "access": { "anyOf": ["shop"], "forward": {
                    "claims": { "tier": "x-tier" }, "log": ["tier"], "clearRouteCache": true } } },
                { "match": { "path": "/id" }, "access": { "anyOf": ["shop"], "forward": {
                    "claims": { "sub": "x-user-id" } } } },
                { "match": { "path": "/open" }, "access": "public" },
            ],
        });
        Self {
            policy: Rc::new(config::from_value(policy).unwrap()),
            key,
        }
    }

    fn bearer(&self, claims: &[(&str, &str)]) -> String {
        let mut all = json!({ "iss": "i", "aud": "a", "exp": 1_900_000_000 });
        for (name, value) in claims {
            all[*name] = json!(value);
        }
        let token = mint(&self.key, "k", &serde_json::Map::new(), &all);
        format!("Bearer {token}")
    }

    fn calls(&self, request: &[(&str, &str)]) -> Vec<Call> {
        let mut host = Recorder::new(request);
        ask(&mut Stream::new(Rc::clone(&self.policy)), &mut host, true);
        host.calls
    }
}

#[test]
fn an_allowed_request_whose_token_is_known_costs_three_host_calls_and_its_answer_two() {
    let world = World::new();
    let bearer = world.bearer(&[("sub", "u")]);
    let (policy, cache) = (Rc::clone(&world.policy), Cache::default());
    let mut host = Recorder::new(&[
        (":method", "GET"),
        (":path", "/id"),
        ("authorization", &bearer),
    ]);
    let mut stream = Stream::new(Rc::clone(&policy));
    let keys = Store::default();
    let tools = waiting::tools(&keys, &cache);
    assert_eq!(
        stream.request_headers(&mut host, &tools, true),
        Flow::Continue
    );
    assert_eq!((cache.hits(), cache.misses()), (0, 1));

    host.calls.clear();
    let mut stream = Stream::new(policy);
    assert_eq!(
        stream.request_headers(&mut host, &tools, true),
        Flow::Continue
    );
    assert_eq!((cache.hits(), cache.misses()), (1, 1));
    let written = Edit::Set("x-user-id".into(), b"u".to_vec());
    assert_eq!(
        host.calls,
        [
            Call::RequestHeaders,
            Call::Now,
            Call::EditRequest(vec![written]),
        ]
    );
    host.calls.clear();
    assert_eq!(stream.response_headers(&mut host, true), Flow::Continue);
    let private = Edit::Set("cache-control".into(), b"private".to_vec());
    assert_eq!(
        host.calls,
        [Call::ResponseHeaders, Call::EditResponse(vec![private])]
    );
}

#[test]
fn a_clock_that_fails_lets_no_token_through() {
    let world = World::new();
    let bearer = world.bearer(&[]);
    let mut host = Recorder::new(&[
        (":method", "GET"),
        (":path", "/id"),
        ("authorization", &bearer),
    ]);
    host.failing = Some(1);
    let flow = ask(&mut Stream::new(world.policy), &mut host, true);
    assert_eq!(host.calls[1], Call::Now);
    assert_eq!(flow, Flow::Pause);
    assert_eq!(host.replies(), [Code::Internal]);
}

fn publish(name: &str, value: &str) -> Call {
    Call::Publish(name.into(), value.into())
}

#[test]
fn who_called_is_told_once_the_head_says_so() {
    let world = World::new();
    let bearer = world.bearer(&[("sub", "u"), ("tier", "gold")]);
    let request = [
        (":method", "GET"),
        (":path", "/me"),
        ("authorization", bearer.as_str()),
    ];
    let calls = world.calls(&request);
    let written = Edit::Set("x-tier".into(), b"gold".to_vec());
    assert_eq!(
        calls,
        [
            Call::RequestHeaders,
            Call::Now,
            Call::EditRequest(vec![written]),
            Call::ClearRouteCache,
            publish("forecourt_issuer", "shop"),
            publish("forecourt_subject", "u"),
            publish("tier", "gold"),
        ]
    );
}

#[test]
fn a_route_that_went_by_a_header_of_the_clients_is_chosen_again() {
    let world = World::new();
    let open = [(":method", "GET"), (":path", "/open")];
    let calls = world.calls(&[&open[..], &[("x-tier", "gold")]].concat());
    let removed = Edit::Remove("x-tier".into());
    assert_eq!(
        calls[1..],
        [Call::EditRequest(vec![removed]), Call::ClearRouteCache]
    );
    assert_eq!(world.calls(&open).len(), 1, "and otherwise it stays");
}

#[test]
fn a_subject_that_breaks_a_line_is_told_to_nobody() {
    let world = World::new();
    let bearer = world.bearer(&[("sub", "u\nv")]);
    let calls = world.calls(&[
        (":method", "GET"),
        (":path", "/me"),
        ("authorization", &bearer),
    ]);
    assert_eq!(calls[2..], [publish("forecourt_issuer", "shop")]);
}
