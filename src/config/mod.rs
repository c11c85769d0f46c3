//! The policy document: JSON in Envoy's plugin configuration, YAML to write, one schema for both.
//!
//! Raw values mirror the document; compiling turns them into a [`Policy`] or into every problem at
//! once. A policy that compiled is valid: the request path has no configuration left to fail on.

pub mod access;
pub mod cache;
pub mod claim_rules;
pub mod forward;
pub mod instant;
pub mod issuers;
pub mod jwks;
pub mod presets;
pub mod problem;
pub mod remote;
pub mod request;
pub mod routes;
pub mod routing;
pub mod schemas;
pub mod services;
pub mod types;

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;

use self::issuers::RawIssuer;
use self::problem::{Place, Problems, Warnings};
use self::routes::{Compiler, RawRoute};
use self::routing::RawRouting;
use self::schemas::SchemaTable;
use self::services::{RawMetadataServer, RawService, Services};
use self::types::{Part, is_default};
use crate::policy::{BodyChecks, Policy, Role, Unmatched};
use crate::token::{Issuer, source::Source};

/// Largest policy that is read, in bytes.
pub const MAX_POLICY: usize = 32 * 1024 * 1024;

/// The version that this module reads.
pub const VERSION: &str = "forecourt/v1";

/// A Forecourt policy: who may call which route, what a request must look like, and what caches may
/// keep of the answers.
#[derive(Clone, Debug, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Policy", deny_unknown_fields))]
#[deserr(error = Problems, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct RawPolicy {
    /// The version of this language: `forecourt/v1`.
    pub version: String,
    /// Who issues tokens, by a name of your choice.
    #[deserr(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub issuers: BTreeMap<String, Part<RawIssuer>>,
    /// JSON Schemas that routes share, as `$ref: "#/schemas/NAME"`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub schemas: BTreeMap<String, Value>,
    /// The services behind, by a name of your choice, for routes to go `to`. Without any, everything
    /// goes where Envoy's own configuration says.
    #[deserr(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub services: BTreeMap<String, Part<RawService>>,
    /// The service that a route without `to` goes to; the only one, where there is only one.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub default_service: Option<String>,
    /// Where identity tokens for private services come from; Google Cloud's metadata server where not
    /// given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metadata_server: Option<Part<RawMetadataServer>>,
    /// The routes. A concrete path beats a templated one, whatever their order here.
    pub routes: Vec<Part<RawRoute>>,
    /// How requests that differ from the routes in a slash, or in the method `OPTIONS`, are taken.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub routing: RawRouting,
    /// What happens to requests that no route takes: `deny` (404 or 405) or `allow`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub unmatched: RawUnmatched,
    /// Whether a request's headers wait for its body: `hold`, or `stream` where the proxy cannot hold
    /// them (Istio's WasmPlugin); then the headers of a refused body have already gone.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub body_checks: RawBodyChecks,
    /// Which part of the work an instance has where Envoy keeps answers itself: `request` before the
    /// cache, `response` among the cluster's filters. `forecourt render envoy --cache` writes it.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub role: RawRole,
    /// What is wrong with the document's own keys.
    #[deserr(skip)]
    #[serde(skip)]
    faults: Problems,
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

/// Which part of the work an instance has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub enum RawRole {
    /// All of it.
    #[default]
    Whole,
    /// Before Envoy's cache.
    Request,
    /// Behind Envoy's cache.
    Response,
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

/// Reads the document's form, without compiling it. What has none is kept as its problems, for
/// [`RawPolicy::compile`] to tell with all others.
pub fn raw(mut document: Value) -> Result<RawPolicy, Problems> {
    let mut faults = Problems::default();
    loop {
        let found = match deserr::deserialize::<RawPolicy, _, Problems>(document.clone()) {
            Ok(raw) => return Ok(RawPolicy { faults, ..raw }),
            Err(found) => found,
        };
        // A fault of one key of the document must not hide what is wrong below the others.
        let removed = found.0.iter().filter(|problem| {
            let members = document.as_object_mut();
            let top = problem.place.parent() == Some(Place::root());
            top && members.is_some_and(|members| members.remove(problem.place.as_str()).is_some())
        });
        match (removed.count(), faults.is_empty()) {
            (0, true) => return Err(found),
            (0, false) => return Err(faults),
            _ => faults.0.extend(found.0),
        }
    }
}

impl RawPolicy {
    /// Turns the document into a policy, with what is allowed but may not be meant; or names
    /// everything that is wrong with it.
    pub fn compile(&self) -> Result<(Policy, Warnings), Problems> {
        let mut problems = self.faults.clone();
        let mut warnings = Warnings::default();
        let root = Place::root();
        self.check_version(&root.key("version"), &mut problems);
        let mut policy = Policy {
            unmatched: match self.unmatched {
                RawUnmatched::Deny => Unmatched::Deny,
                RawUnmatched::Allow => Unmatched::Allow,
            },
            options: self.routing.options(),
            body_checks: match self.body_checks {
                RawBodyChecks::Hold => BodyChecks::Hold,
                RawBodyChecks::Stream => BodyChecks::Stream,
            },
            role: match self.role {
                RawRole::Whole => Role::Whole,
                RawRole::Request => Role::Request,
                RawRole::Response => Role::Response,
            },
            issuers: self.compile_issuers(&root.key("issuers"), &mut problems),
            ..Policy::default()
        };
        let services = Services {
            raw: &self.services,
            default: self.default_service.as_deref(),
            metadata: self.metadata_server.as_ref(),
        };
        services.compile(&root, &mut policy, &mut problems, &mut warnings);
        let schemas = self.schema_table(&root, &mut problems);
        for (index, raw) in self.routes.iter().enumerate() {
            let Some(raw) = raw.get(&mut problems) else {
                continue;
            };
            let mut compiler = Compiler {
                routing: self.routing,
                policy: &mut policy,
                schemas: &schemas,
                problems: &mut problems,
                warnings: &mut warnings,
            };
            compiler.route(raw, index, &root.key("routes").index(index));
        }
        services.check_use(&root, &policy, &mut problems, &mut warnings);
        policy.identity_headers = identity_headers(&policy);
        let mut routes = policy.routes.iter();
        policy.routes_by_claims = routes.any(|route| route.access.clears_route_cache());
        policy.take_role();
        policy.credential_sources = credential_sources(&policy.issuers);
        if problems.is_empty() {
            Ok((policy, warnings))
        } else {
            Err(problems)
        }
    }

    fn check_version(&self, at: &Place, problems: &mut Problems) {
        if self.version != VERSION {
            problems.add(
                at,
                format!(
                    "`{}` is not a version this module reads; write `{VERSION}`",
                    self.version
                ),
            );
        }
    }

    /// A broken issuer keeps its name, so that the routes that use it are not blamed for it.
    fn compile_issuers(&self, at: &Place, problems: &mut Problems) -> Vec<Issuer> {
        self.issuers
            .iter()
            .map(|(name, raw)| match raw.get(problems) {
                Some(raw) => raw.compile(name, &at.key(name), problems),
                None => Issuer {
                    name: name.clone(),
                    ..Issuer::default()
                },
            })
            .collect()
    }

    fn schema_table(&self, root: &Place, problems: &mut Problems) -> SchemaTable {
        let at_routes = root.key("routes");
        let uses = self.routes.iter().enumerate().flat_map(|(index, route)| {
            let at = at_routes.index(index).key("request");
            let request = route.formed().and_then(|route| route.request.as_ref());
            let request = request.and_then(Part::formed);
            request.into_iter().flat_map(move |raw| raw.schemas(&at))
        });
        SchemaTable::compile(&self.schemas, &root.key("schemas"), uses, problems)
    }
}

fn credential_sources(issuers: &[Issuer]) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for source in issuers.iter().flat_map(|issuer| &issuer.sources) {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    sources
}

fn identity_headers(policy: &Policy) -> Vec<String> {
    let mut names: Vec<_> = policy
        .routes
        .iter()
        .flat_map(|route| route.access.headers_set())
        .map(str::to_owned)
        .chain(services::reserved_headers(&policy.services))
        .map(|name| name.replace('_', "-"))
        .collect();
    names.sort();
    names.dedup();
    names
}
