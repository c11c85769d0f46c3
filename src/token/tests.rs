//! Whole checks, from the head of a request to the decision: each attack beside a token that is
//! good but for it.

use std::sync::LazyLock;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::algorithm::Algorithm;
use super::claims::ClaimPath;
use super::forward::{Forward, TokenHandling};
use super::key::{KeyFlaw, PublicKey, Secrets};
use super::keyset::KeySet;
use super::mint::{SigningKey, mint, sign_parts};
use super::remote::{Bounds, Endpoint, KeyFormat, Remote, Start, Url};
use super::rule::{ClaimRule, Test};
use super::source::Source;
use super::*;
use crate::head::{Edit, Headers, RequestHead};
use crate::reply::Code;
use crate::time::UnixTime;
use crate::trace::Trace;

mod attacks;
mod attacks_on_keys;
mod flows;
mod rfc;

const NOW: UnixTime = UnixTime(1_700_000_000);
const ISS: &str = "https://issuer.example/";

/// A policy with two issuers: `shop`, with an RSA and an EC key, and `other`.
struct World {
    rsa: SigningKey,
    ec: SigningKey,
    other: SigningKey,
    issuers: Vec<Issuer>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap();
    let ec = SigningKey::generate(Algorithm::Es256).unwrap();
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    let issuers = vec![
        issuer("shop", ISS, &[rsa.public_jwk("rsa"), ec.public_jwk("ec")]),
        issuer(
            "other",
            "https://other.example/",
            &[other.public_jwk("other")],
        ),
    ];
    World {
        rsa,
        ec,
        other,
        issuers,
    }
});

fn issuer(name: &str, iss: &str, keys: &[Value]) -> Issuer {
    let set = json!({ "keys": keys }).to_string();
    Issuer {
        name: name.into(),
        iss: vec![iss.into()],
        audiences: vec!["orders".into()],
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        keys: KeySource::Inline(KeySet::parse(set.as_bytes(), Secrets::Refused).unwrap()),
        clock_skew: 60,
        ..Issuer::default()
    }
}

fn claims() -> Value {
    json!({ "iss": ISS, "aud": "orders", "sub": "user-1", "exp": NOW.0 + 300 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn good() -> String {
    signed(&claims())
}

fn signed(claims: &Value) -> String {
    mint(&WORLD.ec, "ec", &Map::new(), claims)
}

fn signed_with_header(header: Value) -> String {
    mint(&WORLD.ec, "ec", header.as_object().unwrap(), &claims())
}

fn encode(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn head(authorizations: &[String]) -> RequestHead {
    let fields = authorizations
        .iter()
        .map(|value| (b"authorization".to_vec(), value.clone().into_bytes()));
    RequestHead {
        headers: Headers::new(fields.collect()),
    }
}

fn ask(rules: Rules, head: &RequestHead) -> Outcome {
    ask_in(&WORLD.issuers, rules, head)
}

fn ask_in(issuers: &[Issuer], rules: Rules, head: &RequestHead) -> Outcome {
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        identities: &identity::NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    Access::restricted(rules).check(issuers, head, &env, &mut Trace::off())
}

fn bearer(token: &str) -> RequestHead {
    head(&[format!("Bearer {token}")])
}

fn any_of(issuers: &[usize]) -> Requirement {
    let accepted = |issuer: &usize| Accepted {
        issuer: *issuer,
        audiences: None,
    };
    Requirement::AnyOf(issuers.iter().map(accepted).collect())
}

fn shop_only() -> Rules {
    Rules {
        requirement: any_of(&[0]),
        ..Rules::default()
    }
}

fn check(token: &str) -> Outcome {
    ask(shop_only(), &head(&[format!("Bearer {token}")]))
}

fn refusal(outcome: Outcome) -> crate::reply::Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The code with which a token is refused, while the good one beside it passes.
fn refused(token: &str) -> Code {
    assert_granted(&check(&good()));
    refusal(check(token)).code
}

#[track_caller]
fn assert_granted(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
}

#[test]
fn good_tokens_of_every_key_are_granted() {
    for (key, kid) in [(&WORLD.rsa, "rsa"), (&WORLD.ec, "ec")] {
        let outcome = check(&mint(key, kid, &Map::new(), &claims()));
        let Outcome::Granted(granted) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(granted.issuer, "shop");
        assert_eq!(granted.subject.as_deref(), Some("user-1"));
        assert_eq!(granted.edits, []);
    }
}

#[test]
fn a_public_route_asks_for_nothing() {
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        identities: &identity::NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    for head in [head(&[]), head(&["Bearer x".into(), "Bearer y".into()])] {
        let outcome = Access::public().check(&WORLD.issuers, &head, &env, &mut Trace::off());
        assert_eq!(outcome, Outcome::Anonymous);
    }
}

#[test]
fn no_token_is_told_from_a_bad_one() {
    for value in [
        vec![],
        vec!["Basic dXNlcjpwYXNz".into()],
        vec![String::new()],
    ] {
        let refusal = refusal(ask(shop_only(), &head(&value)));
        assert_eq!(refusal.code, Code::TokenMissing);
        let challenge = (
            "www-authenticate".into(),
            r#"Bearer realm="forecourt""#.into(),
        );
        assert_eq!(refusal.headers, [challenge]);
    }
    assert_eq!(refused(""), Code::TokenMalformed);
    assert_eq!(refused("x"), Code::TokenMalformed);
}

#[test]
fn without_a_kid_only_a_single_fitting_key_will_do() {
    let token = |key: &SigningKey| {
        let header = json!({ "alg": key.algorithm().as_str() }).to_string();
        sign_parts(key, header.as_bytes(), claims().to_string().as_bytes())
    };
    assert_granted(&check(&token(&WORLD.ec)));
    assert_granted(&check(&token(&WORLD.rsa)));
    let second = SigningKey::generate(Algorithm::Es256).unwrap();
    let issuers = [issuer(
        "shop",
        ISS,
        &[WORLD.ec.public_jwk("a"), second.public_jwk("b")],
    )];
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        identities: &identity::NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    let head = head(&[format!("Bearer {}", token(&WORLD.ec))]);
    let outcome = Access::restricted(shop_only()).check(&issuers, &head, &env, &mut Trace::off());
    assert_eq!(refusal(outcome).code, Code::KeyUnknown);
}

#[test]
fn claim_rules_are_authorization_not_authentication() {
    let rules = || Rules {
        requirement: any_of(&[0]),
        claims: vec![ClaimRule {
            claim: ClaimPath::parse("scope").unwrap(),
            tests: vec![Test::Contains(json!("orders.write"))],
            space_delimited: true,
            issuer: None,
        }],
        ..Rules::default()
    };
    let bearer = |scope: Value| head(&[format!("Bearer {}", signed(&with("scope", scope)))]);
    assert_granted(&ask(rules(), &bearer(json!("orders.read orders.write"))));
    for scope in [
        json!("orders.read"),
        json!("orders.writers"),
        json!(1),
        json!(null),
    ] {
        let refusal = refusal(ask(rules(), &bearer(scope)));
        assert_eq!(refusal.code, Code::ClaimMismatch);
        let (_, challenge) = &refusal.headers[0];
        assert!(
            challenge.contains(r#"error="insufficient_scope""#),
            "{challenge}"
        );
        assert!(challenge.contains(r#"scope="orders.write""#), "{challenge}");
    }
}

#[test]
fn claims_are_handed_on_and_the_token_taken_out() {
    let rules = || Rules {
        requirement: any_of(&[0]),
        forward: Forward {
            claims: vec![
                (ClaimPath::parse("sub").unwrap(), "x-user-id".into()),
                (ClaimPath::parse("tenant").unwrap(), "x-tenant".into()),
            ],
            token: Some(TokenHandling::Strip),
            ..Forward::default()
        },
        ..Rules::default()
    };
    let access = Access::restricted(rules());
    assert_eq!(
        access.headers_set().collect::<Vec<_>>(),
        ["x-user-id", "x-tenant"]
    );
    let outcome = ask(rules(), &head(&[format!("Bearer {}", good())]));
    let Outcome::Granted(granted) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        granted.edits,
        [
            Edit::Set("x-user-id".into(), b"user-1".to_vec()),
            Edit::Remove("authorization".into()),
        ]
    );
    let injected = signed(&with("sub", json!("user-1\r\nx-tenant: admin")));
    let outcome = ask(rules(), &head(&[format!("Bearer {injected}")]));
    assert_eq!(refusal(outcome).code, Code::ClaimMismatch);
}
