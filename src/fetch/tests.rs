//! Several VMs of one proxy against an issuer that does what the test says.

use serde_json::{Value, json};

use super::test_proxy::{Proxy, address};
use super::*;
use crate::head::{Headers, ResponseHead};
use crate::host::Request;
use crate::token::algorithm::Algorithm;
use crate::token::mint::SigningKey;
use crate::token::remote::{Bounds, Endpoint, KeyFormat, Remote, Start, Url};

const BEGIN: u64 = 1_800_000_000;

fn with_tag(request: &Request<'_>) -> String {
    let tag = request.if_none_match.unwrap_or("-");
    format!("{} {tag}", address(request))
}

/// VMs of one proxy, and the time.
struct World {
    proxy: Proxy,
    vms: Vec<Store>,
    now: Duration,
}

fn remote(start: Start) -> Remote {
    Remote {
        start,
        format: KeyFormat::JwkSet,
        bounds: Bounds {
            cache_duration: Some(100),
            max_stale: 300,
            min_refresh: 10,
            timeout: 5,
        },
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: Url::parse(url).unwrap(),
        cluster: "idp".into(),
    }
}

impl World {
    fn new(vms: usize, remote: Remote) -> Self {
        let issuer = Issuer {
            name: "idp".into(),
            keys: KeySource::Remote(Box::new(remote)),
            ..Issuer::default()
        };
        let mut world = Self {
            proxy: Proxy::new(with_tag),
            vms: (0..vms)
                .map(|_| Store::new(std::slice::from_ref(&issuer), &[]))
                .collect(),
            now: Duration::from_secs(BEGIN),
        };
        world.vms[0].prepare(&mut world.proxy).unwrap();
        world
    }

    fn direct(vms: usize) -> Self {
        Self::new(
            vms,
            remote(Start::Keys(endpoint("https://idp.example/keys"))),
        )
    }

    fn tick(&mut self) {
        for vm in &mut self.vms {
            vm.tick(&mut self.proxy, self.now);
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Answers the last call, whoever made it, and lets everybody see.
    fn answer(&mut self, answer: &Answer) {
        let call = self.proxy.calls.len() as u32;
        let mut taken = 0;
        for vm in &mut self.vms {
            taken += usize::from(vm.answered(&mut self.proxy, self.now, call, answer));
        }
        assert_eq!(taken, 1, "one VM made the call");
        self.tick();
    }

    /// Lets time pass in seconds, each call answered in this way; how many calls were made.
    fn live(&mut self, seconds: u64, answer: &Answer) -> usize {
        let before = self.proxy.calls.len();
        for _ in 0..seconds {
            let calls = self.proxy.calls.len();
            self.tick();
            if self.proxy.calls.len() > calls {
                self.answer(answer);
            }
            self.pass(1);
        }
        self.proxy.calls.len() - before
    }

    fn states(&self) -> Vec<&'static str> {
        let state = |vm: &Store| match vm.at(self.now).lookup(0) {
            KeyState::Ready(_) => "ready",
            KeyState::Pending => "pending",
            KeyState::Unavailable => "unavailable",
        };
        self.vms.iter().map(state).collect()
    }

    /// Whether each VM has a key of that name.
    fn all_have(&self, kid: &str) -> bool {
        self.vms.iter().all(|vm| match vm.at(self.now).lookup(0) {
            KeyState::Ready(keys) => keys.find(Some(kid), Algorithm::Es256).is_ok(),
            _ => false,
        })
    }
}

fn answer(status: &str, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    let fields = [&[(":status", status)], fields].concat();
    let bytes = |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
    Answer {
        head: ResponseHead {
            headers: Headers::new(fields.iter().map(bytes).collect()),
        },
        body: body.as_ref().to_vec(),
    }
}

fn set(kids: &[&str]) -> String {
    let jwk = |kid: &&str| {
        SigningKey::generate(Algorithm::Es256)
            .unwrap()
            .public_jwk(kid)
    };
    json!({ "keys": kids.iter().map(jwk).collect::<Vec<Value>>() }).to_string()
}

fn keys(kids: &[&str]) -> Answer {
    answer("200", &[], set(kids))
}

#[test]
fn one_vm_fetches_for_all() {
    let mut world = World::direct(3);
    assert_eq!(world.states(), ["pending"; 3], "before the first tick");
    world.tick();
    world.tick();
    assert_eq!(world.proxy.calls, ["idp https://idp.example/keys -"]);
    assert_eq!(world.states(), ["pending"; 3]);
    world.answer(&keys(&["a"]));
    assert!(world.all_have("a"));
    assert_eq!(world.proxy.counted, ["forecourt.jwks_fetch.success"]);
}

#[test]
fn keys_are_refreshed_before_they_expire() {
    let mut world = World::direct(3);
    assert_eq!(world.live(1, &keys(&["a"])), 1);
    let fetches = world.live(1000, &keys(&["b"]));
    assert!((10..=15).contains(&fetches), "{fetches} in ten lifetimes");
    assert!(world.all_have("b"));
    // The issuer asks for less, within bounds.
    let short = answer("200", &[("cache-control", "max-age=20")], set(&["c"]));
    let fetches = world.live(200, &short);
    assert!((9..=16).contains(&fetches), "{fetches} in ten lifetimes");
}

#[test]
fn an_answer_that_is_no_good_changes_nothing_and_is_tried_ever_less() {
    let garbage = [
        Answer::default(),
        answer("500", &[], set(&["b"])),
        answer("302", &[("location", "https://evil.example/")], set(&["b"])),
        answer("304", &[], ""),
        answer("200", &[], "<html>"),
        answer("200", &[], r#"{"keys":[]}"#),
        answer("200", &[], "[".repeat(1000)),
        answer("200", &[], " ".repeat(300 * 1024)),
    ];
    for garbage in garbage {
        let mut world = World::direct(3);
        world.live(1, &keys(&["a"]));
        // Used until they expire, and for `maxStale` longer.
        let fetches = world.live(398, &garbage);
        assert!(world.all_have("a"));
        assert!((6..=20).contains(&fetches), "{fetches}");
        world.live(2, &garbage);
        assert_ne!(world.states()[0], "ready");
        world.live(130, &garbage);
        assert!(world.states().contains(&"unavailable"));
        world.live(61, &keys(&["b"]));
        assert!(world.all_have("b"), "back at once when the issuer is");
    }
}

#[test]
fn before_the_first_keys_requests_wait_only_for_what_may_come_soon() {
    let mut world = World::direct(2);
    world.tick();
    world.answer(&Answer::default());
    assert_eq!(
        world.states(),
        ["pending"; 2],
        "tried again in half a second"
    );
    let fetches = world.live(120, &Answer::default());
    assert!((6..=10).contains(&fetches), "{fetches}");
    let mut refused = 0;
    for _ in 0..60 {
        world.live(1, &Answer::default());
        refused += usize::from(world.states() == ["unavailable"; 2]);
    }
    assert!(refused > 50, "{refused} of 60 seconds");
    let failed = &world.proxy.counted;
    assert_eq!(failed.len(), world.proxy.calls.len());
    assert!(
        failed
            .iter()
            .all(|name| name == "forecourt.jwks_fetch.failed")
    );
}

#[test]
fn a_flood_of_unknown_keys_makes_one_fetch_per_interval() {
    let mut world = World::direct(3);
    let good = keys(&["a"]);
    world.live(1, &good);
    let before = world.proxy.calls.len();
    let mut waited = 0;
    for second in 0..60 {
        for n in 0..200 {
            for vm in &world.vms {
                let kid = format!("x-{second}-{n}");
                let refresh = vm.at(world.now).refresh(0, &kid);
                waited += usize::from(refresh == Refresh::Coming);
            }
        }
        world.live(1, &good);
    }
    let fetches = world.proxy.calls.len() - before;
    assert!((4..=7).contains(&fetches), "{fetches} in six intervals");
    assert!(waited > 0);
    assert!(world.all_have("a"));
}

#[test]
fn one_unknown_key_is_sought_and_then_known_to_be_missing() {
    let mut world = World::direct(2);
    let good = keys(&["a"]);
    world.live(11, &good);
    let ask = |world: &World, kid| world.vms[1].at(world.now).refresh(0, kid) == Refresh::Coming;
    assert!(ask(&world, "x"), "worth a fetch");
    assert_eq!(world.live(1, &good), 1);
    assert!(!ask(&world, "x"), "it is not there");
    world.live(12, &good);
    assert!(!ask(&world, "x"), "nor is it sought again");
    assert!(ask(&world, "y"), "another one is");
    world.live(45, &good);
    assert!(ask(&world, "x"), "until some time has passed");
}

#[test]
fn a_new_key_is_found_when_a_token_names_it() {
    let mut world = World::direct(3);
    world.live(20, &keys(&["old"]));
    let asked = world.vms[2].at(world.now).refresh(0, "new");
    assert_eq!(asked, Refresh::Coming);
    assert_eq!(world.live(1, &keys(&["old", "new"])), 1);
    assert!(world.all_have("new") && world.all_have("old"));
}

#[test]
fn a_seek_that_failed_does_not_call_the_key_missing() {
    let mut world = World::direct(1);
    world.live(20, &keys(&["old"]));
    let seek = |world: &World| world.vms[0].at(world.now).refresh(0, "new");
    assert_eq!(seek(&world), Refresh::Coming);
    assert_eq!(world.live(1, &Answer::default()), 1);
    assert_eq!(seek(&world), Refresh::Later, "nobody can know");
    let wait = world.vms[0].at(world.now).retry_after(0);
    assert!((8..=10).contains(&wait), "{wait}");
    world.pass(12);
    assert_eq!(seek(&world), Refresh::Coming);
}

#[test]
fn a_vm_that_vanishes_with_the_lease_holds_nobody_up_for_long() {
    let mut world = World::direct(2);
    world.vms[0].tick(&mut world.proxy, world.now);
    let gone = world.vms.remove(0);
    assert_eq!(world.proxy.calls.len(), 1);
    world.pass(11);
    world.tick();
    assert_eq!(world.proxy.calls.len(), 1, "the lease lasts");
    world.pass(2);
    world.tick();
    assert_eq!(world.proxy.calls.len(), 2);
    world.answer(&keys(&["new"]));
    // The first one comes back after all, with what is no longer asked for.
    world.vms.push(gone);
    let late = keys(&["late"]);
    world.vms[1].answered(&mut world.proxy, world.now, 1, &late);
    world.tick();
    assert!(world.all_have("new"));
}

#[test]
fn keys_that_are_still_the_same_need_not_come_again() {
    let mut world = World::direct(2);
    world.live(1, &answer("200", &[("etag", "\"v1\"")], set(&["a"])));
    let same = answer("304", &[("etag", "\"v1\"")], "");
    let fetches = world.live(1000, &same);
    assert!((10..=15).contains(&fetches), "{fetches}");
    assert!(
        world.proxy.calls[1..]
            .iter()
            .all(|call| call.ends_with("keys \"v1\""))
    );
    assert!(world.all_have("a"), "confirmed, so not stale");
}

#[test]
fn metadata_leads_to_the_keys() {
    let discovery = || {
        remote(Start::Discovery {
            document: endpoint("https://idp.example/.well-known/openid-configuration"),
            issuer: "https://idp.example".into(),
            keys_authority: "keys.example".into(),
            keys_cluster: "keys".into(),
        })
    };
    let metadata = |issuer: &str, uri: &str| {
        answer(
            "200",
            &[],
            json!({ "issuer": issuer, "jwks_uri": uri }).to_string(),
        )
    };
    let mut world = World::new(2, discovery());
    world.tick();
    world.answer(&metadata(
        "https://idp.example",
        "https://keys.example/k?v=1",
    ));
    assert_eq!(
        world.proxy.calls,
        [
            "idp https://idp.example/.well-known/openid-configuration -",
            "keys https://keys.example/k?v=1 -"
        ]
    );
    world.answer(&keys(&["a"]));
    assert!(world.all_have("a"));
    for wrong in [
        metadata("https://other.example", "https://keys.example/k"),
        metadata("https://idp.example", "https://evil.example/k"),
        metadata("https://idp.example", "http://keys.example/k"),
    ] {
        let mut world = World::new(2, discovery());
        world.tick();
        world.answer(&wrong);
        assert_eq!(world.proxy.calls.len(), 1, "nothing else is asked");
        assert_eq!(world.proxy.counted, ["forecourt.jwks_fetch.failed"]);
    }
}

#[test]
fn a_host_that_fails_leaves_requests_refused_and_keys_as_they_are() {
    let mut world = World::direct(1);
    world.proxy.broken = true;
    world.tick();
    assert_eq!(world.states(), ["pending"], "and then too late");
    world.proxy.broken = false;
    world.proxy.unreachable = true;
    world.tick();
    assert_eq!(world.proxy.counted, ["forecourt.jwks_fetch.failed"]);
    world.proxy.unreachable = false;
    world.live(2, &keys(&["a"]));
    assert!(world.all_have("a"));
    world.proxy.broken = true;
    world.live(50, &keys(&["b"]));
    assert!(world.all_have("a"));
}

#[test]
fn shared_data_that_nobody_can_read_is_fetched_anew() {
    let mut world = World::direct(2);
    world.live(1, &keys(&["a"]));
    for (name, (value, _)) in &mut world.proxy.shared {
        if !name.contains("state") {
            *value = b"?".to_vec();
        }
    }
    let issuers = [Issuer {
        keys: KeySource::Remote(Box::new(remote(Start::Keys(endpoint(
            "https://idp.example/keys",
        ))))),
        ..Issuer::default()
    }];
    world.vms = vec![Store::new(&issuers, &[])];
    assert_eq!(world.live(1, &keys(&["b"])), 1);
    assert!(world.all_have("b"));
}

#[test]
fn policies_without_fetched_keys_ask_for_nothing() {
    let mut store = Store::new(&[Issuer::default()], &[]);
    assert!(store.is_empty());
    let mut proxy = Proxy::new(with_tag);
    assert!(!store.tick(&mut proxy, Duration::from_secs(BEGIN)));
    assert!(proxy.shared.is_empty());
    let view = store.at(Duration::from_secs(BEGIN));
    assert!(matches!(view.lookup(0), KeyState::Unavailable));
    assert!(matches!(view.lookup(9), KeyState::Unavailable));
    assert_eq!(view.refresh(0, "a"), Refresh::Current);
}
