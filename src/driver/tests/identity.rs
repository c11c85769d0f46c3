//! Requests to private services: no token, no request.

use super::super::*;
use super::waiting::{NOW, Proxy, tools};
use super::{Call, Recorder, headers};
use crate::config;
use crate::fetch::answer::Answer;
use crate::head::Headers;
use crate::reply::Code;
use crate::token::algorithm::Algorithm;
use crate::token::mint::{SigningKey, mint};
use serde_json::{Map, Value, json};

const ORDERS: &str = "https://orders-abc123-ew.a.run.app";

/// A proxy before two private services and a public one.
struct World {
    policy: Rc<Policy>,
    keys: Store,
    proxy: Proxy,
    token: String,
}

impl World {
    fn new(more: Value) -> Self {
        let mut document = json!({
            "version": "forecourt/v1",
            "services": {
                "orders": { "url": ORDERS, "identity": "metadata" },
                "stock": { "url": ORDERS, "identity": "metadata", "header": "authorization",
                           "keepOriginalAs": "x-original-authorization" },
                "plain": { "url": ORDERS, "identity": "metadata", "header": "authorization" },
                "shop": { "url": "https://shop-abc123-ew.a.run.app" },
            },
            "defaultService": "shop",
            "unmatched": "allow",
            "routes": [
                { "match": { "path": "/orders" }, "access": "public", "to": "orders" },
                { "match": { "path": "/watched" }, "access": { "anyOf": ["idp"] }, "to": "orders", "mode": "monitor" },
                { "match": { "path": "/body" }, "access": "public", "to": "orders",
                  "request": { "body": { "contentTypes": ["application/json"], "maxBytes": 16, "schema": { "type": "object" } } } },
                { "match": { "path": "/stock" }, "access": "public", "to": "stock" },
                { "match": { "path": "/plain" }, "access": "public", "to": "plain" },
                { "match": { "path": "/products" }, "access": "public" },
            ],
            "issuers": { "idp": { "issuer": "https://idp.example", "audiences": "shop",
                                  "algorithms": ["ES256"], "jwks": { "inline": { "keys": [] } } } },
        });
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        let signer = SigningKey::generate(Algorithm::Es256).unwrap();
        document["issuers"]["idp"]["jwks"]["inline"]["keys"] = json!([signer.public_jwk("a")]);
        let policy = Rc::new(config::from_value(document).unwrap());
        let claims = json!({ "aud": ORDERS, "exp": NOW.as_secs() + 3600 });
        let mut world = Self {
            keys: Store::new(&[], &policy.identities),
            policy,
            proxy: Proxy::default(),
            token: mint(&signer, "a", &Map::new(), &claims),
        };
        world.keys.tick(&mut world.proxy, NOW);
        world
    }

    fn with_token(more: Value) -> Self {
        let mut world = Self::new(more);
        world.answer("200");
        world
    }

    fn answer(&mut self, status: &str) {
        let answer = Answer {
            head: ResponseHead {
                headers: headers(&[(":status", status), ("metadata-flavor", "Google")]),
            },
            body: self.token.clone().into_bytes(),
        };
        assert!(self.keys.answered(&mut self.proxy, NOW, 1, &answer));
    }

    fn ask(&self, path: &str, fields: &[(&str, &str)]) -> (Stream, Recorder, Flow) {
        let head = [&[(":method", "GET"), (":path", path)], fields].concat();
        let (mut stream, mut host) = (Stream::new(Rc::clone(&self.policy)), Recorder::new(&head));
        host.body = b"{}".to_vec();
        let ends = !path.starts_with("/body");
        let cache = Cache::default();
        let flow = stream.request_headers(&mut host, &tools(&self.keys, &cache), ends);
        (stream, host, flow)
    }

    /// What the service would see of a request that goes on at once.
    fn seen(&self, path: &str, fields: &[(&str, &str)]) -> Headers {
        let (_, host, flow) = self.ask(path, fields);
        assert_eq!((flow, host.replies()), (Flow::Continue, vec![]), "{path}");
        onward(&host)
    }
}

/// The request's headers after every edit.
fn onward(host: &Recorder) -> Headers {
    let mut headers = host.request.clone();
    for call in &host.calls {
        if let Call::EditRequest(edits) = call {
            headers.apply(edits);
        }
    }
    headers
}

fn single<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let value = headers.single(name).unwrap();
    value.map(|value| std::str::from_utf8(value).unwrap())
}

#[test]
fn every_service_gets_the_identity_in_its_own_way() {
    let world = World::with_token(json!({}));
    let token = format!("Bearer {}", world.token);
    let user = [("authorization", "Bearer user")];
    for (path, service, serverless, authorization, original) in [
        (
            "/orders",
            "orders",
            Some(&*token),
            Some("Bearer user"),
            None,
        ),
        ("/stock", "stock", None, Some(&*token), Some("Bearer user")),
        ("/plain", "plain", None, Some(&*token), None),
        ("/products", "shop", None, Some("Bearer user"), None),
        ("/anything", "shop", None, Some("Bearer user"), None),
    ] {
        let seen = world.seen(path, &user);
        assert_eq!(
            single(&seen, "x-forecourt-service"),
            Some(service),
            "{path}"
        );
        assert_eq!(
            single(&seen, "x-serverless-authorization"),
            serverless,
            "{path}"
        );
        assert_eq!(single(&seen, "authorization"), authorization, "{path}");
        assert_eq!(
            single(&seen, "x-original-authorization"),
            original,
            "{path}"
        );
    }
    let (_, host, _) = world.ask("/products", &[]);
    assert!(
        host.calls.contains(&Call::ClearRouteCache),
        "Envoy goes by the service"
    );
}

#[test]
fn what_clients_say_of_identities_and_services_goes_nowhere() {
    let world = World::with_token(json!({}));
    for name in [
        "x-serverless-authorization",
        "X-Serverless-Authorization",
        "x_serverless_authorization",
        "x-serverless_Authorization",
    ] {
        for path in ["/orders", "/stock", "/products", "/anything"] {
            let fields = [
                (name, "Bearer spoof"),
                (name, "Bearer again"),
                ("x-forecourt-service", "stock"),
                ("x_forecourt_service", "stock"),
                ("x-original-authorization", "Bearer spoof"),
            ];
            let seen = world.seen(path, &fields);
            let spoofed = seen.iter().any(|(name, value)| {
                name.contains(&b'_')
                    || value.starts_with(b"Bearer spoof")
                    || value == b"Bearer again"
            });
            assert!(!spoofed, "{name} {path}: {seen:?}");
            assert!(single(&seen, "x-forecourt-service").is_some());
        }
    }
    let single_service = World::new(json!({ "services": {}, "defaultService": null, "routes": [
        { "match": { "path": "/open" }, "access": "public" },
    ]}));
    let seen = single_service.seen("/open", &[("x-serverless-authorization", "Bearer spoof")]);
    assert!(
        !seen.has("x-serverless-authorization"),
        "without services too"
    );
}

#[test]
fn a_request_waits_for_the_first_token_and_then_goes_on_with_it() {
    let mut world = World::new(json!({}));
    let (mut stream, mut host, flow) = world.ask("/orders", &[]);
    assert_eq!(flow, Flow::Pause);
    assert_eq!(
        stream.waits_until(&world.keys),
        Some(NOW + Duration::from_secs(5))
    );
    assert_eq!(onward(&host), host.request, "nothing has changed yet");
    world.answer("200");
    let cache = Cache::default();
    stream.keys_changed(&mut host, &tools(&world.keys, &cache), NOW);
    assert_eq!(host.calls.last(), Some(&Call::Resume));
    let token = format!("Bearer {}", world.token);
    let seen = onward(&host);
    assert_eq!(single(&seen, "x-serverless-authorization"), Some(&*token));
    let services = host
        .calls
        .iter()
        .filter(|call| **call == Call::ClearRouteCache);
    assert_eq!(services.count(), 1);
}

#[test]
fn a_body_that_came_meanwhile_is_checked_and_goes_with_the_identity() {
    for (body, refused) in [(&b"{}"[..], vec![]), (b"[]", vec![Code::SchemaMismatch])] {
        let mut world = World::new(json!({}));
        let json = [("content-type", "application/json")];
        let (mut stream, mut host, flow) = world.ask("/body", &json);
        assert_eq!(flow, Flow::Pause);
        host.body = body.to_vec();
        assert_eq!(stream.request_body(&mut host, 2, true), Flow::Pause);
        world.answer("200");
        let cache = Cache::default();
        stream.keys_changed(&mut host, &tools(&world.keys, &cache), NOW);
        assert_eq!(host.replies(), refused);
        assert_eq!(host.calls.last() == Some(&Call::Resume), refused.is_empty());
    }
}

#[test]
fn without_a_token_nothing_goes_to_a_private_service_not_even_in_monitor_mode() {
    for path in ["/orders", "/stock", "/plain", "/watched"] {
        // It does not come in time.
        let world = World::new(json!({}));
        let (mut stream, mut host, flow) = world.ask(path, &[]);
        assert_eq!(flow, Flow::Pause);
        let cache = Cache::default();
        let late = NOW + Duration::from_secs(5);
        stream.keys_changed(&mut host, &tools(&world.keys, &cache), late);
        assert_eq!(host.replies(), [Code::IdentityUnavailable], "{path}");
        assert!(!host.calls.contains(&Call::Resume));
        // There are too many that wait.
        let (mut stream, mut host, _) = world.ask(path, &[]);
        stream.stop_waiting(&mut host, &tools(&world.keys, &cache));
        assert_eq!(host.replies(), [Code::IdentityUnavailable], "{path}");
        // It is known not to come soon: the fetch failed three times.
        let mut world = World::new(json!({}));
        world.answer("403");
        let mut now = NOW;
        for call in 2..5 {
            while world.proxy.calls < call {
                now += Duration::from_millis(500);
                world.keys.tick(&mut world.proxy, now);
            }
            world
                .keys
                .answered(&mut world.proxy, now, call, &Answer::default());
        }
        let (_, host, _) = world.ask(path, &[]);
        assert_eq!(host.replies(), [Code::IdentityUnavailable], "{path}");
        assert_eq!(
            world
                .seen("/products", &[])
                .all("x-forecourt-service")
                .count(),
            1
        );
    }
}

#[test]
fn whatever_host_call_fails_no_request_goes_on() {
    let world = World::with_token(json!({}));
    let (_, counted, _) = world.ask("/orders", &[]);
    let mut failed = 0;
    for failing in 0..counted.calls.len() {
        let head = [(":method", "GET"), (":path", "/orders")];
        let mut host = Recorder::new(&head);
        host.failing = Some(failing);
        let mut stream = Stream::new(Rc::clone(&world.policy));
        let cache = Cache::default();
        let flow = stream.request_headers(&mut host, &tools(&world.keys, &cache), true);
        match counted.calls[failing] {
            Call::Count(..) | Call::Publish(..) => assert_eq!(flow, Flow::Continue),
            _ => {
                failed += 1;
                assert_eq!((flow, host.replies()), (Flow::Pause, vec![Code::Internal]));
            }
        }
    }
    assert_eq!(failed, 4, "time, headers, edits, route cache");
}

#[test]
fn around_a_cache_the_instance_behind_it_shows_the_identity() {
    let before = World::new(json!({ "role": "request" }));
    let user = [("authorization", "Bearer user")];
    let sent = before.seen("/orders", &user);
    assert_eq!(before.proxy.calls, 0, "it needs no token");
    assert_eq!(single(&sent, "x-serverless-authorization"), None);
    assert_eq!(single(&sent, "authorization"), Some("Bearer user"));
    assert_eq!(single(&sent, "x-forecourt-service"), Some("orders"));
    for (path, name) in [
        ("/orders", "x-serverless-authorization"),
        ("/stock", "authorization"),
    ] {
        let sent = before.seen(path, &[]);
        let fields: Vec<_> = sent
            .iter()
            .map(|(name, value)| {
                (
                    std::str::from_utf8(name).unwrap(),
                    std::str::from_utf8(value).unwrap(),
                )
            })
            .filter(|(name, _)| !name.starts_with(':'))
            .collect();
        let behind = World::with_token(json!({ "role": "response" }));
        let seen = behind.seen("/rewritten", &fields);
        let token = format!("Bearer {}", behind.token);
        assert_eq!(single(&seen, name), Some(&*token), "{path}");
        assert!(!seen.has("x-forecourt-asked"));
    }
    // What nobody has checked is not sent on with an identity.
    let behind = World::with_token(json!({ "role": "response" }));
    let (_, host, _) = behind.ask("/orders", &[]);
    assert_eq!(host.replies(), [Code::Internal]);
}
