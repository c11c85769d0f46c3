//! Routes: their raw form, and how a route is put together from what each job compiles.

use deserr::Deserr;
use serde::Serialize;

use super::access::RawAccess;
use super::cache::{Around, RawCache};
use super::problem::{Place, Problems, Warnings};
use super::request::RawRequest;
use super::routing::{RawEncodedSlash, RawRouting, RawTrailingSlash};
use super::schemas::SchemaTable;
use super::services;
use super::types::{Part, Texts, is_default};
use crate::policy::{Mode, Policy, Route};
use crate::route::host::HostPattern;
use crate::route::template::Template;
use crate::token::Access;

/// One route.
#[derive(Clone, Debug, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Route", deny_unknown_fields))]
#[deserr(error = Problems, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct RawRoute {
    /// A name for logs and `forecourt explain`; method and path where there is none.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The requests that this route takes.
    #[deserr(rename = "match")]
    pub r#match: Part<RawMatch>,
    /// Who may call it: `public`, or rules on tokens. There is no default: opening a route is a
    /// decision.
    pub access: Part<RawAccess>,
    /// The service that its requests go to; the policy's `defaultService` where not given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What the request must look like.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Part<RawRequest>>,
    /// What caches may do with the answers.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Part<RawCache>>,
    /// `enforce`, or `monitor`: log and count what would have been refused, and let it pass.
    #[deserr(default)]
    #[serde(skip_serializing_if = "is_default", default)]
    pub mode: RawMode,
}

/// The requests that a route takes.
#[derive(Clone, Debug, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Match", deny_unknown_fields))]
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
    /// Whether a slash at the end makes another path, `strict` or `ignore`, where it differs from
    /// `routing.trailingSlash`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trailing_slash: Option<RawTrailingSlash>,
    /// What `%2F` is, `refuse` or `keep`, where it differs from `routing.encodedSlash`.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub encoded_slash: Option<RawEncodedSlash>,
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

/// Puts routes into a policy.
pub(super) struct Compiler<'a> {
    pub routing: RawRouting,
    pub policy: &'a mut Policy,
    pub schemas: &'a SchemaTable,
    pub problems: &'a mut Problems,
    pub warnings: &'a mut Warnings,
}

impl Compiler<'_> {
    pub fn route(&mut self, raw: &RawRoute, index: usize, at: &Place) {
        let parameters = match raw.r#match.get(self.problems) {
            Some(raw) => self.matching(raw, index, &at.key("match")),
            None => Vec::new(),
        };
        let access = self.access(&raw.access, &at.key("access"));
        let request = match &raw.request {
            Some(raw) => raw.get(self.problems),
            None => None,
        };
        let at_request = at.key("request");
        let fields = request.map(RawRequest::fields).unwrap_or_default();
        let around = Around {
            public: access.is_public(),
            told: access.tells_the_service(),
            choosy: access.is_choosy(),
            parameters: &parameters,
            fields: &fields,
        };
        let hints = match raw.cache.as_ref().and_then(|raw| raw.get(self.problems)) {
            Some(raw) => raw.compile(&at.key("cache"), around, self.problems, self.warnings),
            None => Default::default(),
        };
        let service = self.service(raw.to.as_deref(), at);
        self.policy.routes.push(Route {
            name: raw.name(),
            service,
            access,
            params: request.and_then(|raw| {
                raw.compile_parameters(&at_request, &parameters, self.schemas, self.problems)
            }),
            body: request.and_then(|raw| raw.compile(&at_request, self.schemas, self.problems)),
            hints,
            mode: match raw.mode {
                RawMode::Enforce => Mode::Enforce,
                RawMode::Monitor => Mode::Monitor,
            },
        });
    }

    fn service(&mut self, to: Option<&str>, at: &Place) -> Option<usize> {
        let services = &self.policy.services;
        match to {
            Some(name) => services::find(services, name, &at.key("to"), self.problems),
            None if services.is_empty() || self.policy.default_service.is_some() => {
                self.policy.default_service
            }
            None => {
                self.problems.add(
                    at,
                    "goes to no service; write `to: NAME` here, or `defaultService: NAME` for all such routes",
                );
                None
            }
        }
    }

    fn access(&mut self, raw: &Part<RawAccess>, at: &Place) -> Access {
        match raw.get(self.problems) {
            Some(raw) => raw.compile(&self.policy.issuers, at, self.problems),
            None => Access::public(),
        }
    }

    /// Puts the route into the router; the names of its path parameters.
    fn matching(&mut self, raw: &RawMatch, index: usize, at: &Place) -> Vec<String> {
        let hosts = raw.hosts(&at.key("hosts"), self.problems);
        raw.check_methods(&at.key("methods"), self.problems);
        let template = match Template::parse(&raw.path) {
            Ok(template) => template,
            Err(message) => {
                self.problems.add(&at.key("path"), message);
                return Vec::new();
            }
        };
        let slashes = self.routing.slashes(raw.trailing_slash, raw.encoded_slash);
        let router = &mut self.policy.router;
        if let Err(conflict) = router.insert(&hosts, &raw.methods.0, &template, slashes, index) {
            self.problems.add(
                at,
                format!("takes the same requests as routes[{}]", conflict.with),
            );
        }
        template.names
    }
}

impl RawRoute {
    fn name(&self) -> String {
        let matching = self.r#match.formed();
        self.name.clone().unwrap_or_else(|| {
            let methods = matching
                .map(|raw| raw.methods.0.join(","))
                .unwrap_or_default();
            let methods = if methods.is_empty() { "*" } else { &methods };
            format!("{methods} {}", matching.map_or("", |raw| &raw.path))
        })
    }
}

impl RawMatch {
    fn hosts(&self, at: &Place, problems: &mut Problems) -> Vec<HostPattern> {
        let mut hosts = Vec::new();
        for (index, text) in self.hosts.0.iter().enumerate() {
            match HostPattern::parse(text) {
                Ok(host) => hosts.push(host),
                Err(message) => problems.add(&at.index(index), message),
            }
        }
        hosts
    }

    fn check_methods(&self, at: &Place, problems: &mut Problems) {
        for (index, method) in self.methods.0.iter().enumerate() {
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
