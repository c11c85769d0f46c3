//! JSON Web Signatures and JSON Web Keys, through our key sets, parser and verifier. The payloads are
//! no claims, so the layer below them is tested.

use std::path::PathBuf;

use forecourt::token::Crypto;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::issuer::{find_key, verify};
use forecourt::token::jws::Compact;
use forecourt::token::key::Secrets;
use forecourt::token::keyset::KeySet;
use serde_json::{Value, json};

use super::{Group, Subject, Tallies, Wanted};

const LABEL: &str = "RFC 7520 signs with PS384 by a key whose JWK the vectors label PS256";
const ES521: &str = "the JWK's `alg` is ES521, which is no algorithm";
const QUESTION_MARK: &str = "`?` inside base64url, which RFC 7515 §2 does not have";
const NOT_PADDED: &str = "padding was meant to be in it, but it is, octet for octet, case 357, \
                          which is valid";

/// Cases of the signature file that we decide otherwise.
const DEVIATIONS: [(usize, &str); 8] = [
    (346, LABEL),
    (350, LABEL),
    (347, ES521),
    (351, ES521),
    (372, QUESTION_MARK),
    (373, QUESTION_MARK),
    (367, NOT_PADDED),
    (370, NOT_PADDED),
];
const TWIN: usize = 357;

/// The files, and how many of their cases are run.
const FILES: [(&str, usize); 3] = [
    ("json_web_signature_test.json", 401),
    ("json_web_key_test.json", 26),
    ("json_web_crypto_test.json", 49),
];

/// Tokens and the key set of their issuer.
pub struct Tokens {
    pub tokens: Vec<String>,
    pub wanted: Vec<Wanted>,
    jwks: Value,
}

impl Tokens {
    fn new(file: &str, group: &Value) -> Self {
        // Groups with shared secrets have nothing but a private part.
        let part = group.get("public").unwrap_or(&group["private"]);
        let jwks = match part.get("keys") {
            Some(_) => part.clone(),
            None => json!({ "keys": [part] }),
        };
        let tests = group["tests"].as_array().unwrap();
        let wanted = |test: &Value| {
            let id = test["tcId"].as_u64().unwrap() as usize;
            let valid = match test["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                other => panic!("{file} {id}: unknown result {other}"),
            };
            let known = DEVIATIONS.iter().find(|(known, _)| *known == id);
            let known = known.filter(|_| file == FILES[0].0);
            Wanted::new(id, valid, known.map(|(_, reason)| *reason))
        };
        // One case is in the JSON serialization: its text is no token either.
        let token = |test: &Value| match &test["jws"] {
            Value::String(token) => token.clone(),
            other => other.to_string(),
        };
        Self {
            tokens: tests.iter().map(token).collect(),
            wanted: tests.iter().map(wanted).collect(),
            jwks,
        }
    }

    /// Whether the key set is usable and the token is signed by a key of it.
    pub fn verdicts(&self, crypto: &dyn Crypto) -> Vec<bool> {
        let secrets = match self.is_symmetric() {
            true => Secrets::Allowed,
            false => Secrets::Refused,
        };
        let keys = KeySet::parse(self.jwks.to_string().as_bytes(), secrets);
        let accepts = |token: &String| {
            let (Ok(keys), Ok(token)) = (&keys, Compact::parse(token.as_bytes())) else {
                return false;
            };
            Algorithm::named(&token.header.algorithm).is_some_and(|algorithm| {
                let key = find_key(&token.header, algorithm, keys);
                key.and_then(|key| verify(&token, algorithm, key, crypto))
                    .is_ok()
            })
        };
        self.tokens.iter().map(accepts).collect()
    }

    pub fn question(&self) -> Value {
        json!({ "jwks": self.jwks, "secrets": self.is_symmetric() })
    }

    fn is_symmetric(&self) -> bool {
        let keys = self.jwks["keys"].as_array();
        keys.is_some_and(|keys| keys.iter().any(|key| key["kty"] == "oct"))
    }
}

pub fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    for (file, _) in FILES {
        let Some(vectors) = vectors(file) else {
            continue;
        };
        for group in vectors["testGroups"].as_array().unwrap() {
            // One file holds encryptions too.
            let comment = group["comment"].as_str().unwrap_or_default();
            if file == "json_web_crypto_test.json" && !comment.starts_with("jws") {
                continue;
            }
            groups.push(Group {
                file: file.to_owned(),
                subject: Subject::Tokens(Tokens::new(file, group)),
            });
        }
    }
    groups
}

/// That every case was run, wherever the files are there.
pub fn check(tallies: &Tallies) {
    for (file, cases) in FILES {
        let Some(tally) = tallies.get(file) else {
            continue;
        };
        assert_eq!(tally.accepted + tally.refused, cases, "{file}");
        assert!(tally.accepted > 0 && tally.refused > 0, "{file}");
        let deviations: usize = tally.deviations.values().sum();
        let listed = if file == FILES[0].0 {
            DEVIATIONS.len()
        } else {
            0
        };
        assert_eq!(deviations, listed, "{file}");
    }
}

#[test]
fn cases_that_were_meant_to_be_padded_are_not() {
    let Some(file) = vectors(FILES[0].0) else {
        return;
    };
    let groups = file["testGroups"].as_array().unwrap().iter();
    let tests: Vec<_> = groups
        .flat_map(|group| group["tests"].as_array().unwrap())
        .collect();
    let token = |id: usize| &tests.iter().find(|test| test["tcId"] == id).unwrap()["jws"];
    for (id, _) in DEVIATIONS
        .iter()
        .filter(|(_, reason)| *reason == NOT_PADDED)
    {
        assert_eq!(token(*id), token(TWIN));
    }
}

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
