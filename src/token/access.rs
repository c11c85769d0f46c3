//! Who may call a route.

use super::challenge;
use super::claims::{Claims, ClaimsFlaw};
use super::crypto::Crypto;
use super::forward::{Forward, NotPlain, TokenHandling};
use super::issuer::{self, Issuer, KeySource, KeyState, Keys};
use super::jws::{Compact, JwsFlaw};
use super::rule::ClaimRule;
use super::source::{self, Found};
use crate::head::{Edit, RequestHead};
use crate::reply::{Code, Refusal};
use crate::time::UnixTime;
use crate::trace::Trace;

/// The access rule of a route.
#[derive(Clone, Debug, Default)]
pub struct Access {
    rules: Option<Box<Rules>>,
}

/// What a token has to be for a route that is not public.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The issuers whose tokens are accepted, as indexes into the policy's list.
    pub any_of: Vec<usize>,
    /// Rules on the token's claims, all of which have to be met.
    pub claims: Vec<ClaimRule>,
    /// What is handed on to the service.
    pub forward: Forward,
}

/// What a check needs besides the request.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The time.
    pub now: UnixTime,
    /// Keys that are not in the policy.
    pub keys: &'a dyn Keys,
    /// Checks signatures.
    pub crypto: &'a dyn Crypto,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The route is public: nobody was identified.
    Anonymous,
    /// The token is good.
    Granted(Granted),
    /// The request is not let through.
    Refused(Refusal),
    /// The keys of these issuers, by index, have to come first; ask again then.
    AwaitKeys(Vec<usize>),
}

/// A verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What to change in the request's head, for the service to see.
    pub edits: Vec<Edit>,
    /// The policy's name for the issuer.
    pub issuer: String,
    /// `sub`.
    pub subject: Option<String>,
}

/// A check that ended before the token was accepted.
enum Stop {
    Refused(Refusal),
    AwaitKeys(usize),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Access {
    /// Everybody may call.
    pub fn public() -> Self {
        Self::default()
    }

    /// Those may call who meet the rules.
    pub fn restricted(rules: Rules) -> Self {
        Self {
            rules: Some(Box::new(rules)),
        }
    }

    /// Whether everybody may call.
    pub fn is_public(&self) -> bool {
        self.rules.is_none()
    }

    /// The headers, in lower case, that this writes for the service. Nothing that a client sends
    /// under these names may reach a service on any route.
    pub fn headers_set(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rules| rules.forward.headers())
    }

    /// Decides on a request.
    pub fn check(
        &self,
        issuers: &[Issuer],
        head: &RequestHead,
        env: &Env<'_>,
        trace: &mut Trace,
    ) -> Outcome {
        let Some(rules) = &self.rules else {
            trace.note("access", || "the route is public".to_owned());
            return Outcome::Anonymous;
        };
        match rules.check(issuers, head, env, trace) {
            Ok(granted) => Outcome::Granted(granted),
            Err(Stop::AwaitKeys(issuer)) => Outcome::AwaitKeys(vec![issuer]),
            Err(Stop::Refused(mut refusal)) => {
                let scope = rules.wanted_scope(&refusal);
                challenge::add(&mut refusal, scope.as_deref());
                Outcome::Refused(refusal)
            }
        }
    }
}

impl Rules {
    fn check(
        &self,
        issuers: &[Issuer],
        head: &RequestHead,
        env: &Env<'_>,
        trace: &mut Trace,
    ) -> Result<Granted, Stop> {
        let token = find(head, trace)?;
        let token = Compact::parse(token).map_err(refuse_jws)?;
        let claims = Claims::parse(&token.payload).map_err(refuse_claims)?;
        let issuer = self.authenticate(&token, &claims, issuers, env, trace)?;
        self.authorize(&claims, trace)?;
        Ok(Granted {
            edits: self.edits(&claims)?,
            issuer: issuer.name.clone(),
            subject: claims.text("sub").map(str::to_owned),
        })
    }

    /// Who issued the token. Issuers may share an `iss`, for instance with different audiences: the
    /// first that accepts the token counts, and if none does, the first refusal.
    fn authenticate<'i>(
        &self,
        token: &Compact<'_>,
        claims: &Claims,
        issuers: &'i [Issuer],
        env: &Env<'_>,
        trace: &mut Trace,
    ) -> Result<&'i Issuer, Stop> {
        let iss = claims.text("iss");
        let mut first_stop = None;
        for index in &self.any_of {
            let Some(issuer) = issuers.get(*index) else {
                continue;
            };
            if !iss.is_some_and(|iss| issuer.is_called(iss)) {
                continue;
            }
            match accept(*index, issuer, token, claims, env, trace) {
                Ok(()) => return Ok(issuer),
                Err(stop) => first_stop = first_stop.or(Some(stop)),
            }
        }
        Err(first_stop.unwrap_or_else(|| {
            trace.note("token", || {
                "its iss is none that this route accepts".to_owned()
            });
            let detail = "The token's issuer is not accepted here.";
            Refusal::new(Code::IssuerUnknown, detail).into()
        }))
    }

    fn authorize(&self, claims: &Claims, trace: &mut Trace) -> Result<(), Refusal> {
        for rule in &self.claims {
            let broken = rule.broken_by(claims);
            let shows_values = trace.shows_values();
            trace.note("access", || {
                let found = match claims.at(&rule.claim) {
                    Some(value) if shows_values => format!("; it is {value}"),
                    Some(_) => String::new(),
                    None => "; it is absent".to_owned(),
                };
                match broken {
                    None => format!("claim `{}` meets its rule", rule.claim),
                    Some(test) => format!("claim `{}` does not meet: {test}{found}", rule.claim),
                }
            });
            if broken.is_some() {
                return Err(Refusal::new(
                    Code::ClaimMismatch,
                    format!(
                        "The token's claim {} is not what this route asks for.",
                        rule.claim
                    ),
                ));
            }
        }
        Ok(())
    }

    fn edits(&self, claims: &Claims) -> Result<Vec<Edit>, Refusal> {
        let mut edits = self.forward.edits(claims).map_err(|NotPlain(claim)| {
            Refusal::new(
                Code::ClaimMismatch,
                format!("The token's claim {claim} cannot be handed on as a header."),
            )
        })?;
        if self.forward.token == TokenHandling::Strip {
            edits.push(Edit::Remove("authorization".to_owned()));
        }
        Ok(edits)
    }

    /// Every scope that the route's rules ask for, when a rule was not met.
    fn wanted_scope(&self, refusal: &Refusal) -> Option<String> {
        if refusal.code != Code::ClaimMismatch {
            return None;
        }
        let scopes: Vec<_> = self.claims.iter().filter_map(ClaimRule::scope).collect();
        (!scopes.is_empty()).then(|| scopes.join(" "))
    }
}

fn find<'a>(head: &'a RequestHead, trace: &mut Trace) -> Result<&'a [u8], Refusal> {
    match source::bearer(head) {
        Found::Token(token) => {
            trace.note("token", || {
                format!("found in Authorization: Bearer, {} bytes", token.len())
            });
            Ok(token)
        }
        Found::Nothing => {
            trace.note("token", || "no Authorization: Bearer".to_owned());
            Err(Refusal::new(
                Code::TokenMissing,
                "This route asks for a token in Authorization: Bearer.",
            ))
        }
        Found::Several => {
            trace.note("token", || "Authorization is repeated".to_owned());
            Err(Refusal::new(
                Code::TokenAmbiguous,
                "The request carries more than one Authorization field.",
            ))
        }
    }
}

/// Whether one issuer accepts a token that bears its name.
fn accept(
    index: usize,
    issuer: &Issuer,
    token: &Compact<'_>,
    claims: &Claims,
    env: &Env<'_>,
    trace: &mut Trace,
) -> Result<(), Stop> {
    let accepted = accept_unrecorded(index, issuer, token, claims, env);
    trace.note("token", || match &accepted {
        Ok(()) => format!("issuer {} accepts it", issuer.name),
        Err(Stop::AwaitKeys(_)) => format!("the keys of issuer {} have to come first", issuer.name),
        Err(Stop::Refused(refusal)) => {
            format!(
                "issuer {} refuses it: {}",
                issuer.name,
                refusal.code.as_str()
            )
        }
    });
    accepted
}

fn accept_unrecorded(
    index: usize,
    issuer: &Issuer,
    token: &Compact<'_>,
    claims: &Claims,
    env: &Env<'_>,
) -> Result<(), Stop> {
    let algorithm = issuer.check_claims(token, claims, &issuer.audiences, env.now)?;
    let (keys, refreshable) = match &issuer.keys {
        KeySource::Inline(keys) => (keys, false),
        KeySource::Remote(_) => match env.keys.lookup(index) {
            KeyState::Ready(keys) => (keys, true),
            KeyState::Pending => return Err(Stop::AwaitKeys(index)),
            KeyState::Unavailable => return Err(keys_unavailable().into()),
        },
    };
    match issuer::verify(token, algorithm, keys, env.crypto) {
        Ok(_) => Ok(()),
        Err(refusal)
            if refreshable
                && refusal.code == Code::KeyUnknown
                && env.keys.refresh(index, token.header.kid.as_deref()) =>
        {
            Err(Stop::AwaitKeys(index))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn keys_unavailable() -> Refusal {
    /// Seconds after which a client may try again.
    const RETRY_AFTER: &str = "5";
    let mut refusal = Refusal::new(
        Code::KeysUnavailable,
        "The keys of the token's issuer cannot be had at the moment.",
    );
    let retry = ("retry-after".to_owned(), RETRY_AFTER.to_owned());
    refusal.headers.push(retry);
    refusal
}

fn refuse_jws(flaw: JwsFlaw) -> Refusal {
    match flaw {
        JwsFlaw::SignatureRemoved => Refusal::new(
            Code::TokenSignatureRemoved,
            "Cloud Run has checked this token and taken its signature away, so it cannot be checked again.",
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

fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::TokenMalformed, detail)
}
