//! `issuers.NAME.jwks`: where an issuer's keys are.

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;

use super::problem::{Place, Problems};
use super::remote::{RawDiscovery, RawKeyFormat};
use super::types::Span;
use crate::token::KeySource;
use crate::token::algorithm::Algorithm;
use crate::token::key::Secrets;
use crate::token::keyset::KeySet;

/// Where an issuer's keys are: exactly one of the ways below.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Jwks", deny_unknown_fields))]
pub struct RawJwks {
    /// The JWK set itself (RFC 7517 §5): `{ keys: [...] }`. Public keys only, except for HS*.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<Value>,
    /// A file with the JWK set, beside the policy; `forecourt` puts its content in place of it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The address at which the issuer serves its keys, fetched by the proxy: `https`, or `http` on
    /// this machine.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// `true`: the issuer's metadata (OpenID Connect Discovery) says where the keys are; or where
    /// that metadata is, `{ uri, cluster }`. Its `issuer` has to be the one above.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<RawDiscovery>,
    /// With `uri` or `discovery`: the proxy's cluster that reaches the keys; where not given, the one
    /// that is called as the host (and port, where written). `forecourt render` makes it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// With `discovery`: the host, or host and port, that serves the keys, where it is not the
    /// metadata's own. Keys at any other host are refused.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_host: Option<String>,
    /// With `uri` or `discovery`: `jwks`, or `x509` for an object from `kid` to certificate.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: RawKeyFormat,
    /// Allows `http` to another machine, where the cluster or the mesh encrypts.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "is_default")]
    pub plain_http: bool,
    /// Longest use of fetched keys before they are fetched anew, `1s` to `1d`. Where not given, the
    /// answer's `Cache-Control: max-age` says, up to `1d`, or it is `10m`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_duration: Option<Span>,
    /// How much longer fetched keys may be used while the issuer cannot be reached, at most `7d`;
    /// `1h` where not given.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<Span>,
    /// Shortest time between two fetches, `1s` to `1h`; `10s` where not given. A token with an
    /// unknown `kid` makes the proxy fetch again, but not more often than this.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_refresh: Option<Span>,
    /// How long one fetch may take, and a request may wait for it, `1s` to `1m`; `5s` where not
    /// given.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl RawJwks {
    /// Whether it says where the keys are at all, and not just how they are fetched.
    pub(super) fn names_keys(&self) -> bool {
        self.inline.is_some() || self.file.is_some() || self.is_remote()
    }

    /// These keys, fetched as `other` says as far as it says something.
    pub(super) fn with_bounds_of(&self, other: Self) -> Self {
        Self {
            uri: self.uri.clone(),
            discovery: self.discovery.clone(),
            format: self.format,
            cluster: other.cluster.or_else(|| self.cluster.clone()),
            ..other
        }
    }

    /// The keys of an issuer with this `iss` and these algorithms; `at` is the place of `jwks`.
    pub(super) fn compile(
        &self,
        issuer: &str,
        algorithms: &[Algorithm],
        at: &Place,
        problems: &mut Problems,
    ) -> KeySource {
        let held = self.inline.is_some() || self.file.is_some();
        if self.is_remote() && held {
            problems.add(
                at,
                "has keys of its own and a place to fetch them; keep one",
            );
        } else if self.is_remote() {
            let remote = self.compile_remote(issuer, algorithms, at, problems);
            return remote.map_or(KeySource::Inline(KeySet::default()), |remote| {
                KeySource::Remote(Box::new(remote))
            });
        }
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
                problems.add(at, "has both `inline` and `file`; keep one");
                KeySet::default()
            }
            (None, None) => {
                problems.add(at, NO_KEYS);
                KeySet::default()
            }
        };
        KeySource::Inline(keys)
    }
}

const NO_KEYS: &str = "has no keys; write `uri: URL`, `discovery: true`, `inline: { keys: [...] }` or \
                       `file: PATH`";

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
    if !algorithms.is_empty() {
        check_use(&keys, algorithms, &list, problems);
    }
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
        if key.is_guessable() {
            problems.add(
                at,
                format!(
                    "the secret `{label}` can be guessed: it is text, or one octet again and \
                     again; make one of random octets"
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
