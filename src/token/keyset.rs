//! An issuer's keys (RFC 7517 §5), the unusable ones left out, and which of them a token means.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json::{self, JsonFlaw};
use super::key::{KeyFlaw, PublicKey, Secrets};

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
                Err(flaw) => read.dropped.push(Dropped { index, flaw }),
            }
        }
        if symmetric != 0 && symmetric != list.len() {
            return Err(KeySetFlaw::MixedSymmetry);
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
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (None, _) if kid.is_some() && self.keys.iter().any(|key| key.kid() == kid) => {
                Err(NoKey::WrongAlgorithm)
            }
            (None, _) => Err(NoKey::Unknown),
        }
    }
}
