//! What else is written beside Cache-Control, and what the trace tells.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn vary_is_merged_and_never_dropped() {
    let rule = Rule {
        vary: vec!["accept-encoding".into(), "origin".into()],
        ..Rule::default()
    };
    for (held, wanted) in [
        (vec![], vec!["vary: accept-encoding, origin"]),
        (
            vec![("vary", "Accept")],
            vec!["vary: accept, accept-encoding, origin"],
        ),
        (
            vec![("vary", "Origin"), ("vary", "ACCEPT-ENCODING")],
            vec!["vary: Origin", "vary: ACCEPT-ENCODING"],
        ),
        (vec![("vary", "*")], vec!["vary: *"]),
        (
            vec![("vary", "a b, origin")],
            vec!["vary: a b, origin", "vary: accept-encoding"],
        ),
    ] {
        assert_eq!(
            after(&rule, &asked("GET"), "200", &held),
            wanted,
            "{held:?}"
        );
    }
    assert_eq!(
        after(&rule, &asked("POST"), "200", &[]),
        Vec::<String>::new()
    );
}

#[test]
fn targeted_fields_follow_the_mode() {
    let targeted = |rule: &Rule, asked: &Asked, value: &str| {
        let fields = [("cdn-cache-control", value), ("cache-control", "max-age=5")];
        let after = after(rule, asked, "200", &fields);
        let found = after
            .iter()
            .find_map(|line| line.strip_prefix("cdn-cache-control: "));
        found.unwrap_or("removed").to_owned()
    };
    let get = asked("GET");
    for mode in [Mode::Respect, Mode::Default] {
        assert_eq!(
            targeted(&wishing(mode, 60), &get, "max-age=600"),
            "max-age=600"
        );
    }
    assert_eq!(
        targeted(&wishing(Mode::Cap, 60), &get, "max-age=600"),
        "max-age=60"
    );
    let mut rule = wishing(Mode::Override, 60);
    assert_eq!(targeted(&rule, &get, "max-age=600"), "removed");
    assert_eq!(targeted(&rule, &get, "no-store"), "no-store");
    rule.base.force = true;
    assert_eq!(targeted(&rule, &get, "no-store"), "removed");
    assert_eq!(
        targeted(&wishing(Mode::Respect, 60), &verified(), "max-age=600"),
        "removed"
    );
}

#[test]
fn an_origin_may_keep_browsers_out_and_let_shared_caches_in() {
    let fields = [
        ("cache-control", "no-store"),
        ("cdn-cache-control", "max-age=600"),
    ];
    let rule = wishing(Mode::Default, 60);
    assert_eq!(after(&rule, &asked("GET"), "200", &fields).len(), 2);
    assert_eq!(
        after(&rule, &verified(), "200", &fields),
        ["cache-control: no-store"]
    );
}

#[test]
fn a_route_may_have_a_targeted_field_of_its_own() {
    let mut rule = wishing(Mode::Default, 60);
    rule.base.shared_ttl = Some(300);
    rule.base.stale_while_revalidate = Some(9);
    rule.targeted = Some("cdn-cache-control".into());
    let get = asked("GET");
    assert_eq!(
        after(&rule, &get, "200", &[]),
        [
            "cache-control: public, max-age=60, stale-while-revalidate=9",
            "cdn-cache-control: max-age=300, stale-while-revalidate=9"
        ]
    );
    assert_eq!(
        after(&rule, &verified(), "200", &[]),
        ["cache-control: private, max-age=60, stale-while-revalidate=9"]
    );
    let private = [("cache-control", "private")];
    assert_eq!(
        after(&rule, &get, "200", &private),
        ["cache-control: private, max-age=60, stale-while-revalidate=9"]
    );
    let taken = [("cdn-cache-control", "no-store")];
    assert_eq!(
        after(&rule, &get, "200", &taken),
        [
            "cdn-cache-control: no-store",
            "cache-control: public, max-age=60, s-maxage=300, stale-while-revalidate=9"
        ]
    );
    rule.base.mode = Mode::Override;
    assert_eq!(
        after(&rule, &get, "200", &taken).first().unwrap(),
        "cdn-cache-control: no-store"
    );
    rule.base.force = true;
    assert!(
        after(&rule, &get, "200", &taken)
            .contains(&"cdn-cache-control: max-age=300, stale-while-revalidate=9".into())
    );
}

#[test]
fn envoys_cache_gets_a_date_and_no_parts() {
    let mut rule = wishing(Mode::Default, 60);
    rule.profile = Profile::EnvoyCache;
    let get = asked("GET");
    assert_eq!(
        after(&rule, &get, "200", &[]),
        [
            "cache-control: public, max-age=60",
            "date: Tue, 15 Nov 1994 08:12:31 GMT"
        ]
    );
    assert_eq!(after(&rule, &get, "206", &[]), ["cache-control: no-store"]);
    assert_eq!(
        after(&rule, &verified(), "200", &[]),
        ["cache-control: private, max-age=60"]
    );
    let stale = [("cache-control", "s-maxage=0, max-age=60"), ("date", "x")];
    assert_eq!(
        cache_control(&rule, &get, "200", &stale),
        "no-cache, max-age=60, s-maxage=0"
    );
}

#[test]
fn what_else_a_route_adds_goes_with_its_rule() {
    let mut rule = wishing(Mode::Default, 60);
    rule.no_vary_search = Some("key-order".into());
    rule.tags.cache_tag = vec![crate::hints::Template::parse("p-{id}").unwrap()];
    rule.cache_status = Some("edge".into());
    let asked = Asked {
        parameters: vec![("id".into(), b"7".to_vec())],
        from_cache: Some(false),
        ..asked("GET")
    };
    assert_eq!(
        after(&rule, &asked, "200", &[]),
        [
            "cache-control: public, max-age=60",
            "no-vary-search: key-order",
            "cache-tag: p-7",
            "cache-status: edge;fwd=miss;fwd-status=200;detail=shared"
        ]
    );
    let held = [("no-vary-search", "params")];
    assert!(after(&rule, &asked, "200", &held).contains(&"no-vary-search: params".into()));
    assert_eq!(
        after(&rule, &asked, "500", &[]),
        ["cache-status: edge;fwd=miss;fwd-status=500;detail=unsaid"]
    );
}

#[test]
fn the_trace_says_why() {
    let mut trace = Trace::on(false);
    ttl(300).decide(&verified(), &head(&[(":status", "200")]), NOW, &mut trace);
    let notes: Vec<_> = trace
        .steps()
        .iter()
        .map(|step| step.note.as_str())
        .collect();
    assert_eq!(
        notes,
        [
            "a rule of the route covers the answer, with `mode: default`",
            "the request carried credentials, so no shared cache may keep the answer",
            "cache-control: private, max-age=300",
        ]
    );
}
