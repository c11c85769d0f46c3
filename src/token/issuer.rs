//! One issuer of tokens, and whether a token is its own.

use std::sync::Arc;

use super::algorithm::Algorithm;
use super::claims::{Claims, TimeFlaw};
use super::crypto::Crypto;
use super::jws::Compact;
use super::key::PublicKey;
use super::keyset::{KeySet, NoKey};
use super::remote::Remote;
use crate::reply::{Code, Refusal};
use crate::time::UnixTime;

/// An issuer as the policy knows it. Its keys are used for no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The policy's name for it.
    pub name: String,
    /// The values of `iss` that are its own, compared exactly.
    pub iss: Vec<String>,
    /// Whom its tokens may be for, unless the route says otherwise.
    pub audiences: Vec<String>,
    /// The algorithms it signs with; no other is accepted.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Tolerance for its clock and ours, in seconds.
    pub clock_skew: u64,
}

impl Default for Issuer {
    /// An issuer that no token is from; the fields that matter have to be set.
    fn default() -> Self {
        Self {
            name: String::new(),
            iss: Vec::new(),
            audiences: Vec::new(),
            algorithms: Vec::new(),
            keys: KeySource::Inline(KeySet::default()),
            clock_skew: 0,
        }
    }
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In the policy itself.
    Inline(KeySet),
    /// Somewhere else: [`Keys`] has them.
    Remote(Box<Remote>),
}

/// What is known of an issuer's keys at this moment.
#[derive(Clone, Copy, Debug)]
pub enum KeyState<'a> {
    /// These are they.
    Ready(&'a KeySet),
    /// They are on their way.
    Pending,
    /// They could not be had, and those that there were have grown too old.
    Unavailable,
}

/// Keys that are not in the policy.
pub trait Keys {
    /// What is known of the keys of the issuer at that index of the policy.
    fn lookup(&self, issuer: usize) -> KeyState<'_>;

    /// No key of that issuer has the `kid` that a token names. Whether newer keys are on their
    /// way, or may be sent for now, so that asking again later can help.
    fn refresh(&self, issuer: usize, kid: Option<&str>) -> bool;
}

/// No keys but those in the policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct InlineOnly;

impl Keys for InlineOnly {
    fn lookup(&self, _: usize) -> KeyState<'_> {
        KeyState::Unavailable
    }

    fn refresh(&self, _: usize, _: Option<&str>) -> bool {
        false
    }
}

impl Issuer {
    /// Whether a token with this `iss` says that it is from here.
    pub fn is_called(&self, iss: &str) -> bool {
        self.iss.iter().any(|name| name == iss)
    }

    /// Checks what does not need a key: algorithm, times, audience.
    ///
    /// # Errors
    /// The refusal for the first that does not hold.
    pub fn check_claims(
        &self,
        token: &Compact<'_>,
        claims: &Claims,
        audiences: &[String],
        now: UnixTime,
    ) -> Result<Algorithm, Refusal> {
        let algorithm = Algorithm::named(&token.header.algorithm)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| {
                Refusal::new(
                    Code::AlgorithmNotAllowed,
                    "The token's alg is not accepted from its issuer.",
                )
            })?;
        claims
            .check_times(now, self.clock_skew)
            .map_err(refuse_time)?;
        if !claims.audience_is_one_of(audiences) {
            return Err(Refusal::new(
                Code::AudienceMismatch,
                "The token is not meant for this service.",
            ));
        }
        Ok(algorithm)
    }
}

/// Finds the key that a token means and checks the signature with it.
///
/// # Errors
/// [`Code::KeyUnknown`], [`Code::AlgorithmNotAllowed`] or [`Code::SignatureInvalid`].
pub fn verify<'k>(
    token: &Compact<'_>,
    algorithm: Algorithm,
    keys: &'k KeySet,
    crypto: &dyn Crypto,
) -> Result<&'k Arc<PublicKey>, Refusal> {
    let key = keys
        .find(token.header.kid.as_deref(), algorithm)
        .map_err(refuse_key)?;
    if crypto.verify(key, algorithm, token.signing_input, &token.signature) {
        Ok(key)
    } else {
        Err(Refusal::new(
            Code::SignatureInvalid,
            "The token's signature does not verify.",
        ))
    }
}

fn refuse_key(miss: NoKey) -> Refusal {
    match miss {
        NoKey::Unknown => Refusal::new(
            Code::KeyUnknown,
            "The token's issuer has no key with this kid.",
        ),
        NoKey::Ambiguous => Refusal::new(
            Code::KeyUnknown,
            "The token does not say which of several keys it is signed with.",
        ),
        NoKey::WrongAlgorithm => Refusal::new(
            Code::AlgorithmNotAllowed,
            "The token's alg does not fit the key that it names.",
        ),
    }
}

fn refuse_time(flaw: TimeFlaw) -> Refusal {
    match flaw {
        TimeFlaw::NoExpiry => Refusal::new(
            Code::ExpiryMissing,
            "The token has no usable exp: a number of seconds, up to the year 9999.",
        ),
        TimeFlaw::Expired => Refusal::new(Code::TokenExpired, "The token has expired."),
        TimeFlaw::NotYet("iat") => Refusal::new(
            Code::TokenNotYetValid,
            "The token says that it was issued in the future.",
        ),
        TimeFlaw::NotYet(_) => Refusal::new(Code::TokenNotYetValid, "The token is not valid yet."),
    }
}
