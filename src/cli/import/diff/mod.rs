//! `--diff`: what a new policy changes, and what of it lets more through than before.

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use schema::Schemas;

/// Which way a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// More passes than before.
    Loosened,
    /// Which of the two lets more pass cannot be told.
    Changed,
    /// Something is there that was not.
    Added,
    /// Something is gone, and requests for it are refused.
    Removed,
    /// Less passes than before.
    Tightened,
}

impl Way {
    /// Its name in print.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loosened => "loosened",
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Tightened => "tightened",
        }
    }

    /// Loosened where more is better, tightened where less is.
    fn of(more: bool) -> Self {
        match more {
            true => Self::Loosened,
            false => Self::Tightened,
        }
    }
}

/// One difference between two policies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Which way it goes.
    pub way: Way,
    /// The route or schema, and where in it.
    pub place: String,
    /// What is different.
    pub message: String,
}

/// Every difference, the loosened first.
#[derive(Clone, Debug, Default)]
pub struct Diff(pub Vec<Change>);

impl Diff {
    /// Compares two policies.
    pub fn of(old: &Value, new: &Value) -> Self {
        let mut diff = Self::default();
        diff.unmatched(old, new);
        for key in ["issuers", "services"] {
            diff.named(key, old, new);
        }
        let (before, after) = (routes(old), routes(new));
        let mut schemas = Schemas::new(old, new);
        for (key, route) in &before {
            match after.get(key) {
                Some(other) => diff.route(key, route, other, &mut schemas),
                None => diff.add(Way::Removed, key, "the route is gone"),
            }
        }
        for (key, route) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
            match route.get("access").is_some_and(|access| access == "public") {
                true => diff.add(Way::Loosened, key, "is a new route, open to everybody"),
                false => diff.add(Way::Added, key, "is a new route"),
            }
        }
        schemas.finish(&mut diff);
        diff.0.sort();
        diff.0.dedup();
        diff
    }

    /// Whether nothing is looser, as far as can be told.
    pub fn is_safe(&self) -> bool {
        self.0.iter().all(|change| change.way > Way::Changed)
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let all = self.0.iter().map(|change| {
            json!({"change": change.way.as_str(), "place": change.place, "message": change.message})
        });
        all.collect()
    }

    fn add(&mut self, way: Way, place: &str, message: impl Into<String>) {
        self.0.push(Change {
            way,
            place: place.to_owned(),
            message: message.into(),
        });
    }

    fn unmatched(&mut self, old: &Value, new: &Value) {
        let open = |policy: &Value| policy.get("unmatched").is_some_and(|word| word == "allow");
        if open(old) != open(new) {
            self.add(
                Way::of(open(new)),
                "unmatched",
                "what no route takes has another answer",
            );
        }
    }

    /// Issuers and services: what differs in them is for a person to judge.
    fn named(&mut self, key: &str, old: &Value, new: &Value) {
        let of = |policy: &Value| policy.get(key).and_then(Value::as_object).cloned();
        let (old, new) = (of(old).unwrap_or_default(), of(new).unwrap_or_default());
        for (name, value) in &old {
            let place = format!("{key} {name}");
            match new.get(name) {
                None => self.add(Way::Removed, &place, "is gone"),
                Some(other) if other != value => self.add(Way::Changed, &place, "is another"),
                Some(_) => {}
            }
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            self.add(Way::Added, &format!("{key} {name}"), "is new");
        }
    }

    fn route(&mut self, key: &str, old: &Value, new: &Value, schemas: &mut Schemas<'_>) {
        let text = |route: &Value, key: &str| route.get(key).cloned().unwrap_or_default();
        if text(old, "to") != text(new, "to") {
            self.add(Way::Changed, key, "goes to another service");
        }
        self.mode(key, "mode", old, new);
        self.access(key, &text(old, "access"), &text(new, "access"));
        let path = |route: &Value| {
            let path = route.get("match").and_then(|matching| matching.get("path"));
            path.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (path_before, path_after) = (path(old), path(new));
        let (old, new) = (text(old, "request"), text(new, "request"));
        self.mode(key, "parametersMode", &old, &new);
        self.limits(key, &old, &new);
        let (before, after) = (params(&old, &path_before), params(&new, &path_after));
        self.parameters(key, (&old, &before), (&new, &after), schemas);
        self.body(key, &old, &new, schemas);
    }

    /// `enforce`, `monitor`, `off`: from strict to lax.
    fn mode(&mut self, place: &str, key: &str, old: &Value, new: &Value) {
        let rank = |value: &Value| match value.get(key).and_then(Value::as_str) {
            Some("monitor") => 1,
            Some("off") => 2,
            _ => 0,
        };
        if rank(old) != rank(new) {
            let message = format!("`{key}` is another");
            self.add(Way::of(rank(new) > rank(old)), place, message);
        }
    }

    fn limits(&mut self, place: &str, old: &Value, new: &Value) {
        let get = |request: &Value| request.get("limits").cloned().unwrap_or(json!({}));
        let (old, new) = (get(old), get(new));
        let names: BTreeSet<String> = [&old, &new]
            .into_iter()
            .filter_map(Value::as_object)
            .flat_map(|limits| limits.keys().cloned())
            .collect();
        for name in names {
            let of = |limits: &Value| limits.get(&name).and_then(Value::as_u64);
            let way = match (of(&old), of(&new)) {
                (Some(old), Some(new)) if old == new => continue,
                (Some(old), Some(new)) => Way::of(new > old),
                _ => Way::Changed,
            };
            self.add(way, place, format!("`limits.{name}` is another"));
        }
    }

    fn access(&mut self, place: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (old == "public", new == "public") {
            (true, _) => return self.add(Way::Tightened, place, "asks for a token"),
            (_, true) => return self.add(Way::Loosened, place, "is open to everybody"),
            _ => {}
        }
        let optional = |access: &Value| access.get("optional") == Some(&Value::Bool(true));
        if optional(old) != optional(new) {
            self.add(
                Way::of(optional(new)),
                place,
                "another answer to requests without a token",
            );
        }
        self.accepted(place, old, new);
        let (before, after) = (list(old.get("claims")), list(new.get("claims")));
        for rule in before.iter().filter(|rule| !after.contains(rule)) {
            self.add(Way::Loosened, place, format!("no longer asks for {rule}"));
        }
        for rule in after.iter().filter(|rule| !before.contains(rule)) {
            self.add(Way::Tightened, place, format!("asks for {rule}"));
        }
        for key in ["maxAge", "preflight"] {
            if old.get(key) != new.get(key) {
                self.add(Way::Changed, place, format!("`access.{key}` is another"));
            }
        }
        if old.get("forward") != new.get("forward") {
            self.add(Way::Changed, place, "hands other things on to the service");
        }
    }

    fn accepted(&mut self, place: &str, old: &Value, new: &Value) {
        for (key, more) in [("anyOf", Way::Loosened), ("allOf", Way::Tightened)] {
            let (before, after) = (issuers(old, key), issuers(new, key));
            if before.is_empty() != after.is_empty() {
                self.add(Way::Changed, place, format!("`{key}` has come or gone"));
                continue;
            }
            let less = match more {
                Way::Loosened => Way::Tightened,
                _ => Way::Loosened,
            };
            for (issuer, audiences) in &before {
                match after.get(issuer) {
                    None => self.add(less, place, format!("`{issuer}` is not named any more")),
                    Some(other) if other == audiences => {}
                    Some(other) => {
                        let narrower = match (audiences, other) {
                            (Some(old), Some(new)) => new.iter().all(|one| old.contains(one)),
                            _ => false,
                        };
                        let way = if narrower {
                            Way::Tightened
                        } else {
                            Way::Loosened
                        };
                        self.add(way, place, format!("other audiences of `{issuer}` pass"));
                    }
                }
            }
            for issuer in after.keys().filter(|issuer| !before.contains_key(*issuer)) {
                self.add(more, place, format!("`{issuer}` is named too"));
            }
        }
    }

    fn parameters(
        &mut self,
        place: &str,
        (old, before): (&Value, &Option<Params<'_>>),
        (new, after): (&Value, &Option<Params<'_>>),
        schemas: &mut Schemas<'_>,
    ) {
        let (Some(before), Some(after)) = (before, after) else {
            if before.is_some() != after.is_some() {
                let message = "whether parameters are checked at all is different";
                self.add(Way::of(before.is_some()), place, message);
            }
            return;
        };
        let open = |request: &Value| {
            request
                .get("additionalParameters")
                .is_some_and(|word| word == "allow")
        };
        if open(old) != open(new) {
            self.add(
                Way::of(open(new)),
                place,
                "other query parameters have another answer",
            );
        }
        for (key, one) in before {
            let place = format!("{place}: {key}");
            let Some(other) = after.get(key) else {
                let way = match key.starts_with("query ") && !open(new) {
                    true => Way::Removed,
                    false => Way::Loosened,
                };
                self.add(way, &place, "is not checked any more");
                continue;
            };
            self.parameter(&place, one, other, schemas);
        }
        for (key, one) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
            let way = match one.get("required") == Some(&Value::Bool(true)) {
                true => Way::Tightened,
                false => Way::Added,
            };
            self.add(way, &format!("{place}: {key}"), "is a new parameter");
        }
    }

    fn parameter(&mut self, place: &str, old: &Value, new: &Value, schemas: &mut Schemas<'_>) {
        let flag = |one: &Value, key: &str| one.get(key) == Some(&Value::Bool(true));
        if flag(old, "required") != flag(new, "required") {
            let message = match flag(new, "required") {
                true => "is required",
                false => "is not required any more",
            };
            self.add(Way::of(flag(old, "required")), place, message);
        }
        if flag(old, "allowEmptyValue") != flag(new, "allowEmptyValue") {
            let way = Way::of(flag(new, "allowEmptyValue"));
            self.add(way, place, "empty values have another answer");
        }
        for key in ["style", "explode", "contentType"] {
            if old.get(key) != new.get(key) {
                self.add(Way::Changed, place, format!("`{key}` is another"));
            }
        }
        let text = json!({"type": "string"});
        let schema = |one: &'_ Value| one.get("schema").unwrap_or(&text).clone();
        schemas.compare(place, &schema(old), &schema(new), self);
    }

    fn body(&mut self, place: &str, old: &Value, new: &Value, schemas: &mut Schemas<'_>) {
        let place = format!("{place}: body");
        let (old, new) = match (old.get("body"), new.get("body")) {
            (Some(old), Some(new)) => (old, new),
            (None, None) => return,
            (Some(_), None) => return self.add(Way::Loosened, &place, "is not checked any more"),
            (None, Some(_)) => return self.add(Way::Tightened, &place, "is checked"),
        };
        self.mode(&place, "mode", old, new);
        let (before, after) = (contents(old), contents(new));
        let required = |body: &Value, contents: &BTreeMap<String, Value>| {
            let has_schema = contents
                .values()
                .any(|content| content.get("schema").is_some());
            body.get("required")
                .and_then(Value::as_bool)
                .unwrap_or(has_schema)
        };
        let (was, is) = (required(old, &before), required(new, &after));
        if was != is {
            self.add(Way::of(was), &place, "whether one is required is different");
        }
        let bytes = |body: &Value| {
            body.get("maxBytes")
                .and_then(Value::as_u64)
                .unwrap_or(65_536)
        };
        if bytes(old) != bytes(new) {
            let message = format!("`maxBytes` {} → {}", bytes(old), bytes(new));
            self.add(Way::of(bytes(new) > bytes(old)), &place, message);
        }
        let inflates = |body: &Value| {
            body.get("contentEncoding")
                .is_some_and(|word| word == "inflate")
        };
        if inflates(old) != inflates(new) {
            self.add(
                Way::of(inflates(new)),
                &place,
                "`contentEncoding` is another",
            );
        }
        match (before.is_empty(), after.is_empty()) {
            (false, true) => return self.add(Way::Loosened, &place, "any type passes"),
            (true, false) => return self.add(Way::Tightened, &place, "types are limited"),
            _ => {}
        }
        for (range, content) in &before {
            let place = format!("{place} {range}");
            match after.get(range) {
                None => self.add(Way::Removed, &place, "is not taken any more"),
                Some(other) => self.content(&place, content, other, schemas),
            }
        }
        for (range, content) in after
            .iter()
            .filter(|(range, _)| !before.contains_key(*range))
        {
            let way = match content.get("schema").is_some() {
                true => Way::Added,
                false => Way::Loosened,
            };
            self.add(way, &format!("{place} {range}"), "is taken too");
        }
    }

    fn content(&mut self, place: &str, old: &Value, new: &Value, schemas: &mut Schemas<'_>) {
        if old.get("encoding") != new.get("encoding") {
            self.add(Way::Changed, place, "`encoding` is another");
        }
        let any = Value::Bool(true);
        let schema = |content: &'_ Value| content.get("schema").unwrap_or(&any).clone();
        schemas.compare(place, &schema(old), &schema(new), self);
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.0 {
            let Change {
                way,
                place,
                message,
            } = change;
            writeln!(f, "{:<9} {place}: {message}", way.as_str())?;
        }
        Ok(())
    }
}

fn list(value: Option<&Value>) -> Vec<&Value> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect()
}

/// Routes by method, hosts and path; names of path parameters make no difference.
fn routes(policy: &Value) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    for route in list(policy.get("routes")) {
        let Some(matching) = route.get("match") else {
            continue;
        };
        let path = matching
            .get("path")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let hosts = texts(matching.get("hosts")).join(",");
        let mut methods = texts(matching.get("methods"));
        if methods.is_empty() {
            methods.push("*".into());
        }
        for method in methods {
            found.insert(format!("{method} {hosts}{}", unnamed(path)), route);
        }
    }
    found
}

fn unnamed(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        let wild = if name.ends_with("=**") { "=**" } else { "" };
        out.push_str(&format!("{before}{{{wild}}}"));
        rest = after;
    }
    out + rest
}

/// One text or a list of them.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        other => list(other)
            .into_iter()
            .filter_map(|one| Some(one.as_str()?.to_owned()))
            .collect(),
    }
}

/// The issuers of `anyOf` or `allOf`, with audiences of the route's own.
fn issuers(access: &Value, key: &str) -> BTreeMap<String, Option<Vec<String>>> {
    let named = list(access.get(key)).into_iter();
    let named = named.filter_map(|one| match one.as_str() {
        Some(name) => Some((name.to_owned(), None)),
        None => {
            let name = one.get("issuer")?.as_str()?;
            Some((
                name.to_owned(),
                one.get("audiences").map(|list| texts(Some(list))),
            ))
        }
    });
    named.collect()
}

type Params<'v> = BTreeMap<String, &'v Value>;

/// Parameters by place and name; those of the path by where they stand in it.
fn params<'v>(request: &'v Value, path: &str) -> Option<Params<'v>> {
    let all = request.get("parameters")?.as_array()?.iter();
    let all = all.filter_map(|one| {
        let (location, name) = (one.get("in")?.as_str()?, one.get("name")?.as_str()?);
        let name = match location {
            "header" => name.to_ascii_lowercase(),
            "path" => {
                let before = path
                    .split_once(&format!("{{{name}"))
                    .map_or(path, |(text, _)| text);
                (before.matches('{').count() + 1).to_string()
            }
            _ => name.to_owned(),
        };
        Some((format!("{location} {name}"), one))
    });
    Some(all.collect())
}

/// What each media type must hold, in either form of the policy.
fn contents(body: &Value) -> BTreeMap<String, Value> {
    if let Some(Value::Object(content)) = body.get("content") {
        return content.clone().into_iter().collect();
    }
    let schema = body.get("schema");
    let mut types = texts(body.get("contentTypes"));
    if types.is_empty() && schema.is_some() {
        types.push("application/json".into());
    }
    let content = schema.map_or_else(|| json!({}), |schema| json!({"schema": schema}));
    types
        .into_iter()
        .map(|range| (range, content.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
