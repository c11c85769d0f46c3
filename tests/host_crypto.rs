//! Signatures checked by Envoy's BoringSSL and by our own Wasm: the same verdict on every one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

#[allow(dead_code, reason = "shared with other test binaries")]
mod support;

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use forecourt::cli::client::{self, Request};
use forecourt::cli::envoy::{Envoy, Options};
use forecourt::cli::serve::Service;
use forecourt::config;
use forecourt::exchange::{Exchange, Step};
use forecourt::head::{Headers, RequestHead};
use forecourt::policy::Policy;
use forecourt::time::UnixTime;
use forecourt::token::algorithm::{Algorithm, KeyKind};
use forecourt::token::identity::NoIdentities;
use forecourt::token::mint::{SigningKey, mint};
use forecourt::token::{Env, InWasm, InlineOnly};
use forecourt::trace::Trace;
use rsa::BigUint;
use serde_json::{Map, Value, json};
use support::envoy::{bootstrap, start_with};

/// An issuer of one algorithm, and tokens that bear its name.
struct Case {
    algorithm: Algorithm,
    key: SigningKey,
    stranger: SigningKey,
}

/// A fresh key; making one for RSA takes seconds, so all of them share it.
fn key(algorithm: Algorithm, rsa: &SigningKey) -> SigningKey {
    match algorithm.key_kind() {
        KeyKind::Rsa => SigningKey::from_jwk(algorithm, &rsa.private_jwk()).unwrap(),
        _ => SigningKey::generate(algorithm).unwrap(),
    }
}

#[tokio::test]
async fn host_and_wasm_agree_on_good_bad_and_odd_signatures() {
    let [rsa, stranger] = [(); 2].map(|()| SigningKey::generate(Algorithm::Rs256).unwrap());
    let cases: Vec<_> = Algorithm::ALL
        .iter()
        .filter(|algorithm| !algorithm.is_symmetric())
        .map(|algorithm| Case {
            algorithm: *algorithm,
            key: key(*algorithm, &rsa),
            stranger: key(*algorithm, &stranger),
        })
        .collect();
    let document = policy(&cases);
    let policy = Rc::new(config::from_value(document.clone()).unwrap());
    let service = Service::start().unwrap();
    let options = Options {
        log_level: "info".into(),
        ..Options::default()
    };
    let envoy = start_with(&bootstrap(&service, &document), &options).await;
    let log = envoy.log().all().join("\n");
    assert!(
        log.contains("signatures that the host checks: RS256, RS384, RS512, ES256, ES384, ES512"),
        "{log}"
    );
    for case in &cases {
        let (mut accepted, mut refused) = (0, 0);
        for (name, token) in case.tokens() {
            let native = natively(&policy, &token);
            let real = in_envoy(&envoy, &token).await;
            assert_eq!(native, real, "{} {name}", case.algorithm);
            match native.as_str() {
                "forwarded" => accepted += 1,
                _ => refused += 1,
            }
            if name == "as it is" {
                assert_eq!(native, "forwarded", "{}", case.algorithm);
            }
        }
        assert!(accepted > 0 && refused > 10, "{}", case.algorithm);
    }
}

fn policy(cases: &[Case]) -> Value {
    let issuers: Map<String, Value> = cases
        .iter()
        .map(|case| {
            let name = case.algorithm.as_str();
            let issuer = json!({
                "issuer": format!("https://{name}.example"),
                "audiences": ["shop"],
                "algorithms": [name],
                "jwks": { "inline": { "keys": [case.key.public_jwk("k")] } },
            });
            (name.to_owned(), issuer)
        })
        .collect();
    let names: Vec<_> = issuers.keys().cloned().collect();
    json!({
        "version": "forecourt/v1",
        "issuers": issuers,
        "routes": [{ "match": { "path": "/me" }, "access": { "anyOf": names } }],
    })
}

impl Case {
    fn tokens(&self) -> Vec<(String, String)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let claims = json!({
            "iss": format!("https://{}.example", self.algorithm),
            "aud": "shop",
            "exp": now.as_secs() + 3600,
        });
        let token = mint(&self.key, "k", &Map::new(), &claims);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let mut signatures = vec![("as it is".to_owned(), signature.clone())];
        for at in (0..signature.len()).step_by(signature.len() / 24) {
            for bit in [1, 0x80] {
                let mut flipped = signature.clone();
                flipped[at] ^= bit;
                signatures.push((format!("byte {at} ^ {bit}"), flipped));
            }
        }
        for (name, length) in [("short", signature.len() - 1), ("one byte", 1)] {
            signatures.push((name.into(), signature[..length].to_vec()));
        }
        signatures.push(("long".into(), [&signature[..], &[0]].concat()));
        signatures.push(("zero".into(), vec![0; signature.len()]));
        signatures.push(("ones".into(), vec![0xff; signature.len()]));
        signatures.extend(match self.algorithm {
            Algorithm::Rs256 => self.paddings(signed.as_bytes()),
            Algorithm::Es256 => curve_cases(&signature, P256_ORDER),
            Algorithm::Es384 => curve_cases(&signature, P384_ORDER),
            Algorithm::Es512 => curve_cases(&signature, P521_ORDER),
            _ => Vec::new(),
        });
        let join =
            |signature: &[u8]| format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
        let mut tokens: Vec<_> = signatures
            .iter()
            .map(|(name, signature)| (name.clone(), join(signature)))
            .collect();
        tokens.push((
            "forged".into(),
            mint(&self.stranger, "k", &Map::new(), &claims),
        ));
        tokens
    }

    /// What a careless reader of PKCS #1 padding takes for a signature (RFC 8017 §9.2).
    fn paddings(&self, message: &[u8]) -> Vec<(String, Vec<u8>)> {
        use sha2::{Digest, Sha256};
        const WITH_NULL: &[u8] =
            b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
        const WITHOUT_NULL: &[u8] =
            b"\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20";
        const SHA384: &[u8] =
            b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x20";
        let hash = Sha256::digest(message);
        let info = |prefix: &[u8]| [prefix, &hash[..]].concat();
        let block = |kind: u8, fill: u8, info: &[u8], behind: usize| {
            let mut block = vec![0, kind];
            block.resize(256 - info.len() - behind - 1, fill);
            block.push(0);
            block.extend(info);
            block.resize(256, 0);
            block
        };
        let good = info(WITH_NULL);
        [
            ("made by hand", block(1, 0xff, &good, 0)),
            ("no NULL", block(1, 0xff, &info(WITHOUT_NULL), 0)),
            ("another hash", block(1, 0xff, &info(SHA384), 0)),
            ("type 2", block(2, 0xff, &good, 0)),
            ("other fill", block(1, 0xfe, &good, 0)),
            ("bytes behind", block(1, 0xff, &good, 190)),
            ("bare hash", block(1, 0xff, &hash, 0)),
        ]
        .map(|(name, block)| (name.to_owned(), self.raw_rsa(&block)))
        .into()
    }

    fn raw_rsa(&self, block: &[u8]) -> Vec<u8> {
        let jwk = self.key.private_jwk();
        let number = |name: &str| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap());
            BigUint::from_bytes_be(&bytes.unwrap())
        };
        let signed = BigUint::from_bytes_be(block).modpow(&number("d"), &number("n"));
        pad(&signed, 256)
    }
}

const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384_ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
const P521_ORDER: &str = "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409";

/// r and s at the edges of their range, and the other s that verifies.
fn curve_cases(signature: &[u8], order: &str) -> Vec<(String, Vec<u8>)> {
    let size = signature.len() / 2;
    let order = BigUint::parse_bytes(order.as_bytes(), 16).unwrap();
    let (r, s) = signature.split_at(size);
    let (r, s) = (BigUint::from_bytes_be(r), BigUint::from_bytes_be(s));
    let zero = BigUint::from(0u8);
    [
        ("s of the other sign", &r, &(&order - &s)),
        ("r and s swapped", &s, &r),
        ("r of zero", &zero, &s),
        ("s of zero", &r, &zero),
        ("r of the order", &order, &s),
        ("s of the order", &r, &order),
        ("r one below the order", &(&order - 1u8), &s),
    ]
    .map(|(name, r, s)| (name.to_owned(), [pad(r, size), pad(s, size)].concat()))
    .into()
}

fn pad(number: &BigUint, size: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    [vec![0; size - bytes.len()], bytes].concat()
}

fn natively(policy: &Rc<Policy>, token: &str) -> String {
    let fields = [
        (":method", "GET"),
        (":path", "/me"),
        ("authorization", &format!("Bearer {token}")),
    ];
    let fields = fields.map(|(name, value)| (name.into(), value.into()));
    let head = RequestHead {
        headers: Headers::new(fields.into()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let env = Env {
        now: UnixTime::from(now),
        keys: &InlineOnly,
        identities: &NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    match Exchange::new(Rc::clone(policy), Trace::off()).request(head, true, &env) {
        Step::Forward(_) => "forwarded".into(),
        Step::Reply(reply) => reply.code.as_str().into(),
        other => panic!("{other:?}"),
    }
}

async fn in_envoy(envoy: &Envoy, token: &str) -> String {
    let request = Request::new("GET", "/me").header("authorization", format!("Bearer {token}"));
    let answer = client::send(envoy.listener(), &request).await.unwrap();
    match answer.status {
        200 => "forwarded".into(),
        _ => answer.json().unwrap()["code"].as_str().unwrap().to_owned(),
    }
}
