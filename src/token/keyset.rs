//! An issuer's keys (RFC 7517 §5), the unusable ones left out, and which of them a token means.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json::{self, JsonFlaw};
use super::key::{KeyFlaw, PublicKey, Secrets};
use super::x509;
use crate::time::UnixTime;

/// Largest key set, in bytes of JSON.
pub const MAX_SET_BYTES: usize = 256 * 1024;
/// Most keys in a set, usable or not.
pub const MAX_KEYS: usize = 100;

/// The keys of one issuer that may verify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Arc<PublicKey>>,
    dropped: Vec<Dropped>,
}

/// A key of the set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its index in `keys`.
    pub index: usize,
    /// Its name, as far as it is readable.
    pub kid: Option<String>,
    /// Why.
    pub flaw: KeyFlaw,
}

/// Why a whole key set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetFlaw {
    /// More than [`MAX_SET_BYTES`].
    TooLarge,
    /// More than [`MAX_KEYS`].
    TooManyKeys,
    /// Not readable as JSON.
    Json(JsonFlaw),
    /// No list named `keys`, or something other than an object in it.
    Shape,
    /// Not an object from names to certificates.
    CertificateMap,
    /// Public keys and shared secrets in one set: one could be taken for the other.
    MixedSymmetry,
    /// No key of it is usable.
    NoUsableKey,
}

impl fmt::Display for KeySetFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "is larger than {MAX_SET_BYTES} bytes"),
            Self::TooManyKeys => write!(f, "has more than {MAX_KEYS} keys"),
            Self::Json(flaw) => flaw.fmt(f),
            Self::Shape => f.write_str("is not a JWK set: an object with a list `keys` of objects"),
            Self::CertificateMap => f.write_str("is not an object from `kid` to certificate"),
            Self::MixedSymmetry => f.write_str("mixes public keys and shared secrets"),
            Self::NoUsableKey => f.write_str("has no usable key"),
        }
    }
}

/// No key is the one that a token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// No key has that `kid`, or none fits the algorithm.
    Unknown,
    /// Several keys fit: nothing says which.
    Ambiguous,
    /// A key has that `kid`, but is for another algorithm.
    WrongAlgorithm,
}

impl KeySet {
    /// Reads a JWK set as an issuer serves it.
    ///
    /// # Errors
    /// The reason to refuse the set as a whole; single unusable keys are in [`Self::dropped`].
    pub fn parse(text: &[u8], secrets: Secrets) -> Result<Self, KeySetFlaw> {
        if text.len() > MAX_SET_BYTES {
            return Err(KeySetFlaw::TooLarge);
        }
        let set = json::object(text).map_err(KeySetFlaw::Json)?;
        let keys = Self::from_object(&set, secrets)?;
        if keys.is_empty() {
            return Err(KeySetFlaw::NoUsableKey);
        }
        Ok(keys)
    }

    /// Takes a JWK set that has been read already; it may turn out empty.
    ///
    /// # Errors
    /// The reason to refuse the set as a whole.
    pub fn from_object(set: &Map<String, Value>, secrets: Secrets) -> Result<Self, KeySetFlaw> {
        let Some(Value::Array(list)) = set.get("keys") else {
            return Err(KeySetFlaw::Shape);
        };
        if list.len() > MAX_KEYS {
            return Err(KeySetFlaw::TooManyKeys);
        }
        let mut read = Self::default();
        let mut symmetric = 0;
        for (index, jwk) in list.iter().enumerate() {
            let Value::Object(jwk) = jwk else {
                return Err(KeySetFlaw::Shape);
            };
            symmetric += usize::from(jwk.get("kty").is_some_and(|kty| kty == "oct"));
            match PublicKey::from_jwk(jwk, secrets) {
                Ok(key) => read.add(key),
                Err(flaw) => read.dropped.push(Dropped {
                    index,
                    kid: jwk.get("kid").and_then(Value::as_str).map(str::to_owned),
                    flaw,
                }),
            }
        }
        if symmetric != 0 && symmetric != list.len() {
            return Err(KeySetFlaw::MixedSymmetry);
        }
        Ok(read)
    }

    /// Reads an object from `kid` to certificate in PEM, as an issuer serves it. Certificates whose
    /// time `now` is not are left out.
    ///
    /// # Errors
    /// The reason to refuse it as a whole; single unusable keys are in [`Self::dropped`].
    pub fn parse_certificates(text: &[u8], now: UnixTime) -> Result<Self, KeySetFlaw> {
        if text.len() > MAX_SET_BYTES {
            return Err(KeySetFlaw::TooLarge);
        }
        let map = json::object(text).map_err(KeySetFlaw::Json)?;
        if map.len() > MAX_KEYS {
            return Err(KeySetFlaw::TooManyKeys);
        }
        let mut read = Self::default();
        for (index, (kid, certificate)) in map.iter().enumerate() {
            let Value::String(pem) = certificate else {
                return Err(KeySetFlaw::CertificateMap);
            };
            match x509::key(kid, pem, now) {
                Ok(key) => read.add(key),
                Err(flaw) => read.dropped.push(Dropped {
                    index,
                    kid: Some(kid.clone()),
                    flaw,
                }),
            }
        }
        if read.is_empty() {
            return Err(KeySetFlaw::NoUsableKey);
        }
        Ok(read)
    }

    fn add(&mut self, key: PublicKey) {
        if !self.keys.iter().any(|held| **held == key) {
            self.keys.push(Arc::new(key));
        }
    }

    /// The keys that may verify, in the set's order.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// Whether no key may verify.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that are left out.
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

    /// The one key for a token with this `kid` and `alg`. Without a `kid` it is the only key that
    /// fits, never a trial of all.
    ///
    /// # Errors
    /// There is no such key, or more than one.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Arc<PublicKey>, NoKey> {
        let named = |key: &&Arc<PublicKey>| kid.is_none() || key.kid() == kid;
        let mut fitting = self
            .keys
            .iter()
            .filter(named)
            .filter(|key| key.fits(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(_), None) if kid.is_some() && self.is_contested(kid) => Err(NoKey::Ambiguous),
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (None, _) if kid.is_some() && self.keys.iter().any(|key| key.kid() == kid) => {
                Err(NoKey::WrongAlgorithm)
            }
            (None, _) => Err(NoKey::Unknown),
        }
    }

    /// Whether a key that was left out as defective has the same name, so that it may be the one
    /// that is meant. Keys for other purposes and algorithms may share a name (RFC 7517 §4.5).
    fn is_contested(&self, kid: Option<&str>) -> bool {
        self.dropped.iter().any(|dropped| {
            let other_purpose = matches!(
                dropped.flaw,
                KeyFlaw::NotForSignatures | KeyFlaw::Unsupported(_)
            );
            dropped.kid.as_deref() == kid && !other_purpose
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::token::key::{MIN_RSA_BITS, PublicKey};
    use crate::token::mint::SigningKey;

    fn jwk(algorithm: Algorithm, kid: &str) -> Value {
        SigningKey::generate(algorithm).unwrap().public_jwk(kid)
    }

    fn changed(jwk: &Value, name: &str, value: Value) -> Value {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    }

    fn parse(keys: &[Value]) -> Result<KeySet, KeySetFlaw> {
        KeySet::parse(
            json!({ "keys": keys }).to_string().as_bytes(),
            Secrets::Refused,
        )
    }

    fn flaw(jwk: &Value) -> KeyFlaw {
        PublicKey::from_jwk(jwk.as_object().unwrap(), Secrets::Refused).unwrap_err()
    }

    fn encode(bytes: &[u8]) -> Value {
        use base64::Engine;
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes).into()
    }

    #[test]
    fn a_key_that_is_not_for_signatures_is_left_out_and_the_rest_stays() {
        let good = jwk(Algorithm::Es256, "good");
        for (name, value, expected) in [
            ("use", json!("enc"), KeyFlaw::NotForSignatures),
            ("use", json!(1), KeyFlaw::Malformed("use")),
            ("key_ops", json!(["sign"]), KeyFlaw::NotForSignatures),
            ("key_ops", json!([]), KeyFlaw::NotForSignatures),
            ("key_ops", json!("verify"), KeyFlaw::Malformed("key_ops")),
            ("d", json!("AAAA"), KeyFlaw::Private),
            ("alg", json!("ES384"), KeyFlaw::AlgorithmMismatch),
            ("alg", json!("RS256"), KeyFlaw::AlgorithmMismatch),
            ("alg", json!("HS256"), KeyFlaw::AlgorithmMismatch),
            ("alg", json!("ECDH-ES"), KeyFlaw::Unsupported("alg")),
            ("kid", json!(7), KeyFlaw::Malformed("kid")),
            ("kid", json!("k".repeat(257)), KeyFlaw::Malformed("kid")),
            ("kty", json!("RSA"), KeyFlaw::Malformed("n")),
            ("kty", json!("oct"), KeyFlaw::SecretNotAllowed),
            ("kty", json!("AKP"), KeyFlaw::Unsupported("kty")),
            ("crv", json!("P-384"), KeyFlaw::Malformed("x")),
            ("crv", json!("secp256k1"), KeyFlaw::Unsupported("crv")),
            ("x", encode(&[1; 32]), KeyFlaw::NotOnCurve),
            ("x", encode(&[0; 31]), KeyFlaw::Malformed("x")),
            ("y", json!("="), KeyFlaw::Malformed("y")),
        ] {
            let bad = changed(&good, name, value);
            assert_eq!(flaw(&bad), expected, "{name}");
            if expected == KeyFlaw::SecretNotAllowed {
                continue; // among public keys it makes the whole set ambiguous
            }
            let set = parse(&[bad, changed(&good, "kid", json!("rest"))]).unwrap();
            assert_eq!(set.keys().count(), 1);
            assert_eq!(set.dropped()[0].flaw, expected);
            assert!(set.find(Some("rest"), Algorithm::Es256).is_ok());
        }
        let verify = changed(&good, "key_ops", json!(["verify", "sign"]));
        assert!(parse(&[verify]).is_ok());
    }

    #[test]
    fn weak_rsa_keys_are_left_out() {
        let good = jwk(Algorithm::Rs256, "r");
        assert!(parse(std::slice::from_ref(&good)).is_ok());
        let odd = |bytes: usize| {
            let mut modulus = vec![0xff; bytes];
            modulus[1] = 0x35;
            encode(&modulus)
        };
        for (name, value, expected) in [
            ("n", odd(MIN_RSA_BITS / 8 - 1), KeyFlaw::RsaModulusSize),
            ("n", odd(1025), KeyFlaw::RsaModulusSize),
            ("n", encode(&[]), KeyFlaw::RsaModulusSize),
            (
                "n",
                encode(&[&[0; 200][..], &[0xff; 100]].concat()),
                KeyFlaw::RsaModulusSize,
            ),
            (
                "n",
                encode(&[&[0xff; 255][..], &[0xfe]].concat()),
                KeyFlaw::RsaModulusWeak,
            ),
            ("e", encode(&[1]), KeyFlaw::RsaExponent),
            ("e", encode(&[2]), KeyFlaw::RsaExponent),
            ("e", encode(&[]), KeyFlaw::RsaExponent),
            ("e", encode(&[1, 0, 0]), KeyFlaw::RsaExponent),
            ("e", encode(&[0xff; 16]), KeyFlaw::RsaExponent),
        ] {
            assert_eq!(
                flaw(&changed(&good, name, value.clone())),
                expected,
                "{name} {value}"
            );
        }
        assert!(parse(&[changed(&good, "e", encode(&[3]))]).is_ok());
    }

    #[test]
    fn ed25519_points_of_small_order_are_left_out() {
        let good = jwk(Algorithm::EdDsa, "e");
        assert!(parse(std::slice::from_ref(&good)).is_ok());
        let mut identity = [0; 32];
        identity[0] = 1;
        for point in [[0; 32], identity] {
            assert_eq!(
                flaw(&changed(&good, "x", encode(&point))),
                KeyFlaw::NotOnCurve
            );
        }
        let x448 = changed(&good, "crv", json!("X25519"));
        assert_eq!(flaw(&x448), KeyFlaw::Unsupported("crv"));
    }

    #[test]
    fn a_set_is_refused_as_a_whole_when_it_cannot_be_trusted_as_a_whole() {
        let good = jwk(Algorithm::Es256, "good");
        let secret = json!({ "kty": "oct", "k": "AAAA" });
        for (text, expected) in [
            ("", KeySetFlaw::Json(JsonFlaw::Syntax)),
            ("<html>", KeySetFlaw::Json(JsonFlaw::Syntax)),
            ("[]", KeySetFlaw::Json(JsonFlaw::NotAnObject)),
            ("{}", KeySetFlaw::Shape),
            (r#"{"keys":{}}"#, KeySetFlaw::Shape),
            (r#"{"keys":[1]}"#, KeySetFlaw::Shape),
            (r#"{"keys":[]}"#, KeySetFlaw::NoUsableKey),
            (
                r#"{"keys":[],"keys":[]}"#,
                KeySetFlaw::Json(JsonFlaw::DuplicateMember),
            ),
            (
                &json!({ "keys": [good, secret] }).to_string(),
                KeySetFlaw::MixedSymmetry,
            ),
            (
                &json!({ "keys": [secret] }).to_string(),
                KeySetFlaw::NoUsableKey,
            ),
            (
                &json!({ "keys": vec![json!({}); MAX_KEYS + 1] }).to_string(),
                KeySetFlaw::TooManyKeys,
            ),
            (&" ".repeat(MAX_SET_BYTES + 1), KeySetFlaw::TooLarge),
        ] {
            let set = KeySet::parse(text.as_bytes(), Secrets::Refused);
            assert_eq!(set, Err(expected), "{}", text.get(..40).unwrap_or(text));
        }
    }

    #[test]
    fn a_name_that_two_keys_claim_is_nobodys() {
        let (a, b) = (jwk(Algorithm::Es256, "k"), jwk(Algorithm::Es256, "k"));
        let find = |keys: &[Value]| {
            let set = parse(keys).unwrap();
            set.find(Some("k"), Algorithm::Es256).map(|_| ())
        };
        assert_eq!(find(std::slice::from_ref(&a)), Ok(()));
        assert_eq!(find(&[a.clone(), a.clone()]), Ok(()));
        assert_eq!(find(&[a.clone(), b.clone()]), Err(NoKey::Ambiguous));
        let defective = changed(&b, "x", json!("!"));
        assert_eq!(find(&[a.clone(), defective]), Err(NoKey::Ambiguous));
        // RFC 7517 §4.5 lets keys for other uses share a name.
        assert_eq!(find(&[a.clone(), changed(&b, "use", json!("enc"))]), Ok(()));
        assert_eq!(find(&[a, jwk(Algorithm::Es384, "k")]), Ok(()));
    }
}
