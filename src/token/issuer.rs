//! One issuer of tokens, and whether a token is its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::algorithm::Algorithm;
use super::claims::{Claims, TimeFlaw};
use super::crypto::Crypto;
use super::jws::{Compact, Header};
use super::key::PublicKey;
use super::keyset::{KeySet, NoKey};
use super::remote::Remote;
use super::rule::ClaimRule;
use super::source::Source;
use crate::reply::{Code, Refusal};
use crate::time::UnixTime;

/// An issuer as the policy knows it. Its keys are used for no other.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The policy's name for it.
    pub name: String,
    /// The values of `iss` that are its own, compared exactly.
    pub iss: Vec<String>,
    /// Whom its tokens may be for, unless the route says otherwise.
    pub audiences: Vec<String>,
    /// The algorithms it signs with; no other is accepted.
    pub algorithms: Vec<Algorithm>,
    /// The `typ` of its tokens, in lower case and without `application/`; see [`Self::accepts_typ`].
    pub types: Option<Vec<String>>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Tolerance for its clock and ours, in seconds.
    pub clock_skew: u64,
    /// Longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: Option<u64>,
    /// A token without `kid` is refused even if a single key fits.
    pub requires_kid: bool,
    /// A token without `auth_time`, or with one in the future, is refused.
    pub requires_auth_time: bool,
    /// Tokens that are not accepted any more.
    pub revoked: Revoked,
    /// Anybody can get a token of this issuer for the policy's audience, so that a route has to say
    /// who may call.
    pub open_to_anyone: bool,
    /// Rules that every token of this issuer has to meet, whatever the route.
    pub claims: Vec<ClaimRule>,
    /// Where its tokens are looked for.
    pub sources: Vec<Source>,
}

impl Default for Issuer {
    /// An issuer that no token is from; the fields that matter have to be set.
    fn default() -> Self {
        Self {
            name: String::new(),
            iss: Vec::new(),
            audiences: Vec::new(),
            algorithms: Vec::new(),
            types: None,
            keys: KeySource::Inline(KeySet::default()),
            clock_skew: 0,
            max_lifetime: None,
            requires_kid: false,
            requires_auth_time: false,
            revoked: Revoked::default(),
            open_to_anyone: false,
            claims: Vec::new(),
            sources: vec![Source::bearer()],
        }
    }
}

/// Tokens that the policy revokes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// By their `jti`.
    pub jti: BTreeSet<String>,
    /// By their `sub`.
    pub sub: BTreeSet<String>,
    /// All whose `iat` is earlier than this, or missing.
    pub issued_before: Option<UnixTime>,
}

impl Revoked {
    fn covers(&self, claims: &Claims) -> bool {
        let listed = |list: &BTreeSet<String>, name| {
            !list.is_empty() && claims.text(name).is_some_and(|value| list.contains(value))
        };
        listed(&self.jti, "jti")
            || listed(&self.sub, "sub")
            || self
                .issued_before
                .is_some_and(|limit| claims.date("iat").is_none_or(|issued| issued < limit))
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

    /// No key of that issuer has the `kid` that a token names: what can be done about it.
    fn refresh(&self, issuer: usize, kid: &str) -> Refresh;

    /// In how many seconds it is worth asking again for keys that cannot be had.
    fn retry_after(&self, issuer: usize) -> u64;
}

/// What can be done about a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Newer keys are on their way, or sent for now.
    Coming,
    /// The keys that are here were fetched so lately that there is no such key.
    Current,
    /// The issuer has failed and is not asked again yet, so that nobody knows.
    Later,
}

/// No keys but those in the policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct InlineOnly;

impl Keys for InlineOnly {
    fn lookup(&self, _: usize) -> KeyState<'_> {
        KeyState::Unavailable
    }

    fn refresh(&self, _: usize, _: &str) -> Refresh {
        Refresh::Current
    }

    fn retry_after(&self, _: usize) -> u64 {
        1
    }
}

impl Issuer {
    /// Whether a token with this `iss` says that it is from here.
    pub fn is_called(&self, iss: &str) -> bool {
        self.iss.iter().any(|name| name == iss)
    }

    /// Whether a token of that `typ` (RFC 7515 §4.1.9) may be an access token of this issuer. Unless
    /// the policy lists the types, that is none, `JWT`, or `at+jwt` (RFC 9068 §2.1): explicitly
    /// typed tokens for other purposes are refused (RFC 8725 §3.11).
    pub fn accepts_typ(&self, typ: Option<&str>) -> bool {
        const PREFIX: &str = "application/";
        let typ = typ.map(|typ| match typ.split_at_checked(PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
            _ => typ,
        });
        let is = |held: &str| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(held));
        match &self.types {
            None => typ.is_none() || is("jwt") || is("at+jwt"),
            Some(types) => types.iter().any(|held| is(held)),
        }
    }

    /// Checks what does not need a key: type, algorithm, times, audience.
    ///
    /// # Errors
    /// The refusal for the first that does not hold.
    pub fn check_claims(
        &self,
        header: &Header,
        claims: &Claims,
        audiences: &[String],
        now: UnixTime,
    ) -> Result<Algorithm, Refusal> {
        if !self.accepts_typ(header.typ.as_deref()) {
            return Err(Refusal::new(
                Code::TokenTypeNotAllowed,
                "The token's typ is not that of an access token of its issuer.",
            ));
        }
        let algorithm = Algorithm::named(&header.algorithm)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or_else(|| {
                Refusal::new(
                    Code::AlgorithmNotAllowed,
                    "The token's alg is not accepted from its issuer.",
                )
            })?;
        if self.requires_kid && header.kid.is_none() {
            return Err(Refusal::new(
                Code::KeyUnknown,
                "The token does not name the key that it is signed with.",
            ));
        }
        self.check_times(claims, now)?;
        if !claims.audience_is_one_of(audiences) {
            return Err(Refusal::new(
                Code::AudienceMismatch,
                "The token is not meant for this service.",
            ));
        }
        Ok(algorithm)
    }

    fn check_times(&self, claims: &Claims, now: UnixTime) -> Result<(), Refusal> {
        claims
            .check_times(now, self.clock_skew)
            .map_err(refuse_time)?;
        if self
            .max_lifetime
            .is_some_and(|most| claims.lifetime(now.saturating_add(self.clock_skew)) > most)
        {
            return Err(Refusal::new(
                Code::TokenLifetimeTooLong,
                "The token is valid for longer than is accepted from its issuer.",
            ));
        }
        let latest = now.saturating_add(self.clock_skew);
        if self.requires_auth_time && claims.date("auth_time").is_none_or(|time| time > latest) {
            return Err(Refusal::new(
                Code::AuthenticationTooOld,
                "The token does not say when its user signed in.",
            ));
        }
        Ok(())
    }

    /// Checks what only counts once the signature is known to be good.
    ///
    /// # Errors
    /// [`Code::TokenRevoked`].
    pub fn check_revoked(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.revoked.covers(claims) {
            let detail = "The token has been revoked.";
            return Err(Refusal::new(Code::TokenRevoked, detail));
        }
        Ok(())
    }
}

/// Finds the key that a token means.
///
/// # Errors
/// [`Code::KeyUnknown`] or [`Code::AlgorithmNotAllowed`].
pub fn find_key<'k>(
    header: &Header,
    algorithm: Algorithm,
    keys: &'k KeySet,
) -> Result<&'k Arc<PublicKey>, Refusal> {
    keys.find(header.kid.as_deref(), algorithm)
        .map_err(refuse_key)
}

/// Checks the signature of a token.
///
/// # Errors
/// [`Code::SignatureInvalid`].
pub fn verify(
    token: &Compact<'_>,
    algorithm: Algorithm,
    key: &PublicKey,
    crypto: &dyn Crypto,
) -> Result<(), Refusal> {
    if crypto.verify(key, algorithm, token.signing_input, &token.signature) {
        Ok(())
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
