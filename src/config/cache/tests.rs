use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::hints::Profile;

struct Compiled {
    rule: Rule,
    problems: Vec<String>,
    warnings: Vec<String>,
}

fn compile(json: Value) -> Compiled {
    let raw: RawCache = deserr::deserialize::<_, _, Problems>(json).unwrap();
    let mut problems = Problems::default();
    let mut warnings = Warnings::default();
    let at = Place::root().key("cache");
    let around = Around {
        parameters: &["id".to_owned()],
        ..Around::default()
    };
    let rule = raw.compile(&at, around, &mut problems, &mut warnings);
    let print =
        |found: &[crate::config::problem::Problem]| found.iter().map(ToString::to_string).collect();
    Compiled {
        rule,
        problems: print(&problems.0),
        warnings: print(&warnings.0),
    }
}

fn rule(json: Value) -> Rule {
    let compiled = compile(json);
    assert_eq!(compiled.problems, Vec::<String>::new());
    compiled.rule
}

/// The places of the problems, in order.
fn places(json: Value) -> Vec<String> {
    let problems = compile(json).problems;
    let place = |problem: &String| problem.split(": ").next().unwrap().to_owned();
    problems.iter().map(place).collect()
}

#[test]
fn a_plain_rule_compiles() {
    let rule = rule(json!({
        "ttl": "5m", "staleWhileRevalidate": 60, "shared": true, "vary": ["Accept-Encoding"]
    }));
    let wanted = Rule {
        shared: true,
        vary: vec!["accept-encoding".into()],
        base: Wish {
            mode: Mode::Default,
            ttl: Some(300),
            stale_while_revalidate: Some(60),
            ..Wish::default()
        },
        ..Rule::default()
    };
    assert_eq!(rule, wanted);
}

#[test]
fn every_key_reads_compiles_and_prints_back() {
    let json = json!({
        "profile": "generic",
        "mode": "override", "force": true,
        "browserTtl": "1m", "sharedTtl": "1h", "staleWhileRevalidate": "30s", "staleIfError": "1d",
        "immutable": true,
        "vary": ["Origin"], "edge": "perUser", "targeted": "CDN-Cache-Control", "stripSetCookie": true,
        "noVarySearch": { "keyOrder": true, "params": true, "except": ["id"] },
        "statusTtl": { "404": "30s", "4xx": "10s" },
        "tags": { "surrogateKey": ["p-{id}"], "cacheTag": ["p"], "cacheGroups": ["{id}"] },
        "acceptEncoding": ["br", "gzip"],
        "validation": { "etag": "weak", "maxBytes": 1024 },
        "cacheStatus": "edge",
        "when": [
            { "statuses": [410, "5xx"], "methods": ["GET"], "mode": "off" },
            { "contentTypes": ["text/html"], "private": true, "ttl": "0s", "mustRevalidate": true },
            { "methods": ["POST"], "noStore": true }
        ]
    });
    let raw: RawCache = deserr::deserialize::<_, _, Problems>(json.clone()).unwrap();
    let mut printed = serde_json::to_value(&raw).unwrap();
    printed["profile"] = json!("generic");
    assert_eq!(printed, json);
    let rule = rule(json);
    assert_eq!(
        rule.no_vary_search.as_deref(),
        Some("key-order, params, except=(\"id\")")
    );
    assert_eq!(rule.base.ttl, Some(60));
    assert_eq!(
        rule.validation,
        Some(Validation {
            etag: Some(crate::hints::Strength::Weak),
            max_bytes: 1_024
        })
    );
    assert_eq!(rule.base.shared_ttl, Some(3_600));
    let modes: Vec<_> = rule.cases.iter().map(|case| case.wish.mode).collect();
    assert_eq!(
        modes,
        [
            Mode::Off,
            Mode::Default,
            Mode::Respect,
            Mode::Override,
            Mode::Override
        ]
    );
    let last: Vec<_> = rule.cases[3..]
        .iter()
        .map(|case| case.statuses[0])
        .collect();
    assert_eq!(last, [Statuses::One(404), Statuses::Class(4)]);
}

#[test]
fn ttl_is_for_both_unless_one_is_named() {
    let ttls = |json| {
        let base = rule(json).base;
        (base.ttl, base.shared_ttl)
    };
    assert_eq!(ttls(json!({ "ttl": 60 })), (Some(60), None));
    assert_eq!(
        ttls(json!({ "ttl": 60, "sharedTtl": 90 })),
        (Some(60), Some(90))
    );
    assert_eq!(
        ttls(json!({ "ttl": 60, "browserTtl": 5 })),
        (Some(5), Some(60))
    );
    assert_eq!(ttls(json!({ "browserTtl": 5 })), (Some(5), None));
}

#[test]
fn the_mode_follows_from_the_ttl() {
    assert_eq!(rule(json!({})).base.mode, Mode::Respect);
    assert_eq!(rule(json!({ "ttl": 5 })).base.mode, Mode::Default);
    assert_eq!(
        rule(json!({ "ttl": 5, "mode": "cap" })).base.mode,
        Mode::Cap
    );
}

#[test]
fn contradictions_are_all_named_at_once() {
    for (json, wanted) in [
        (
            json!({ "noStore": true, "ttl": 5, "private": true, "shared": true }),
            &["cache.ttl", "cache.private", "cache.shared", "cache.shared"][..],
        ),
        (
            json!({ "private": true, "sharedTtl": 9, "ttl": 5 }),
            &["cache.sharedTtl"],
        ),
        (
            json!({ "ttl": "400d", "vary": ["*", "a b", "accept", "Accept"] }),
            &[
                "cache.ttl",
                "cache.vary[0]",
                "cache.vary[1]",
                "cache.vary[3]",
            ],
        ),
        (
            json!({ "mode": "off", "ttl": 5, "noStore": true }),
            &["cache.ttl", "cache.ttl", "cache.noStore"],
        ),
        (json!({ "mode": "respect", "ttl": 5 }), &["cache.ttl"]),
        (
            json!({ "staleWhileRevalidate": 5 }),
            &["cache.staleWhileRevalidate"],
        ),
        (json!({ "mode": "default" }), &["cache.mode"]),
        (
            json!({ "mode": "override", "sharedTtl": 5 }),
            &["cache.mode", "cache.sharedTtl"],
        ),
        (json!({ "ttl": 5, "force": true }), &["cache.force"]),
        (
            json!({ "ttl": 5, "mode": "cap", "immutable": true }),
            &["cache.immutable"],
        ),
        (
            json!({ "ttl": 5, "mustRevalidate": true, "staleIfError": 5, "staleWhileRevalidate": 5 }),
            &["cache.staleWhileRevalidate", "cache.staleIfError"],
        ),
        (
            json!({ "ttl": 5, "browserTtl": 5, "sharedTtl": 5 }),
            &["cache.ttl"],
        ),
        (
            json!({ "profile": "browser", "ttl": 5, "shared": true, "stripSetCookie": true }),
            &["cache.shared", "cache.stripSetCookie"],
        ),
        (
            json!({ "profile": "cloud-cdn", "ttl": 5, "targeted": "CDN-Cache-Control" }),
            &["cache.targeted"],
        ),
        (
            json!({ "edge": "perUser", "ttl": 5, "shared": true }),
            &["cache.edge"],
        ),
        (
            json!({ "edge": "perUser", "ttl": 5, "private": true }),
            &["cache.edge"],
        ),
        (
            json!({ "edge": "perUser", "noStore": true }),
            &["cache.edge"],
        ),
        (json!({ "targeted": "Cache-Control" }), &["cache.targeted"]),
        (
            json!({ "targeted": "x y-cache-control" }),
            &["cache.targeted"],
        ),
        (
            json!({ "statusTtl": { "401": 5, "403": 0, "304": 5, "6xx": 5, "200": "400d" } }),
            &[
                "cache.statusTtl.200",
                "cache.statusTtl.304",
                "cache.statusTtl.401",
                "cache.statusTtl.6xx",
            ],
        ),
        (json!({ "when": [{ "ttl": 5 }] }), &["cache.when[0]"]),
        (
            json!({ "when": [{ "statuses": [403, "xx"], "methods": ["get", "POST"], "contentTypes": ["html"], "ttl": 5 }] }),
            &[
                "cache.when[0].statuses[1]",
                "cache.when[0].contentTypes[0]",
                "cache.when[0].methods[0]",
                "cache.when[0].statuses[0]",
                "cache.when[0].methods[0]",
                "cache.when[0].methods[1]",
            ],
        ),
        (
            json!({ "tags": { "cacheTag": ["a b", "{nr}"], "cacheGroups": [""], "surrogateKey": ["{idd}"] } }),
            &[
                "cache.tags.surrogateKey[0]",
                "cache.tags.cacheTag[0]",
                "cache.tags.cacheTag[1]",
                "cache.tags.cacheGroups[0]",
            ],
        ),
        (
            json!({ "acceptEncoding": ["gzip", "identity", "*", "GZIP", "a b"] }),
            &[
                "cache.acceptEncoding[1]",
                "cache.acceptEncoding[2]",
                "cache.acceptEncoding[3]",
                "cache.acceptEncoding[4]",
            ],
        ),
        (
            json!({ "validation": { "maxBytes": 5 } }),
            &["cache.validation.maxBytes"],
        ),
        (
            json!({ "validation": { "etag": "weak", "maxBytes": 0 } }),
            &["cache.validation.maxBytes"],
        ),
        (
            json!({ "validation": { "etag": "strong", "maxBytes": 4194305 } }),
            &["cache.validation.maxBytes"],
        ),
        (json!({ "cacheStatus": "a b" }), &["cache.cacheStatus"]),
        (json!({ "noVarySearch": {} }), &["cache.noVarySearch"]),
        (
            json!({ "noVarySearch": { "params": ["\u{e9}"] } }),
            &["cache.noVarySearch"],
        ),
        (
            json!({ "noVarySearch": { "params": ["a"], "except": ["b"] } }),
            &["cache.noVarySearch"],
        ),
    ] {
        assert_eq!(places(json.clone()), wanted, "{json}");
    }
}

#[test]
fn every_problem_says_what_to_write() {
    let problems = compile(json!({
        "noStore": true, "shared": true, "ttl": "400d", "vary": ["*"], "statusTtl": { "401": 5 }
    }))
    .problems;
    for problem in problems {
        assert!(
            ["drop", "write"].iter().any(|mend| problem.contains(mend)),
            "{problem}"
        );
    }
}

#[test]
fn unknown_keys_and_wrong_kinds_are_refused_with_their_place() {
    for (json, wanted) in [
        (json!({ "tll": 5 }), "did you mean `ttl`"),
        (json!({ "mode": "overide" }), "did you mean `override`"),
        (json!({ "profile": "cloudcdn" }), "did you mean `cloud-cdn`"),
        (
            json!({ "noVarySearch": { "params": false } }),
            "noVarySearch.params: `false` says nothing",
        ),
        (
            json!({ "noVarySearch": { "params": [1] } }),
            "noVarySearch.params[0]: is a whole number",
        ),
        (
            json!({ "when": [{ "statuses": [true] }] }),
            "when[0].statuses[0]: is true or false",
        ),
    ] {
        let error = deserr::deserialize::<RawCache, _, Problems>(json).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn what_could_leak_or_is_idle_is_warned_of() {
    for (json, wanted) in [
        (
            json!({ "ttl": 5, "stripSetCookie": true }),
            &["cache.stripSetCookie"][..],
        ),
        (
            json!({ "private": true, "when": [{ "statuses": [404], "ttl": 5 }, { "statuses": [410], "private": true }] }),
            &["cache.when[0]"][..],
        ),
        (
            json!({ "noStore": true, "when": [{ "statuses": [404], "ttl": 5 }] }),
            &["cache.when[0]"],
        ),
        (json!({ "ttl": 5, "shared": true }), &[]),
        (
            json!({ "ttl": 5, "shared": true, "profile": "cloud-cdn" }),
            &["cache.shared"],
        ),
        (json!({ "ttl": 5, "edge": "perUser" }), &["cache.edge"]),
        (
            json!({ "ttl": 5, "mode": "override", "force": true, "statusTtl": { "404": 5 } }),
            &["cache.force"],
        ),
        (
            json!({ "statusTtl": { "5xx": 5, "501": 5, "502": 0 } }),
            &["cache.statusTtl.501", "cache.statusTtl.5xx"],
        ),
        (
            json!({ "when": [{ "statuses": [503], "ttl": 5 }] }),
            &["cache.when[0].statuses"],
        ),
        (
            json!({ "profile": "cloud-cdn", "ttl": 5, "sharedTtl": 9, "staleWhileRevalidate": "8d", "staleIfError": 5, "vary": ["origin", "cookie"] }),
            &[
                "cache.staleWhileRevalidate",
                "cache.staleWhileRevalidate",
                "cache.staleIfError",
                "cache.vary[1]",
            ],
        ),
        (
            json!({ "profile": "cloud-cdn", "statusTtl": { "418": 5, "404": 5 } }),
            &["cache.statusTtl.418"],
        ),
        (
            json!({ "profile": "envoy-cache", "ttl": 5, "vary": ["origin"], "statusTtl": { "302": 5 } }),
            &["cache.statusTtl.302", "cache.vary[0]"],
        ),
        (
            json!({ "noVarySearch": { "params": true } }),
            &["cache.noVarySearch.params"],
        ),
        (
            json!({ "noVarySearch": { "params": true, "except": ["q"] }, "ttl": 5, "private": true, "staleIfError": 5 }),
            &[],
        ),
    ] {
        let compiled = compile(json.clone());
        assert_eq!(compiled.problems, Vec::<String>::new(), "{json}");
        let places: Vec<_> = compiled
            .warnings
            .iter()
            .map(|w| w.split(": ").next().unwrap())
            .collect();
        assert_eq!(places, wanted, "{json}");
    }
}

#[test]
fn sharing_is_warned_of_where_the_answer_may_be_one_callers() {
    let warnings = |around: Around<'_>| {
        let raw: RawCache =
            deserr::deserialize::<_, _, Problems>(json!({ "ttl": 5, "shared": true })).unwrap();
        let mut warnings = Warnings::default();
        raw.compile(
            &Place::root(),
            around,
            &mut Problems::default(),
            &mut warnings,
        );
        let messages = warnings.0.into_iter().map(|warning| warning.message);
        messages.collect::<Vec<_>>()
    };
    let plain = Around::default();
    assert_eq!(warnings(plain), Vec::<String>::new());
    for (around, word) in [
        (
            Around {
                public: true,
                ..plain
            },
            "on a public route",
        ),
        (
            Around {
                told: true,
                ..plain
            },
            "told who asks",
        ),
        (
            Around {
                choosy: true,
                ..plain
            },
            "asks for no claims",
        ),
    ] {
        let found = warnings(around);
        assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
    }
}

#[test]
fn a_field_that_the_route_reads_belongs_into_vary() {
    let fields = ["cookie".to_owned(), "x-tenant".to_owned()];
    let places = |around: Around<'_>, json: Value| {
        let raw: RawCache = deserr::deserialize::<_, _, Problems>(json).unwrap();
        let mut warnings = Warnings::default();
        raw.compile(
            &Place::root(),
            around,
            &mut Problems::default(),
            &mut warnings,
        );
        let named = |name: &String| {
            let name = format!("`{name}`");
            warnings
                .0
                .iter()
                .any(|warning| warning.message.contains(&name))
        };
        fields.each_ref().map(named)
    };
    let public = Around {
        public: true,
        fields: &fields,
        ..Around::default()
    };
    let own = Around {
        public: false,
        ..public
    };
    for (around, json, wanted) in [
        (public, json!({ "ttl": 5 }), [true, true]),
        (
            public,
            json!({ "ttl": 5, "vary": ["X-Tenant"] }),
            [true, false],
        ),
        (public, json!({ "ttl": 5, "private": true }), [false, false]),
        (public, json!({ "noStore": true }), [false, false]),
        (
            public,
            json!({ "ttl": 5, "profile": "browser" }),
            [false, false],
        ),
        (own, json!({ "ttl": 5 }), [false, false]),
        (own, json!({ "ttl": 5, "shared": true }), [true, true]),
    ] {
        assert_eq!(places(around, json.clone()), wanted, "{json}");
    }
}

#[test]
fn a_public_route_has_no_caller_to_keep_answers_for() {
    let raw: RawCache =
        deserr::deserialize::<_, _, Problems>(json!({ "ttl": 5, "edge": "perUser" })).unwrap();
    let mut problems = Problems::default();
    let around = Around {
        public: true,
        ..Around::default()
    };
    raw.compile(
        &Place::root(),
        around,
        &mut problems,
        &mut Warnings::default(),
    );
    assert!(problems.0[0].message.contains("no caller"), "{problems}");
}

#[test]
fn profiles_have_their_names() {
    for (name, profile) in [
        ("generic", Profile::Generic),
        ("browser", Profile::Browser),
        ("cloud-cdn", Profile::CloudCdn),
        ("envoy-cache", Profile::EnvoyCache),
    ] {
        assert_eq!(rule(json!({ "profile": name })).profile, profile);
    }
}
