//! `services`, `defaultService` and `metadataServer`: the services behind the proxy, and how private
//! ones are shown who is calling.

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;

use super::forward::header_name;
use super::problem::{Place, Problems, Warnings, did_you_mean};
use super::types::{Part, Span, is_default};
use crate::policy::{Policy, Unmatched};
use crate::service::{Caller, CallerHeader, SERVERLESS_AUTHORIZATION, SERVICE, Service};
use crate::token::identity::{Identity, metadata_server};
use crate::token::remote::{Endpoint, Url};

/// Longest name of a service, in bytes.
const MAX_NAME: usize = 64;
/// Longest audience, in bytes.
const MAX_AUDIENCE: usize = 1024;

/// A service behind the proxy.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Service", deny_unknown_fields))]
pub struct RawService {
    /// Where it is: `https://NAME-HASH-REGION.a.run.app`, without a path. May be left out where
    /// `cluster` alone says it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whom identity tokens are for: the service's run.app URL or one of its custom audiences; the
    /// `url` where not given. A client's `Host` never has a say in it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// `metadata` for a private service: every request carries an ID token of the proxy's own service
    /// account, fetched from the metadata server. Without one no request goes to the service.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "is_default")]
    pub identity: RawIdentity,
    /// The request header that carries the token: `x-serverless-authorization`, which leaves the
    /// caller's `Authorization` to the service, or `authorization`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "is_default")]
    pub header: RawCallerHeader,
    /// With `header: authorization`: the request header that the caller's own `Authorization` is
    /// moved to. Where not given, the service does not see it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_original_as: Option<String>,
    /// The proxy's cluster that reaches it; called as the service where not given. `forecourt
    /// render` makes it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// How a service is shown who is calling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "ServiceIdentity"))]
pub enum RawIdentity {
    /// Not at all.
    #[default]
    None,
    /// By an ID token from the metadata server.
    Metadata,
}

/// The request header that carries the proxy's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "ServiceIdentityHeader"))]
pub enum RawCallerHeader {
    /// Cloud Run looks here first.
    #[default]
    #[deserr(rename = "x-serverless-authorization")]
    #[serde(rename = "x-serverless-authorization")]
    Serverless,
    /// In the place of the caller's own.
    #[deserr(rename = "authorization")]
    #[serde(rename = "authorization")]
    Authorization,
}

/// Where the proxy's identity tokens come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "MetadataServer", deny_unknown_fields)
)]
pub struct RawMetadataServer {
    /// Its address; `http://metadata.google.internal` where not given.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The proxy's cluster that reaches it; called as its host (and port, where written) where not
    /// given. `forecourt render` makes it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// How long one fetch may take, and a request may wait for it, `1s` to `1m`; `5s` where not
    /// given.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// Puts services into a policy.
pub(super) struct Services<'a> {
    pub raw: &'a BTreeMap<String, Part<RawService>>,
    pub default: Option<&'a str>,
    pub metadata: Option<&'a Part<RawMetadataServer>>,
}

impl Services<'_> {
    /// Compiles them, broken ones too, so that the routes that go there are not blamed for it.
    pub fn compile(
        &self,
        root: &Place,
        policy: &mut Policy,
        problems: &mut Problems,
        warnings: &mut Warnings,
    ) {
        let (server, timeout) = self.server(&root.key("metadataServer"), problems);
        for (name, raw) in self.raw {
            let at = root.key("services").key(name);
            check_name(name, &at, problems);
            let fallback = RawService::default();
            let service = match raw.get(problems) {
                Some(raw) => raw.compile(name, &at, policy, (&server, timeout), problems, warnings),
                None => fallback.empty(name),
            };
            policy.services.push(service);
        }
        policy.default_service = match self.default {
            Some(name) => find(
                &policy.services,
                name,
                &root.key("defaultService"),
                problems,
            ),
            None if policy.services.len() == 1 => Some(0),
            None => None,
        };
    }

    /// What only shows once the routes are known.
    pub fn check_use(
        &self,
        root: &Place,
        policy: &Policy,
        problems: &mut Problems,
        warnings: &mut Warnings,
    ) {
        let services = root.key("services");
        for (index, service) in policy.services.iter().enumerate() {
            let at = services.key(&service.name);
            let taken = policy
                .routes
                .iter()
                .any(|route| route.service == Some(index));
            if !taken && policy.default_service != Some(index) {
                warnings.add(&at, "no route goes to it");
            }
            let original = service.caller.as_ref().and_then(Caller::original);
            let mut written = policy
                .routes
                .iter()
                .flat_map(|route| route.access.headers_set());
            if let Some(header) = original
                && written.any(|name| name == header)
            {
                problems.add(
                    &at.key("keepOriginalAs"),
                    format!("a route writes a claim to `{header}` already"),
                );
            }
        }
        let several = policy.services.len() > 1 && policy.default_service.is_none();
        if several && self.default.is_none() && policy.unmatched == Unmatched::Allow {
            problems.add(
                &root.key("unmatched"),
                "lets requests pass that no route takes, to no service; write `defaultService: NAME`",
            );
        }
    }

    fn server(&self, at: &Place, problems: &mut Problems) -> (Option<Endpoint>, u64) {
        const DEFAULT_TIMEOUT: Span = Span(5);
        let default = RawMetadataServer::default();
        let raw = self.metadata.and_then(|raw| raw.get(problems));
        let raw = raw.unwrap_or(&default);
        let timeout = raw.timeout.unwrap_or(DEFAULT_TIMEOUT);
        if !(1..=60).contains(&timeout.0) {
            problems.add(
                &at.key("timeout"),
                format!("is {timeout}; write something from 1s to 1m"),
            );
        }
        let url = match &raw.url {
            None => metadata_server(),
            Some(text) => origin(text, &at.key("url"), problems),
        };
        if let (Some(text), Some(url)) = (&raw.url, &url)
            && !url.is_secure()
            && !url.is_loopback()
            && !is_link_local(url)
        {
            problems.add(
                &at.key("url"),
                format!(
                    "`{text}` is not https and not on this machine: whoever is in between could take the proxy's identity"
                ),
            );
        }
        let server = url.map(|url| Endpoint {
            cluster: match &raw.cluster {
                Some(cluster) => cluster.clone(),
                None => url.authority().to_owned(),
            },
            url,
        });
        (server, timeout.0)
    }
}

/// The metadata server's own name or an address that no router passes on (RFC 3927 §2.7).
fn is_link_local(url: &Url) -> bool {
    let host = url.authority().split(':').next().unwrap_or_default();
    let address = host.parse::<std::net::Ipv4Addr>();
    host == "metadata.google.internal" || address.is_ok_and(|address| address.is_link_local())
}

fn check_name(name: &str, at: &Place, problems: &mut Problems) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        problems.add(
            at,
            format!(
                "is no name for a service: write 1 to {MAX_NAME} of a-z, 0-9, `-`, `.` and `_`"
            ),
        );
    }
}

/// The index of the service of that name.
pub(super) fn find(
    services: &[Service],
    name: &str,
    at: &Place,
    problems: &mut Problems,
) -> Option<usize> {
    let found = services.iter().position(|service| service.name == name);
    if found.is_none() {
        let names = services.iter().map(|service| service.name.as_str());
        let hint = did_you_mean(name, names);
        problems.add(at, format!("no service is called `{name}`{hint}"));
    }
    found
}

/// A URL of nothing but scheme, host and port.
fn origin(text: &str, at: &Place, problems: &mut Problems) -> Option<Url> {
    let url = Url::parse(text).filter(|url| url.target() == "/");
    if url.is_none() {
        problems.add(
            at,
            format!(
                "`{text}` is not a URL without a path, such as `https://shop-abc123-ew.a.run.app`"
            ),
        );
    }
    url
}

impl RawService {
    fn empty(&self, name: &str) -> Service {
        Service {
            name: name.to_owned(),
            cluster: self.cluster.clone().unwrap_or_else(|| name.to_owned()),
            url: None,
            caller: None,
        }
    }

    fn compile(
        &self,
        name: &str,
        at: &Place,
        policy: &mut Policy,
        (server, timeout): (&Option<Endpoint>, u64),
        problems: &mut Problems,
        warnings: &mut Warnings,
    ) -> Service {
        let url = match &self.url {
            Some(text) => origin(text, &at.key("url"), problems),
            None => None,
        };
        if self.url.is_none() && self.cluster.is_none() && self.audience.is_none() {
            problems.add(at, "does not say where it is; write `url: https://…`");
        }
        if self.cluster.as_deref() == Some("") {
            problems.add(&at.key("cluster"), "is empty; name it, or leave it out");
        }
        let caller = match self.identity {
            RawIdentity::None => {
                self.refuse_settings_of_identity(at, problems);
                None
            }
            RawIdentity::Metadata => {
                let audience = self.audience(url.as_ref(), at, problems, warnings);
                let header = self.caller_header(at, problems);
                let server = server.clone();
                audience.zip(server).map(|(audience, server)| Caller {
                    identity: index_of(
                        policy,
                        Identity {
                            audience,
                            server,
                            timeout,
                        },
                    ),
                    header,
                })
            }
        };
        Service {
            url,
            caller,
            ..self.empty(name)
        }
    }

    fn refuse_settings_of_identity(&self, at: &Place, problems: &mut Problems) {
        for (key, given) in [
            ("audience", self.audience.is_some()),
            ("header", self.header != RawCallerHeader::default()),
            ("keepOriginalAs", self.keep_original_as.is_some()),
        ] {
            if given {
                problems.add(
                    &at.key(key),
                    "goes with `identity: metadata`, which this service does not have",
                );
            }
        }
    }

    /// The audience, and whether its token would be safe on the way.
    fn audience(
        &self,
        url: Option<&Url>,
        at: &Place,
        problems: &mut Problems,
        warnings: &mut Warnings,
    ) -> Option<String> {
        if let Some(url) = url
            && !url.is_secure()
            && !url.is_loopback()
        {
            problems.add(
                &at.key("url"),
                "is not https: the identity token could be read on the way and used by others",
            );
        }
        if let Some(audience) = &self.audience {
            let graphic = audience.bytes().all(|byte| byte.is_ascii_graphic());
            if audience.is_empty() || audience.len() > MAX_AUDIENCE || !graphic {
                problems.add(
                    &at.key("audience"),
                    format!("is no audience: write up to {MAX_AUDIENCE} printable characters without spaces"),
                );
            }
            return Some(audience.clone());
        }
        let Some(url) = url.filter(|url| url.is_secure()) else {
            if self.url.is_none() || url.is_some() {
                problems.add(
                    at,
                    "has an identity and no audience; write `audience:` with the service's run.app URL or a custom audience of it",
                );
            }
            return None;
        };
        if !url.authority().ends_with(".run.app") {
            warnings.add(
                &at.key("url"),
                "is no run.app URL, so Cloud Run takes tokens for it only where it is a custom audience of the service; write `audience:` to say that it is, or to name the run.app URL",
            );
        }
        Some(format!("https://{}", url.authority()))
    }

    fn caller_header(&self, at: &Place, problems: &mut Problems) -> CallerHeader {
        let original = self
            .keep_original_as
            .as_ref()
            .map(|header| header_name(header, &at.key("keepOriginalAs"), problems));
        match self.header {
            RawCallerHeader::Serverless => {
                if original.is_some() {
                    problems.add(
                        &at.key("keepOriginalAs"),
                        "goes with `header: authorization`; with x-serverless-authorization the caller's `Authorization` stays where it is",
                    );
                }
                CallerHeader::Serverless
            }
            RawCallerHeader::Authorization => CallerHeader::Authorization { original },
        }
    }
}

/// The token's index; services with one audience share one.
fn index_of(policy: &mut Policy, identity: Identity) -> usize {
    let identities = &mut policy.identities;
    let held = identities.iter().position(|held| *held == identity);
    held.unwrap_or_else(|| {
        identities.push(identity);
        identities.len() - 1
    })
}

/// Headers that are removed from every client's request, because this proxy alone may set them.
pub(super) fn reserved_headers(services: &[Service]) -> Vec<String> {
    let mut names = vec![SERVERLESS_AUTHORIZATION.to_owned()];
    if !services.is_empty() {
        names.push(SERVICE.to_owned());
    }
    let callers = services
        .iter()
        .filter_map(|service| service.caller.as_ref());
    names.extend(callers.filter_map(Caller::original).map(str::to_owned));
    names
}

#[cfg(test)]
mod tests;
