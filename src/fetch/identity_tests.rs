//! Several VMs of one proxy against a metadata server that does what the test says.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::test_proxy::{Proxy, address};
use super::*;
use crate::head::{Headers, ResponseHead};
use crate::host::Request;
use crate::token::algorithm::Algorithm;
use crate::token::identity::metadata_server;
use crate::token::mint::{SigningKey, mint};
use crate::token::remote::Endpoint;

const BEGIN: u64 = 1_800_000_000;
const AUDIENCE: &str = "https://orders-abc123-ew.a.run.app";

fn as_metadata_servers_ask(request: &Request<'_>) -> String {
    assert!(request.metadata_flavor && request.if_none_match.is_none());
    address(request)
}

struct World {
    proxy: Proxy,
    vms: Vec<Store>,
    now: Duration,
}

impl World {
    fn new(vms: usize) -> Self {
        let identity = Identity {
            audience: AUDIENCE.into(),
            server: Endpoint {
                url: metadata_server().unwrap(),
                cluster: "metadata".into(),
            },
            timeout: 5,
        };
        let mut world = Self {
            proxy: Proxy::new(as_metadata_servers_ask),
            vms: (0..vms)
                .map(|_| Store::new(&[], std::slice::from_ref(&identity)))
                .collect(),
            now: Duration::from_secs(BEGIN),
        };
        world.vms[0].prepare(&mut world.proxy).unwrap();
        world
    }

    fn tick(&mut self) {
        for vm in &mut self.vms {
            vm.tick(&mut self.proxy, self.now);
        }
    }

    /// Ticks every second for so long; how many fetches that made.
    fn pass(&mut self, seconds: u64) -> usize {
        let before = self.proxy.calls.len();
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.tick();
        }
        self.proxy.calls.len() - before
    }

    fn token(&self, claims: Value) -> String {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let mut all = json!({ "aud": AUDIENCE, "exp": self.now.as_secs() + 3600 });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        mint(&key, "k", &Map::new(), &all)
    }

    /// The last call is answered.
    fn answer(&mut self, status: &str, body: &str) {
        let field =
            |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let fields = [(":status", status), ("metadata-flavor", "Google")].map(field);
        let answer = Answer {
            head: ResponseHead {
                headers: Headers::new(fields.into()),
            },
            body: body.as_bytes().to_vec(),
        };
        let call = self.proxy.calls.len() as u32;
        let mut taken = 0;
        for vm in &mut self.vms {
            taken += usize::from(vm.answered(&mut self.proxy, self.now, call, &answer));
        }
        assert_eq!(taken, 1, "one VM had asked");
    }

    /// What every VM would show its service.
    fn shown(&self) -> Vec<String> {
        let state = |vm: &Store| match vm.at(self.now).token(0) {
            IdentityState::Ready(token) => token.as_str().to_owned(),
            IdentityState::Pending => "pending".to_owned(),
            IdentityState::Unavailable => "unavailable".to_owned(),
        };
        self.vms.iter().map(state).collect()
    }

    fn failed(&self) -> usize {
        let counted = self.proxy.counted.iter();
        counted
            .filter(|name| *name == "forecourt.identity_fetch.failed")
            .count()
    }
}

#[test]
fn one_vm_fetches_and_all_have_the_token() {
    let mut world = World::new(3);
    world.tick();
    assert_eq!(
        world.proxy.calls,
        [
            "metadata http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Forders%2Dabc123%2Dew%2Ea%2Erun%2Eapp"
        ]
    );
    assert_eq!(world.shown(), ["pending", "pending", "pending"]);
    let token = world.token(json!({}));
    world.answer("200", &token);
    world.tick();
    assert_eq!(world.shown(), vec![token; 3]);
}

#[test]
fn it_is_fetched_anew_well_before_it_expires_and_not_more_often() {
    let mut world = World::new(2);
    world.tick();
    let first = world.token(json!({}));
    world.answer("200", &first);
    assert_eq!(world.pass(2400), 0, "two thirds of its time");
    let waited = (0..900).position(|_| world.pass(1) > 0);
    assert!(waited.is_some(), "long before it expires");
    assert_eq!(world.shown(), vec![first; 2], "the old one until then");
    let second = world.token(json!({ "jti": "2" }));
    world.answer("200", &second);
    world.tick();
    assert_eq!(world.shown(), vec![second; 2]);
    assert_eq!(world.pass(2400), 0, "and then not for as long again");
}

#[test]
fn a_server_that_hands_out_the_same_token_until_it_expires_is_not_flooded() {
    let mut world = World::new(1);
    world.tick();
    let token = world.token(json!({}));
    world.answer("200", &token);
    let mut fetches = 0;
    for _ in 0..3600 {
        if world.pass(1) > 0 {
            fetches += 1;
            world.answer("200", &token);
        }
    }
    assert!((2..12).contains(&fetches), "{fetches}");
}

#[test]
fn a_token_is_not_shown_once_it_expires_whatever_the_server_does() {
    let mut world = World::new(2);
    world.tick();
    let token = world.token(json!({}));
    world.answer("200", &token);
    world.tick();
    world.proxy.unreachable = true;
    world.pass(3569);
    assert_eq!(world.shown(), vec![token; 2]);
    world.pass(1);
    assert_ne!(
        world.shown()[0].split('.').count(),
        3,
        "{:?}",
        world.shown()
    );
    world.pass(60);
    assert_eq!(world.shown(), ["unavailable"; 2]);
    assert!(world.failed() < 60, "{}", world.failed());
}

#[test]
fn answers_that_are_no_token_for_the_service_are_not_shown() {
    let now = BEGIN;
    for (status, claims) in [
        ("403", json!({})),
        ("404", json!({})),
        ("429", json!({})),
        ("503", json!({})),
        ("302", json!({})),
        ("200", json!({ "aud": "https://other.a.run.app" })),
        ("200", json!({ "aud": [AUDIENCE] })),
        ("200", json!({ "exp": now - 1 })),
        ("200", json!({ "exp": null })),
    ] {
        let mut world = World::new(2);
        world.tick();
        let body = world.token(claims.clone());
        world.answer(status, &body);
        world.tick();
        assert_eq!(world.failed(), 1, "{status} {claims}");
        assert!(!world.shown().contains(&body), "{status} {claims}");
        assert!(
            world
                .proxy
                .shared
                .values()
                .all(|(bytes, _)| bytes.len() == 64),
            "never shared"
        );
    }
    for garbage in ["", "<html>", "a.b.c", "\0", &"x".repeat(100_000)] {
        let mut world = World::new(1);
        world.tick();
        world.answer("200", garbage);
        assert_eq!(world.failed(), 1, "{garbage:.20}");
        assert!(world.shown()[0] == "pending" || world.shown()[0] == "unavailable");
    }
}

#[test]
fn failures_back_off_and_a_token_ends_them() {
    let mut world = World::new(4);
    world.tick();
    let mut fetches = 1;
    world.answer("503", "");
    for _ in 0..600 {
        if world.pass(1) > 0 {
            fetches += 1;
            world.answer("503", "");
        }
    }
    assert!((10..25).contains(&fetches), "{fetches} in ten minutes");
    assert_eq!(world.shown(), ["unavailable"; 4]);
    while world.pass(1) == 0 {}
    let token = world.token(json!({}));
    world.answer("200", &token);
    world.tick();
    assert_eq!(world.shown(), vec![token; 4]);
}

#[test]
fn what_another_vm_left_is_judged_again() {
    let mut world = World::new(2);
    world.vms[0].tick(&mut world.proxy, world.now);
    let token = world.token(json!({}));
    world.answer("200", &token);
    for (bytes, number) in world.proxy.shared.values_mut() {
        if bytes.len() > 64 {
            // Without its signature.
            let end = bytes.iter().rposition(|byte| *byte == b'.').unwrap();
            bytes.truncate(end);
            *number += 100;
        }
    }
    world.vms[1].tick(&mut world.proxy, world.now);
    assert_ne!(world.shown()[1], token);
    assert_eq!(world.shown()[0], token, "and fetched anew");
    assert_eq!(world.proxy.calls.len(), 2);
}
