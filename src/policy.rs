//! The compiled policy: immutable, and valid by construction.
//!
//! It puts together what each job compiled for itself; `config` is the only module that makes one.

use std::collections::BTreeSet;

use crate::head::RequestHead;
use crate::hints;
use crate::route::Router;
use crate::schema::BodyRule;
use crate::schema::params::ParamRule;
use crate::service::Service;
use crate::token::identity::Identity;
use crate::token::{Access, Issuer, source::Source};

/// Everything the filter decides by. The default has no routes, so it refuses every request.
#[derive(Debug, Default)]
pub struct Policy {
    /// The issuers, referred to by index.
    pub issuers: Vec<Issuer>,
    /// Finds a route's index in `routes`.
    pub router: Router,
    /// The routes, in the policy's order.
    pub routes: Vec<Route>,
    /// The services behind, referred to by index; none where Envoy's routes alone decide.
    pub services: Vec<Service>,
    /// The service of requests that no route takes.
    pub default_service: Option<usize>,
    /// The tokens that show this proxy to services, referred to by index.
    pub identities: Vec<Identity>,
    /// Header names that this proxy alone may set, with `_` as `-`: removed from every request before
    /// anything else.
    pub identity_headers: Vec<String>,
    /// Whether the proxy's own routes go by those headers, on some route.
    pub routes_by_claims: bool,
    /// Every place in which some issuer's tokens are looked for. Whatever route a request takes,
    /// something in one of them makes its answer that of one caller.
    pub credential_sources: Vec<Source>,
    /// What happens to requests that no route takes.
    pub unmatched: Unmatched,
    /// What becomes of `OPTIONS` for paths whose routes do not take it.
    pub options: Options,
    /// Whether a request's headers wait for its body.
    pub body_checks: BodyChecks,
    /// Which part of the work this instance has.
    pub role: Role,
    /// What caches may do with answers to requests that no route took: only the safety rules hold.
    pub unrouted: hints::Rule,
}

impl Policy {
    /// The largest body that some route holds back for its check, in bytes; 0 if none does.
    pub fn largest_body(&self) -> u64 {
        let bodies = self.routes.iter().filter_map(|route| route.body.as_ref());
        bodies.map(BodyRule::max_bytes).max().unwrap_or(0)
    }

    /// The largest head of a request that some route sets a limit to, in bytes; 0 if none does.
    pub fn largest_headers(&self) -> u64 {
        let rules = self.routes.iter().filter_map(|route| route.params.as_ref());
        rules
            .map(|rule| rule.max_headers as u64)
            .filter(|limit| *limit < u64::from(u32::MAX))
            .max()
            .unwrap_or(0)
    }

    /// Makes the routes' hints those of this instance's role.
    pub fn take_role(&mut self) {
        match self.role {
            Role::Whole => return,
            // Who calls is shown behind the cache, which passes by what has an `Authorization`.
            Role::Request => self.identities.clear(),
            Role::Response => {}
        }
        let between = [hints::mark::MARK, hints::own_key::AUTHORIZATION];
        self.identity_headers.extend(between.map(str::to_owned));
        let rules = self.routes.iter_mut().map(|route| &mut route.hints);
        for rule in rules.chain([&mut self.unrouted]) {
            if rule.profile == hints::Profile::Generic {
                rule.profile = hints::Profile::EnvoyCache;
            }
            if self.role == Role::Response {
                // Only the instance before the cache can tell a hit from a miss.
                rule.cache_status = None;
            }
        }
    }

    /// Whether some issuer's tokens are looked for in that header.
    pub fn reads_header(&self, header: &str) -> bool {
        let reads = |source: &Source| source.header() == Some(header);
        self.credential_sources.iter().any(reads)
    }

    /// The request fields by which a service could tell its caller from others, in order.
    pub fn caller_fields(&self) -> BTreeSet<&str> {
        let common = ["authorization", "cookie", "proxy-authorization"];
        let sources = self.credential_sources.iter().filter_map(Source::header);
        let set = self.identity_headers.iter().map(String::as_str);
        common.into_iter().chain(sources).chain(set).collect()
    }

    /// Whether a request carries anything by which a service could tell its caller from others.
    pub fn has_credentials(&self, head: &RequestHead) -> bool {
        let sources = &self.credential_sources;
        head.headers.has("authorization") || sources.iter().any(|source| source.is_filled(head))
    }
}

/// What one route asks for.
#[derive(Debug)]
pub struct Route {
    /// For logs and `explain`: the policy's name of it, or method and path.
    pub name: String,
    /// The service that its requests go to.
    pub service: Option<usize>,
    /// Who may call it.
    pub access: Access,
    /// What its parameters must be; `None` leaves them alone.
    pub params: Option<ParamRule>,
    /// What its bodies must be; `None` leaves bodies alone.
    pub body: Option<BodyRule>,
    /// What caches may do with its answers.
    pub hints: hints::Rule,
    /// Whether refusals are carried out.
    pub mode: Mode,
}

/// Whether a route's refusals are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A refused request gets the refusal.
    #[default]
    Enforce,
    /// A refused request is logged and counted, and passes without an identity.
    Monitor,
}

/// What happens to requests that no route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// 404 or 405.
    #[default]
    Deny,
    /// They pass, without identity headers, tokens unread.
    Allow,
}

/// What becomes of `OPTIONS` for paths whose routes do not take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Options {
    /// 405.
    #[default]
    Refuse,
    /// It passes, without identity headers, tokens unread.
    Forward,
}

/// Whether a request's headers wait for its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyChecks {
    /// Nothing reaches the service before the body has been checked. Needs Envoy's
    /// `allow_on_headers_stop_iteration: true` on the plugin.
    #[default]
    Hold,
    /// Headers go first; a refused body resets the stream behind them.
    Stream,
}

/// Which part of the work an instance has where Envoy keeps answers itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// All of it; there is no cache in this Envoy.
    #[default]
    Whole,
    /// Before the cache: all of it, and telling the instance behind the cache who asked.
    Request,
    /// Behind the cache, among the cluster's filters: hints only.
    Response,
}
