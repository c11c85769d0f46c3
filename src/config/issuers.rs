//! `issuers`: who may issue tokens, and with which keys.

use deserr::{Deserr, IntoValue, Value as Raw, ValuePointerRef};
use serde::Serialize;
use serde_json::Value;

use super::problem::{Place, Problems, did_you_mean};
use super::remote::{RawDiscovery, RawKeyFormat};
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
    /// The address at which the issuer serves its keys, fetched by the proxy: `https`, or `http` on
    /// this machine.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// `true`: the issuer's metadata (OpenID Connect Discovery) says where the keys are; or where
    /// that metadata is, `{ uri, cluster }`. Its `issuer` has to be the one above.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<RawDiscovery>,
    /// With `uri` or `discovery`: the proxy's cluster that reaches the keys.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// With `discovery`: the host, or host and port, that serves the keys, where it is not the
    /// metadata's own. Keys at any other host are refused.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_host: Option<String>,
    /// With `uri` or `discovery`: `jwks`, or `x509` for an object from `kid` to certificate.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub format: RawKeyFormat,
    /// Allows `http` to another machine, where the cluster or the mesh encrypts.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default")]
    pub plain_http: bool,
    /// Longest use of fetched keys before they are fetched anew, `1s` to `1d`. Where not given, the
    /// answer's `Cache-Control: max-age` says, up to `1d`, or it is `10m`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_duration: Option<Span>,
    /// How much longer fetched keys may be used while the issuer cannot be reached, at most `7d`;
    /// `1h` where not given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<Span>,
    /// Shortest time between two fetches, `1s` to `1h`; `10s` where not given. A token with an
    /// unknown `kid` makes the proxy fetch again, but not more often than this.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_refresh: Option<Span>,
    /// How long one fetch may take, and a request may wait for it, `1s` to `1m`; `5s` where not
    /// given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
            keys: self.jwks.compile(&self.issuer, &algorithms, at, problems),
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

impl RawJwks {
    fn compile(
        &self,
        issuer: &str,
        algorithms: &[Algorithm],
        at: &Place,
        problems: &mut Problems,
    ) -> KeySource {
        let at = at.key("jwks");
        let held = self.inline.is_some() || self.file.is_some();
        if self.is_remote() && held {
            problems.add(
                &at,
                "has keys of its own and a place to fetch them; keep one",
            );
        } else if self.is_remote() {
            let remote = self.compile_remote(issuer, algorithms, &at, problems);
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
                problems.add(&at, "has both `inline` and `file`; keep one");
                KeySet::default()
            }
            (None, None) => {
                problems.add(
                    &at,
                    "has no keys; write `uri` and `cluster`, `discovery: true` and `cluster`, \
                     `inline: { keys: [...] }` or `file: PATH`",
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::token::mint::SigningKey;

    fn compile(json: Value) -> (Issuer, Vec<String>) {
        let raw: RawIssuer = deserr::deserialize::<_, _, Problems>(json).unwrap();
        let mut problems = Problems::default();
        let at = Place::root().key("issuers").key("shop");
        let issuer = raw.compile("shop", &at, &mut problems);
        (issuer, problems.0.iter().map(ToString::to_string).collect())
    }

    fn problems_with(changes: Value) -> Vec<String> {
        let mut json = good();
        for (name, value) in changes.as_object().unwrap() {
            json[name] = value.clone();
        }
        compile(json).1
    }

    fn key(algorithm: Algorithm, kid: &str) -> Value {
        SigningKey::generate(algorithm).unwrap().public_jwk(kid)
    }

    fn good() -> Value {
        json!({
            "issuer": "https://issuer.example/",
            "audiences": "orders",
            "jwks": { "inline": { "keys": [key(Algorithm::Es256, "a")] } }
        })
    }

    #[test]
    fn an_issuer_compiles_with_safe_defaults() {
        let (issuer, problems) = compile(good());
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(issuer.name, "shop");
        assert_eq!(issuer.iss, ["https://issuer.example/"]);
        assert_eq!(issuer.audiences, ["orders"]);
        assert_eq!(issuer.algorithms, [Algorithm::Rs256, Algorithm::Es256]);
        assert_eq!(issuer.clock_skew, 60);
        let KeySource::Inline(keys) = issuer.keys else {
            panic!()
        };
        assert_eq!(keys.keys().count(), 1);
    }

    #[test]
    fn every_mistake_is_named_with_its_place_and_its_mend() {
        let rsa = key(Algorithm::Rs256, "r");
        let cases = [
            (json!({ "issuer": "" }), "issuers.shop.issuer: is empty"),
            (
                json!({ "audiences": [] }),
                "issuers.shop.audiences: is empty; name whom",
            ),
            (
                json!({ "audiences": ["a", ""] }),
                "issuers.shop.audiences[1]: is empty",
            ),
            (
                json!({ "algorithms": [] }),
                "issuers.shop.algorithms: is empty; name the algorithms",
            ),
            (
                json!({ "algorithms": ["ES256", "none"] }),
                "issuers.shop.algorithms[1]: `none` means no signature",
            ),
            (
                json!({ "algorithms": ["es256"] }),
                "issuers.shop.algorithms[0]: `es256` is not a signature algorithm, did you mean `ES256`?",
            ),
            (
                json!({ "algorithms": ["HS256", "ES256"] }),
                "issuers.shop.algorithms: mixes HS* with public-key algorithms",
            ),
            (
                json!({ "algorithms": ["HS256"] }),
                "issuers.shop.jwks.inline.keys: the key `a` fits none of the issuer's algorithms (HS256)",
            ),
            (
                json!({ "clockSkew": "1h" }),
                "issuers.shop.clockSkew: is 1h; at most 10m",
            ),
            (
                json!({ "jwks": {} }),
                "issuers.shop.jwks: has no keys; write `uri` and `cluster`",
            ),
            (
                json!({ "jwks": { "file": "keys.json" } }),
                "issuers.shop.jwks.file: the proxy reads no files",
            ),
            (
                json!({ "jwks": { "inline": { "keys": [] } } }),
                "issuers.shop.jwks.inline.keys: is empty",
            ),
            (
                json!({ "jwks": { "inline": [] } }),
                "issuers.shop.jwks.inline: is not a JWK set",
            ),
            (
                json!({ "jwks": { "inline": {} } }),
                "issuers.shop.jwks.inline: is not a JWK set",
            ),
            (
                json!({ "jwks": { "inline": { "keys": [rsa, { "kty": "oct", "k": "AAAA" }] } } }),
                "issuers.shop.jwks.inline: mixes public keys and shared secrets",
            ),
        ];
        for (changes, expected) in cases {
            let problems = problems_with(changes.clone());
            assert!(
                problems.len() == 1 && problems[0].starts_with(expected),
                "{changes}: {problems:?}"
            );
        }
    }

    #[test]
    fn unusable_inline_keys_are_errors_not_warnings() {
        let private = SigningKey::generate(Algorithm::Es256)
            .unwrap()
            .private_jwk();
        for (jwk, expected) in [
            (
                private,
                "keys[0]: this key cannot be used: it holds private material",
            ),
            (
                json!({ "kty": "oct", "k": "AAAA" }),
                "it is a shared secret among public keys",
            ),
            (
                json!({ "kty": "XYZ" }),
                "`kty` is not one that Forecourt supports",
            ),
            (json!({}), "`kty` is missing or malformed"),
        ] {
            let problems = problems_with(json!({ "jwks": { "inline": { "keys": [jwk] } } }));
            assert!(
                problems.len() == 1 && problems[0].contains(expected),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn two_keys_that_one_token_could_mean_are_an_error() {
        let keys = [key(Algorithm::Es256, "a"), key(Algorithm::Es256, "a")];
        let problems = problems_with(json!({ "jwks": { "inline": { "keys": keys } } }));
        assert!(
            problems[0].contains("several keys with the `kid` `a` fit ES256"),
            "{problems:?}"
        );
        let keys = [key(Algorithm::Es256, "a"), key(Algorithm::Es256, "b")];
        let problems = problems_with(json!({ "jwks": { "inline": { "keys": keys } } }));
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn hmac_needs_to_be_named_and_a_long_secret() {
        let secret = |algorithm| json!({ "inline": { "keys": [key(algorithm, "s")] } });
        let changes = json!({ "algorithms": ["HS256"], "jwks": secret(Algorithm::Hs256) });
        assert_eq!(problems_with(changes), Vec::<String>::new());
        let changes = json!({ "algorithms": ["HS512"], "jwks": secret(Algorithm::Hs256) });
        assert_eq!(problems_with(changes).len(), 1);
        let changes = json!({ "jwks": secret(Algorithm::Hs256) });
        assert_eq!(problems_with(changes).len(), 1);
    }
}
