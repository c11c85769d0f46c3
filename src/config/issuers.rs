//! `issuers`: who may issue tokens, and with which keys.

use deserr::{Deserr, IntoValue, Value as Raw, ValuePointerRef};
use serde::Serialize;
use serde_json::Value;

use super::problem::{Place, Problems, did_you_mean};
use super::types::{Span, wrong_kind};
use crate::token::algorithm::Algorithm;
use crate::token::key::Secrets;
use crate::token::keyset::KeySet;
use crate::token::{Issuer, KeySource};

/// Most tolerance between clocks, in seconds.
const MAX_CLOCK_SKEW: Span = Span(600);
/// Tolerance where the policy says nothing, in seconds.
const DEFAULT_CLOCK_SKEW: Span = Span(60);
const DEFAULT_ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

/// An issuer of tokens.
#[derive(Clone, Debug, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Issuer", deny_unknown_fields))]
pub struct RawIssuer {
    /// The `iss` of its tokens, compared exactly: scheme, case and a slash at the end count.
    pub issuer: String,
    /// Whom its tokens may be for. One of them has to be in the token's `aud`, compared exactly.
    pub audiences: OneOrMany,
    /// The signature algorithms it uses; no other is accepted. `[RS256, ES256]` where not given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// Its keys.
    pub jwks: RawJwks,
    /// Tolerance between its clock and ours, at most `10m`; `60s` where not given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Span>,
}

/// Where an issuer's keys are: exactly one of the ways below.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Jwks", deny_unknown_fields))]
pub struct RawJwks {
    /// The JWK set itself (RFC 7517 §5): `{ keys: [...] }`. Public keys only, except for HS*.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<Value>,
    /// A file with the JWK set, beside the policy; `forecourt` puts its content in place of it.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A string, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl Deserr<Problems> for OneOrMany {
    fn deserialize_from_value<V: IntoValue>(
        value: Raw<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Raw::String(one) => Ok(Self(vec![one])),
            list @ Raw::Sequence(_) => {
                Vec::<String>::deserialize_from_value(list, location).map(Self)
            }
            other => Err(wrong_kind(
                &other,
                "a string or a list of strings",
                location,
            )),
        }
    }
}

impl Serialize for OneOrMany {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for OneOrMany {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A string, or a list of strings.",
            "oneOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" } }
            ]
        })
    }
}

impl RawIssuer {
    /// Checks everything about the issuer, and makes what the request path works with.
    pub fn compile(&self, name: &str, at: &Place, problems: &mut Problems) -> Issuer {
        if self.issuer.is_empty() {
            problems.add(&at.key("issuer"), "is empty; write the tokens' `iss` claim");
        }
        check_audiences(&self.audiences, &at.key("audiences"), problems);
        let algorithms = self.algorithms(&at.key("algorithms"), problems);
        Issuer {
            name: name.to_owned(),
            iss: vec![self.issuer.clone()],
            audiences: self.audiences.0.clone(),
            keys: self.jwks.compile(&algorithms, at, problems),
            algorithms,
            clock_skew: self.clock_skew(&at.key("clockSkew"), problems),
        }
    }

    fn algorithms(&self, at: &Place, problems: &mut Problems) -> Vec<Algorithm> {
        let Some(names) = &self.algorithms else {
            return DEFAULT_ALGORITHMS.to_vec();
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

    fn clock_skew(&self, at: &Place, problems: &mut Problems) -> u64 {
        let skew = self.clock_skew.unwrap_or(DEFAULT_CLOCK_SKEW);
        if skew > MAX_CLOCK_SKEW {
            problems.add(
                at,
                format!("is {skew}; at most {MAX_CLOCK_SKEW} is sensible"),
            );
        }
        skew.0
    }
}

/// Audiences as both issuers and routes name them.
pub(super) fn check_audiences(audiences: &OneOrMany, at: &Place, problems: &mut Problems) {
    if audiences.0.is_empty() {
        problems.add(
            at,
            "is empty; name whom the tokens have to be for, or any token of the issuer passes",
        );
    }
    for (index, audience) in audiences.0.iter().enumerate() {
        if audience.is_empty() {
            problems.add(&at.index(index), "is empty; write an audience");
        }
    }
}

fn unknown_algorithm(name: &str) -> String {
    if name.eq_ignore_ascii_case("none") {
        return "`none` means no signature, which is never accepted".to_owned();
    }
    let known = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
    match did_you_mean(name, known.clone()) {
        near if near.is_empty() => format!(
            "`{name}` is not a signature algorithm; known are {}",
            known.collect::<Vec<_>>().join(", ")
        ),
        near => format!("`{name}` is not a signature algorithm{near}"),
    }
}

impl RawJwks {
    fn compile(&self, algorithms: &[Algorithm], at: &Place, problems: &mut Problems) -> KeySource {
        let at = at.key("jwks");
        let keys = match (&self.inline, &self.file) {
            (Some(inline), None) => inline_keys(inline, algorithms, &at.key("inline"), problems),
            (None, Some(file)) => {
                problems.add(
                    &at.key("file"),
                    format!(
                        "the proxy reads no files: let `forecourt` put the content of `{file}` \
                         in, or write the keys under `inline`"
                    ),
                );
                KeySet::default()
            }
            (Some(_), Some(_)) => {
                problems.add(&at, "has both `inline` and `file`; keep one");
                KeySet::default()
            }
            (None, None) => {
                problems.add(
                    &at,
                    "has no keys; write `inline: { keys: [...] }` or `file: PATH`",
                );
                KeySet::default()
            }
        };
        KeySource::Inline(keys)
    }
}

fn inline_keys(
    set: &Value,
    algorithms: &[Algorithm],
    at: &Place,
    problems: &mut Problems,
) -> KeySet {
    let secrets = if algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
        Secrets::Allowed
    } else {
        Secrets::Refused
    };
    let Value::Object(members) = set else {
        problems.add(at, "is not a JWK set: write `{ keys: [...] }`");
        return KeySet::default();
    };
    let keys = match KeySet::from_object(members, secrets) {
        Ok(keys) => keys,
        Err(flaw) => {
            problems.add(at, flaw.to_string());
            return KeySet::default();
        }
    };
    let list = at.key("keys");
    for dropped in keys.dropped() {
        problems.add(
            &list.index(dropped.index),
            format!("this key cannot be used: {}", dropped.flaw),
        );
    }
    if keys.is_empty() && keys.dropped().is_empty() {
        problems.add(&list, "is empty; without a key no token can be checked");
    }
    check_use(&keys, algorithms, &list, problems);
    keys
}

/// Every key has a use, and no two could be meant by the same token.
fn check_use(keys: &KeySet, algorithms: &[Algorithm], at: &Place, problems: &mut Problems) {
    for key in keys.keys() {
        let label = key.kid().unwrap_or("(no kid)");
        if !algorithms.iter().any(|algorithm| key.fits(*algorithm)) {
            let names: Vec<_> = algorithms.iter().map(|alg| alg.as_str()).collect();
            problems.add(
                at,
                format!(
                    "the key `{label}` fits none of the issuer's algorithms ({}); name its own \
                     under `algorithms`, or leave the key out",
                    names.join(", ")
                ),
            );
        }
        let rivals = |algorithm: &Algorithm| {
            let same_kid = keys.keys().filter(|other| other.kid() == key.kid());
            same_kid.filter(|other| other.fits(*algorithm)).count() > 1 && key.fits(*algorithm)
        };
        if let Some(algorithm) = algorithms.iter().copied().find(rivals) {
            problems.add(
                at,
                format!(
                    "several keys with the `kid` `{label}` fit {algorithm}; give each its own, \
                     or no token can say which it means"
                ),
            );
        }
    }
}
