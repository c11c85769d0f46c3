//! How long an answer lives, in every mode, and which answers a rule covers.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

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
