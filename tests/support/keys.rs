//! The test issuers' keys: one set for a whole test run, so that RSA keys are made once.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use forecourt::token::algorithm::Algorithm;
use forecourt::token::mint::{SigningKey, mint, sign_parts};
use serde_json::{Map, Value, json};

use super::scenario::Token;

/// The algorithms that test issuers sign with; the `kid` is the algorithm's name.
const ALGORITHMS: [&str; 2] = ["RS256", "ES256"];

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
            let allowed = issuer["algorithms"].as_array().cloned().unwrap_or_default();
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
    overlay(&mut header, &token.header, now);
    let pair = pair(&token.alg);
    let key = if token.forged {
        &pair.stranger
    } else {
        &pair.good
    };
    let mut text = match &token.payload {
        None => mint(key, &token.alg, &header, &Value::Object(claims)),
        Some(payload) => {
            let header = json!({ "alg": token.alg, "kid": token.alg }).to_string();
            sign_parts(key, header.as_bytes(), payload.as_bytes())
        }
    };
    if let Some(signature) = &token.signature {
        let (signed, _) = text.rsplit_once('.').expect("three parts");
        text = format!("{signed}.{signature}");
    }
    if let Some((from, to)) = &token.replace {
        text = text.replacen(from, to, 1);
    }
    format!("Bearer {text}{}", token.suffix)
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
