//! Project Wycheproof's JSON Web Signature and JSON Web Key vectors through our key sets, parser
//! and verifier.
//!
//! The payloads are no claims, so the layer below them is tested. What Wycheproof calls valid and
//! Forecourt refuses is listed with its reason; a case on the list that passes is a failure too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption here is a failed test"
)]

use std::path::PathBuf;

use forecourt::token::InWasm;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::issuer::{find_key, verify};
use forecourt::token::jws::Compact;
use forecourt::token::key::Secrets;
use forecourt::token::keyset::KeySet;
use serde_json::{Value, json};

/// Valid to Wycheproof, refused by us.
const STRICTER: [(u64, &str); 6] = [
    (
        346,
        "RFC 7520 signs with PS384 by a key whose JWK the vectors label PS256",
    ),
    (347, "the JWK's `alg` is ES521, which is no algorithm"),
    (
        350,
        "RFC 7520 signs with PS384 by a key whose JWK the vectors label PS256",
    ),
    (351, "the JWK's `alg` is ES521, which is no algorithm"),
    (372, "`?` inside base64url, which RFC 7515 §2 does not have"),
    (373, "`?` inside base64url, which RFC 7515 §2 does not have"),
];

/// Invalid to Wycheproof, accepted by us: padding was meant to be in them, but what the file holds
/// is octet for octet the token of case 357, which it calls valid.
const MISLABELLED: [u64; 2] = [367, 370];
const TWIN: u64 = 357;

/// The vectors, or none where they are not on this machine and nobody insists on them.
fn vectors(name: &str) -> Option<Value> {
    let folder = std::env::var_os("FORECOURT_CONFORMANCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"),
        PathBuf::from,
    );
    let file = folder.join("wycheproof").join(name);
    match std::fs::read(&file) {
        Ok(text) => Some(serde_json::from_slice(&text).expect("the vectors are JSON")),
        Err(error) if std::env::var_os("FORECOURT_REQUIRE_CONFORMANCE").is_none() => {
            eprintln!("skipped: {}: {error}", file.display());
            None
        }
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// Whether the key set is usable and the token is signed by a key of it.
fn accepts(set: &Value, token: &str) -> bool {
    let symmetric = set["keys"]
        .as_array()
        .is_some_and(|keys| keys.iter().any(|key| key["kty"] == "oct"));
    let secrets = if symmetric {
        Secrets::Allowed
    } else {
        Secrets::Refused
    };
    let Ok(keys) = KeySet::parse(set.to_string().as_bytes(), secrets) else {
        return false;
    };
    let Ok(token) = Compact::parse(token.as_bytes()) else {
        return false;
    };
    Algorithm::named(&token.header.algorithm).is_some_and(|algorithm| {
        find_key(&token.header, algorithm, &keys)
            .and_then(|key| verify(&token, algorithm, key, &InWasm))
            .is_ok()
    })
}

/// Groups with shared secrets have nothing but a private part.
fn key_set(group: &Value) -> Value {
    let part = group.get("public").unwrap_or(&group["private"]);
    if part.get("keys").is_some() {
        part.clone()
    } else {
        json!({ "keys": [part] })
    }
}

#[derive(Default)]
struct Tally {
    run: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn group(&mut self, file: &str, group: &Value, stricter: &[u64], mislabelled: &[u64]) {
        let set = key_set(group);
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let expected = match test["result"].as_str().unwrap() {
                "valid" => !stricter.contains(&id),
                "invalid" => mislabelled.contains(&id),
                other => panic!("{file} {id}: unknown result {other}"),
            };
            self.run += 1;
            // One case is in the JSON serialization: its text is no token either.
            let token = match &test["jws"] {
                Value::String(token) => token.clone(),
                other => other.to_string(),
            };
            let accepted = accepts(&set, &token);
            if accepted != expected {
                let comment = &test["comment"];
                self.wrong
                    .push(format!("{file} {id} {comment}: accepted is {accepted}"));
            }
        }
    }
}

#[test]
fn json_web_signatures() {
    let Some(file) = vectors("json_web_signature_test.json") else {
        return;
    };
    let stricter = STRICTER.map(|(id, _)| id);
    let mut tally = Tally::default();
    for group in file["testGroups"].as_array().unwrap() {
        tally.group("jws", group, &stricter, &MISLABELLED);
    }
    assert_eq!(tally.wrong, Vec::<String>::new());
    assert_eq!(tally.run, 401);
    let token = |id: u64| {
        let groups = file["testGroups"].as_array().unwrap().iter();
        let mut tests = groups.flat_map(|group| group["tests"].as_array().unwrap());
        &tests.find(|test| test["tcId"] == id).unwrap()["jws"]
    };
    for id in MISLABELLED {
        assert_eq!(token(id), token(TWIN));
    }
}

#[test]
fn json_web_keys() {
    let Some(file) = vectors("json_web_key_test.json") else {
        return;
    };
    let mut tally = Tally::default();
    for group in file["testGroups"].as_array().unwrap() {
        tally.group("jwk", group, &[], &[]);
    }
    assert_eq!(tally.wrong, Vec::<String>::new());
    assert_eq!(tally.run, 26);
}

#[test]
fn the_signatures_among_the_mixed_vectors() {
    let Some(file) = vectors("json_web_crypto_test.json") else {
        return;
    };
    let mut tally = Tally::default();
    for group in file["testGroups"].as_array().unwrap() {
        if group["comment"].as_str().unwrap().starts_with("jws") {
            tally.group("mixed", group, &[], &[]);
        }
    }
    assert_eq!(tally.wrong, Vec::<String>::new());
    assert_eq!(tally.run, 49);
}
