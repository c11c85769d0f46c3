//! `jwks` with `uri` or `discovery`: keys that the issuer serves, and the bounds of their use.

use deserr::{Deserr, IntoValue, Value as Raw, ValuePointerRef};
use serde::{Serialize, Serializer};

use super::issuers::RawJwks;
use super::problem::{Place, Problems};
use super::types::{Span, wrong_kind};
use crate::token::algorithm::Algorithm;
use crate::token::remote::{Bounds, Endpoint, KeyFormat, Remote, Start, Url};

const DEFAULT_MAX_STALE: Span = Span(3_600);
const DEFAULT_MIN_REFRESH: Span = Span(10);
const DEFAULT_TIMEOUT: Span = Span(5);

const SECOND: Span = Span(1);
const MINUTE: Span = Span(60);
const HOUR: Span = Span(3_600);
const DAY: Span = Span(86_400);
const WEEK: Span = Span(7 * 86_400);

/// Whether the keys' address is found through the issuer's metadata: `true`, or where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawDiscovery {
    /// `true`: at `/.well-known/openid-configuration` behind the issuer's name; `false`: not.
    Plain(bool),
    /// At another address.
    At(Box<RawDocument>),
}

/// Where an issuer's metadata is.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "DiscoveryDocument", deny_unknown_fields)
)]
pub struct RawDocument {
    /// The address of the metadata; behind the issuer's name where not given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The proxy's cluster that reaches it; that of the keys where not given, or else one that is
    /// called as its host.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl Deserr<Problems> for RawDiscovery {
    fn deserialize_from_value<V: IntoValue>(
        value: Raw<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Raw::Boolean(on) => Ok(Self::Plain(on)),
            map @ Raw::Map(_) => RawDocument::deserialize_from_value(map, location)
                .map(|document| Self::At(Box::new(document))),
            other => Err(wrong_kind(
                &other,
                "`true`, or `uri` and `cluster`",
                location,
            )),
        }
    }
}

impl Serialize for RawDiscovery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(on) => on.serialize(serializer),
            Self::At(document) => document.serialize(serializer),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for RawDiscovery {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Discovery".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`true`, or where the issuer's metadata is.",
            "oneOf": [
                { "type": "boolean" },
                generator.subschema_for::<RawDocument>(),
            ]
        })
    }
}

/// The form in which an issuer serves its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "KeyFormat"))]
pub enum RawKeyFormat {
    /// A JWK set (RFC 7517).
    #[default]
    Jwks,
    /// An object from `kid` to a certificate in PEM.
    X509,
}

impl RawJwks {
    /// Whether any member is there that only fetched keys have.
    pub(super) fn is_remote(&self) -> bool {
        self.uri.is_some() || self.discovers().is_some()
    }

    fn discovers(&self) -> Option<&RawDiscovery> {
        self.discovery
            .as_ref()
            .filter(|discovery| **discovery != RawDiscovery::Plain(false))
    }

    /// Where the keys are and how long they may be used. `issuer` is the `iss` of its tokens.
    pub(super) fn compile_remote(
        &self,
        issuer: &str,
        algorithms: &[Algorithm],
        at: &Place,
        problems: &mut Problems,
    ) -> Option<Remote> {
        if algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            problems.add(
                at,
                "fetches keys for HS*, whose keys are secrets that nobody may fetch; write them under `inline`",
            );
        }
        let bounds = self.bounds(at, problems);
        let start = match (&self.uri, self.discovers()) {
            (Some(uri), None) => self.direct(uri, at, problems),
            (None, Some(discovery)) => self.discovery(discovery, issuer, at, problems),
            _ => {
                problems.add(at, "has both `uri` and `discovery`; keep one");
                None
            }
        };
        Some(Remote {
            start: start?,
            format: match self.format {
                RawKeyFormat::Jwks => KeyFormat::JwkSet,
                RawKeyFormat::X509 => KeyFormat::CertificateMap,
            },
            bounds,
        })
    }

    fn direct(&self, uri: &str, at: &Place, problems: &mut Problems) -> Option<Start> {
        if self.keys_host.is_some() {
            problems.add(
                &at.key("keysHost"),
                "goes with `discovery`; `uri` names its host itself",
            );
        }
        let url = self.url(uri, &at.key("uri"), problems);
        self.check_cluster(at, problems);
        let url = url?;
        Some(Start::Keys(Endpoint {
            cluster: self.cluster_of(url.authority()),
            url,
        }))
    }

    fn discovery(
        &self,
        discovery: &RawDiscovery,
        issuer: &str,
        at: &Place,
        problems: &mut Problems,
    ) -> Option<Start> {
        let none = RawDocument {
            uri: None,
            cluster: None,
        };
        let document = match discovery {
            RawDiscovery::At(document) => document,
            RawDiscovery::Plain(_) => &none,
        };
        let place = at.key("discovery");
        let url = match &document.uri {
            Some(uri) => self.url(uri, &place.key("uri"), problems),
            None => {
                let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
                let uri = format!("{issuer}/.well-known/openid-configuration");
                self.url(&uri, &place, problems)
            }
        };
        self.check_cluster(at, problems);
        let url = url?;
        let keys_authority = match &self.keys_host {
            None => url.authority().to_owned(),
            Some(host) => match Url::parse(&format!("https://{host}")) {
                Some(named) if named.target() == "/" && !host.contains('/') => {
                    named.authority().to_owned()
                }
                _ => {
                    problems.add(
                        &at.key("keysHost"),
                        format!("`{host}` is not a host, or a host and a port"),
                    );
                    return None;
                }
            },
        };
        let cluster = document.cluster.clone();
        let cluster = cluster.unwrap_or_else(|| self.cluster_of(url.authority()));
        Some(Start::Discovery {
            document: Endpoint { url, cluster },
            issuer: issuer.to_owned(),
            keys_cluster: self.cluster_of(&keys_authority),
            keys_authority,
        })
    }

    fn url(&self, text: &str, at: &Place, problems: &mut Problems) -> Option<Url> {
        let Some(url) = Url::parse(text) else {
            problems.add(
                at,
                format!(
                    "`{text}` is not an absolute URL such as `https://issuer.example/jwks.json`"
                ),
            );
            return None;
        };
        if !url.is_secure() && !url.is_loopback() && !self.plain_http {
            problems.add(
                at,
                "is not https: whoever is in between could put in keys of their own; write `plainHttp: true` beside it if the cluster or the mesh encrypts",
            );
        }
        Some(url)
    }

    fn check_cluster(&self, at: &Place, problems: &mut Problems) {
        if self.cluster.as_deref() == Some("") {
            problems.add(
                &at.key("cluster"),
                "is empty; name the proxy's cluster that reaches the issuer, or leave it out",
            );
        }
    }

    /// The cluster that reaches that authority; called as it is, where the policy does not say.
    fn cluster_of(&self, authority: &str) -> String {
        let cluster = self.cluster.clone();
        cluster.unwrap_or_else(|| authority.to_owned())
    }

    fn bounds(&self, at: &Place, problems: &mut Problems) -> Bounds {
        let mut span = |name: &str, given: Option<Span>, default, least, most| {
            let span = given.unwrap_or(default);
            if !(least..=most).contains(&span) {
                problems.add(
                    &at.key(name),
                    format!("is {span}; write something from {least} to {most}"),
                );
            }
            span.0
        };
        let cache_duration = self
            .cache_duration
            .map(|given| span("cacheDuration", Some(given), given, SECOND, DAY));
        let max_stale = span("maxStale", self.max_stale, DEFAULT_MAX_STALE, Span(0), WEEK);
        let min_refresh = span(
            "minRefresh",
            self.min_refresh,
            DEFAULT_MIN_REFRESH,
            SECOND,
            HOUR,
        );
        let timeout = span("timeout", self.timeout, DEFAULT_TIMEOUT, SECOND, MINUTE);
        if cache_duration.is_some_and(|longest| longest < min_refresh) {
            problems.add(
                &at.key("cacheDuration"),
                format!("is shorter than `minRefresh` ({})", Span(min_refresh)),
            );
        }
        Bounds {
            cache_duration,
            max_stale,
            min_refresh,
            timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compile(jwks: Value) -> (Option<Remote>, Vec<String>) {
        let raw: RawJwks = deserr::deserialize::<_, _, Problems>(jwks).unwrap();
        let mut problems = Problems::default();
        let at = Place::root().key("jwks");
        let algorithms = [Algorithm::Es256];
        let remote = raw.compile_remote(
            "https://idp.example/realm/",
            &algorithms,
            &at,
            &mut problems,
        );
        (remote, problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn keys_at_an_address_have_safe_bounds() {
        let (remote, problems) =
            compile(json!({ "uri": "https://idp.example/keys", "cluster": "idp" }));
        assert_eq!(problems, Vec::<String>::new());
        let remote = remote.unwrap();
        assert_eq!(remote.identity(), "jwks idp https://idp.example/keys");
        let bounds = Bounds {
            cache_duration: None,
            max_stale: 3600,
            min_refresh: 10,
            timeout: 5,
        };
        assert_eq!(remote.bounds, bounds);
        let (remote, problems) = compile(json!({
            "uri": "http://127.0.0.1:9/keys", "cluster": "idp", "format": "x509",
            "cacheDuration": "2h", "maxStale": 0, "minRefresh": "1m", "timeout": "1s",
        }));
        assert_eq!(problems, Vec::<String>::new());
        let remote = remote.unwrap();
        assert_eq!(remote.format, KeyFormat::CertificateMap);
        let bounds = Bounds {
            cache_duration: Some(7200),
            max_stale: 0,
            min_refresh: 60,
            timeout: 1,
        };
        assert_eq!(remote.bounds, bounds);
    }

    #[test]
    fn metadata_is_sought_behind_the_issuers_name() {
        let (remote, problems) = compile(json!({ "discovery": true, "cluster": "idp" }));
        assert_eq!(problems, Vec::<String>::new());
        let remote = remote.unwrap();
        let Start::Discovery {
            document,
            issuer,
            keys_authority,
            keys_cluster,
        } = &remote.start
        else {
            panic!()
        };
        assert_eq!(
            document.url.to_string(),
            "https://idp.example/realm/.well-known/openid-configuration"
        );
        assert_eq!(
            (document.cluster.as_str(), keys_cluster.as_str()),
            ("idp", "idp")
        );
        assert_eq!(issuer, "https://idp.example/realm/");
        assert_eq!(keys_authority, "idp.example");
        let (remote, problems) = compile(json!({
            "discovery": { "uri": "https://meta.example/x", "cluster": "meta" },
            "cluster": "keys", "keysHost": "keys.example:8443",
        }));
        assert_eq!(problems, Vec::<String>::new());
        let remote = remote.unwrap();
        assert_eq!(
            remote.clusters(),
            [
                ("meta", "meta.example", true),
                ("keys", "keys.example:8443", true)
            ]
        );
    }

    #[test]
    fn a_cluster_is_called_as_its_host_where_nobody_says() {
        let (remote, problems) = compile(json!({
            "discovery": true, "keysHost": "keys.example:8443",
        }));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            remote.unwrap().clusters(),
            [
                ("idp.example", "idp.example", true),
                ("keys.example:8443", "keys.example:8443", true)
            ]
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_mend() {
        let uri = "https://idp.example/keys";
        for (jwks, expected) in [
            (
                json!({ "uri": uri, "cluster": "" }),
                "jwks.cluster: is empty; name the proxy's cluster",
            ),
            (
                json!({ "uri": "/keys", "cluster": "c" }),
                "jwks.uri: `/keys` is not an absolute URL",
            ),
            (
                json!({ "uri": "http://idp.example/keys", "cluster": "c" }),
                "jwks.uri: is not https: whoever is in between",
            ),
            (
                json!({ "uri": uri, "cluster": "c", "discovery": true }),
                "jwks: has both `uri` and `discovery`",
            ),
            (
                json!({ "uri": uri, "cluster": "c", "keysHost": "a" }),
                "jwks.keysHost: goes with `discovery`",
            ),
            (
                json!({ "discovery": true, "cluster": "c", "keysHost": "a/b" }),
                "jwks.keysHost: `a/b` is not a host",
            ),
            (
                json!({ "discovery": { "uri": "x" }, "cluster": "c" }),
                "jwks.discovery.uri: `x` is not an absolute URL",
            ),
            (
                json!({ "uri": uri, "cluster": "c", "cacheDuration": "2d" }),
                "jwks.cacheDuration: is 2d; write something from 1s to 1d",
            ),
            (
                json!({ "uri": uri, "cluster": "c", "cacheDuration": "5s" }),
                "jwks.cacheDuration: is shorter than `minRefresh` (10s)",
            ),
            (
                json!({ "uri": uri, "cluster": "c", "maxStale": "8d" }),
                "jwks.maxStale: is 8d; write something from 0s to 7d",
            ),
            (
                json!({ "uri": uri, "cluster": "c", "minRefresh": 0 }),
                "jwks.minRefresh: is 0s",
            ),
            (
                json!({ "uri": uri, "cluster": "c", "timeout": "2m" }),
                "jwks.timeout: is 2m",
            ),
        ] {
            let (_, problems) = compile(jwks.clone());
            assert!(
                problems.len() == 1 && problems[0].starts_with(expected),
                "{jwks}: {problems:?}"
            );
        }
        let allowed =
            json!({ "uri": "http://idp.example/keys", "cluster": "c", "plainHttp": true });
        assert_eq!(compile(allowed).1, Vec::<String>::new());
    }
}
