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
use super::key::Secrets;
use super::keyset::KeySet;
use super::mint::{SigningKey, mint, sign_parts};
use super::remote::{Bounds, Endpoint, KeyFormat, Remote, Start, Url};
use super::rule::{ClaimRule, Test};
use super::*;
use crate::head::{Edit, Headers, RequestHead};
use crate::reply::Code;
use crate::time::UnixTime;
use crate::trace::Trace;

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
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        crypto: &InWasm,
        cache: None,
    };
    Access::restricted(rules).check(&WORLD.issuers, head, &env, &mut Trace::off())
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

fn refused(token: &str) -> Code {
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
fn alg_none_in_any_case_is_refused() {
    for alg in [
        "none", "None", "NONE", "nOnE", "", "rs256", "ES256K", "HS256",
    ] {
        let header = encode(json!({ "alg": alg, "kid": "ec" }).to_string());
        let payload = encode(claims().to_string());
        let token = format!("{header}.{payload}.AAAA");
        assert_eq!(refused(&token), Code::AlgorithmNotAllowed, "{alg}");
        assert_eq!(
            refused(&format!("{header}.{payload}.")),
            Code::TokenMalformed,
            "{alg}"
        );
    }
}

#[test]
fn a_public_key_is_never_an_hmac_secret() {
    let public = WORLD.rsa.public_jwk("rsa");
    let modulus = public["n"].as_str().unwrap();
    let secrets = [modulus.to_owned(), encode(public.to_string())];
    for secret in secrets {
        let jwk = json!({ "kty": "oct", "k": secret });
        let forger = SigningKey::from_jwk(Algorithm::Hs256, &jwk).unwrap();
        let token = mint(&forger, "rsa", &Map::new(), &claims());
        assert_eq!(refused(&token), Code::AlgorithmNotAllowed);
        let renamed = json!({ "alg": "RS256" });
        let token = mint(&forger, "rsa", renamed.as_object().unwrap(), &claims());
        assert_eq!(refused(&token), Code::SignatureInvalid);
    }
}

#[test]
fn every_changed_signature_is_refused() {
    let token = good();
    assert_granted(&check(&token));
    let (input, signature) = token.rsplit_once('.').unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    for index in [0, 31, 32, 63] {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let token = format!("{input}.{}", encode(changed));
        assert_eq!(refused(&token), Code::SignatureInvalid);
    }
    let mut long = bytes.clone();
    long.push(0);
    let zero_r = [vec![0; 32], bytes[32..].to_vec()].concat();
    let huge_s = [bytes[..32].to_vec(), vec![0xff; 32]].concat();
    for changed in [
        bytes[..63].to_vec(),
        vec![0],
        vec![0; 64],
        long,
        zero_r,
        huge_s,
    ] {
        let token = format!("{input}.{}", encode(changed));
        assert_eq!(refused(&token), Code::SignatureInvalid);
    }
    assert_eq!(
        refused(&format!("{input}.SIGNATURE_REMOVED_BY_GOOGLE")),
        Code::TokenSignatureRemoved
    );
}

#[test]
fn ecdsa_in_der_form_is_refused() {
    let token = good();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let der = p256::ecdsa::Signature::from_slice(&bytes).unwrap().to_der();
    let token = format!("{input}.{}", encode(der.as_bytes()));
    assert_eq!(refused(&token), Code::SignatureInvalid);
}

#[test]
fn keys_in_the_token_are_not_looked_at() {
    let attacker = SigningKey::generate(Algorithm::Es256).unwrap();
    let jwk = attacker.public_jwk("mine");
    for (kid, header, expected) in [
        ("mine", json!({ "jwk": jwk }), Code::KeyUnknown),
        ("ec", json!({ "jwk": jwk }), Code::SignatureInvalid),
        (
            "ec",
            json!({ "jku": "https://evil.example/jwks.json" }),
            Code::SignatureInvalid,
        ),
        (
            "ec",
            json!({ "x5u": "https://evil.example/cert.pem" }),
            Code::SignatureInvalid,
        ),
        ("ec", json!({ "x5c": ["MIIB"] }), Code::SignatureInvalid),
    ] {
        let token = mint(&attacker, kid, header.as_object().unwrap(), &claims());
        assert_eq!(refused(&token), expected, "{header}");
        // Beside it: the same parameters on the issuer's own token do no harm.
        assert_granted(&check(&signed_with_header(header)));
    }
}

#[test]
fn kid_is_an_opaque_name() {
    for kid in [
        "../../../../dev/null",
        "ec' OR '1'='1",
        "ec|/usr/bin/id",
        "EC",
        "ec ",
        "ec\u{0}",
        "",
        &"k".repeat(2000),
    ] {
        let token = mint(&WORLD.ec, kid, &Map::new(), &claims());
        assert_eq!(refused(&token), Code::KeyUnknown, "{kid}");
    }
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
        crypto: &InWasm,
        cache: None,
    };
    let head = head(&[format!("Bearer {}", token(&WORLD.ec))]);
    let outcome = Access::restricted(shop_only()).check(&issuers, &head, &env, &mut Trace::off());
    assert_eq!(refusal(outcome).code, Code::KeyUnknown);
}

#[test]
fn the_algorithm_is_that_of_the_key() {
    let header = json!({ "alg": "RS256" });
    let token = mint(&WORLD.ec, "ec", header.as_object().unwrap(), &claims());
    assert_eq!(refused(&token), Code::AlgorithmNotAllowed);
    for alg in ["PS256", "RS384", "ES384", "EdDSA"] {
        let header = json!({ "alg": alg });
        let token = mint(&WORLD.rsa, "rsa", header.as_object().unwrap(), &claims());
        assert_eq!(refused(&token), Code::AlgorithmNotAllowed, "{alg}");
    }
}

#[test]
fn what_the_header_must_not_ask_for_is_refused() {
    for header in [
        json!({ "crit": ["exp"] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A256GCM" }),
    ] {
        assert_eq!(refused(&signed_with_header(header)), Code::TokenUnsupported);
    }
    // RFC 7516 appendix A.2's header.
    let jwe = "eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.e30.e30.e30.e30";
    assert_eq!(refused(jwe), Code::TokenUnsupported);
}

#[test]
fn a_token_has_three_parts_in_canonical_base64url() {
    let token = good();
    for broken in [
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.e30"),
        format!("{token}="),
        token.replacen('.', "..", 1),
        token.replacen('.', "", 1),
        token.replacen('e', "%65", 1),
    ] {
        assert_eq!(refused(&broken), Code::TokenMalformed, "{broken}");
    }
}

#[test]
fn duplicate_members_and_invalid_utf8_are_refused() {
    let header = br#"{"alg":"ES256","kid":"ec"}"#;
    let good = claims().to_string();
    assert_granted(&check(&sign_parts(&WORLD.ec, header, good.as_bytes())));
    let doubled = good.replacen('{', r#"{"sub":"admin","#, 1);
    let nested = good.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1);
    let invalid = [&b"{\"x\":\"\xff\","[..], &good.as_bytes()[1..]].concat();
    for payload in [
        doubled.as_bytes(),
        nested.as_bytes(),
        &invalid,
        b"[]",
        b"",
        b"null",
    ] {
        let token = sign_parts(&WORLD.ec, header, payload);
        assert_eq!(refused(&token), Code::TokenMalformed);
    }
    for header in [
        &br#"{"alg":"ES256","kid":"other","kid":"ec"}"#[..],
        br#"{"alg":"ES256","alg":"none","kid":"ec"}"#,
        br#"["ES256"]"#,
    ] {
        let token = sign_parts(&WORLD.ec, header, good.as_bytes());
        assert_eq!(refused(&token), Code::TokenMalformed);
    }
}

#[test]
fn keys_and_names_belong_to_one_issuer() {
    // The other issuer's key under this one's name, and the other way round.
    let token = mint(&WORLD.other, "other", &Map::new(), &claims());
    assert_eq!(refused(&token), Code::KeyUnknown);
    let token = mint(&WORLD.other, "ec", &Map::new(), &claims());
    assert_eq!(refused(&token), Code::SignatureInvalid);
    let other = with("iss", json!("https://other.example/"));
    assert_eq!(refused(&signed(&other)), Code::IssuerUnknown);
    let token = mint(&WORLD.other, "other", &Map::new(), &other);
    assert_eq!(refused(&token), Code::IssuerUnknown);
    let both = Rules {
        requirement: any_of(&[0, 1]),
        ..Rules::default()
    };
    assert_granted(&ask(both, &head(&[format!("Bearer {token}")])));
}

#[test]
fn the_issuer_is_compared_exactly() {
    for iss in [
        "https://issuer.example",
        "https://issuer.example//",
        "http://issuer.example/",
        "https://ISSUER.example/",
        "https://issuer.example/ ",
        "issuer.example/",
        "",
    ] {
        assert_eq!(
            refused(&signed(&with("iss", json!(iss)))),
            Code::IssuerUnknown
        );
    }
    assert_eq!(refused(&signed(&without("iss"))), Code::IssuerUnknown);
    assert_eq!(
        refused(&signed(&with("iss", json!([ISS])))),
        Code::TokenMalformed
    );
}

#[test]
fn the_audience_is_mandatory() {
    assert_granted(&check(&signed(&with("aud", json!(["a", "orders"])))));
    for aud in [
        json!("other"),
        json!([]),
        json!("Orders"),
        json!(null),
        json!(1),
    ] {
        assert_eq!(refused(&signed(&with("aud", aud))), Code::AudienceMismatch);
    }
    assert_eq!(refused(&signed(&without("aud"))), Code::AudienceMismatch);
}

#[test]
fn times_are_mandatory_and_bounded() {
    assert_granted(&check(&signed(&with("exp", json!(NOW.0 - 59)))));
    assert_granted(&check(&signed(&with("exp", json!(1_700_000_000.5)))));
    for (name, value, expected) in [
        ("exp", json!(NOW.0 - 60), Code::TokenExpired),
        ("exp", json!(0), Code::TokenExpired),
        ("exp", json!(-1), Code::ExpiryMissing),
        ("exp", json!("1700000300"), Code::ExpiryMissing),
        ("exp", json!(1e300), Code::ExpiryMissing),
        ("exp", json!(u64::MAX), Code::ExpiryMissing),
        ("nbf", json!(NOW.0 + 61), Code::TokenNotYetValid),
        ("iat", json!(NOW.0 + 61), Code::TokenNotYetValid),
        ("nbf", json!("soon"), Code::TokenMalformed),
    ] {
        assert_eq!(refused(&signed(&with(name, value))), expected, "{name}");
    }
    assert_eq!(refused(&signed(&without("exp"))), Code::ExpiryMissing);
}

#[test]
fn several_tokens_are_ambiguous() {
    let bearer = format!("Bearer {}", good());
    for second in [
        bearer.clone(),
        "Bearer x".into(),
        "Basic x".into(),
        String::new(),
    ] {
        for pair in [[bearer.clone(), second.clone()], [second, bearer.clone()]] {
            let refusal = refusal(ask(shop_only(), &head(&pair)));
            assert_eq!(refusal.code, Code::TokenAmbiguous);
        }
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    assert_eq!(refused(&signed(&with("x", deep))), Code::TokenMalformed);
    let long = json!("x".repeat(jws::MAX_TOKEN_BYTES));
    assert_eq!(refused(&signed(&with("x", long))), Code::TokenMalformed);
    assert_granted(&check(&signed(&with("x", json!("x".repeat(8_000))))));
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

#[test]
fn what_is_said_of_a_token_never_holds_a_part_of_it() {
    let mut trace = Trace::on(false);
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        crypto: &InWasm,
        cache: None,
    };
    let token = signed(&with("exp", json!(1)));
    let access = Access::restricted(shop_only());
    let outcome = access.check(
        &WORLD.issuers,
        &head(&[format!("Bearer {token}")]),
        &env,
        &mut trace,
    );
    let said = format!("{outcome:?} {:?}", trace.steps());
    for part in token.split('.').chain(["user-1"]) {
        assert!(!said.contains(part), "{said}");
    }
    assert!(
        said.contains("issuer shop refuses it: token_expired"),
        "{said}"
    );
}

/// Keys that a driver would have fetched.
struct Fetched {
    state: Option<KeySet>,
    pending: bool,
    refresh: bool,
}

impl Keys for Fetched {
    fn lookup(&self, _: usize) -> KeyState<'_> {
        match &self.state {
            Some(keys) => KeyState::Ready(keys),
            None if self.pending => KeyState::Pending,
            None => KeyState::Unavailable,
        }
    }

    fn refresh(&self, _: usize, _: Option<&str>) -> bool {
        self.refresh
    }
}

#[test]
fn remote_keys_are_waited_for_refreshed_or_missed() {
    let KeySource::Inline(keys) = WORLD.issuers[0].keys.clone() else {
        panic!()
    };
    let mut issuers = WORLD.issuers.clone();
    issuers[0].keys = KeySource::Remote(Box::new(Remote {
        start: Start::Keys(Endpoint {
            url: Url::parse("https://keys.example/").unwrap(),
            cluster: "keys".into(),
        }),
        format: KeyFormat::JwkSet,
        bounds: Bounds {
            cache_duration: None,
            max_stale: 0,
            min_refresh: 1,
            timeout: 1,
        },
    }));
    let ask = |token: &str, state: Option<KeySet>, pending: bool, refresh: bool| {
        let keys = Fetched {
            state,
            pending,
            refresh,
        };
        let env = Env {
            now: NOW,
            keys: &keys,
            crypto: &InWasm,
            cache: None,
        };
        let head = head(&[format!("Bearer {token}")]);
        Access::restricted(shop_only()).check(&issuers, &head, &env, &mut Trace::off())
    };
    assert_granted(&ask(&good(), Some(keys.clone()), false, false));
    assert_eq!(ask(&good(), None, true, true), Outcome::AwaitKeys(vec![0]));
    let unavailable = refusal(ask(&good(), None, false, true));
    assert_eq!(unavailable.code, Code::KeysUnavailable);
    assert_eq!(unavailable.headers, [("retry-after".into(), "5".into())]);
    let unknown = mint(&WORLD.ec, "new", &Map::new(), &claims());
    let again = ask(&unknown, Some(keys.clone()), false, true);
    assert_eq!(again, Outcome::AwaitKeys(vec![0]));
    let refused = refusal(ask(&unknown, Some(keys), false, false));
    assert_eq!(refused.code, Code::KeyUnknown);
    // A token that would be refused anyway never makes anybody fetch or wait.
    let expired = signed(&with("exp", json!(1)));
    assert_eq!(
        refusal(ask(&expired, None, true, true)).code,
        Code::TokenExpired
    );
}
