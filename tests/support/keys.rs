//! The test issuers' keys: one set for a whole test run, so that RSA keys are made once.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::mint::{SigningKey, sign_parts};
use serde_json::{Map, Value, json};

use super::scenario::{Place, Token};

/// The algorithms that test issuers sign with; the `kid` is the algorithm's name.
const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "HS256"];

struct Pair {
    good: SigningKey,
    stranger: SigningKey,
}

fn pair(name: &str) -> &'static Pair {
    static PAIRS: OnceLock<Vec<(&str, Pair)>> = OnceLock::new();
    let pairs = PAIRS.get_or_init(|| {
        let fresh = |name: &str| {
            SigningKey::generate(Algorithm::named(name).expect("known")).expect("a key")
        };
        let pair = |name| {
            let (good, stranger) = (fresh(name), fresh(name));
            (name, Pair { good, stranger })
        };
        ALGORITHMS.map(pair).into()
    });
    let found = pairs.iter().find(|(held, _)| *held == name);
    &found.unwrap_or_else(|| panic!("no test key for {name}")).1
}

/// Gives the test keys to every issuer of a policy that has none.
pub fn put_in(policy: &mut Value) {
    let Some(issuers) = policy.get_mut("issuers").and_then(Value::as_object_mut) else {
        return;
    };
    for issuer in issuers.values_mut() {
        if issuer.get("jwks").is_none() {
            let allowed = match (&issuer["algorithms"], issuer["preset"].as_str()) {
                (Value::Array(named), _) => named.clone(),
                (_, Some("iap")) => vec![json!("ES256")],
                (_, preset) => preset.map(|_| json!("RS256")).into_iter().collect(),
            };
            let keys: Vec<_> = ALGORITHMS
                .iter()
                .filter(|name| allowed.contains(&json!(name)))
                .map(|name| pair(name).good.public_jwk(name))
                .collect();
            issuer["jwks"] = json!({ "inline": { "keys": keys } });
        }
    }
}

/// The `Authorization` value of a case's token.
pub fn bearer(token: &Token, policy: &Value) -> String {
    format!("Bearer {}", compact(token, policy))
}

/// Puts a token where it belongs among the path and the header fields of a request.
pub fn put(text: &str, place: &Place, path: &mut String, fields: &mut Vec<(String, String)>) {
    match place {
        Place::Header(name) => fields.push((name.clone(), text.to_owned())),
        Place::Lead(name, lead) => fields.push((name.clone(), format!("{lead}{text}"))),
        Place::Cookie(name) => match fields.iter_mut().find(|(name, _)| name == "cookie") {
            Some((_, cookies)) => *cookies += &format!("; {name}={text}"),
            None => fields.push(("cookie".into(), format!("{name}={text}"))),
        },
        Place::Query(name) => {
            let sign = if path.contains('?') { '&' } else { '?' };
            *path += &format!("{sign}{name}={text}");
        }
    }
}

/// A case's token.
pub fn compact(token: &Token, policy: &Value) -> String {
    let issuer = &policy["issuers"][&token.issuer];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let mut claims = Map::new();
    claims.insert("iss".into(), issuer["issuer"].clone());
    claims.insert("aud".into(), issuer["audiences"][0].clone());
    claims.insert("exp".into(), json!(now + 3600));
    overlay(&mut claims, &token.claims, now);
    let mut header = Map::new();
    header.insert("alg".into(), json!(token.alg));
    header.insert("kid".into(), json!(token.alg));
    overlay(&mut header, &token.header, now);
    let payload = match &token.payload {
        None => Value::Object(claims).to_string(),
        Some(payload) => payload.clone(),
    };
    let header = Value::Object(header).to_string();
    let mut text = sign_parts(&key(token), header.as_bytes(), payload.as_bytes());
    if let Some(signature) = &token.signature {
        let (signed, _) = text.rsplit_once('.').expect("three parts");
        text = format!("{signed}.{signature}");
    }
    if let Some((from, to)) = &token.replace {
        text = text.replacen(from, to, 1);
    }
    format!("{text}{}", token.suffix)
}

/// What a case's token is signed with.
fn key(token: &Token) -> SigningKey {
    let pair = pair(&token.alg);
    let secret = match token.secret.as_deref() {
        None if token.forged => return pair.stranger.clone(),
        None => return pair.good.clone(),
        Some("public key") => pair.good.public_jwk(&token.alg).to_string(),
        Some(secret) => secret.to_owned(),
    };
    let jwk = json!({ "kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode(secret) });
    SigningKey::from_jwk(Algorithm::Hs256, &jwk).expect("any secret signs")
}

fn overlay(members: &mut Map<String, Value>, changes: &Map<String, Value>, now: u64) {
    for (name, value) in changes {
        let seconds = value
            .as_str()
            .filter(|text| text.starts_with(['+', '-']))
            .and_then(|text| text.parse::<i64>().ok());
        match (value, seconds) {
            (Value::Null, _) => {
                members.remove(name);
            }
            (_, Some(seconds)) => {
                members.insert(name.clone(), json!(now.saturating_add_signed(seconds)));
            }
            _ => {
                members.insert(name.clone(), value.clone());
            }
        }
    }
}
