//! Compiling issuers: what is good, and what is said of what is not.

use serde_json::{Value, json};

use super::*;
use crate::token::mint::SigningKey;
use crate::token::remote::{KeyFormat, Remote};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn compile(json: Value) -> (Issuer, Vec<String>) {
    let raw: RawIssuer = deserr::deserialize::<_, _, Problems>(json).unwrap();
    let mut problems = Problems::default();
    let at = Place::root().key("issuers").key("shop");
    let issuer = raw.compile("shop", &at, &mut problems);
    (issuer, problems.0.iter().map(ToString::to_string).collect())
}

fn problems_with(changes: Value) -> Vec<String> {
    let mut json = good();
    for (name, value) in changes.as_object().unwrap() {
        json[name] = value.clone();
    }
    compile(json).1
}

fn key(algorithm: Algorithm, kid: &str) -> Value {
    SigningKey::generate(algorithm).unwrap().public_jwk(kid)
}

fn good() -> Value {
    json!({
        "issuer": "https://issuer.example/",
        "audiences": "orders",
        "jwks": { "inline": { "keys": [key(Algorithm::Es256, "a")] } }
    })
}

#[test]
fn an_issuer_compiles_with_safe_defaults() {
    let (issuer, problems) = compile(good());
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(issuer.name, "shop");
    assert_eq!(issuer.iss, ["https://issuer.example/"]);
    assert_eq!(issuer.audiences, ["orders"]);
    assert_eq!(issuer.algorithms, [Algorithm::Rs256, Algorithm::Es256]);
    assert_eq!(issuer.clock_skew, 60);
    let KeySource::Inline(keys) = issuer.keys else {
        panic!()
    };
    assert_eq!(keys.keys().count(), 1);
}

#[test]
fn every_mistake_is_named_with_its_place_and_its_mend() {
    let rsa = key(Algorithm::Rs256, "r");
    let cases = [
        (json!({ "issuer": "" }), "issuers.shop.issuer: is empty"),
        (
            json!({ "audiences": [] }),
            "issuers.shop.audiences: is empty; name whom",
        ),
        (
            json!({ "audiences": ["a", ""] }),
            "issuers.shop.audiences[1]: is empty",
        ),
        (
            json!({ "algorithms": [] }),
            "issuers.shop.algorithms: is empty; name the algorithms",
        ),
        (
            json!({ "algorithms": ["ES256", "none"] }),
            "issuers.shop.algorithms[1]: `none` means no signature",
        ),
        (
            json!({ "algorithms": ["es256"] }),
            "issuers.shop.algorithms[0]: `es256` is not a signature algorithm, did you mean `ES256`?",
        ),
        (
            json!({ "algorithms": ["HS256", "ES256"] }),
            "issuers.shop.algorithms: mixes HS* with public-key algorithms",
        ),
        (
            json!({ "algorithms": ["HS256"] }),
            "issuers.shop.jwks.inline.keys: the key `a` fits none of the issuer's algorithms (HS256)",
        ),
        (
            json!({ "clockSkew": "1h" }),
            "issuers.shop.clockSkew: is 1h; at most 10m",
        ),
        (
            json!({ "jwks": {} }),
            "issuers.shop.jwks: has no keys; write `uri: URL`",
        ),
        (
            json!({ "jwks": { "file": "keys.json" } }),
            "issuers.shop.jwks.file: the proxy reads no files",
        ),
        (
            json!({ "jwks": { "inline": { "keys": [] } } }),
            "issuers.shop.jwks.inline.keys: is empty",
        ),
        (
            json!({ "jwks": { "inline": [] } }),
            "issuers.shop.jwks.inline: is not a JWK set",
        ),
        (
            json!({ "jwks": { "inline": {} } }),
            "issuers.shop.jwks.inline: is not a JWK set",
        ),
        (
            json!({ "jwks": { "inline": { "keys": [rsa, { "kty": "oct", "k": "AAAA" }] } } }),
            "issuers.shop.jwks.inline: mixes public keys and shared secrets",
        ),
    ];
    for (changes, expected) in cases {
        let problems = problems_with(changes.clone());
        assert!(
            problems.len() == 1 && problems[0].starts_with(expected),
            "{changes}: {problems:?}"
        );
    }
}

#[test]
fn unusable_inline_keys_are_errors_not_warnings() {
    let private = SigningKey::generate(Algorithm::Es256)
        .unwrap()
        .private_jwk();
    for (jwk, expected) in [
        (
            private,
            "keys[0]: this key cannot be used: it holds private material",
        ),
        (
            json!({ "kty": "oct", "k": "AAAA" }),
            "it is a shared secret among public keys",
        ),
        (
            json!({ "kty": "XYZ" }),
            "`kty` is not one that Forecourt supports",
        ),
        (json!({}), "`kty` is missing or malformed"),
    ] {
        let problems = problems_with(json!({ "jwks": { "inline": { "keys": [jwk] } } }));
        assert!(
            problems.len() == 1 && problems[0].contains(expected),
            "{problems:?}"
        );
    }
}

#[test]
fn two_keys_that_one_token_could_mean_are_an_error() {
    let keys = [key(Algorithm::Es256, "a"), key(Algorithm::Es256, "a")];
    let problems = problems_with(json!({ "jwks": { "inline": { "keys": keys } } }));
    assert!(
        problems[0].contains("several keys with the `kid` `a` fit ES256"),
        "{problems:?}"
    );
    let keys = [key(Algorithm::Es256, "a"), key(Algorithm::Es256, "b")];
    let problems = problems_with(json!({ "jwks": { "inline": { "keys": keys } } }));
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn hmac_needs_to_be_named_and_a_long_secret() {
    let secret = |algorithm| json!({ "inline": { "keys": [key(algorithm, "s")] } });
    let changes = json!({ "algorithms": ["HS256"], "jwks": secret(Algorithm::Hs256) });
    assert_eq!(problems_with(changes), Vec::<String>::new());
    let changes = json!({ "algorithms": ["HS512"], "jwks": secret(Algorithm::Hs256) });
    assert_eq!(problems_with(changes).len(), 1);
    let changes = json!({ "jwks": secret(Algorithm::Hs256) });
    assert_eq!(problems_with(changes).len(), 1);
}

fn remote(issuer: &Issuer) -> &Remote {
    match &issuer.keys {
        KeySource::Remote(remote) => remote,
        KeySource::Inline(_) => panic!("the keys are in the policy"),
    }
}

#[track_caller]
fn compiled(json: Value) -> Issuer {
    let raw: RawIssuer = deserr::deserialize::<_, _, Problems>(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&raw).unwrap(), json);
    let (issuer, problems) = compile(json);
    assert_eq!(problems, Vec::<String>::new());
    issuer
}

#[test]
fn presets_know_what_need_not_be_said() {
    let google = compiled(json!({ "preset": "google-id-token", "audience": "client-id" }));
    assert_eq!(
        google.iss,
        ["https://accounts.google.com", "accounts.google.com"]
    );
    assert_eq!(google.algorithms, [Algorithm::Rs256]);
    assert!(google.open_to_anyone && google.requires_kid);
    assert_eq!(
        remote(&google).identity(),
        "jwks www.googleapis.com https://www.googleapis.com/oauth2/v3/certs"
    );

    let users = compiled(json!({
        "preset": "identity-platform", "project": "shop", "tenants": ["a"]
    }));
    assert_eq!(users.iss, ["https://securetoken.google.com/shop"]);
    assert_eq!(users.audiences, ["shop"]);
    assert!(users.requires_auth_time && users.requires_kid && !users.open_to_anyone);
    let rules: Vec<_> = users
        .claims
        .iter()
        .map(|rule| rule.claim.to_string())
        .collect();
    assert_eq!(rules, ["sub", "firebase.tenant"]);

    let session = compiled(json!({ "preset": "firebase-session", "project": "shop" }));
    assert_eq!(session.iss, ["https://session.firebase.google.com/shop"]);
    assert_eq!(session.sources, [Source::Cookie("__session".into())]);
    assert_eq!(remote(&session).format, KeyFormat::CertificateMap);

    let audience = "/projects/1/locations/europe-west1/services/orders";
    let iap = compiled(json!({ "preset": "iap", "audience": audience }));
    assert_eq!(iap.iss, ["https://cloud.google.com/iap"]);
    assert_eq!(iap.algorithms, [Algorithm::Es256]);
    assert_eq!((iap.clock_skew, iap.max_lifetime), (30, Some(660)));
    assert_eq!(
        iap.sources[0].to_string(),
        "header x-goog-iap-jwt-assertion"
    );

    let oidc = compiled(json!({
        "preset": "oidc", "issuer": "https://login.example/t1/", "audience": "client"
    }));
    assert_eq!(oidc.algorithms, [Algorithm::Rs256]);
    assert_eq!(
        remote(&oidc).identity(),
        "jwks login.example https://login.example/t1/.well-known/openid-configuration \
         login.example login.example https://login.example/t1/"
    );
    let bounded = compiled(json!({
        "preset": "google-id-token", "audience": "client-id",
        "jwks": { "cluster": "google", "timeout": "2s" },
    }));
    assert_eq!(
        remote(&bounded).clusters(),
        [("google", "www.googleapis.com", true)]
    );
    assert_eq!(remote(&bounded).bounds.timeout, 2);
    let replaced = compiled(json!({
        "preset": "identity-platform", "project": "shop",
        "jwks": { "inline": { "keys": [key(Algorithm::Rs256, "r")] } },
    }));
    assert!(matches!(replaced.keys, KeySource::Inline(_)));
}

#[test]
fn mistakes_about_presets_are_named() {
    for (json, expected) in [
        (
            json!({ "preset": "identity-platform" }),
            "issuers.shop.project: is missing",
        ),
        (
            json!({ "preset": "identity-platform", "project": "p", "audience": "a" }),
            "issuers.shop.audience: is known to the preset",
        ),
        (
            json!({ "preset": "iap", "audience": "orders" }),
            "issuers.shop.audience: is not an audience of IAP",
        ),
        (
            json!({ "preset": "iap", "audience": "/projects//apps/x" }),
            "issuers.shop.audience: is not an audience of IAP",
        ),
        (
            json!({ "preset": "iap", "issuer": "https://x.example" }),
            "issuers.shop.issuer: is known to the preset",
        ),
        (
            json!({ "preset": "google-id-token", "algorithms": ["ES256"] }),
            "issuers.shop.algorithms: are known to the preset",
        ),
        (
            json!({ "preset": "google-id-token", "project": "p" }),
            "issuers.shop.project: is of use only with",
        ),
        (
            json!({ "preset": "firebase-session", "project": "p", "tenants": [] }),
            "issuers.shop.tenants: is empty",
        ),
        (
            json!({ "preset": "oidc" }),
            "issuers.shop: `issuer` is missing",
        ),
        (
            json!({ "issuer": "https://x.example", "audience": "a" }),
            "issuers.shop: `jwks` is missing",
        ),
    ] {
        let (_, problems) = compile(json.clone());
        assert!(
            problems.len() == 1 && problems[0].starts_with(expected),
            "{json}: {problems:?}"
        );
    }
}

#[test]
fn places_revocations_and_limits_compile() {
    let issuer = compiled(json!({
        "issuer": "https://issuer.example/",
        "audiences": ["orders"],
        "typ": ["AT+JWT", "application/x"],
        "jwks": good()["jwks"],
        "maxLifetime": "1h",
        "claims": [{ "claim": "azp", "equals": "app" }],
        "revoked": { "jti": ["1"], "sub": ["bad"], "issuedBefore": 1_700_000_000 },
        "from": [
            { "header": "X-Token" },
            { "header": "authorization", "scheme": "DPoP" },
            { "header": "x-other", "prefix": "jwt=" },
            { "cookie": "session" },
            { "query": "access_token" },
        ],
    }));
    assert_eq!(issuer.types.unwrap(), ["at+jwt", "x"]);
    assert_eq!(issuer.max_lifetime, Some(3_600));
    assert_eq!(issuer.claims.len(), 1);
    assert_eq!(issuer.revoked.issued_before.unwrap().0, 1_700_000_000);
    let places: Vec<_> = issuer.sources.iter().map(ToString::to_string).collect();
    assert_eq!(
        places,
        [
            "header x-token",
            "header authorization with scheme DPoP",
            "header x-other with prefix \"jwt=\"",
            "cookie session",
            "query parameter access_token",
        ]
    );
}

#[test]
fn mistakes_about_places_and_limits_are_named() {
    for (changes, expected) in [
        (json!({ "from": [] }), "from: is empty"),
        (json!({ "from": [{}] }), "from[0]: needs exactly one of"),
        (
            json!({ "from": [{ "cookie": "a", "query": "b" }] }),
            "from[0]: needs exactly one of",
        ),
        (
            json!({ "from": [{ "cookie": "a", "scheme": "Bearer" }] }),
            "from[0]: has a `scheme` or `prefix`",
        ),
        (
            json!({ "from": [{ "header": "a", "scheme": "B", "prefix": "c" }] }),
            "from[0]: has both `scheme` and `prefix`",
        ),
        (
            json!({ "from": [{ "header": "a b" }] }),
            "from[0].header: `a b` is not the name",
        ),
        (
            json!({ "from": [{ "cookie": "a;b" }] }),
            "from[0].cookie: `a;b` is not the name",
        ),
        (
            json!({ "from": [{ "query": "" }] }),
            "from[0].query: is empty",
        ),
        (
            json!({ "from": [{ "cookie": "a" }, { "cookie": "a" }] }),
            "from[1]: is there twice",
        ),
        (
            json!({ "audience": "x" }),
            "audience: stands beside `audiences`",
        ),
        (json!({ "maxLifetime": 0 }), "maxLifetime: is 0"),
        (
            json!({ "claims": [{ "claim": "a", "equals": 1, "issuer": "shop" }] }),
            "claims[0].issuer: is clear from where the rule stands",
        ),
        (
            json!({ "claims": [{ "claim": "a" }] }),
            "claims[0]: tests nothing",
        ),
    ] {
        let problems = problems_with(changes.clone());
        let expected = format!("issuers.shop.{expected}");
        assert!(
            problems.len() == 1 && problems[0].starts_with(&expected),
            "{changes}: {problems:?}"
        );
    }
}
