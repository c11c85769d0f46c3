//! Who may call a route.

use super::authenticate::{Candidate, Stop, Verified, authenticate};
use super::cache::Cache;
use super::challenge::{self, Wanted};
use super::crypto::Crypto;
use super::forward::{Forward, NotPlain, TokenHandling, plain};
use super::identity::Identities;
use super::issuer::{Issuer, Keys};
use super::rule::ClaimRule;
use super::source::{Found, Source};
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
    /// Whose tokens are asked for.
    pub requirement: Requirement,
    /// A request without any token passes, as nobody's. One with a bad token never does.
    pub optional: bool,
    /// CORS preflight requests (Fetch §3.2.3), which never carry a token, pass.
    pub preflight: bool,
    /// Rules on the token's claims, all of which have to be met.
    pub claims: Vec<ClaimRule>,
    /// Longest time since the user signed in, in seconds (`auth_time`, RFC 9470 §3).
    pub max_age: Option<u64>,
    /// What is handed on to the service.
    pub forward: Forward,
}

/// Whose tokens are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// One token, of any of these.
    AnyOf(Vec<Accepted>),
    /// One token of each. The first says who is calling: claim rules without an issuer and what is
    /// handed on go by it.
    AllOf(Vec<Accepted>),
}

impl Default for Requirement {
    /// Nobody's: no token is accepted.
    fn default() -> Self {
        Self::AnyOf(Vec::new())
    }
}

/// An issuer whose tokens are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Its index in the policy's list.
    pub issuer: usize,
    /// Whom its tokens have to be for on this route; its own audiences where not given.
    pub audiences: Option<Vec<String>>,
}

impl Requirement {
    /// Every issuer named.
    pub fn accepted(&self) -> &[Accepted] {
        match self {
            Self::AnyOf(items) | Self::AllOf(items) => items,
        }
    }
}

/// What a check needs besides the request.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The time.
    pub now: UnixTime,
    /// Keys that are not in the policy.
    pub keys: &'a dyn Keys,
    /// Tokens of this proxy.
    pub identities: &'a dyn Identities,
    /// Checks signatures.
    pub crypto: &'a dyn Crypto,
    /// Tokens whose signature has been verified before.
    pub cache: Option<&'a Cache>,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The route asks for no token, or the request has none and needs none: nobody was identified.
    Anonymous,
    /// The token is good.
    Granted(Granted),
    /// The request is not let through.
    Refused(Refusal),
    /// The keys of these issuers, by index, have to come first; ask again then.
    AwaitKeys(Vec<usize>),
}

/// A verified caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// What to change in the request's head, for the service to see; the exchange takes it out. May
    /// set `:path`.
    pub edits: Vec<Edit>,
    /// The policy's name for the issuer.
    pub issuer: String,
    /// `sub`, where a line of a log can hold it.
    pub subject: Option<String>,
    /// Claims for access logs and later filters, by the policy's names; `None` where these are to learn
    /// nothing of the caller.
    pub logged: Option<Vec<(String, String)>>,
    /// Whether Envoy is to choose the route again once the head is edited.
    pub clear_route_cache: bool,
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

    /// Whether the service learns who is calling, from the token or from what is written of it.
    pub fn tells_the_service(&self) -> bool {
        let rules = self.rules.as_ref();
        rules.is_some_and(|rules| {
            let kept = rules.forward.token != Some(TokenHandling::Strip);
            kept || rules.forward.headers().next().is_some()
        })
    }

    /// Whether some callers with a good token are refused for what it says.
    pub fn is_choosy(&self) -> bool {
        let rules = self.rules.as_ref();
        rules.is_some_and(|rules| !rules.claims.is_empty() || rules.max_age.is_some())
    }

    /// The headers, in lower case, that this writes for the service. Nothing that a client sends
    /// under these names may reach a service on any route.
    pub fn headers_set(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rules| rules.forward.headers())
    }

    /// Whether the proxy chooses its route by what this writes.
    pub fn clears_route_cache(&self) -> bool {
        self.rules
            .as_ref()
            .is_some_and(|rules| rules.forward.clear_route_cache)
    }

    /// The indexes of the issuers whose tokens this accepts.
    pub fn issuers(&self) -> impl Iterator<Item = usize> {
        let accepted = self.rules.iter();
        let accepted = accepted.flat_map(|rules| rules.requirement.accepted());
        accepted.map(|item| item.issuer)
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
            Ok(Some(granted)) => Outcome::Granted(granted),
            Ok(None) => Outcome::Anonymous,
            Err(Stop::AwaitKeys(issuer)) => Outcome::AwaitKeys(vec![issuer]),
            Err(Stop::Refused(mut refusal)) => {
                challenge::add(&mut refusal, &rules.wanted());
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
    ) -> Result<Option<Granted>, Stop> {
        if self.preflight && is_preflight(head) {
            trace.note("access", || "a CORS preflight passes".to_owned());
            return Ok(None);
        }
        let verified = match &self.requirement {
            Requirement::AnyOf(items) => {
                let one = self.verify_one(items, issuers, head, env, trace)?;
                one.into_iter().collect()
            }
            Requirement::AllOf(items) => self.verify_each(items, issuers, head, env, trace)?,
        };
        let Some(caller) = verified.first() else {
            trace.note("access", || "no token, and none is needed".to_owned());
            return Ok(None);
        };
        self.check_age(caller, env.now)?;
        for (position, token) in verified.iter().enumerate() {
            self.authorize(token, position == 0, trace)?;
        }
        Ok(Some(self.grant(caller, &verified, head)?))
    }

    /// The one token among all the places where one of the issuers' tokens may be.
    fn verify_one<'a>(
        &self,
        items: &[Accepted],
        issuers: &'a [Issuer],
        head: &'a RequestHead,
        env: &Env<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Verified<'a>>, Stop> {
        let mut sources: Vec<&Source> = Vec::new();
        for source in items.iter().flat_map(|item| sources_of(item, issuers)) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let Some(candidate) = find(&sources, head, trace)? else {
            return self.missing(&sources).map(|()| None);
        };
        let accepted: Vec<_> = items
            .iter()
            .filter(|item| sources_of(item, issuers).contains(candidate.source))
            .collect();
        authenticate(candidate, &accepted, issuers, env, trace).map(Some)
    }

    /// One token of each issuer; with `optional`, all or none.
    fn verify_each<'a>(
        &self,
        items: &[Accepted],
        issuers: &'a [Issuer],
        head: &'a RequestHead,
        env: &Env<'_>,
        trace: &mut Trace,
    ) -> Result<Vec<Verified<'a>>, Stop> {
        let mut candidates = Vec::new();
        for item in items {
            let sources: Vec<_> = sources_of(item, issuers).iter().collect();
            candidates.push((item, find(&sources, head, trace)?, sources));
        }
        let none_at_all = candidates.iter().all(|(_, found, _)| found.is_none());
        let mut verified = Vec::new();
        for (item, candidate, sources) in candidates {
            match candidate {
                Some(candidate) => {
                    verified.push(authenticate(candidate, &[item], issuers, env, trace)?);
                }
                None if none_at_all => self.missing(&sources)?,
                None => return Err(missing(&sources).into()),
            }
        }
        Ok(verified)
    }

    fn missing(&self, sources: &[&Source]) -> Result<(), Stop> {
        if self.optional {
            Ok(())
        } else {
            Err(missing(sources).into())
        }
    }

    fn check_age(&self, caller: &Verified<'_>, now: UnixTime) -> Result<(), Refusal> {
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        let skew = caller.issuer.clock_skew;
        let recent = caller.parsed.claims.date("auth_time").is_some_and(|time| {
            time <= now.saturating_add(skew)
                && now <= time.saturating_add(max_age).saturating_add(skew)
        });
        if recent {
            return Ok(());
        }
        let detail = "This route asks for a more recent sign-in.";
        Err(Refusal::new(Code::AuthenticationTooOld, detail))
    }

    /// Holds the rules of the token's issuer, and those of the route, against its claims.
    fn authorize(
        &self,
        token: &Verified<'_>,
        is_caller: bool,
        trace: &mut Trace,
    ) -> Result<(), Refusal> {
        let own = self.claims.iter().filter(|rule| match rule.issuer {
            Some(issuer) => issuer == token.index,
            None => is_caller,
        });
        for rule in token.issuer.claims.iter().chain(own) {
            let broken = rule.broken_by(&token.parsed.claims);
            let shows_values = trace.shows_values();
            trace.note("access", || {
                let found = match token.parsed.claims.at(&rule.claim) {
                    Some(value) if shows_values => format!("; it is {value}"),
                    Some(_) => String::new(),
                    None => "; it is absent".to_owned(),
                };
                match broken {
                    None => format!("claim {} meets its rule", rule.claim),
                    Some(test) => format!("claim {} does not meet: {test}{found}", rule.claim),
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

    fn grant(
        &self,
        caller: &Verified<'_>,
        verified: &[Verified<'_>],
        head: &RequestHead,
    ) -> Result<Granted, Refusal> {
        let claims = &caller.parsed.claims;
        let edits = self.forward.edits(&caller.candidate.token, claims);
        let mut edits = edits.map_err(|NotPlain(claim)| {
            Refusal::new(
                Code::ClaimMismatch,
                format!("The token's claim {claim} cannot be handed on as a header."),
            )
        })?;
        edits.extend(self.strip(verified, head));
        Ok(Granted {
            edits,
            issuer: caller.issuer.name.clone(),
            subject: claims.named("sub").and_then(plain),
            logged: self.forward.logged(claims),
            clear_route_cache: self.forward.clear_route_cache,
        })
    }

    /// The edits that take the tokens out. Each starts from what the one before has left, since two
    /// tokens may sit in one field.
    fn strip(&self, verified: &[Verified<'_>], head: &RequestHead) -> Vec<Edit> {
        let sources = verified.iter().map(|token| token.candidate.source);
        let mut stripped: Vec<&Source> = sources
            .filter(|source| self.forward.strips(source))
            .collect();
        let Some(last) = stripped.pop() else {
            return Vec::new();
        };
        if stripped.is_empty() {
            return vec![last.strip(head)];
        }
        let mut rest = head.clone();
        let mut edits = Vec::new();
        for source in stripped.into_iter().chain([last]) {
            let edit = source.strip(&rest);
            rest.headers.apply(std::slice::from_ref(&edit));
            edits.push(edit);
        }
        edits
    }

    /// What a challenge tells the client that it needs.
    fn wanted(&self) -> Wanted {
        let scopes: Vec<_> = self.claims.iter().filter_map(ClaimRule::scope).collect();
        Wanted {
            scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
            max_age: self.max_age,
        }
    }
}

fn sources_of<'a>(item: &Accepted, issuers: &'a [Issuer]) -> &'a [Source] {
    issuers
        .get(item.issuer)
        .map_or(&[], |issuer| issuer.sources.as_slice())
}

/// The only token in any of the places.
fn find<'a>(
    sources: &[&'a Source],
    head: &'a RequestHead,
    trace: &mut Trace,
) -> Result<Option<Candidate<'a>>, Refusal> {
    let mut candidate = None;
    for source in sources.iter().copied() {
        let token = match source.find(head) {
            Found::Nothing => continue,
            Found::Token(token) if candidate.is_none() => token,
            Found::Token(_) | Found::Several => {
                trace.note("token", || format!("more than one, seen at {source}"));
                return Err(Refusal::new(
                    Code::TokenAmbiguous,
                    "The request carries more than one token where one is expected.",
                ));
            }
        };
        trace.note("token", || {
            format!("found in {source}, {} bytes", token.len())
        });
        candidate = Some(Candidate { source, token });
    }
    Ok(candidate)
}

fn missing(sources: &[&Source]) -> Refusal {
    let places: Vec<_> = sources.iter().map(ToString::to_string).collect();
    Refusal::new(
        Code::TokenMissing,
        format!("This route asks for a token: {}.", places.join(", or ")),
    )
}

/// A CORS preflight, as Fetch §3.2.3 sends it.
fn is_preflight(head: &RequestHead) -> bool {
    head.method() == b"OPTIONS"
        && head.headers.has("origin")
        && head.headers.has("access-control-request-method")
}
