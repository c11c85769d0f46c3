//! Whether a token is what one of the policy's issuers signed.

use std::borrow::Cow;
use std::sync::Arc;

use super::access::{Accepted, Env};
use super::algorithm::Algorithm;
use super::cache::{Known, Parsed};
use super::claims::{Claims, ClaimsFlaw};
use super::expectation::Expectation;
use super::issuer::{self, Issuer, KeySource, KeyState, Refresh};
use super::jws::{Compact, JwsFlaw};
use super::keyset::KeySet;
use super::source::Source;
use crate::reply::{Code, Refusal};
use crate::trace::Trace;

/// A check that ended before the token was accepted.
pub enum Stop {
    Refused(Refusal),
    AwaitKeys(usize),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A token and where it was found.
pub struct Candidate<'a> {
    pub source: &'a Source,
    pub token: Cow<'a, [u8]>,
}

/// A token that its issuer has signed.
pub struct Verified<'a> {
    pub index: usize,
    pub issuer: &'a Issuer,
    pub candidate: Candidate<'a>,
    pub parsed: Arc<Parsed>,
}

/// A token that has been read, and what is remembered of it.
struct Read<'t> {
    token: &'t [u8],
    parsed: Arc<Parsed>,
    /// The parts that the signature is about; not there for a remembered token.
    compact: Option<Compact<'t>>,
    known: Option<Known>,
}

/// Who issued the token. Issuers may share an `iss`, for instance with different audiences: the
/// first that accepts the token counts, and if none does, the first refusal.
///
/// # Errors
/// Why no issuer accepts it, or whose keys have to come first.
pub fn authenticate<'a>(
    candidate: Candidate<'a>,
    accepted: &[&Accepted],
    issuers: &'a [Issuer],
    env: &Env<'_>,
    trace: &mut Trace,
) -> Result<Verified<'a>, Stop> {
    let read = Read::new(&candidate.token, env)?;
    let iss = read.parsed.claims.text("iss");
    let mut first_stop = None;
    for item in accepted {
        let Some(issuer) = issuers.get(item.issuer) else {
            continue;
        };
        if !iss.is_some_and(|iss| issuer.is_called(iss)) {
            continue;
        }
        let result = accept(&read, item, issuer, env);
        record(&read, item, issuer, &result, env, trace);
        match result {
            Ok(()) => {
                return Ok(Verified {
                    index: item.issuer,
                    issuer,
                    parsed: Arc::clone(&read.parsed),
                    candidate,
                });
            }
            Err(stop) => first_stop = first_stop.or(Some(stop)),
        }
    }
    Err(first_stop.unwrap_or_else(|| {
        let shows_values = trace.shows_values();
        trace.note("token", || {
            let issuers = accepted.iter().filter_map(|item| issuers.get(item.issuer));
            let names: Vec<_> = issuers.flat_map(|issuer| issuer.iss.clone()).collect();
            let held = match iss {
                Some(iss) if shows_values => format!("; it is {iss:?}"),
                _ => String::new(),
            };
            let names = names.join(", ");
            format!("its iss has to be one that this route accepts: {names}{held}")
        });
        let detail = "The token's issuer is not accepted here.";
        Refusal::new(Code::IssuerUnknown, detail).into()
    }))
}

impl<'t> Read<'t> {
    fn new(token: &'t [u8], env: &Env<'_>) -> Result<Self, Refusal> {
        if let Some(known) = env.cache.and_then(|cache| cache.get(token)) {
            return Ok(Self {
                token,
                parsed: Arc::clone(&known.parsed),
                compact: None,
                known: Some(known),
            });
        }
        let compact = Compact::parse(token).map_err(refuse_jws)?;
        let claims = Claims::parse(&compact.payload).map_err(refuse_claims)?;
        let header = compact.header.clone();
        Ok(Self {
            token,
            parsed: Arc::new(Parsed { header, claims }),
            compact: Some(compact),
            known: None,
        })
    }

    fn check_signature(
        &self,
        index: usize,
        algorithm: Algorithm,
        keys: &KeySet,
        env: &Env<'_>,
    ) -> Result<(), Refusal> {
        let key = issuer::find_key(&self.parsed.header, algorithm, keys)?;
        if let Some(known) = &self.known
            && known.issuer == index
            && *known.key == **key
        {
            return Ok(());
        }
        match &self.compact {
            Some(compact) => issuer::verify(compact, algorithm, key, env.crypto)?,
            None => {
                let compact = Compact::parse(self.token).map_err(refuse_jws)?;
                issuer::verify(&compact, algorithm, key, env.crypto)?;
            }
        }
        if let Some(cache) = env.cache {
            let known = Known {
                parsed: Arc::clone(&self.parsed),
                issuer: index,
                key: Arc::clone(key),
            };
            cache.insert(self.token, known);
        }
        Ok(())
    }
}

/// Whether one issuer accepts a token that bears its name.
fn accept(read: &Read<'_>, item: &Accepted, issuer: &Issuer, env: &Env<'_>) -> Result<(), Stop> {
    let claims = &read.parsed.claims;
    let audiences = item.audiences.as_ref().unwrap_or(&issuer.audiences);
    let algorithm = issuer.check_claims(&read.parsed.header, claims, audiences, env.now)?;
    let unavailable = || keys_unavailable(env, &[item.issuer]);
    let (keys, refreshable) = match &issuer.keys {
        KeySource::Inline(keys) => (keys, false),
        KeySource::Remote(_) => match env.keys.lookup(item.issuer) {
            KeyState::Ready(keys) => (keys, true),
            KeyState::Pending => return Err(Stop::AwaitKeys(item.issuer)),
            KeyState::Unavailable => return Err(unavailable().into()),
        },
    };
    let Err(refusal) = read.check_signature(item.issuer, algorithm, keys, env) else {
        return Ok(issuer.check_revoked(claims)?);
    };
    match &read.parsed.header.kid {
        Some(kid) if refreshable && refusal.code == Code::KeyUnknown => {
            Err(match env.keys.refresh(item.issuer, kid) {
                Refresh::Coming => Stop::AwaitKeys(item.issuer),
                Refresh::Current => refusal.into(),
                Refresh::Later => unavailable().into(),
            })
        }
        _ => Err(refusal.into()),
    }
}

fn record(
    read: &Read<'_>,
    item: &Accepted,
    issuer: &Issuer,
    result: &Result<(), Stop>,
    env: &Env<'_>,
    trace: &mut Trace,
) {
    let shows_values = trace.shows_values();
    trace.note("token", || {
        let header = &read.parsed.header;
        let Err(stop) = result else {
            let key = match &header.kid {
                Some(kid) => format!("its key {kid:?}"),
                None => "its only fitting key".to_owned(),
            };
            let again = if read.known.is_some() {
                ", as remembered"
            } else {
                ""
            };
            let (issuer, algorithm) = (&issuer.name, &header.algorithm);
            return format!("issuer {issuer} signed it with {algorithm} and {key}{again}");
        };
        let expectation = Expectation {
            header,
            claims: &read.parsed.claims,
            issuer,
            item,
            env,
            shows_values,
        };
        expectation.tell(stop)
    });
}

/// The refusal of a request for which the keys of these issuers cannot be had. `Retry-After` says
/// when the last of them is asked again.
pub fn keys_unavailable(env: &Env<'_>, issuers: &[usize]) -> Refusal {
    let waits = issuers.iter().map(|issuer| env.keys.retry_after(*issuer));
    let wait = waits.max().unwrap_or(1);
    let mut refusal = Refusal::new(
        Code::KeysUnavailable,
        "The keys of the token's issuer cannot be had at the moment.",
    );
    let retry = ("retry-after".to_owned(), wait.to_string());
    refusal.headers.push(retry);
    refusal
}

fn refuse_jws(flaw: JwsFlaw) -> Refusal {
    match flaw {
        JwsFlaw::SignatureRemoved => Refusal::new(
            Code::TokenSignatureRemoved,
            "Cloud Run has checked this token and taken its signature away, so it cannot be checked again. Put the check before Cloud Run's own, or send a second token in a header that the policy's `from` names.",
        ),
        JwsFlaw::Encrypted => Refusal::new(
            Code::TokenUnsupported,
            "The token is encrypted; only signed tokens are accepted.",
        ),
        JwsFlaw::Unsupported(parameter) => Refusal::new(
            Code::TokenUnsupported,
            format!("The token's header has the parameter {parameter}, which is not supported."),
        ),
        JwsFlaw::TooLarge => malformed("The token is too large."),
        JwsFlaw::Parts => malformed("The token is not three non-empty parts with periods between."),
        JwsFlaw::Base64 => malformed("A part of the token is not canonical base64url."),
        JwsFlaw::HeaderJson(flaw) => malformed(format!("The token's header {flaw}.")),
        JwsFlaw::HeaderParameter(name) => malformed(format!(
            "The token's header parameter {name} is not a string."
        )),
    }
}

fn refuse_claims(flaw: ClaimsFlaw) -> Refusal {
    match flaw {
        ClaimsFlaw::Json(flaw) => malformed(format!("The token's payload {flaw}.")),
        ClaimsFlaw::Type(name) => {
            malformed(format!("The token's claim {name} has the wrong type."))
        }
    }
}

fn malformed(detail: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::TokenMalformed, detail)
}
