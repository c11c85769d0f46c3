//! Compiling `access`: what is good, and what is said of what is not.

use serde_json::Value;

use super::*;
use crate::token::source::Source;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn issuers() -> Vec<Issuer> {
    let named = |name: &str| Issuer {
        name: name.to_owned(),
        iss: vec![format!("https://{name}.example")],
        audiences: vec!["orders".into()],
        ..Issuer::default()
    };
    let staff = Issuer {
        sources: vec![Source::Cookie("staff".into())],
        ..named("staff")
    };
    let google = Issuer {
        open_to_anyone: true,
        ..named("google")
    };
    let anyone = Issuer {
        audiences: Vec::new(),
        ..named("anyone")
    };
    vec![named("customers"), named("partners"), staff, google, anyone]
}

fn compile(json: Value) -> (Access, Vec<String>) {
    let raw: RawAccess = deserr::deserialize::<_, _, Problems>(json).unwrap();
    let mut problems = Problems::default();
    let access = raw.compile(&issuers(), &Place::root().key("access"), &mut problems);
    (access, problems.0.iter().map(ToString::to_string).collect())
}

fn printed(json: &Value) -> Value {
    let raw: RawAccess = deserr::deserialize::<_, _, Problems>(json.clone()).unwrap();
    serde_json::to_value(&raw).unwrap()
}

#[test]
fn public_is_a_word() {
    let (access, problems) = compile(json!("public"));
    assert!(access.is_public() && problems.is_empty());
    for wrong in [json!("pubic"), json!(true), json!(null), json!([])] {
        let result = deserr::deserialize::<RawAccess, _, Problems>(wrong);
        let message = result.unwrap_err().to_string();
        assert!(
            message.contains("must be `public`, or a mapping"),
            "{message}"
        );
    }
}

#[test]
fn rules_compile_and_print_back() {
    let json = json!({
        "anyOf": ["partners", "customers"],
        "claims": [
            { "claim": "email_verified", "equals": true },
            { "claim": ["https://example.com/roles"], "contains": "admin" },
        ],
        "maxAge": "5m",
        "forward": {
            "claims": { "sub": "X-User-Id" },
            "payload": { "header": "X-Endpoint-API-UserInfo", "padded": true },
            "tokenHeader": "x-token",
            "token": "strip",
            "log": ["email"],
            "clearRouteCache": true,
        },
    });
    let (access, problems) = compile(json.clone());
    assert_eq!(problems, Vec::<String>::new());
    assert!(!access.is_public());
    assert_eq!(
        access.headers_set().collect::<Vec<_>>(),
        ["x-user-id", "x-endpoint-api-userinfo", "x-token"]
    );
    assert_eq!(printed(&json), json);
}

#[test]
fn other_audiences_and_all_of_compile_and_print_back() {
    for json in [
        json!({ "anyOf": [{ "issuer": "anyone", "audiences": ["a"] }, "customers"] }),
        json!({ "allOf": ["staff", "customers"], "optional": true, "preflight": false }),
    ] {
        let (access, problems) = compile(json.clone());
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(access.issuers().count(), 2);
        assert_eq!(printed(&json), json);
    }
}

#[test]
fn every_mistake_is_named_with_its_place_and_its_mend() {
    let rule = |rule: Value| json!({ "anyOf": ["customers"], "claims": [rule] });
    let forward = |forward: Value| json!({ "anyOf": ["customers"], "forward": forward });
    let header = |name: &str| forward(json!({ "claims": { "sub": name } }));
    let cases = [
        (
            json!({}),
            "access: names no issuer; write `anyOf: [ISSUER]`",
        ),
        (
            json!({ "anyOf": ["customers"], "allOf": ["partners"] }),
            "access: has both `anyOf` and `allOf`",
        ),
        (
            json!({ "anyOf": [] }),
            "access.anyOf: is empty, so nobody could call",
        ),
        (
            json!({ "anyOf": ["customer"] }),
            "access.anyOf[0]: `customer` is not under `issuers`, did you mean `customers`?",
        ),
        (
            json!({ "anyOf": ["firebase"] }),
            "access.anyOf[0]: `firebase` is not under `issuers`; add it there",
        ),
        (
            json!({ "anyOf": ["customers", "customers"] }),
            "access.anyOf[1]: `customers` is named twice",
        ),
        (
            json!({ "allOf": ["staff", "customers", "partners"] }),
            "access.allOf[2]: its token is looked for in the same place as another's \
             (header authorization with scheme Bearer)",
        ),
        (
            json!({ "anyOf": ["anyone"] }),
            "access.anyOf[0]: neither `anyone` nor this route names an audience",
        ),
        (
            json!({ "anyOf": [{ "issuer": "customers", "audiences": [] }] }),
            "access.anyOf[0].audiences: is empty",
        ),
        (
            json!({ "anyOf": ["google"] }),
            "access: any Google identity can get a token of `google`",
        ),
        (
            rule(json!({ "claim": "a", "equals": 1, "issuer": "partners" })),
            "access.claims[0].issuer: `partners` is not among the issuers",
        ),
        (
            rule(json!({ "claim": "a" })),
            "access.claims[0]: tests nothing",
        ),
        (
            json!({ "anyOf": ["customers"], "maxAge": 0 }),
            "access.maxAge: is 0",
        ),
        (
            forward(json!({ "log": ["a..b"] })),
            "access.forward.log[0]: is not the name of a claim",
        ),
        (
            forward(json!({ "tokenHeader": "cookie" })),
            "access.forward.tokenHeader: `cookie` has a meaning of its own",
        ),
        (
            forward(json!({ "tokenHeader": "x-a", "payload": { "header": "X-A" } })),
            "access.forward.tokenHeader: something else is written to `x-a` already",
        ),
        (
            forward(json!({ "claims": { "sub": "x-user", "uid": "X-User" } })),
            "access.forward.claims.uid: something else is written to `x-user` already",
        ),
    ];
    let reserved = [
        "host",
        "Content-Length",
        "connection",
        "authorization",
        "x-envoy-retry-on",
    ];
    let reserved = reserved.map(|name| {
        let lower = name.to_lowercase();
        let text = format!("access.forward.claims.sub: `{lower}` has a meaning of its own");
        (header(name), text)
    });
    let illegal = [":path", "x user", "x\r\ny", ""].map(|name| {
        let text = format!("access.forward.claims.sub: `{name}` is not the name of a header");
        (header(name), text)
    });
    let cases = cases.map(|(json, text)| (json, text.to_owned()));
    for (json, expected) in cases.into_iter().chain(reserved).chain(illegal) {
        let (_, problems) = compile(json.clone());
        assert!(
            problems.len() == 1 && problems[0].starts_with(&expected),
            "{json}: {problems:?}"
        );
    }
}

#[test]
fn a_google_identity_is_named_by_a_rule_and_its_address_verified() {
    for claim in ["email", "sub", "azp", "hd"] {
        let rule = json!({ "claim": claim, "equals": "x", "issuer": "google" });
        let (_, problems) = compile(json!({ "anyOf": ["google", "customers"], "claims": [rule] }));
        assert_eq!(problems, Vec::<String>::new(), "{claim}");
    }
    let rules = |claims: Value| {
        let raw = json!({ "anyOf": ["google"], "claims": claims });
        let raw: RawRules = deserr::deserialize::<_, _, Problems>(raw).unwrap();
        raw.compile(&issuers(), &Place::root(), &mut Problems::default())
    };
    let by_email = rules(json!([{ "claim": "email", "equals": "a@example.com" }]));
    let names = by_email.claims.iter().map(|rule| rule.claim.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["email", "email_verified"]);
    let by_sub = rules(json!([{ "claim": "sub", "equals": "1" }]));
    assert_eq!(by_sub.claims.len(), 1);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known() {
    let json = json!({ "anyof": ["customers"] });
    let problems = deserr::deserialize::<RawAccess, _, Problems>(json).unwrap_err();
    let text = problems.to_string();
    assert!(text.contains("did you mean `anyOf`?"), "{text}");
}
