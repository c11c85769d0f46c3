//! Who may keep an answer: the rules that no route weakens by accident.

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

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
