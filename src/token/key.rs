//! One verification key, made from a JWK (RFC 7517) and checked before it can verify anything.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::pkcs8::EncodePublicKey;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, KeyKind};
use super::rsa::{self, RsaKey};

/// Smallest RSA modulus that may verify, in bits (RFC 7518 §3.3).
pub const MIN_RSA_BITS: usize = 2048;
/// Largest RSA modulus that may verify, in bits: beyond, one signature costs too much to check.
pub const MAX_RSA_BITS: usize = 8192;
/// Largest RSA exponent that may verify. Nearly all keys have 65537; every bit more costs.
pub const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;
/// Longest `kid`, in bytes.
pub const MAX_KID_BYTES: usize = 256;

/// A key that signatures are checked with: a public key, or the secret of an HMAC.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    pub(super) material: Material,
    /// The DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) where another verifier could use it.
    spki: Option<Box<[u8]>>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    Rsa(Box<RsaKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Box<P521Key>),
    Ed25519(Box<[u8; 32]>),
    Secret(Box<[u8]>),
}

/// p521's verifying key has no equality of its own.
#[derive(Clone)]
pub(super) struct P521Key(pub(super) p521::ecdsa::VerifyingKey);

impl PartialEq for P521Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_encoded_point(false) == other.0.to_encoded_point(false)
    }
}

impl Eq for P521Key {}

/// Why a JWK is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFlaw {
    /// A member is missing or not of the form that RFC 7517 and 7518 give it.
    Malformed(&'static str),
    /// `kty`, `crv` or `alg` names something that no supported algorithm uses.
    Unsupported(&'static str),
    /// `alg` names an algorithm for another kind of key.
    AlgorithmMismatch,
    /// `use` or `key_ops` says that the key is not for checking signatures.
    NotForSignatures,
    /// The key holds private material, which whoever can read the key set can sign with.
    Private,
    /// A shared secret where only public keys belong.
    SecretNotAllowed,
    /// The RSA modulus is shorter than [`MIN_RSA_BITS`] or longer than [`MAX_RSA_BITS`].
    RsaModulusSize,
    /// The RSA modulus is even, or was made by the generator of CVE-2017-15361 (ROCA), whose
    /// keys can be factored.
    RsaModulusWeak,
    /// The RSA exponent is even, below 3 or above 2^33 - 1.
    RsaExponent,
    /// The coordinates are not a point of the curve, or a point of small order.
    NotOnCurve,
    /// The secret is shorter than the hash of the algorithms it could be used with.
    SecretTooShort,
    /// The certificate is not valid yet, or not any more.
    CertificateTime,
}

impl fmt::Display for KeyFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(member) => write!(f, "`{member}` is missing or malformed"),
            Self::Unsupported(member) => write!(f, "`{member}` is not one that Forecourt supports"),
            Self::AlgorithmMismatch => {
                f.write_str("`alg` is for another kind of key than `kty` and `crv` say")
            }
            Self::NotForSignatures => {
                f.write_str("`use` or `key_ops` says that it does not check signatures")
            }
            Self::Private => f.write_str("it holds private material; keep only the public members"),
            Self::SecretNotAllowed => f.write_str("it is a shared secret among public keys"),
            Self::RsaModulusSize => write!(
                f,
                "its RSA modulus is outside {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
            ),
            Self::RsaModulusWeak => f.write_str("its RSA modulus can be factored"),
            Self::RsaExponent => f.write_str("its RSA exponent is even, below 3 or above 2^33 - 1"),
            Self::NotOnCurve => f.write_str("its coordinates are not a usable point of the curve"),
            Self::SecretTooShort => {
                f.write_str("its secret is shorter than the hash of the algorithm")
            }
            Self::CertificateTime => {
                f.write_str("its certificate is not valid yet, or not any more")
            }
        }
    }
}

/// Whether shared secrets may be keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// HS* is named by the policy and the key set is part of it.
    Allowed,
    /// Anything else: a secret that an issuer publishes is none.
    Refused,
}

impl PublicKey {
    /// Reads one JWK.
    ///
    /// # Errors
    /// The first reason not to use it. Members that say nothing about verification (`x5c`, `x5u`,
    /// `x5t`, …) are never read.
    pub fn from_jwk(jwk: &Map<String, Value>, secrets: Secrets) -> Result<Self, KeyFlaw> {
        let kid = text(jwk, "kid")?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(KeyFlaw::Malformed("kid"));
        }
        check_purpose(jwk)?;
        let material = Material::from_jwk(jwk, secrets)?;
        let algorithm = match text(jwk, "alg")? {
            None => None,
            Some(name) => Some(Algorithm::named(name).ok_or(KeyFlaw::Unsupported("alg"))?),
        };
        if let Some(algorithm) = algorithm
            && !material.fits(algorithm)
        {
            return Err(match algorithm.key_kind() {
                KeyKind::Secret { .. } if matches!(material, Material::Secret(_)) => {
                    KeyFlaw::SecretTooShort
                }
                _ => KeyFlaw::AlgorithmMismatch,
            });
        }
        Ok(Self {
            kid: kid.map(str::to_owned),
            algorithm,
            spki: material.spki(),
            material,
        })
    }

    /// The key's name within its set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether the key may be used with that algorithm: its type, its curve and, where the JWK
    /// names one, its `alg` agree.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.fits(algorithm)
    }

    /// Whether the signature is, by its length and by the algorithm, one that the key can have made.
    pub fn could_have_made(&self, signature: &[u8], algorithm: Algorithm) -> bool {
        self.fits(algorithm) && signature.len() == self.signature_bytes(algorithm)
    }

    /// Whether the key is a shared secret.
    pub fn is_secret(&self) -> bool {
        matches!(self.material, Material::Secret(_))
    }

    /// Whether the key is a secret that a list of words or a loop would find: printable text, or
    /// one octet again and again.
    pub fn is_guessable(&self) -> bool {
        let Material::Secret(secret) = &self.material else {
            return false;
        };
        let text = secret.iter().all(|byte| matches!(byte, b' '..=b'~'));
        text || secret.iter().all(|byte| Some(byte) == secret.first())
    }

    /// The exact length of a signature by this key, in bytes.
    pub fn signature_bytes(&self, algorithm: Algorithm) -> usize {
        match (&self.material, algorithm.key_kind()) {
            (Material::Rsa(key), _) => key.octets(),
            (_, KeyKind::Secret { least_bytes }) => least_bytes,
            (Material::P384(_), _) => 96,
            (Material::P521(_), _) => 132,
            _ => 64,
        }
    }

    /// The key as DER `SubjectPublicKeyInfo`; none for Ed25519 and for secrets.
    pub fn spki_der(&self) -> Option<&[u8]> {
        self.spki.as_deref()
    }

    /// A JWS signature as a verifier outside JOSE expects it: for ECDSA the DER form of r and s
    /// (RFC 3279 §2.2.3), for RSA unchanged. None where r or s is out of range, and for other keys.
    pub fn der_signature(&self, signature: &[u8]) -> Option<Vec<u8>> {
        match &self.material {
            Material::Rsa(_) => Some(signature.to_vec()),
            Material::P256(_) => {
                let signature = p256::ecdsa::Signature::from_slice(signature).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Material::P384(_) => {
                let signature = p384::ecdsa::Signature::from_slice(signature).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Material::P521(_) => {
                let signature = p521::ecdsa::Signature::from_slice(signature).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Material::Ed25519(_) | Material::Secret(_) => None,
        }
    }
}

impl fmt::Debug for PublicKey {
    // A secret stays out of every log and panic message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("kid", &self.kid)
            .field("kind", &self.material.name())
            .finish_non_exhaustive()
    }
}

impl Material {
    fn from_jwk(jwk: &Map<String, Value>, secrets: Secrets) -> Result<Self, KeyFlaw> {
        let kty = text(jwk, "kty")?.ok_or(KeyFlaw::Malformed("kty"))?;
        if kty == "oct" {
            return match secrets {
                Secrets::Allowed => secret(jwk),
                Secrets::Refused => Err(KeyFlaw::SecretNotAllowed),
            };
        }
        if PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return Err(KeyFlaw::Private);
        }
        match kty {
            "RSA" => rsa_key(jwk),
            "EC" => ec_key(jwk),
            "OKP" => okp_key(jwk),
            _ => Err(KeyFlaw::Unsupported("kty")),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match (self, algorithm.key_kind()) {
            (Self::Rsa(_), KeyKind::Rsa)
            | (Self::P256(_), KeyKind::P256)
            | (Self::P384(_), KeyKind::P384)
            | (Self::P521(_), KeyKind::P521)
            | (Self::Ed25519(_), KeyKind::Ed25519) => true,
            (Self::Secret(secret), KeyKind::Secret { least_bytes }) => secret.len() >= least_bytes,
            _ => false,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RSA",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::P521(_) => "P-521",
            Self::Ed25519(_) => "Ed25519",
            Self::Secret(_) => "secret",
        }
    }

    fn spki(&self) -> Option<Box<[u8]>> {
        let document = match self {
            Self::Rsa(key) => return rsa::to_spki(key),
            Self::P256(key) => p256::PublicKey::from(key.as_ref()).to_public_key_der(),
            Self::P384(key) => p384::PublicKey::from(key.as_ref()).to_public_key_der(),
            Self::P521(key) => p521::PublicKey::from_affine(*key.0.as_affine())
                .ok()?
                .to_public_key_der(),
            Self::Ed25519(_) | Self::Secret(_) => return None,
        };
        Some(document.ok()?.as_bytes().into())
    }
}

/// The private members of RFC 7518 §6.2.2 and §6.3.2.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// `use` (RFC 7517 §4.2) and `key_ops` (§4.3).
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), KeyFlaw> {
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyFlaw::NotForSignatures);
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) => {
            if operations.iter().any(|operation| operation == "verify") {
                Ok(())
            } else {
                Err(KeyFlaw::NotForSignatures)
            }
        }
        Some(_) => Err(KeyFlaw::Malformed("key_ops")),
    }
}

fn rsa_key(jwk: &Map<String, Value>) -> Result<Material, KeyFlaw> {
    let [modulus, exponent] = [bytes(jwk, "n")?, bytes(jwk, "e")?];
    let significant = modulus.iter().skip_while(|octet| **octet == 0).count();
    if !(MIN_RSA_BITS / 8..=MAX_RSA_BITS / 8).contains(&significant) {
        return Err(KeyFlaw::RsaModulusSize);
    }
    if modulus.last().is_none_or(|lowest| lowest & 1 == 0) {
        return Err(KeyFlaw::RsaModulusWeak);
    }
    let key = RsaKey::new(&modulus, &exponent).ok_or(KeyFlaw::RsaExponent)?;
    if key.bits() < MIN_RSA_BITS {
        return Err(KeyFlaw::RsaModulusSize);
    }
    if is_roca(&key) {
        return Err(KeyFlaw::RsaModulusWeak);
    }
    if key.exponent() > MAX_RSA_EXPONENT {
        return Err(KeyFlaw::RsaExponent);
    }
    Ok(Material::Rsa(Box::new(key)))
}

/// Whether a modulus bears the mark of CVE-2017-15361: modulo each of many small primes it is a
/// power of 65537. One honest modulus in some 2^27 does so by chance.
fn is_roca(key: &RsaKey) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let remainder = key.remainder(*prime);
        let mut power = 1;
        for _ in 0..*prime {
            if power == remainder {
                return true;
            }
            power = power * (65_537 % prime) % prime;
        }
        false
    })
}

fn ec_key(jwk: &Map<String, Value>) -> Result<Material, KeyFlaw> {
    match text(jwk, "crv")?.ok_or(KeyFlaw::Malformed("crv"))? {
        "P-256" => p256::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 32)?)
            .map(|key| Material::P256(Box::new(key)))
            .map_err(|_| KeyFlaw::NotOnCurve),
        "P-384" => p384::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 48)?)
            .map(|key| Material::P384(Box::new(key)))
            .map_err(|_| KeyFlaw::NotOnCurve),
        "P-521" => p521::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 66)?)
            .map(|key| Material::P521(Box::new(P521Key(key))))
            .map_err(|_| KeyFlaw::NotOnCurve),
        _ => Err(KeyFlaw::Unsupported("crv")),
    }
}

/// The uncompressed point of SEC 1 §2.3.3; each coordinate has exactly the field's length
/// (RFC 7518 §6.2.1.2).
fn point(jwk: &Map<String, Value>, coordinate_bytes: usize) -> Result<Vec<u8>, KeyFlaw> {
    const UNCOMPRESSED: u8 = 4;
    let mut point = vec![UNCOMPRESSED];
    for name in ["x", "y"] {
        let coordinate = bytes(jwk, name)?;
        if coordinate.len() != coordinate_bytes {
            return Err(KeyFlaw::Malformed(name));
        }
        point.extend(coordinate);
    }
    Ok(point)
}

fn okp_key(jwk: &Map<String, Value>) -> Result<Material, KeyFlaw> {
    if text(jwk, "crv")?.ok_or(KeyFlaw::Malformed("crv"))? != "Ed25519" {
        return Err(KeyFlaw::Unsupported("crv"));
    }
    let key: [u8; 32] = bytes(jwk, "x")?
        .try_into()
        .map_err(|_| KeyFlaw::Malformed("x"))?;
    ed25519_compact::PublicKey::new(key)
        .validate()
        .map_err(|_| KeyFlaw::NotOnCurve)?;
    Ok(Material::Ed25519(Box::new(key)))
}

fn secret(jwk: &Map<String, Value>) -> Result<Material, KeyFlaw> {
    let secret = bytes(jwk, "k")?;
    let least = Algorithm::ALL
        .iter()
        .filter_map(|alg| match alg.key_kind() {
            KeyKind::Secret { least_bytes } => Some(least_bytes),
            _ => None,
        });
    if least.min().is_some_and(|least| secret.len() < least) {
        return Err(KeyFlaw::SecretTooShort);
    }
    Ok(Material::Secret(secret.into()))
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, KeyFlaw> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyFlaw::Malformed(name)),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyFlaw> {
    let encoded = text(jwk, name)?.ok_or(KeyFlaw::Malformed(name))?;
    BASE64_URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| KeyFlaw::Malformed(name))
}
