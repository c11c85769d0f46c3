//! Is Forecourt where it has to be in an Envoy configuration, and in full force?
//!
//! Reads a bootstrap or a `/config_dump`, wherever in it listeners and clusters stand.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::envoy::filter::WASM;
use crate::config;
use crate::config::problem::{Place, Problems, Warnings};
use crate::policy::{BodyChecks, Policy, Role};
use crate::service::SERVICE;

const MANAGER: &str = ".HttpConnectionManager";
const PROTOCOL_OPTIONS: &str = ".HttpProtocolOptions";
/// What a dump calls a filter's configuration that came by itself.
const DISCOVERED: &str = ".TypedExtensionConfig";
const CACHES: [&str; 2] = [".cache.v3.CacheConfig", ".cache_v2.v3.CacheV2Config"];

/// What is wrong with a configuration, and what may not be meant.
pub fn check(document: &Value) -> (Problems, Warnings) {
    let mut parts = Parts::default();
    parts.gather(document, &Place::root(), None);
    let mut checker = Checker {
        parts: &parts,
        problems: Problems::default(),
        warnings: Warnings::default(),
    };
    checker.everything();
    (checker.problems, checker.warnings)
}

/// A value that matters, and where it stands.
type Placed<'a> = (&'a Map<String, Value>, Place);

/// What there is to check.
#[derive(Default)]
struct Parts<'a> {
    managers: Vec<Placed<'a>>,
    /// Clusters' protocol options, by the cluster's name.
    clusters: BTreeMap<String, Option<Placed<'a>>>,
    /// Filters' configurations that Envoy discovers, by the filter's name.
    discovered: BTreeMap<&'a str, &'a Map<String, Value>>,
    /// Filters that routes switch off.
    disabled: Vec<(&'a str, Place)>,
}

impl<'a> Parts<'a> {
    fn gather(&mut self, value: &'a Value, at: &Place, cluster: Option<&str>) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.gather(item, &at.index(index), cluster);
                }
            }
            Value::Object(members) => self.gather_object(members, at, cluster),
            _ => {}
        }
    }

    fn gather_object(
        &mut self,
        members: &'a Map<String, Value>,
        at: &Place,
        cluster: Option<&str>,
    ) {
        let mut cluster = cluster;
        let name = text(members, "name");
        let endpoints = [
            "load_assignment",
            "eds_cluster_config",
            "connect_timeout",
            "lb_policy",
        ];
        if endpoints.iter().any(|key| get(members, key).is_some()) && name.is_some() {
            cluster = name;
            self.clusters
                .entry(name.unwrap_or_default().into())
                .or_default();
        }
        if is(members, MANAGER) {
            self.managers.push((members, at.clone()));
        }
        if is(members, PROTOCOL_OPTIONS)
            && let Some(name) = cluster
        {
            self.clusters
                .insert(name.into(), Some((members, at.clone())));
        }
        if is(members, DISCOVERED)
            && let (Some(name), Some(config)) = (name, object(members, "typed_config"))
        {
            self.discovered.insert(name, config);
        }
        for (filter, config) in object(members, "typed_per_filter_config")
            .into_iter()
            .flatten()
        {
            let config = config.as_object();
            if config.is_some_and(|config| truth(config, "disabled")) {
                let place = at.key("typed_per_filter_config").key(filter);
                self.disabled.push((filter, place));
            }
        }
        for (key, value) in members {
            self.gather(value, &at.key(key), cluster);
        }
    }
}

/// One entry of a list of HTTP filters.
struct Entry<'a> {
    name: &'a str,
    kind: Kind<'a>,
    place: Place,
}

enum Kind<'a> {
    Forecourt(&'a Map<String, Value>),
    Cache,
    Other,
}

struct Checker<'a> {
    parts: &'a Parts<'a>,
    problems: Problems,
    warnings: Warnings,
}

impl<'a> Checker<'a> {
    fn everything(&mut self) {
        let parts = self.parts;
        let mut found = false;
        for (manager, at) in &parts.managers {
            found |= self.manager(manager, at);
        }
        for (options, at) in parts.clusters.values().flatten() {
            self.upstream(options, at);
        }
        if !found {
            self.problems.add(
                &Place::root(),
                "no listener runs Forecourt: put the filter that `forecourt render envoy` prints \
                 first in `http_filters`",
            );
        }
    }

    /// The filters that stand there, in order.
    fn entries(&self, of: &'a Map<String, Value>, at: &Place) -> Vec<Entry<'a>> {
        let list = get(of, "http_filters").and_then(Value::as_array);
        let filters = list.into_iter().flatten().enumerate();
        let entry = |(index, filter): (usize, &'a Value)| {
            let filter = filter.as_object()?;
            let name = text(filter, "name").unwrap_or_default();
            let config = object(filter, "typed_config");
            let discovered = || self.parts.discovered.get(name).copied();
            let config =
                config.or_else(|| object(filter, "config_discovery").and_then(|_| discovered()));
            let kind = match config {
                Some(config) if CACHES.iter().any(|kind| is(config, kind)) => Kind::Cache,
                Some(config) if is(config, WASM) => match object(config, "config") {
                    Some(plugin) if is_ours(plugin) => Kind::Forecourt(plugin),
                    _ => Kind::Other,
                },
                _ => Kind::Other,
            };
            let place = at.key("http_filters").index(index);
            Some(Entry { name, kind, place })
        };
        filters.filter_map(entry).collect()
    }

    /// A listener's chain; whether Forecourt is in it.
    fn manager(&mut self, manager: &'a Map<String, Value>, at: &Place) -> bool {
        let entries = self.entries(manager, at);
        let is_cache = |entry: &Entry<'_>| matches!(entry.kind, Kind::Cache);
        let cache = entries.iter().position(is_cache);
        let mut found = false;
        for (index, entry) in entries.iter().enumerate() {
            let Kind::Forecourt(plugin) = &entry.kind else {
                continue;
            };
            found = true;
            self.is_enabled(manager, entry, at);
            if cache.is_some_and(|cache| cache < index) {
                self.problems.add(
                    &entry.place,
                    "stands behind the cache, which so answers requests that nobody has checked; \
                     put Forecourt first",
                );
            }
            if let Some(policy) = self.plugin(plugin, &entry.place) {
                self.role_in_listener(policy.role, cache.is_some(), &entry.place);
                self.services(&policy, manager, at);
            }
        }
        if found {
            self.paths(manager, at);
        }
        if found && cache.is_some() {
            self.hints_behind_cache(manager, at);
        }
        found
    }

    fn is_enabled(&mut self, manager: &Map<String, Value>, entry: &Entry<'_>, at: &Place) {
        let list = get(manager, "http_filters").and_then(Value::as_array);
        let own = list.into_iter().flatten().filter_map(Value::as_object);
        let off = own
            .filter(|filter| text(filter, "name") == Some(entry.name))
            .any(|filter| truth(filter, "disabled"));
        if off {
            let message = "is disabled, so nothing is checked; drop `disabled`";
            self.problems.add(&entry.place, message);
        }
        for (name, place) in &self.parts.disabled {
            if *name == entry.name && place.as_str().starts_with(at.as_str()) {
                let message = "switches Forecourt off; open the route in the policy instead";
                self.problems.add(place, message);
            }
        }
    }

    fn role_in_listener(&mut self, role: Role, cached: bool, at: &Place) {
        let message = match (role, cached) {
            (Role::Response, _) => {
                "has `role: response`, so no token and no request is checked here; that role is \
                 for a cluster's filters"
            }
            (Role::Whole, true) => {
                "stands before a cache without `role: request`, so one user's answer can reach \
                 another; render with --cache"
            }
            (Role::Request, false) => {
                "has `role: request` and no cache behind it, so the service sees marks that are \
                 not meant for it; drop the role"
            }
            _ => return,
        };
        self.problems.add(at, message);
    }

    /// Each of several services needs a route of its own, and what goes there with an identity may go
    /// nowhere else. Routes that Envoy discovers are not here to see.
    fn services(&mut self, policy: &Policy, manager: &'a Map<String, Value>, at: &Place) {
        let Some(routes) = get(manager, "route_config") else {
            return;
        };
        let at = at.key("route_config");
        let several = policy.services.len() > 1;
        for service in policy.services.iter().filter(|_| several) {
            if !leads_to(routes, &service.name) {
                self.problems.add(
                    &at,
                    format!(
                        "no route takes requests with `{SERVICE}: {}` only, so they go wherever \
                         other routes lead; render with this policy's `services`",
                        service.name
                    ),
                );
            }
        }
        if policy
            .services
            .iter()
            .any(|service| service.caller.is_some())
        {
            self.strays(routes, &at);
        }
    }

    /// Settings by which Envoy itself sends a request on to others.
    fn strays(&mut self, value: &Value, at: &Place) {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.strays(item, &at.index(index));
                }
            }
            Value::Object(members) => {
                if get(members, "request_mirror_policies").is_some() {
                    self.problems.add(
                        at,
                        "mirrors requests, identity token and all, to another cluster; drop \
                         `request_mirror_policies`",
                    );
                }
                if get(members, "internal_redirect_policy").is_some() {
                    self.warnings.add(
                        at,
                        "follows a service's redirects inside Envoy, so an identity token could \
                         go where the service says; drop `internal_redirect_policy`",
                    );
                }
                for (key, value) in members {
                    self.strays(value, &at.key(key));
                }
            }
            _ => {}
        }
    }

    fn paths(&mut self, manager: &Map<String, Value>, at: &Place) {
        if !truth(manager, "normalize_path") {
            self.problems.add(
                at,
                "`normalize_path` is not true, so paths that mean the same reach Forecourt and the \
                 service in different forms; set it",
            );
        }
        if !truth(manager, "merge_slashes") {
            let message = "`merge_slashes` is not true: `//a` and `/a` are two paths";
            self.warnings.add(at, message);
        }
        let action = text(manager, "path_with_escaped_slashes_action");
        if action == Some("UNESCAPE_AND_FORWARD") {
            self.warnings.add(
                at,
                "`path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD` lets `%2f` end a path \
                 segment; Envoy's guide takes UNESCAPE_AND_REDIRECT or REJECT_REQUEST",
            );
        }
    }

    /// Every cluster that the listener may send to needs the hints among its filters.
    fn hints_behind_cache(&mut self, manager: &Map<String, Value>, at: &Place) {
        let mut named = BTreeSet::new();
        if let Some(routes) = get(manager, "route_config") {
            targets(routes, &mut named);
        }
        let parts = self.parts;
        for (name, options) in &parts.clusters {
            if !named.is_empty() && !named.contains(name.as_str()) {
                continue;
            }
            let entries = options
                .as_ref()
                .map(|(options, at)| self.entries(options, at))
                .unwrap_or_default();
            let has_hints = entries
                .iter()
                .any(|entry| matches!(entry.kind, Kind::Forecourt(_)));
            if !has_hints {
                self.problems.add(
                    at,
                    format!(
                        "has a cache, and cluster `{name}` has no Forecourt with `role: response` \
                         in its `http_filters`, so the cache keeps what no hint has gone over; \
                         render with --cache"
                    ),
                );
            }
        }
    }

    fn upstream(&mut self, options: &'a Map<String, Value>, at: &Place) {
        for entry in self.entries(options, at) {
            let Kind::Forecourt(plugin) = entry.kind else {
                continue;
            };
            if let Some(policy) = self.plugin(plugin, &entry.place)
                && policy.role != Role::Response
            {
                self.problems.add(
                    &entry.place,
                    "stands among a cluster's filters without `role: response`; checks belong into \
                     the listener's filters",
                );
            }
        }
    }

    /// The plugin's own fields; its policy, if it is one.
    fn plugin(&mut self, plugin: &Map<String, Value>, at: &Place) -> Option<Policy> {
        let at = at.key("typed_config").key("config");
        let open = text(plugin, "failure_policy") == Some("FAIL_OPEN");
        if open || truth(plugin, "fail_open") {
            self.problems.add(
                &at,
                "fails open: requests pass unchecked once the module is gone; set \
                 `failure_policy: FAIL_RELOAD`",
            );
        } else if text(plugin, "failure_policy") != Some("FAIL_RELOAD") {
            self.warnings.add(
                &at,
                "without `failure_policy: FAIL_RELOAD` one trap ends all traffic until Envoy \
                 restarts",
            );
        }
        let policy = self.policy(plugin, &at.key("configuration"))?;
        let holds = policy.body_checks == BodyChecks::Hold;
        if holds && !truth(plugin, "allow_on_headers_stop_iteration") {
            self.problems.add(
                &at,
                "`allow_on_headers_stop_iteration` is not true, so a request that waits for its \
                 body hangs; set it, or write `bodyChecks: stream` in the policy",
            );
        }
        Some(policy)
    }

    fn policy(&mut self, plugin: &Map<String, Value>, at: &Place) -> Option<Policy> {
        let configuration = object(plugin, "configuration");
        let value = configuration.and_then(|members| members.get("value").map(|v| (members, v)));
        let compiled = match value {
            Some((_, Value::String(text))) => config::from_json(text.as_bytes()),
            Some((members, value)) if is(members, "google.protobuf.Struct") => {
                config::from_value(value.clone())
            }
            _ => {
                let message = "holds no policy: write it as a google.protobuf.StringValue";
                self.problems.add(at, message);
                return None;
            }
        };
        match compiled {
            Ok(policy) => Some(policy),
            Err(problems) => {
                for problem in problems.0 {
                    self.problems.add(at, format!("policy refused: {problem}"));
                }
                None
            }
        }
    }
}

/// Whether a Wasm plugin is this module, by any of its names or by its policy.
fn is_ours(plugin: &Map<String, Value>) -> bool {
    let named = ["name", "root_id"]
        .iter()
        .any(|key| text(plugin, key).is_some_and(|name| name.contains("forecourt")));
    let configuration = get(plugin, "configuration").map(Value::to_string);
    named || configuration.is_some_and(|text| text.contains(config::VERSION))
}

/// The clusters that routes name.
fn targets<'a>(value: &'a Value, named: &mut BTreeSet<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| targets(item, named)),
        Value::Object(members) => {
            named.extend(text(members, "cluster"));
            let weighted = object(members, "weighted_clusters");
            let weighted = weighted.and_then(|weighted| weighted.get("clusters")?.as_array());
            for cluster in weighted.into_iter().flatten().filter_map(Value::as_object) {
                named.extend(text(cluster, "name"));
            }
            members.values().for_each(|value| targets(value, named));
        }
        _ => {}
    }
}

/// Whether some route asks for that service's name in its header.
fn leads_to(routes: &Value, service: &str) -> bool {
    match routes {
        Value::Array(items) => items.iter().any(|item| leads_to(item, service)),
        Value::Object(members) => {
            let matching = object(members, "match").and_then(|matching| get(matching, "headers"));
            let headers = matching.and_then(Value::as_array).into_iter().flatten();
            let named = headers.filter_map(Value::as_object).any(|header| {
                let exact = object(header, "string_match").and_then(|text| get(text, "exact"));
                text(header, "name") == Some(SERVICE) && exact.is_some_and(|name| name == service)
            });
            (named && get(members, "route").is_some())
                || members.values().any(|value| leads_to(value, service))
        }
        _ => false,
    }
}

/// A field of a message, in either of the two spellings that protobuf's JSON has.
fn get<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).or_else(|| members.get(&camel_case(name)))
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    get(members, name)?.as_str()
}

fn object<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    get(members, name)?.as_object()
}

/// A boolean, or a message that wraps one.
fn truth(members: &Map<String, Value>, name: &str) -> bool {
    get(members, name).and_then(Value::as_bool).unwrap_or(false)
}

fn is(members: &Map<String, Value>, kind: &str) -> bool {
    text(members, "@type").is_some_and(|held| held.ends_with(kind))
}

#[cfg(test)]
mod tests;
