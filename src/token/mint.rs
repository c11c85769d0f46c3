//! Making tokens: for the demo's issuer, `forecourt token` and tests.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key, Rsa};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm as JwtAlgorithm, AlgorithmSignature};
use p256::elliptic_curve::rand_core::OsRng;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey};
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, KeyKind};
use super::ec::{Es384, Es512};

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Ed25519(ed25519_compact::KeyPair),
    Shared(Vec<u8>),
}

/// A key could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintError(String);

impl std::fmt::Display for MintError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MintError {}

impl SigningKey {
    /// A fresh key for that algorithm; RSA keys have 2048 bits and take a moment.
    ///
    /// # Errors
    /// The random number generator of the system fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, MintError> {
        let secret = match algorithm.key_kind() {
            KeyKind::Rsa => {
                let key = RsaPrivateKey::new(&mut OsRng, 2048).map_err(failed)?;
                Secret::Rsa(Box::new(key))
            }
            KeyKind::P256 => Secret::P256(p256::ecdsa::SigningKey::random(&mut OsRng)),
            KeyKind::P384 => Secret::P384(p384::ecdsa::SigningKey::random(&mut OsRng)),
            KeyKind::P521 => Secret::P521(p521::ecdsa::SigningKey::random(&mut OsRng)),
            KeyKind::Ed25519 => {
                let seed = random(32)?.try_into().map_err(|_| failed("32 bytes"))?;
                let seed = ed25519_compact::Seed::new(seed);
                Secret::Ed25519(ed25519_compact::KeyPair::from_seed(seed))
            }
            KeyKind::Secret { least_bytes } => Secret::Shared(random(least_bytes)?),
        };
        Ok(Self { algorithm, secret })
    }

    /// Reads a private JWK for that algorithm.
    ///
    /// # Errors
    /// It is not a private key of the algorithm's kind.
    pub fn from_jwk(algorithm: Algorithm, jwk: &Value) -> Result<Self, MintError> {
        let secret = match algorithm.key_kind() {
            KeyKind::Rsa => {
                let jwk: JsonWebKey<'_> = serde_json::from_value(jwk.clone()).map_err(failed)?;
                let key = RsaPrivateKey::try_from(&jwk).map_err(failed)?;
                Secret::Rsa(Box::new(key))
            }
            KeyKind::P256 => p256::ecdsa::SigningKey::from_slice(&member(jwk, "d")?)
                .map(Secret::P256)
                .map_err(failed)?,
            KeyKind::P384 => p384::ecdsa::SigningKey::from_slice(&member(jwk, "d")?)
                .map(Secret::P384)
                .map_err(failed)?,
            KeyKind::P521 => p521::ecdsa::SigningKey::from_slice(&member(jwk, "d")?)
                .map(Secret::P521)
                .map_err(failed)?,
            KeyKind::Ed25519 => {
                let seed = ed25519_compact::Seed::from_slice(&member(jwk, "d")?).map_err(failed)?;
                Secret::Ed25519(ed25519_compact::KeyPair::from_seed(seed))
            }
            KeyKind::Secret { .. } => Secret::Shared(member(jwk, "k")?),
        };
        Ok(Self { algorithm, secret })
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The JWK that verifies its signatures. For HS* that is the secret itself.
    pub fn public_jwk(&self, kid: &str) -> Value {
        let mut jwk = self.members(false);
        jwk.extend(members([
            ("kid", kid.to_owned()),
            ("alg", self.algorithm.as_str().to_owned()),
            ("use", "sig".to_owned()),
        ]));
        Value::Object(jwk)
    }

    /// The JWK that [`Self::from_jwk`] reads again.
    pub fn private_jwk(&self) -> Value {
        Value::Object(self.members(true))
    }

    fn members(&self, private: bool) -> Map<String, Value> {
        let (mut jwk, d) = match &self.secret {
            Secret::Rsa(key) => return rsa_members(key, private),
            Secret::Shared(secret) => {
                return members([("kty", "oct".to_owned()), ("k", encode(secret))]);
            }
            Secret::P256(key) => (
                ec_members(
                    "P-256",
                    key.verifying_key().to_encoded_point(false).as_bytes(),
                ),
                encode(key.to_bytes()),
            ),
            Secret::P384(key) => (
                ec_members(
                    "P-384",
                    key.verifying_key().to_encoded_point(false).as_bytes(),
                ),
                encode(key.to_bytes()),
            ),
            Secret::P521(key) => {
                let public = p521::ecdsa::VerifyingKey::from(key);
                (
                    ec_members("P-521", public.to_encoded_point(false).as_bytes()),
                    encode(key.to_bytes()),
                )
            }
            Secret::Ed25519(pair) => (
                members([
                    ("kty", "OKP".to_owned()),
                    ("crv", "Ed25519".to_owned()),
                    ("x", encode(*pair.pk)),
                ]),
                encode(*pair.sk.seed()),
            ),
        };
        if private {
            jwk.extend(members([("d", d)]));
        }
        jwk
    }

    /// The signature over a message, in the form of RFC 7518 §3.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::Rsa(key) => sign(&Rsa::with_name(self.algorithm.as_str()), key, message),
            Secret::P256(key) => sign(&Es256, key, message),
            Secret::P384(key) => sign(&Es384, key, message),
            Secret::P521(key) => sign(&Es512, key, message),
            Secret::Ed25519(pair) => sign(&Ed25519, &pair.sk, message),
            Secret::Shared(secret) => match self.algorithm {
                Algorithm::Hs384 => sign(&Hs384, &Hs384Key::new(secret), message),
                Algorithm::Hs512 => sign(&Hs512, &Hs512Key::new(secret), message),
                _ => sign(&Hs256, &Hs256Key::new(secret), message),
            },
        }
    }
}

/// A signed token with these claims. `header` adds to `alg` and `kid`, or replaces them.
pub fn mint(key: &SigningKey, kid: &str, header: &Map<String, Value>, claims: &Value) -> String {
    let mut members = Map::new();
    members.insert("alg".to_owned(), key.algorithm.as_str().into());
    members.insert("kid".to_owned(), kid.into());
    members.extend(header.clone());
    sign_parts(
        key,
        Value::Object(members).to_string().as_bytes(),
        claims.to_string().as_bytes(),
    )
}

/// A token of these octets, whatever they are.
pub fn sign_parts(key: &SigningKey, header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let signature = encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn sign<A: JwtAlgorithm>(algorithm: &A, key: &A::SigningKey, message: &[u8]) -> Vec<u8> {
    algorithm.sign(key, message).as_bytes().into_owned()
}

fn rsa_members(key: &RsaPrivateKey, private: bool) -> Map<String, Value> {
    let number = |number: &BigUint| encode(number.to_bytes_be());
    let mut jwk = members([
        ("kty", "RSA".to_owned()),
        ("n", number(key.n())),
        ("e", number(key.e())),
    ]);
    if private {
        jwk.extend(members([("d", number(key.d()))]));
        for (name, prime) in ["p", "q"].into_iter().zip(key.primes()) {
            jwk.extend(members([(name, number(prime))]));
        }
    }
    jwk
}

fn members<const N: usize>(pairs: [(&str, String); N]) -> Map<String, Value> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

/// An uncompressed point is one byte, then both coordinates.
fn ec_members(curve: &str, point: &[u8]) -> Map<String, Value> {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    members([
        ("kty", "EC".to_owned()),
        ("crv", curve.to_owned()),
        ("x", encode(x)),
        ("y", encode(y)),
    ])
}

fn member(jwk: &Value, name: &str) -> Result<Vec<u8>, MintError> {
    let text = jwk.get(name).and_then(Value::as_str);
    let text = text.ok_or_else(|| failed(format!("`{name}` is missing")))?;
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(failed)
}

fn random(bytes: usize) -> Result<Vec<u8>, MintError> {
    use p256::elliptic_curve::rand_core::RngCore;
    let mut random = vec![0; bytes];
    OsRng.try_fill_bytes(&mut random).map_err(failed)?;
    Ok(random)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn failed(reason: impl std::fmt::Display) -> MintError {
    MintError(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::crypto::{Crypto, InWasm};
    use crate::token::key::{PublicKey, Secrets};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn every_algorithm_verifies_what_it_signs_and_nothing_else() {
        for algorithm in Algorithm::ALL.iter().copied() {
            if algorithm.key_kind() == KeyKind::Rsa && algorithm != Algorithm::Rs256 {
                continue; // one RSA key below serves them all
            }
            let key = SigningKey::generate(algorithm).unwrap();
            assert_round_trip(&key);
            if let Secret::Rsa(_) = &key.secret {
                for other in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
                    let algorithm = Algorithm::named(other).unwrap();
                    assert_round_trip(&SigningKey {
                        algorithm,
                        ..key.clone()
                    });
                }
            }
        }
    }

    fn assert_round_trip(key: &SigningKey) {
        let algorithm = key.algorithm();
        let key = SigningKey::from_jwk(algorithm, &key.private_jwk()).unwrap();
        let jwk = key.public_jwk("k");
        let public = PublicKey::from_jwk(jwk.as_object().unwrap(), Secrets::Allowed).unwrap();
        let mut signature = key.sign(b"message");
        assert_eq!(
            signature.len(),
            public.signature_bytes(algorithm),
            "{algorithm}"
        );
        assert!(
            InWasm.verify(&public, algorithm, b"message", &signature),
            "{algorithm}"
        );
        assert!(
            !InWasm.verify(&public, algorithm, b"another", &signature),
            "{algorithm}"
        );
        for other in Algorithm::ALL
            .iter()
            .copied()
            .filter(|other| *other != algorithm)
        {
            assert!(
                !InWasm.verify(&public, other, b"message", &signature),
                "{algorithm} {other}"
            );
        }
        for length in [0, 1, signature.len() - 1] {
            assert!(!InWasm.verify(&public, algorithm, b"message", &signature[..length]));
        }
        signature[10] ^= 1;
        assert!(
            !InWasm.verify(&public, algorithm, b"message", &signature),
            "{algorithm}"
        );
        signature[10] ^= 1;
        signature.push(0);
        assert!(
            !InWasm.verify(&public, algorithm, b"message", &signature),
            "{algorithm}"
        );
    }
}
