//! The extensions of Swagger 2.0 that Extensible Service Proxy (ESPv2) and API Gateway read.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::convert::Converter;
use super::documents::Node;
use super::issuers::Accepted;
use super::report::Kind;
use super::security::Issuer;

/// Where ESPv2 looks for tokens unless `x-google-jwt-locations` says otherwise.
const QUERY: &str = "access_token";
const IAP_HEADER: &str = "x-goog-iap-jwt-assertion";

/// Whether a scheme is one of ESPv2's.
pub(super) fn is_google(scheme: &Node<'_>) -> bool {
    scheme.text("x-google-issuer").is_some()
}

/// The issuer that a scheme's extensions describe.
pub(super) fn issuer<'d>(converter: &mut Converter<'d>, scheme: &Node<'d>) -> Option<Issuer> {
    let issuer = scheme.text("x-google-issuer")?;
    let audiences: Vec<&str> = scheme
        .text("x-google-audiences")
        .map_or_else(Vec::new, |text| {
            let parts = text.split(',').map(str::trim);
            parts.filter(|part| !part.is_empty()).collect()
        });
    let mut comments = Vec::new();
    let mut value = Map::new();
    let project = issuer.strip_prefix("https://securetoken.google.com/");
    if let Some(project) = project
        && audiences == [project]
    {
        value.insert("preset".into(), "identity-platform".into());
        value.insert("project".into(), project.into());
    } else {
        value.insert("issuer".into(), issuer.into());
        value.insert("jwks".into(), keys(scheme, issuer));
        match audiences.is_empty() {
            false => {
                value.insert("audiences".into(), audiences.into());
            }
            true => default_audience(converter, scheme, &mut value, &mut comments),
        }
    }
    if matches!(
        issuer,
        "https://accounts.google.com" | "accounts.google.com"
    ) {
        let message = "anybody can get a Google ID token for any audience; add a rule on `email`, \
                       `hd` or `sub` to the routes, or take `preset: google-id-token`, which asks \
                       for one";
        converter.note(Kind::Unchecked, scheme, message);
    }
    value.insert("from".into(), sources(converter, scheme));
    Some(Issuer {
        comments,
        value: Value::Object(value),
    })
}

fn keys(scheme: &Node<'_>, issuer: &str) -> Value {
    match scheme.text("x-google-jwks_uri") {
        Some(uri) if uri.contains("/metadata/x509/") => {
            json!({"uri": uri, "format": "x509", "cluster": host_of(uri)})
        }
        Some(uri) => json!({"uri": uri, "cluster": host_of(uri)}),
        None => json!({"discovery": true, "cluster": host_of(issuer)}),
    }
}

/// Without `x-google-audiences`, ESPv2 takes tokens for the service's own name.
fn default_audience<'d>(
    converter: &mut Converter<'d>,
    scheme: &Node<'d>,
    value: &mut Map<String, Value>,
    comments: &mut Vec<String>,
) {
    let host = converter.docs.root().and_then(|root| root.text("host"));
    match host {
        Some(host) => {
            value.insert("audiences".into(), json!([format!("https://{host}")]));
        }
        None => {
            let message = "names no `x-google-audiences`: nobody can call until the audience of \
                           its tokens is written";
            converter.note(Kind::Closed, scheme, message);
            comments.push("TODO whom are its tokens for?".into());
            value.insert("audiences".into(), json!([]));
        }
    }
}

fn sources<'d>(converter: &mut Converter<'d>, scheme: &Node<'d>) -> Value {
    let mut sources = Vec::new();
    for location in scheme.list("x-google-jwt-locations") {
        let named = |key| location.text(key);
        let prefix = named("value_prefix").unwrap_or_default();
        match (named("header"), named("query"), named("cookie")) {
            (Some(header), None, None) => {
                let header = header.to_ascii_lowercase();
                sources.push(match prefix {
                    "" => json!({"header": header}),
                    "Bearer " => json!({"header": header, "scheme": "Bearer"}),
                    prefix => json!({"header": header, "prefix": prefix}),
                });
            }
            (None, Some(query), None) => sources.push(json!({"query": query})),
            (None, None, Some(cookie)) => sources.push(json!({"cookie": cookie})),
            _ => converter.note(Kind::Closed, &location, "names no one place of tokens"),
        }
    }
    if sources.is_empty() {
        sources = vec![
            json!({"header": "authorization", "scheme": "Bearer"}),
            json!({"header": IAP_HEADER}),
            json!({"query": QUERY}),
        ];
    }
    Value::Array(sources)
}

/// The query parameters that tokens of a scheme come in.
pub(super) fn queries(scheme: &Node<'_>) -> Vec<String> {
    if !is_google(scheme) {
        return Vec::new();
    }
    let locations = scheme.list("x-google-jwt-locations");
    if locations.is_empty() {
        return vec![QUERY.to_owned()];
    }
    let named = locations
        .iter()
        .filter_map(|location| location.text("query"));
    named.map(str::to_owned).collect()
}

/// The audiences that an operation asks for in place of the scheme's (`x-security`).
pub(super) fn audiences_of(operation: &Node<'_>, scheme: &str, accepted: &mut Accepted) {
    for requirement in operation.list("x-security") {
        let audiences = requirement
            .get(scheme)
            .and_then(|node| node.get("audiences"));
        if let Some(audiences) = audiences.filter(|node| node.value.is_array()) {
            accepted.audiences = Some(audiences.value.clone());
        }
    }
}

/// Extensions of the document that say something a policy does not.
const UNUSED: [(&str, &str); 3] = [
    (
        "x-google-management",
        "metrics and quotas are not the policy's",
    ),
    ("x-google-quota", "quotas are not the policy's"),
    (
        "x-google-endpoints",
        "names of endpoints are not the policy's; CORS preflights pass the token check where a \
         route takes OPTIONS",
    ),
];

/// Reports what extensions ask for and the policy does not do.
pub(super) fn note_unused<'d>(converter: &mut Converter<'d>, node: &Node<'d>) {
    for (key, message) in UNUSED {
        if let Some(found) = node.get(key) {
            converter.note(Kind::Unchecked, &found, message);
        }
    }
    if node.text("x-google-allow") == Some("all") {
        let message = "`x-google-allow: all` opens every path that the document does not name; \
                       write `unmatched: allow` if that is meant";
        converter.note(Kind::Closed, node, message);
    }
}

/// The services that `x-google-backend` names.
#[derive(Default)]
pub(super) struct Backends {
    /// By name, as a policy writes them.
    pub services: BTreeMap<String, Value>,
    /// The one that operations go to which say nothing else.
    pub default: Option<String>,
}

impl Backends {
    /// The name of the service that an operation goes to.
    pub(super) fn service<'d>(
        &mut self,
        converter: &mut Converter<'d>,
        root: &Node<'d>,
        operation: &Node<'d>,
    ) -> Option<String> {
        let own = operation.get("x-google-backend");
        let node = own.clone().or_else(|| root.get("x-google-backend"))?;
        let Some(address) = node.text("address") else {
            converter.note(Kind::Unchecked, &node, "names no `address`");
            return None;
        };
        let (url, path) = split_address(address);
        let constant = match node.text("path_translation") {
            Some("CONSTANT_ADDRESS") => true,
            Some(_) => false,
            // ESPv2's default differs between an operation and the whole document.
            None => own.is_some(),
        };
        if constant {
            let message = "`path_translation: CONSTANT_ADDRESS` puts the address in place of the \
                           path; the policy rewrites no paths, so Envoy's route has to";
            converter.note(Kind::Unchecked, &node, message);
        } else if !path.is_empty() {
            let message = format!(
                "Envoy's route has to put `{path}` before the path, as the policy rewrites none"
            );
            converter.note(Kind::Unchecked, &node, message);
        }
        if let Some(deadline) = node.get("deadline") {
            let message = format!(
                "`deadline: {}` seconds is for Envoy's route (`timeout`)",
                deadline.value
            );
            converter.note(Kind::Unchecked, &deadline, message);
        }
        let name = self.named(&url, service(&node, &url));
        if own.is_none() {
            self.default = Some(name.clone());
        }
        Some(name)
    }

    fn named(&mut self, url: &str, service: Value) -> String {
        let host = url.split("://").nth(1).unwrap_or(url);
        let label = host.split(['.', ':']).next().unwrap_or(host);
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let stem: String = label.chars().map(plain).take(48).collect();
        let mut name = stem.clone();
        let mut number = 1;
        while self
            .services
            .get(&name)
            .is_some_and(|held| *held != service)
        {
            number += 1;
            name = format!("{stem}-{number}");
        }
        self.services.insert(name.clone(), service);
        name
    }
}

/// A service that is called as ESPv2 calls it: its own ID token in `Authorization`, the caller's
/// beside it.
fn service(node: &Node<'_>, url: &str) -> Value {
    let mut out = Map::from_iter([("url".to_owned(), json!(url))]);
    let secure = url.starts_with("https://");
    let audience = node.text("jwt_audience");
    if !node.flag("disable_auth") && (secure || audience.is_some()) {
        out.insert("identity".into(), "metadata".into());
        out.insert("header".into(), "authorization".into());
        out.insert("keepOriginalAs".into(), "x-forwarded-authorization".into());
        if let Some(audience) = audience.filter(|audience| *audience != url) {
            out.insert("audience".into(), audience.into());
        }
    }
    Value::Object(out)
}

/// The host of an address, as which the cluster that reaches it is called.
fn host_of(uri: &str) -> String {
    let (url, _) = split_address(uri);
    url.split("://").nth(1).unwrap_or_default().to_owned()
}

/// Scheme and host of an address, and the path behind them. gRPC's schemes say how, not where.
fn split_address(address: &str) -> (String, &str) {
    let (scheme, rest) = address.split_once("://").unwrap_or(("https", address));
    let scheme = match scheme {
        "grpcs" => "https",
        "grpc" => "http",
        other => other,
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    (format!("{scheme}://{host}"), path.trim_end_matches('/'))
}
