use super::*;
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
            "the request carried credentials, so no shared cache may keep the answer",
            "cache-control: private, max-age=300",
        ]
    );
}
