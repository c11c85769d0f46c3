//! `forecourt explain` on tokens: what it verifies with, what it tells, and what it keeps to itself.

use forecourt::token::algorithm::Algorithm;
use forecourt::token::mint::{SigningKey, mint};
use serde_json::Value;

use super::run;

/// A policy with one issuer whose keys are fetched, its keys in a file, and tokens.
struct Fetched {
    folder: tempfile::TempDir,
    key: SigningKey,
}

impl Fetched {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let policy = "
version: forecourt/v1
issuers:
  idp: { issuer: 'https://idp.example', audiences: [shop], jwks: { uri: 'https://idp.example/keys', cluster: idp } }
  own: { issuer: 'https://own.example', audiences: [shop], jwks: { file: keys.json } }
routes:
  - match: { path: /me }
    access:
      anyOf: [idp]
      claims: [{ claim: role, oneOf: [buyer, seller] }]
      forward: { claims: { sub: x-user-id } }
";
        let weak = serde_json::json!({ "kty": "RSA", "kid": "old", "n": "AQAB", "e": "AQAB" });
        let keys = serde_json::json!({ "keys": [key.public_jwk("a"), weak] });
        let own = serde_json::json!({ "keys": [key.public_jwk("a")] });
        for (name, text) in [
            ("policy.yaml", policy.to_owned()),
            ("idp.json", keys.to_string()),
            ("keys.json", own.to_string()),
            ("none.json", "{\"keys\":[]}".to_owned()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, key }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A token that is good in 2023, but for what is changed.
    fn token(&self, kid: &str, changes: &[(&str, Value)]) -> String {
        let mut claims = serde_json::json!({
            "iss": "https://idp.example", "aud": "shop", "sub": "user-4711", "role": "buyer",
            "exp": 1_700_000_000,
        });
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        mint(&self.key, kid, &serde_json::Map::new(), &claims)
    }

    fn explain(&self, token: &str, more: &[&str]) -> (i32, String) {
        let authorization = format!("Authorization: Bearer {token}");
        let (policy, now) = (self.path("policy.yaml"), "2023-11-14T22:00:00Z");
        let base = [
            "explain",
            &policy,
            "--path",
            "/me",
            "-H",
            &authorization,
            "--now",
            now,
        ];
        let output = run(&[&base, more].concat());
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let (_, rest) = token.split_once('.').unwrap();
        let shows = more.contains(&"--show-values");
        assert!(shows || !said.contains(rest), "no token is printed: {said}");
        (output.status.code().unwrap(), said)
    }
}

#[test]
fn explain_verifies_with_keys_from_a_file_where_the_filter_fetches_them() {
    let world = Fetched::new();
    let keys = format!("idp={}", world.path("idp.json"));
    let (code, said) = world.explain(&world.token("a", &[]), &["--jwks", &keys]);
    assert_eq!(code, 0, "{said}");
    for word in [
        "1 of issuer idp out of",
        "the filter fetches them from https://idp.example/keys (cluster idp)",
        "keys[1] is not used: its RSA modulus",
        "found in header authorization with scheme Bearer",
        "issuer idp signed it with ES256 and its key \"a\"",
        "claim role meets its rule",
        "FORWARD",
        "authorization: Bearer (token)",
        "x-user-id: (masked)",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let shown = ["--jwks", &keys, "--show-values"];
    let (_, said) = world.explain(&world.token("a", &[]), &shown);
    assert!(said.contains("x-user-id: user-4711"), "{said}");
    let (code, said) = world.explain(&world.token("a", &[]), &[]);
    assert_eq!(code, 1);
    for word in [
        "REPLY 503 keys_unavailable",
        "fetches nothing: give them with --jwks idp=FILE",
        "https://idp.example/keys",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let (code, said) = world.explain(&world.token("new", &[]), &["--jwks", &keys]);
    assert_eq!(code, 1);
    for word in [
        "REPLY 401 key_unknown",
        "its kid has to be one of \"a\"",
        "would fetch those of issuer idp anew before it refuses",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    for (argument, complaint) in [
        ("idp", "write it as `ISSUER=FILE`"),
        ("ipd=x", "`ipd` is not under `issuers`, did you mean `idp`?"),
        ("own=x", "the keys of `own` are in the policy"),
        ("idp=/nowhere.json", "cannot read /nowhere.json"),
        ("idp=none.json", "has no usable key"),
    ] {
        let argument = argument.replace("none.json", &world.path("none.json"));
        let (code, said) = world.explain(&world.token("a", &[]), &["--jwks", &argument]);
        assert_eq!(code, 2, "{argument}");
        assert!(said.contains(complaint), "{argument}: {said}");
    }
}

#[test]
fn explain_tells_what_was_expected_and_values_only_on_demand() {
    let world = Fetched::new();
    let keys = format!("idp={}", world.path("idp.json"));
    for (name, value, reply, expected, shown) in [
        (
            "role",
            "spy-4711",
            "REPLY 403 claim_mismatch",
            "claim role does not meet: oneOf [\"buyer\",\"seller\"]",
            "it is \"spy-4711\"",
        ),
        (
            "aud",
            "spy-4711",
            "REPLY 401 audience_mismatch",
            "its aud has to name one of shop",
            "its aud is \"spy-4711\"",
        ),
        (
            "iss",
            "https://spy-4711.example",
            "REPLY 401 issuer_unknown",
            "its iss has to be one that this route accepts: https://idp.example",
            "it is \"https://spy-4711.example\"",
        ),
        (
            "exp",
            "4711",
            "REPLY 401 expiry_missing",
            "it has to have an exp",
            "its exp is \"4711\"",
        ),
    ] {
        let token = world.token("a", &[(name, Value::from(value))]);
        let (code, said) = world.explain(&token, &["--jwks", &keys]);
        assert_eq!(code, 1);
        assert!(said.contains(reply) && said.contains(expected), "{said}");
        assert!(!said.contains("4711"), "masked: {said}");
        let (_, said) = world.explain(&token, &["--jwks", &keys, "--show-values"]);
        assert!(said.contains(expected) && said.contains(shown), "{said}");
    }
    let expired = world.token("a", &[("exp", Value::from(1_600_000_000))]);
    let (_, said) = world.explain(&expired, &["--jwks", &keys]);
    let expected = "its exp has to be later than 1699999200, with 60 seconds of tolerance";
    assert!(
        said.contains(expected) && !said.contains("1600000000"),
        "{said}"
    );
}
