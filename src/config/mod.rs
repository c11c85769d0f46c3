//! The policy document: JSON in Envoy's plugin configuration, YAML to write, one schema for both.
//!
//! Raw values mirror the document; compiling turns them into a [`Policy`] or into every problem at
//! once. A policy that compiled is valid: the request path has no configuration left to fail on.

pub mod access;
pub mod cache;
pub mod issuers;
pub mod problem;
pub mod remote;
pub mod request;
pub mod schemas;
pub mod types;

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;

use self::access::RawAccess;
use self::cache::{Around, RawCache};
use self::issuers::RawIssuer;
use self::problem::{Place, Problems, Warnings};
use self::request::RawRequest;
use self::schemas::SchemaTable;
use self::types::Texts;
use crate::policy::{BodyChecks, Mode, Policy, Route, Unmatched};
use crate::route::Router;
use crate::route::host::HostPattern;
use crate::route::template::Template;

/// Largest policy that is read, in bytes.
pub const MAX_POLICY: usize = 32 * 1024 * 1024;

/// The version that this module reads.
pub const VERSION: &str = "forecourt/v1";

/// A Forecourt policy: who may call which route, what a request must look like, and what caches may
/// keep of the answers.
#[derive(Clone, Debug, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[deserr(error = Problems, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct RawPolicy {
    /// The version of this language: `forecourt/v1`.
    pub version: String,
    /// Who issues tokens, by a name of your choice.
    #[deserr(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub issuers: BTreeMap<String, RawIssuer>,
    /// JSON Schemas that routes share, as `$ref: "#/schemas/NAME"`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub schemas: BTreeMap<String, Value>,
    /// The routes. A concrete path beats a templated one, whatever their order here.
    pub routes: Vec<RawRoute>,
    /// What happens to requests that no route takes: `deny` (404 or 405) or `allow`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub unmatched: RawUnmatched,
    /// Whether a request's headers wait for its body: `hold`, or `stream` where the proxy cannot hold
    /// them (Istio's WasmPlugin); then the headers of a refused body have already gone.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub body_checks: RawBodyChecks,
}

/// One route.
#[derive(Clone, Debug, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[deserr(error = Problems, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct RawRoute {
    /// A name for logs and `forecourt explain`; method and path where there is none.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The requests that this route takes.
    #[deserr(rename = "match")]
    pub r#match: RawMatch,
    /// Who may call it: `public`, or rules on tokens. There is no default: opening a route is a
    /// decision.
    pub access: RawAccess,
    /// What the request must look like.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RawRequest>,
    /// What caches may do with the answers.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<RawCache>,
    /// `enforce`, or `monitor`: log and count what would have been refused, and let it pass.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub mode: RawMode,
}

/// The requests that a route takes.
#[derive(Clone, Debug, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[deserr(error = Problems, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct RawMatch {
    /// Hosts, `api.example.com` or `*.example.com`; any where there are none.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Texts::is_empty", default)]
    pub hosts: Texts,
    /// Methods, in capitals; any where there are none. `GET` also answers `HEAD`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Texts::is_empty", default)]
    pub methods: Texts,
    /// A path template: `/products/{id}`, `/files/{name}.json`, `/assets/{rest=**}`.
    pub path: String,
}

/// What happens to requests that no route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub enum RawUnmatched {
    /// 404 or 405.
    #[default]
    Deny,
    /// They pass, without identity headers.
    Allow,
}

/// Whether a request's headers wait for its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub enum RawBodyChecks {
    /// Nothing reaches the service before the body has been checked.
    #[default]
    Hold,
    /// Headers go first.
    Stream,
}

/// Whether a route's refusals are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub enum RawMode {
    /// They are.
    #[default]
    Enforce,
    /// They are logged and counted only.
    Monitor,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Compiles a policy from JSON text, as Envoy's plugin configuration holds it.
pub fn from_json(text: &[u8]) -> Result<Policy, Problems> {
    let refused = |message: String| {
        let mut problems = Problems::default();
        problems.add(&Place::root(), message);
        problems
    };
    if text.len() > MAX_POLICY {
        return Err(refused("is larger than 32 MiB".into()));
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(refused(
            "is empty: put the output of `forecourt render` into the plugin's `configuration`"
                .into(),
        ));
    }
    let value = serde_json::from_slice(text).map_err(|error| {
        refused(format!(
            "is not JSON ({error}); `forecourt render` turns YAML into what the plugin reads"
        ))
    })?;
    from_value(value)
}

/// Compiles a policy from its document.
pub fn from_value(document: Value) -> Result<Policy, Problems> {
    raw(document)?.compile().map(|(policy, _)| policy)
}

/// Reads the document's form, without compiling it.
pub fn raw(document: Value) -> Result<RawPolicy, Problems> {
    deserr::deserialize(document)
}

impl RawPolicy {
    /// Turns the document into a policy, with what is allowed but may not be meant; or names
    /// everything that is wrong with it.
    pub fn compile(&self) -> Result<(Policy, Warnings), Problems> {
        let mut problems = Problems::default();
        let mut warnings = Warnings::default();
        let root = Place::root();
        if self.version != VERSION {
            problems.add(
                &root.key("version"),
                format!(
                    "`{}` is not a version this module reads; write `{VERSION}`",
                    self.version
                ),
            );
        }
        let mut policy = Policy::default();
        let at_issuers = root.key("issuers");
        for (name, raw) in &self.issuers {
            policy
                .issuers
                .push(raw.compile(name, &at_issuers.key(name), &mut problems));
        }
        let schemas = self.schema_table(&root, &mut problems);
        policy.unmatched = match self.unmatched {
            RawUnmatched::Deny => Unmatched::Deny,
            RawUnmatched::Allow => Unmatched::Allow,
        };
        policy.body_checks = match self.body_checks {
            RawBodyChecks::Hold => BodyChecks::Hold,
            RawBodyChecks::Stream => BodyChecks::Stream,
        };
        for (index, raw) in self.routes.iter().enumerate() {
            let at = root.key("routes").index(index);
            let parameters = raw.add_to(&mut policy.router, index, &at, &mut problems);
            let access = raw
                .access
                .compile(&policy.issuers, &at.key("access"), &mut problems);
            let body = raw
                .request
                .as_ref()
                .and_then(|raw| raw.compile(&at.key("request"), &schemas, &mut problems));
            let around = Around {
                public: access.is_public(),
                parameters: &parameters,
            };
            let hints = raw
                .cache
                .as_ref()
                .map(|raw| raw.compile(&at.key("cache"), around, &mut problems, &mut warnings));
            policy.routes.push(Route {
                name: raw.name(),
                access,
                body,
                hints: hints.unwrap_or_default(),
                mode: match raw.mode {
                    RawMode::Enforce => Mode::Enforce,
                    RawMode::Monitor => Mode::Monitor,
                },
            });
        }
        policy.identity_headers = identity_headers(&policy.routes);
        if problems.is_empty() {
            Ok((policy, warnings))
        } else {
            Err(problems)
        }
    }

    fn schema_table(&self, root: &Place, problems: &mut Problems) -> SchemaTable {
        let at_routes = root.key("routes");
        let uses = self.routes.iter().enumerate().flat_map(|(index, route)| {
            let at = at_routes.index(index).key("request");
            route.request.iter().flat_map(move |raw| raw.schemas(&at))
        });
        SchemaTable::compile(&self.schemas, &root.key("schemas"), uses, problems)
    }
}

fn identity_headers(routes: &[Route]) -> Vec<String> {
    let mut names: Vec<_> = routes
        .iter()
        .flat_map(|route| route.access.headers_set())
        .map(|name| name.replace('_', "-"))
        .collect();
    names.sort();
    names.dedup();
    names
}

impl RawRoute {
    fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let methods = self.r#match.methods.0.join(",");
            let methods = if methods.is_empty() { "*" } else { &methods };
            format!("{methods} {}", self.r#match.path)
        })
    }

    /// Puts the route into the router; the names of its path parameters.
    fn add_to(
        &self,
        router: &mut Router,
        index: usize,
        at: &Place,
        problems: &mut Problems,
    ) -> Vec<String> {
        let at = at.key("match");
        let hosts = self.hosts(&at.key("hosts"), problems);
        self.check_methods(&at.key("methods"), problems);
        let template = match Template::parse(&self.r#match.path) {
            Ok(template) => template,
            Err(message) => {
                problems.add(&at.key("path"), message);
                return Vec::new();
            }
        };
        let added = router.insert(&hosts, &self.r#match.methods.0, &template, index);
        if let Err(conflict) = added {
            problems.add(
                &at,
                format!("takes the same requests as routes[{}]", conflict.with),
            );
        }
        template.names
    }

    fn hosts(&self, at: &Place, problems: &mut Problems) -> Vec<HostPattern> {
        let mut hosts = Vec::new();
        for (index, text) in self.r#match.hosts.0.iter().enumerate() {
            match HostPattern::parse(text) {
                Ok(host) => hosts.push(host),
                Err(message) => problems.add(&at.index(index), message),
            }
        }
        hosts
    }

    fn check_methods(&self, at: &Place, problems: &mut Problems) {
        for (index, method) in self.r#match.methods.0.iter().enumerate() {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if method.is_empty() || !method.bytes().all(token) {
                problems.add(&at.index(index), format!("`{method}` is not a method"));
            } else if method.bytes().any(|b| b.is_ascii_lowercase()) {
                problems.add(
                    &at.index(index),
                    format!(
                        "methods are case-sensitive: write `{}`",
                        method.to_ascii_uppercase()
                    ),
                );
            }
        }
    }
}
