//! A document's paths and operations to the routes of a policy.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::convert::{Converter, Version};
use super::documents::{Documents, Node};
use super::draft::{Draft, DraftRoute};
use super::google::{self, Backends};
use super::issuers::Issuers;
use super::report::{Kind, Report};
use super::security::Security;
use crate::cli::policy_file::Finding;
use crate::route::template::Template;
use crate::route::{Router, Slashes};

/// Methods that an operation can have, in the order of routes.
const METHODS: [&str; 8] = [
    "get", "head", "post", "put", "patch", "delete", "options", "trace",
];

/// Those of them whose requests usually have a body (RFC 9110 §9.3).
const BODY_METHODS: [&str; 3] = ["post", "put", "patch"];

/// What is wanted of a document.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What stands before every path, in place of what the document says.
    pub base_path: Option<String>,
    /// Tags, operationIds and `METHOD /path`s that are wanted; all where there are none.
    pub only: Vec<String>,
    /// Who issues the tokens.
    pub issuers: Option<Issuers>,
}

/// A policy and how it differs from its document.
pub struct Imported {
    /// The policy.
    pub draft: Draft,
    /// How it differs.
    pub report: Report,
}

/// Turns a document into a policy, or names everything that makes it none.
pub fn import(docs: &Documents, options: &Options) -> Result<Imported, Vec<Finding>> {
    let root = docs.root().ok_or_else(Vec::new)?;
    let version = version(&root).map_err(|fault| vec![fault])?;
    let mut converter = Converter::new(docs, version);
    let mut import = Import {
        security: Security::new(&mut converter, options.issuers.as_ref()),
        backends: Backends::default(),
        router: Router::default(),
        names: BTreeSet::new(),
        routes: Vec::new(),
        unmet: options.only.iter().map(String::as_str).collect(),
        options,
        root,
        converter,
    };
    import.paths();
    import.finish()
}

fn version(root: &Node<'_>) -> Result<Version, Finding> {
    let written = |key: &str| {
        let value = root.get(key)?;
        let text = value.value.as_str().map(str::to_owned);
        Some((
            value.clone(),
            text.unwrap_or_else(|| value.value.to_string()),
        ))
    };
    match (written("openapi"), written("swagger")) {
        (Some((node, text)), _) => match text.split('.').collect::<Vec<_>>().as_slice() {
            ["3", "0", ..] => Ok(Version::V30),
            ["3", "1", ..] => Ok(Version::V31),
            _ => Err(node.fault(format!(
                "`{text}` is no version that is read here: 3.0, 3.1, or `swagger: \"2.0\"`"
            ))),
        },
        (None, Some((_, text))) if matches!(text.as_str(), "2.0" | "2") => Ok(Version::V2),
        (None, Some((node, text))) => Err(node.fault(format!(
            "`{text}` is no version that is read here; write `swagger: \"2.0\"`"
        ))),
        (None, None) => Err(root.fault(
            "is no OpenAPI document: it has neither `openapi: 3.x.y` nor `swagger: \"2.0\"`",
        )),
    }
}

struct Import<'d, 'o> {
    converter: Converter<'d>,
    security: Security<'d, 'o>,
    backends: Backends,
    /// Finds operations that no request could tell apart.
    router: Router,
    names: BTreeSet<String>,
    routes: Vec<DraftRoute>,
    /// What was asked for and has not been found yet.
    unmet: BTreeSet<&'o str>,
    options: &'o Options,
    root: Node<'d>,
}

impl<'d> Import<'d, '_> {
    fn paths(&mut self) {
        let root = self.root.clone();
        google::note_unused(&mut self.converter, &root);
        let Some(paths) = root.get("paths").filter(|paths| paths.value.is_object()) else {
            self.converter.faults.push(root.fault("has no `paths`"));
            return;
        };
        for (path, item) in paths.members() {
            if path.starts_with("x-") {
                continue;
            }
            if let Some(item) = self.converter.resolve(&item) {
                self.item(path, &item);
            }
        }
    }

    fn item(&mut self, path: &str, item: &Node<'d>) {
        for method in METHODS {
            let Some(operation) = item.get(method) else {
                continue;
            };
            if self.is_wanted(path, method, &operation) {
                self.operation(path, method, item, &operation);
            }
        }
        let http = |key: &str| METHODS.contains(&key) || key.starts_with("x-");
        let known = ["$ref", "description", "parameters", "servers", "summary"];
        for (key, node) in item.members() {
            if !http(key) && !known.contains(&key) {
                let message = format!("`{key}` is no method of OpenAPI; left out");
                self.converter.note(Kind::Unchecked, &node, message);
            }
        }
    }

    fn is_wanted(&mut self, path: &str, method: &str, operation: &Node<'d>) -> bool {
        let whole = format!("{} {path}", method.to_ascii_uppercase());
        let tags = operation.list("tags");
        let mut names: Vec<&str> = tags.iter().filter_map(|tag| tag.value.as_str()).collect();
        names.extend(operation.text("operationId"));
        names.push(&whole);
        let before = self.unmet.len();
        let asked = |name: &&str| self.options.only.iter().any(|only| only == name);
        let found: Vec<&str> = names.into_iter().filter(asked).collect();
        self.unmet.retain(|only| !found.contains(only));
        debug_assert!(self.unmet.len() <= before);
        self.options.only.is_empty() || !found.is_empty()
    }

    fn operation(&mut self, path: &str, method: &str, item: &Node<'d>, operation: &Node<'d>) {
        let Some(place) = self.place(path, method, item, operation) else {
            return;
        };
        let mut found = self.converter.parameters(item, operation, &place.names);
        let access = self
            .security
            .access(&mut self.converter, &self.root, operation);
        for name in access.queries {
            let named = |held: &Value| {
                held.get("name") == Some(&json!(name)) && held.get("in") == Some(&json!("query"))
            };
            if !found.written.iter().any(named) {
                found.written.push(json!({"name": name, "in": "query"}));
            }
        }
        let body = match self.converter.version {
            Version::V2 => self.converter.consumed(operation, &found),
            _ => self.converter.request_body(operation),
        };
        if body.is_none() && BODY_METHODS.contains(&method) {
            let message = "a body where the document describes none; it passes unchecked";
            self.converter
                .report
                .add(Kind::Unchecked, operation.place(), message);
        }
        let mut request = Map::from_iter([("parameters".to_owned(), found.written.into())]);
        request.extend(body.map(|body| ("body".to_owned(), body)));
        let mut value = Map::new();
        value.extend(
            self.name(operation)
                .map(|name| ("name".to_owned(), name.into())),
        );
        let matching = json!({"methods": [method.to_ascii_uppercase()], "path": place.path});
        value.insert("match".into(), matching);
        let service = self
            .backends
            .service(&mut self.converter, &self.root, operation);
        value.extend(service.map(|name| ("to".to_owned(), name.into())));
        value.insert("access".into(), access.value);
        value.insert("request".into(), request.into());
        self.routes.push(DraftRoute {
            comment: operation.text("summary").unwrap_or_default().to_owned(),
            origin: operation.place(),
            value: Value::Object(value),
        });
    }

    /// The operation's name, if no other has it.
    fn name(&mut self, operation: &Node<'d>) -> Option<String> {
        let name = operation
            .text("operationId")
            .filter(|name| !name.is_empty())?;
        if self.names.insert(name.to_owned()) {
            return Some(name.to_owned());
        }
        let message = format!("`{name}` is the `operationId` of another operation too; left out");
        self.converter.note(Kind::Assumed, operation, message);
        None
    }

    /// The route's path, if it can be one.
    fn place(
        &mut self,
        path: &str,
        method: &str,
        item: &Node<'d>,
        operation: &Node<'d>,
    ) -> Option<RoutePath> {
        let base = self.base(item, operation);
        let place = RoutePath::new(&base, path);
        let template = match Template::parse(&place.path) {
            Ok(template) => template,
            Err(message) => {
                let message = format!("its path cannot be a route's ({message}); left out");
                self.converter.note(Kind::Unchecked, operation, message);
                return None;
            }
        };
        let methods = [method.to_ascii_uppercase()];
        let index = self.routes.len();
        let slashes = Slashes::default();
        let inserted = self.router.insert(&[], &methods, &template, slashes, index);
        if let Err(conflict) = inserted {
            let other = self
                .routes
                .get(conflict.with)
                .map_or("", |route| &route.origin);
            let message = format!("takes the same requests as {other}; left out");
            self.converter.note(Kind::Unchecked, operation, message);
            return None;
        }
        Some(place)
    }

    /// What stands before the path: of the servers' addresses, the path of the first.
    fn base(&mut self, item: &Node<'d>, operation: &Node<'d>) -> String {
        if let Some(base) = &self.options.base_path {
            return base.trim_end_matches('/').to_owned();
        }
        if self.converter.version == Version::V2 {
            let base = self.root.text("basePath").unwrap_or_default();
            return rooted(base);
        }
        let servers = [operation, item, &self.root]
            .into_iter()
            .map(|node| node.list("servers"))
            .find(|servers| !servers.is_empty())
            .unwrap_or_default();
        let mut bases = servers.iter().map(base_of);
        let first = bases.next().unwrap_or_default();
        for (other, server) in bases.zip(servers.iter().skip(1)) {
            if other != first {
                let message = format!(
                    "routes begin with `{first}/`, as the first server's do; for this one's import \
                     with --base-path {}",
                    if other.is_empty() { "/" } else { &other }
                );
                self.converter.note(Kind::Assumed, server, message);
            }
        }
        first
    }

    /// Leaves the default service out of the routes, and stops at routes that have none.
    fn services(&mut self) {
        let default = self.backends.default.as_deref();
        for route in &mut self.routes {
            let Some(keys) = route.value.as_object_mut() else {
                continue;
            };
            let to = keys.get("to").and_then(Value::as_str);
            if to.is_some() && to == default {
                keys.remove("to");
            } else if to.is_none() && !self.backends.services.is_empty() {
                keys.insert("to".into(), "TODO".into());
                let message = "has no `x-google-backend`, where others have: nobody can call \
                               until it is said which service it goes `to`";
                self.converter
                    .report
                    .add(Kind::Closed, route.origin.clone(), message);
            }
        }
    }

    fn finish(mut self) -> Result<Imported, Vec<Finding>> {
        self.services();
        for only in &self.unmet {
            let message = format!("no operation has the tag, operationId or place `{only}`");
            self.converter.faults.push(self.root.fault(message));
        }
        let info = self.root.get("info");
        let text = |key| info.as_ref().and_then(|info| info.text(key));
        let title = match (text("title"), text("version")) {
            (Some(title), Some(version)) => format!("{title} {version}"),
            (title, version) => title.or(version).unwrap_or_default().to_owned(),
        };
        let (schemas, report, faults) = self.converter.shared();
        if !faults.is_empty() {
            return Err(faults);
        }
        let draft = Draft {
            title,
            issuers: self.security.issuers,
            services: self.backends.services,
            default_service: self.backends.default,
            schemas,
            routes: self.routes,
        };
        Ok(Imported { draft, report })
    }
}

/// A route's path and what its parameters are called there.
struct RoutePath {
    path: String,
    /// The document's name of each parameter and the policy's.
    names: BTreeMap<String, String>,
}

impl RoutePath {
    fn new(base: &str, path: &str) -> Self {
        let mut names = BTreeMap::new();
        let mut out = base.to_owned();
        let mut rest = path;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                break;
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let written: String = name
                .chars()
                .map(|c| if plain(c) { c } else { '_' })
                .collect();
            out.push_str(before);
            out.push_str(&format!("{{{written}}}"));
            names.insert(name.to_owned(), written);
            rest = after;
        }
        out.push_str(rest);
        Self { path: out, names }
    }
}

/// The path of a server's address, its variables at their defaults, without `/` at the end.
fn base_of(server: &Node<'_>) -> String {
    let mut url = server.text("url").unwrap_or_default().to_owned();
    for (name, variable) in server.map("variables") {
        let value = variable.text("default").unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), value);
    }
    let behind_host = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)),
        None => match url.strip_prefix("//") {
            Some(rest) => rest.find('/').and_then(|at| rest.get(at..)),
            None => Some(url.as_str()),
        },
    };
    let path = behind_host.unwrap_or_default();
    rooted(path.split(['?', '#']).next().unwrap_or_default())
}

fn rooted(path: &str) -> String {
    let path = path.trim_matches('/');
    match path.is_empty() {
        true => String::new(),
        false => format!("/{path}"),
    }
}
