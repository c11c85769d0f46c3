//! `issuers`: who may issue tokens, and with which keys.

use deserr::Deserr;
use serde::Serialize;

use super::claim_rules::RawClaimRule;
use super::forward::is_field_name;
use super::instant::Instant;
pub use super::jwks::RawJwks;
use super::presets::{Known, RawPreset};
use super::problem::{Place, Problems, did_you_mean};
use super::types::{Span, Texts};
use crate::token::algorithm::Algorithm;
use crate::token::issuer::Revoked;
use crate::token::keyset::KeySet;
use crate::token::source::{Lead, Source};
use crate::token::{Issuer, KeySource};

/// Most tolerance between clocks, in seconds.
const MAX_CLOCK_SKEW: Span = Span(600);
/// Tolerance where the policy says nothing, in seconds.
const DEFAULT_CLOCK_SKEW: Span = Span(60);
const DEFAULT_ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

/// An issuer of tokens.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Issuer", deny_unknown_fields))]
pub struct RawIssuer {
    /// A kind of issuer that is known: its `iss`, keys, algorithm, where its tokens are, and rules
    /// of its own.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<RawPreset>,
    /// The `iss` of its tokens, compared exactly: scheme, case and a slash at the end count.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The Google Cloud project, for presets that need it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The tenants of the project whose users are meant, by `firebase.tenant`; all of them, and
    /// users without one, where not given.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Texts>,
    /// Whom its tokens may be for. One of them has to be in the token's `aud`, compared exactly.
    /// Where not given, each route that accepts this issuer has to say.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audiences: Option<Texts>,
    /// The same as `audiences` with a single one.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The signature algorithms it uses; no other is accepted. `[RS256, ES256]` where not given.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// The `typ` of its tokens, without regard to case. Where not given: none, `JWT` or `at+jwt`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<Texts>,
    /// Its keys.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<RawJwks>,
    /// Tolerance between its clock and ours, at most `10m`; `60s` where not given.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Span>,
    /// Longest time from a token's `iat` to its `exp`, or from now if it has no `iat`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Span>,
    /// Rules that every token of this issuer has to meet, whatever the route.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<RawClaimRule>,
    /// Tokens that are not accepted any more.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<RawRevoked>,
    /// Where its tokens are looked for; `[{ header: authorization, scheme: Bearer }]` where not
    /// given. A request with more than one token is refused.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<RawSource>>,
}

/// Tokens that are not accepted any more.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Revoked", deny_unknown_fields))]
pub struct RawRevoked {
    /// By their `jti`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jti: Vec<String>,
    /// By their `sub`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sub: Vec<String>,
    /// All that were issued (`iat`) before this instant, or do not say when.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<Instant>,
}

/// One place where tokens are looked for: exactly one of `header`, `cookie` and `query`.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "TokenSource", deny_unknown_fields))]
pub struct RawSource {
    /// A request header.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The scheme before the token in the header, in any case, with spaces after it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The text before the token in the header, exactly.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A cookie.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// A query parameter.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

impl RawIssuer {
    /// Checks everything about the issuer, and makes what the request path works with.
    pub fn compile(&self, name: &str, at: &Place, problems: &mut Problems) -> Issuer {
        let known = match self.preset {
            Some(preset) => preset.known(self, at, problems),
            None => Known::default(),
        };
        self.check_preset(at, problems);
        let algorithms = self.algorithms(&known, &at.key("algorithms"), problems);
        let iss = self.iss(&known, at, problems);
        let own = self.claims.iter().enumerate().filter_map(|(index, rule)| {
            let at = at.key("claims").index(index);
            if rule.issuer.is_some() {
                problems.add(&at.key("issuer"), "is clear from where the rule stands");
            }
            rule.compile(None, &at, problems)
        });
        let own: Vec<_> = own.collect();
        Issuer {
            name: name.to_owned(),
            audiences: self.audiences(&known, at, problems),
            types: self.typ.as_ref().map(|types| lower_types(&types.0)),
            keys: self.keys(&known, &algorithms, &iss, at, problems),
            clock_skew: self.clock_skew(&known, &at.key("clockSkew"), problems),
            max_lifetime: self.max_lifetime(&known, &at.key("maxLifetime"), problems),
            requires_kid: known.requires_kid,
            requires_auth_time: known.requires_auth_time,
            open_to_anyone: known.open_to_anyone,
            revoked: self.revoked.clone().unwrap_or_default().compile(),
            sources: self.sources(&known, &at.key("from"), problems),
            claims: known.claims.into_iter().chain(own).collect(),
            algorithms,
            iss,
        }
    }

    /// Keys that the preset answers, and keys that only a preset asks for.
    fn check_preset(&self, at: &Place, problems: &mut Problems) {
        let preset = self.preset;
        if preset.is_some_and(RawPreset::knows_issuer) && self.issuer.is_some() {
            problems.add(&at.key("issuer"), "is known to the preset; leave it out");
        }
        if preset.is_some_and(RawPreset::knows_issuer) && self.algorithms.is_some() {
            problems.add(
                &at.key("algorithms"),
                "are known to the preset; leave them out",
            );
        }
        let has_project = preset.is_some_and(RawPreset::knows_audience);
        for (name, given) in [
            ("project", self.project.is_some()),
            ("tenants", self.tenants.is_some()),
        ] {
            if given && !has_project {
                problems.add(
                    &at.key(name),
                    "is of use only with `preset: identity-platform` or `firebase-session`",
                );
            }
        }
        if self
            .tenants
            .as_ref()
            .is_some_and(|tenants| tenants.0.is_empty())
        {
            problems.add(&at.key("tenants"), "is empty, so that no user would do");
        }
    }

    fn iss(&self, known: &Known, at: &Place, problems: &mut Problems) -> Vec<String> {
        if !known.iss.is_empty() {
            return known.iss.clone();
        }
        match &self.issuer {
            Some(issuer) if !issuer.is_empty() => vec![issuer.clone()],
            Some(_) => {
                problems.add(&at.key("issuer"), "is empty; write the tokens' `iss` claim");
                Vec::new()
            }
            None => {
                problems.add(at, "`issuer` is missing; write the tokens' `iss` claim");
                Vec::new()
            }
        }
    }

    fn audiences(&self, known: &Known, at: &Place, problems: &mut Problems) -> Vec<String> {
        let (place, list) = match (&self.audiences, &self.audience) {
            (Some(list), Some(_)) => {
                problems.add(
                    &at.key("audience"),
                    "stands beside `audiences`; put it in there",
                );
                return list.0.clone();
            }
            (Some(list), None) => (at.key("audiences"), list.0.clone()),
            (None, Some(one)) => (at.key("audience"), vec![one.clone()]),
            (None, None) => return known.audiences.clone(),
        };
        if !known.audiences.is_empty() {
            problems.add(
                &place,
                "is known to the preset: it is the project; leave it out",
            );
        }
        check_audiences(&list, &place, problems);
        for audience in &list {
            if let Some(preset) = self.preset {
                preset.check_audience(audience, &place, problems);
            }
        }
        list
    }

    fn algorithms(&self, known: &Known, at: &Place, problems: &mut Problems) -> Vec<Algorithm> {
        let Some(names) = &self.algorithms else {
            return match known.algorithms.as_slice() {
                [] => DEFAULT_ALGORITHMS.to_vec(),
                known => known.to_vec(),
            };
        };
        if names.is_empty() {
            problems.add(at, "is empty; name the algorithms, for example `[RS256]`");
        }
        let mut algorithms = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match Algorithm::named(name) {
                Some(algorithm) => algorithms.push(algorithm),
                None => problems.add(&at.index(index), unknown_algorithm(name)),
            }
        }
        let symmetric = algorithms.iter().filter(|alg| alg.is_symmetric()).count();
        if symmetric != 0 && symmetric != algorithms.len() {
            problems.add(
                at,
                "mixes HS* with public-key algorithms, so that a public key could pass for a \
                 secret; make two issuers of it",
            );
        }
        algorithms
    }

    fn keys(
        &self,
        known: &Known,
        algorithms: &[Algorithm],
        iss: &[String],
        at: &Place,
        problems: &mut Problems,
    ) -> KeySource {
        let iss = iss.first().map_or("", String::as_str);
        let place = at.key("jwks");
        let own = self.jwks.clone().unwrap_or_default();
        match &known.keys {
            Some(known) if !own.names_keys() => {
                let jwks = known.with_bounds_of(own);
                jwks.compile(iss, algorithms, &place, problems)
            }
            // Without an issuer there is nothing to discover, which has been said already.
            None if self.jwks.is_none() && self.preset.is_some() => {
                KeySource::Inline(KeySet::default())
            }
            None if self.jwks.is_none() => {
                problems.add(
                    at,
                    "`jwks` is missing; write where the issuer's keys are, for example \
                     `jwks: { uri: https://issuer.example/jwks.json }`",
                );
                KeySource::Inline(KeySet::default())
            }
            _ => own.compile(iss, algorithms, &place, problems),
        }
    }

    fn clock_skew(&self, known: &Known, at: &Place, problems: &mut Problems) -> u64 {
        let default = known.clock_skew.map_or(DEFAULT_CLOCK_SKEW, Span);
        let skew = self.clock_skew.unwrap_or(default);
        if skew > MAX_CLOCK_SKEW {
            problems.add(
                at,
                format!("is {skew}; at most {MAX_CLOCK_SKEW} is sensible"),
            );
        }
        skew.0
    }

    fn max_lifetime(&self, known: &Known, at: &Place, problems: &mut Problems) -> Option<u64> {
        if self.max_lifetime == Some(Span(0)) {
            problems.add(at, "is 0, so that no token would do");
        }
        self.max_lifetime.map(|span| span.0).or(known.max_lifetime)
    }

    fn sources(&self, known: &Known, at: &Place, problems: &mut Problems) -> Vec<Source> {
        let Some(places) = &self.from else {
            return match known.sources.as_slice() {
                [] => vec![Source::bearer()],
                known => known.to_vec(),
            };
        };
        if places.is_empty() {
            problems.add(at, "is empty, so that no token would be found");
        }
        let mut sources = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let at = at.index(index);
            let Some(source) = place.compile(&at, problems) else {
                continue;
            };
            if sources.contains(&source) {
                problems.add(&at, "is there twice");
            }
            sources.push(source);
        }
        sources
    }
}

impl RawRevoked {
    fn compile(self) -> Revoked {
        Revoked {
            jti: self.jti.into_iter().collect(),
            sub: self.sub.into_iter().collect(),
            issued_before: self.issued_before.map(|instant| instant.0),
        }
    }
}

impl RawSource {
    fn compile(&self, at: &Place, problems: &mut Problems) -> Option<Source> {
        if self.header.is_none() && (self.scheme.is_some() || self.prefix.is_some()) {
            problems.add(
                at,
                "has a `scheme` or `prefix`, which only a `header` can have",
            );
        }
        let named = |name: &str| is_field_name(name);
        let (key, name, source) = match (&self.header, &self.cookie, &self.query) {
            (Some(name), None, None) => {
                let source = Source::Header {
                    name: name.to_ascii_lowercase(),
                    lead: self.lead(at, problems),
                };
                ("header", name, source)
            }
            (None, Some(name), None) => ("cookie", name, Source::Cookie(name.clone())),
            (None, None, Some(name)) => {
                if name.is_empty() {
                    problems.add(&at.key("query"), "is empty; write the parameter's name");
                }
                return Some(Source::Query(name.clone()));
            }
            _ => {
                problems.add(at, "needs exactly one of `header`, `cookie` and `query`");
                return None;
            }
        };
        if !named(name) {
            problems.add(&at.key(key), format!("`{name}` is not the name of a {key}"));
        }
        Some(source)
    }

    fn lead(&self, at: &Place, problems: &mut Problems) -> Lead {
        match (&self.scheme, &self.prefix) {
            (None, None) => Lead::Nothing,
            (Some(scheme), None) => {
                if !is_field_name(scheme) {
                    problems.add(
                        &at.key("scheme"),
                        format!("`{scheme}` is not a scheme; write one such as `Bearer`"),
                    );
                }
                Lead::Scheme(scheme.clone())
            }
            (None, Some(prefix)) => {
                if prefix.is_empty() {
                    problems.add(&at.key("prefix"), "is empty; leave it out");
                }
                Lead::Prefix(prefix.clone())
            }
            (Some(_), Some(_)) => {
                problems.add(at, "has both `scheme` and `prefix`; keep one");
                Lead::Nothing
            }
        }
    }
}

/// Audiences as both issuers and routes name them.
pub(super) fn check_audiences(audiences: &[String], at: &Place, problems: &mut Problems) {
    if audiences.is_empty() {
        problems.add(
            at,
            "is empty; name whom the tokens have to be for, or any token of the issuer passes",
        );
    }
    for (index, audience) in audiences.iter().enumerate() {
        if audience.is_empty() {
            problems.add(&at.index(index), "is empty; write an audience");
        }
    }
}

/// RFC 7515 §4.1.9: media types, of which `application/` may be left out.
fn lower_types(types: &[String]) -> Vec<String> {
    let types = types.iter().map(|typ| typ.to_ascii_lowercase());
    let short = |typ: String| {
        typ.strip_prefix("application/")
            .map_or(typ.clone(), str::to_owned)
    };
    types.map(short).collect()
}

fn unknown_algorithm(name: &str) -> String {
    if name.eq_ignore_ascii_case("none") {
        return "`none` means no signature, which is never accepted".to_owned();
    }
    let known = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
    let near = match known.clone().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(other_case) => format!(", did you mean `{other_case}`?"),
        None => did_you_mean(name, known.clone()),
    };
    if near.is_empty() {
        let list = known.collect::<Vec<_>>().join(", ");
        format!("`{name}` is not a signature algorithm; known are {list}")
    } else {
        format!("`{name}` is not a signature algorithm{near}")
    }
}

#[cfg(test)]
mod tests;
