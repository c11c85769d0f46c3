use super::*;
use crate::hints::{Case, MediaRange, Statuses};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Tue, 15 Nov 1994 08:12:31 GMT
const NOW: UnixTime = UnixTime(784_887_151);

fn head(fields: &[(&str, &str)]) -> ResponseHead {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    ResponseHead {
        headers: crate::head::Headers::new(fields.collect()),
    }
}

fn asked(method: &str) -> Asked {
    Asked {
        method: method.into(),
        ..Asked::default()
    }
}

fn verified() -> Asked {
    Asked {
        verified: true,
        ..asked("GET")
    }
}

fn ttl(seconds: u32) -> Rule {
    Rule {
        base: Wish {
            mode: Mode::Default,
            ttl: Some(seconds),
            ..Wish::default()
        },
        ..Rule::default()
    }
}

/// The answer after the hints, as `name: value` lines without `:status`; checks that a second
/// round finds nothing to do.
fn after(rule: &Rule, asked: &Asked, status: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let mut fields = fields.to_vec();
    fields.insert(0, (":status", status));
    let mut answer = head(&fields);
    let edits = rule.decide(asked, &answer, NOW, &mut Trace::off());
    answer.headers.apply(&edits);
    let again = rule.decide(asked, &answer, NOW, &mut Trace::off());
    assert_eq!(again, [], "a second round changes nothing: {answer:?}");
    answer
        .headers
        .iter()
        .filter(|(name, _)| *name != b":status")
        .map(|(name, value)| {
            format!(
                "{}: {}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            )
        })
        .collect()
}

fn cache_control(rule: &Rule, asked: &Asked, status: &str, fields: &[(&str, &str)]) -> String {
    let after = after(rule, asked, status, fields);
    let found: Vec<_> = after
        .iter()
        .filter_map(|line| line.strip_prefix("cache-control: "))
        .collect();
    found.join(" | ")
}

#[test]
fn without_a_rule_a_public_answer_stays_as_it_is() {
    for fields in [
        &[][..],
        &[("cache-control", "public; max-age=60, max-age=9")],
        &[("expires", "0"), ("surrogate-control", "max-age=9")],
    ] {
        let answer = head(fields);
        let edits = Rule::default().decide(&asked("GET"), &answer, NOW, &mut Trace::off());
        assert_eq!(edits, [], "{fields:?}");
    }
}

#[test]
fn answers_to_verified_requests_are_private() {
    let date = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");
    let soon = ("expires", "Tue, 15 Nov 1994 08:13:31 GMT");
    for (fields, wanted) in [
        (vec![], "private"),
        (
            vec![("cache-control", "public, max-age=60, s-maxage=99")],
            "private, max-age=60",
        ),
        (vec![("cache-control", "s-maxage=99")], "private"),
        (
            vec![("cache-control", "max-age=60, must-revalidate")],
            "private, max-age=60, must-revalidate",
        ),
        (
            vec![("cache-control", "private=\"x\", max-age=5")],
            "private, max-age=5",
        ),
        (
            vec![("cache-control", "private; max-age=5")],
            "private, max-age=0",
        ),
        (vec![("cache-control", "no-store")], "no-store"),
        (
            vec![("cache-control", "must-understand, no-store, max-age=5")],
            "no-store, max-age=5",
        ),
        (
            vec![("cache-control", "public"), ("cache-control", "max-age=5")],
            "private, max-age=5",
        ),
        (vec![date, soon], "private, max-age=60"),
        (vec![("pragma", "no-cache")], "private, no-cache"),
    ] {
        assert_eq!(
            cache_control(&Rule::default(), &verified(), "200", &fields),
            wanted,
            "{fields:?}"
        );
        let with_credentials = Asked {
            credentials: true,
            ..asked("POST")
        };
        assert_eq!(
            cache_control(&Rule::default(), &with_credentials, "200", &fields),
            wanted,
            "{fields:?}"
        );
    }
}

#[test]
fn a_private_answer_says_nothing_else_to_shared_caches() {
    let fields = [
        ("cache-control", "private, max-age=5"),
        ("CDN-Cache-Control", "max-age=600"),
        ("cdn-cache-control", "max-age=60"),
        ("x-cdn-cache-control", "max-age=60"),
        ("surrogate-control", "max-age=600"),
        ("x-accel-expires", "600"),
        ("edge-control", "!no-store"),
    ];
    assert_eq!(
        after(&Rule::default(), &verified(), "200", &fields),
        ["cache-control: private, max-age=5"]
    );
}

#[test]
fn only_a_shared_route_shares_answers_to_verified_requests() {
    let shared = Rule {
        shared: true,
        ..ttl(300)
    };
    assert_eq!(
        cache_control(&ttl(300), &verified(), "200", &[]),
        "private, max-age=300"
    );
    assert_eq!(
        cache_control(&shared, &verified(), "200", &[]),
        "public, max-age=300"
    );
    let origin = |text| [("cache-control", text)];
    assert_eq!(
        cache_control(&shared, &verified(), "200", &origin("max-age=60")),
        "public, max-age=60"
    );
    assert_eq!(
        cache_control(&shared, &verified(), "200", &origin("private, max-age=60")),
        "private, max-age=60"
    );
    assert_eq!(
        cache_control(&shared, &verified(), "200", &origin("no-store")),
        "no-store"
    );
    // Errors and answers to other methods are not what the route meant.
    assert_eq!(
        cache_control(&shared, &verified(), "404", &origin("max-age=60")),
        "private, max-age=60"
    );
    let post = Asked {
        method: b"POST".into(),
        ..verified()
    };
    assert_eq!(cache_control(&shared, &post, "200", &[]), "private");
}

#[test]
fn a_cookie_keeps_the_answer_out_of_shared_caches() {
    let cookie = ("set-cookie", "a=b");
    assert_eq!(
        cache_control(&Rule::default(), &asked("GET"), "200", &[cookie]),
        "private"
    );
    assert_eq!(
        cache_control(&ttl(60), &asked("GET"), "200", &[cookie]),
        "private, max-age=60"
    );
    let shared = Rule {
        shared: true,
        ..ttl(60)
    };
    assert_eq!(
        cache_control(&shared, &verified(), "200", &[cookie]),
        "private, max-age=60"
    );
}

#[test]
fn a_ttl_speaks_only_where_the_origin_does_not() {
    for (origin, wanted) in [
        ("", "public, max-age=300"),
        ("public", "public, max-age=300"),
        (
            "no-transform, x=1",
            "public, max-age=300, no-transform, x=1",
        ),
        ("private", "private, max-age=300"),
        ("max-age=0", "max-age=0"),
        ("s-maxage=9", "s-maxage=9"),
        ("no-store", "no-store"),
        ("no-cache", "no-cache"),
        ("no-cache=\"x\"", "no-cache=\"x\""),
    ] {
        let fields = [("cache-control", origin)];
        assert_eq!(
            cache_control(&ttl(300), &asked("GET"), "200", &fields),
            wanted,
            "{origin}"
        );
        assert_eq!(
            cache_control(&ttl(300), &asked("HEAD"), "200", &fields),
            wanted,
            "{origin}"
        );
    }
    assert_eq!(
        cache_control(&ttl(300), &asked("GET"), "200", &[("expires", "0")]),
        ""
    );
    assert_eq!(
        cache_control(&ttl(300), &asked("GET"), "200", &[("pragma", "no-cache")]),
        ""
    );
}

#[test]
fn errors_and_other_methods_do_not_get_the_routes_ttl() {
    for status in [
        "302", "401", "403", "404", "410", "429", "500", "503", "", "2xx",
    ] {
        assert_eq!(
            cache_control(&ttl(300), &asked("GET"), status, &[]),
            "",
            "{status}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", ""] {
        assert_eq!(
            cache_control(&ttl(300), &asked(method), "200", &[]),
            "",
            "{method}"
        );
    }
    for status in ["204", "301", "304", "308"] {
        assert_eq!(
            cache_control(&ttl(300), &asked("GET"), status, &[]),
            "public, max-age=300"
        );
    }
}

#[test]
fn private_and_no_store_only_ever_tighten() {
    let keep = |keep| Rule {
        base: Wish {
            mode: Mode::Respect,
            keep,
            ..Wish::default()
        },
        ..Rule::default()
    };
    let origin = [
        ("cache-control", "public, max-age=60, immutable"),
        ("expires", "0"),
    ];
    assert_eq!(
        after(&keep(Keep::Private), &asked("GET"), "200", &origin),
        ["cache-control: private, max-age=60, immutable"]
    );
    assert_eq!(
        after(&keep(Keep::Nobody), &asked("GET"), "200", &origin),
        ["cache-control: no-store"]
    );
    assert_eq!(
        cache_control(
            &keep(Keep::Private),
            &asked("GET"),
            "200",
            &[("cache-control", "no-store")]
        ),
        "no-store"
    );
    assert_eq!(
        cache_control(&keep(Keep::Nobody), &verified(), "200", &[]),
        "no-store"
    );
}

#[test]
fn staleness_goes_with_the_routes_own_ttl() {
    let mut rule = ttl(300);
    rule.base.stale_while_revalidate = Some(60);
    assert_eq!(
        cache_control(&rule, &asked("GET"), "200", &[]),
        "public, max-age=300, stale-while-revalidate=60"
    );
    assert_eq!(
        cache_control(
            &rule,
            &asked("GET"),
            "200",
            &[("cache-control", "max-age=9")]
        ),
        "max-age=9"
    );
}

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

fn wishing(mode: Mode, ttl: u32) -> Rule {
    Rule {
        base: Wish {
            mode,
            ttl: Some(ttl),
            ..Wish::default()
        },
        ..Rule::default()
    }
}

#[test]
fn a_cap_shortens_and_never_adds() {
    let cap = |origin: &str| {
        let fields = [("cache-control", origin)];
        cache_control(&wishing(Mode::Cap, 60), &asked("GET"), "200", &fields)
    };
    assert_eq!(cap("max-age=600, immutable"), "max-age=60, immutable");
    assert_eq!(cap("max-age=30, s-maxage=600"), "max-age=30, s-maxage=60");
    assert_eq!(cap("public"), "public");
    assert_eq!(cap("no-store"), "no-store");
    assert_eq!(cap("max-age=600, private"), "private, max-age=60");
    let date = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");
    let hour = ("expires", "Tue, 15 Nov 1994 09:12:31 GMT");
    let expiring = [date, hour];
    let rule = wishing(Mode::Cap, 60);
    assert_eq!(
        cache_control(&rule, &asked("GET"), "200", &expiring),
        "max-age=60"
    );
    let rule = wishing(Mode::Cap, 7_200);
    assert_eq!(
        after(&rule, &asked("GET"), "200", &expiring).len(),
        2,
        "an Expires within the limit stays"
    );
}

#[test]
fn a_cap_may_differ_for_shared_caches() {
    let mut rule = wishing(Mode::Cap, 60);
    rule.base.shared_ttl = Some(300);
    rule.base.stale_if_error = Some(10);
    let cap = |origin: &str| {
        let fields = [("cache-control", origin)];
        cache_control(&rule, &asked("GET"), "200", &fields)
    };
    assert_eq!(cap("max-age=600"), "max-age=60, s-maxage=300");
    assert_eq!(cap("max-age=100"), "max-age=60, s-maxage=100");
    assert_eq!(cap("max-age=50"), "max-age=50");
    assert_eq!(cap("private, max-age=600"), "private, max-age=60");
    assert_eq!(
        cap("max-age=5, stale-if-error=60, stale-while-revalidate=60"),
        "max-age=5, stale-while-revalidate=60, stale-if-error=10"
    );
}

#[test]
fn override_replaces_lifetimes_and_leaves_limits() {
    for (origin, wanted, forced) in [
        ("", "public, max-age=60", "public, max-age=60"),
        (
            "max-age=9, s-maxage=9, immutable, stale-if-error=9",
            "public, max-age=60",
            "public, max-age=60",
        ),
        (
            "private, max-age=9",
            "private, max-age=60",
            "public, max-age=60",
        ),
        ("no-store", "no-store", "public, max-age=60"),
        (
            "no-cache, max-age=9",
            "no-cache, max-age=9",
            "public, max-age=60",
        ),
        (
            "must-revalidate, no-transform, x=1",
            "public, max-age=60, must-revalidate, no-transform, x=1",
            "public, max-age=60, no-transform, x=1",
        ),
    ] {
        let fields = [("cache-control", origin), ("expires", "0")];
        let mut rule = wishing(Mode::Override, 60);
        let get = asked("GET");
        assert_eq!(
            cache_control(&rule, &get, "200", &fields),
            wanted,
            "{origin}"
        );
        rule.base.force = true;
        assert_eq!(
            cache_control(&rule, &get, "200", &fields),
            forced,
            "{origin}"
        );
        let verified = cache_control(&rule, &verified(), "200", &fields);
        assert!(verified.starts_with("private, "), "{origin}: {verified}");
    }
    let mut rule = wishing(Mode::Override, 60);
    rule.base.force = true;
    assert_eq!(
        after(&rule, &asked("GET"), "200", &[("pragma", "no-cache")]),
        ["cache-control: public, max-age=60"]
    );
}

#[test]
fn every_lifetime_of_a_route_is_written() {
    let mut rule = wishing(Mode::Override, 60);
    rule.base.shared_ttl = Some(300);
    rule.base.stale_if_error = Some(5);
    rule.base.stale_while_revalidate = Some(6);
    rule.base.immutable = true;
    assert_eq!(
        cache_control(&rule, &asked("GET"), "200", &[]),
        "public, max-age=60, s-maxage=300, immutable, stale-while-revalidate=6, stale-if-error=5"
    );
    // Nothing stale may be used where the origin forbids it.
    let fields = [("cache-control", "must-revalidate")];
    assert_eq!(
        cache_control(&rule, &asked("GET"), "200", &fields),
        "public, max-age=60, s-maxage=300, must-revalidate, immutable"
    );
    rule.base.must_revalidate = true;
    rule.base.mode = Mode::Respect;
    let fields = [("cache-control", "max-age=9, stale-if-error=9")];
    assert_eq!(
        cache_control(&rule, &asked("GET"), "200", &fields),
        "max-age=9, must-revalidate"
    );
}

#[test]
fn the_first_case_that_fits_is_taken() {
    let case = |statuses: &[&str], kind: Option<&str>, ttl| Case {
        statuses: statuses
            .iter()
            .filter_map(|text| Statuses::parse(text))
            .collect(),
        content_types: kind.and_then(MediaRange::parse).into_iter().collect(),
        wish: wishing(Mode::Default, ttl).base,
        ..Case::default()
    };
    let rule = Rule {
        cases: vec![
            case(&[], Some("image/*"), 1),
            case(&["404"], None, 2),
            case(&["4xx"], None, 3),
        ],
        ..wishing(Mode::Default, 4)
    };
    let found = |status: &str, kind: &str| {
        cache_control(&rule, &asked("GET"), status, &[("content-type", kind)])
    };
    assert_eq!(found("200", "Image/PNG; x=y"), "public, max-age=1");
    assert_eq!(found("304", "image/png"), "public, max-age=1");
    assert_eq!(found("200", "text/html"), "public, max-age=4");
    assert_eq!(found("404", "image/png"), "public, max-age=2");
    assert_eq!(found("410", "text/html"), "public, max-age=3");
    assert_eq!(found("500", "text/html"), "");
    for personal in ["401", "403", "407"] {
        assert_eq!(found(personal, "text/html"), "", "{personal}");
    }
    // What a 304 without Content-Type renews may be an image or not.
    assert_eq!(cache_control(&rule, &asked("GET"), "304", &[]), "");
    let twice = [("content-type", "image/png"), ("content-type", "text/html")];
    assert_eq!(
        cache_control(&rule, &asked("GET"), "200", &twice),
        "public, max-age=4"
    );
}

#[test]
fn cases_may_name_methods() {
    let mut rule = wishing(Mode::Default, 60);
    rule.cases = vec![Case {
        methods: vec!["POST".into()],
        wish: Wish {
            mode: Mode::Respect,
            keep: Keep::Nobody,
            ..Wish::default()
        },
        ..Case::default()
    }];
    assert_eq!(cache_control(&rule, &asked("POST"), "200", &[]), "no-store");
    assert_eq!(cache_control(&rule, &asked("PUT"), "200", &[]), "");
    assert_eq!(
        cache_control(&rule, &asked("GET"), "200", &[]),
        "public, max-age=60"
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
fn cookies_are_stripped_only_from_what_shared_caches_keep() {
    let mut rule = wishing(Mode::Default, 60);
    rule.strip_set_cookie = true;
    let cookie = ("set-cookie", "a=b");
    let get = asked("GET");
    assert_eq!(
        after(&rule, &get, "200", &[cookie, cookie]),
        ["cache-control: public, max-age=60"]
    );
    assert_eq!(
        after(&rule, &verified(), "200", &[cookie]),
        ["set-cookie: a=b", "cache-control: private, max-age=60"]
    );
    let private = ("cache-control", "private, max-age=5");
    assert_eq!(after(&rule, &get, "200", &[cookie, private]).len(), 2);
    assert_eq!(
        after(&rule, &get, "404", &[cookie]),
        ["set-cookie: a=b", "cache-control: private"]
    );
    rule.base.mode = Mode::Respect;
    assert_eq!(
        after(&rule, &get, "200", &[cookie]),
        ["set-cookie: a=b", "cache-control: private"]
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
