//! Which of two schemas lets more values pass, keyword by keyword.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Diff, Way, list};

/// The smaller of these, the more passes.
const LEAST: &[&str] = &[
    "exclusiveMinimum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
];
/// The larger of these, the more passes.
const MOST: &[&str] = &[
    "exclusiveMaximum",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
];
/// Schemas that hold for elements or members; without one, anything does.
const BELOW: &[&str] = &["additionalProperties", "contains", "items", "propertyNames"];
/// Read with others, or said of elsewhere.
const ELSEWHERE: &[&str] = &["$ref", "else", "if", "then"];

/// The shared schemas of two policies, and the pairs of them that are to be compared.
pub(super) struct Schemas<'p> {
    old: BTreeMap<String, &'p Value>,
    new: BTreeMap<String, &'p Value>,
    waiting: Vec<(String, String)>,
    seen: BTreeSet<(String, String)>,
}

impl<'p> Schemas<'p> {
    pub(super) fn new(old: &'p Value, new: &'p Value) -> Self {
        let of = |policy: &'p Value| {
            let schemas = policy.get("schemas").and_then(Value::as_object);
            schemas
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), schema))
                .collect()
        };
        Self {
            old: of(old),
            new: of(new),
            waiting: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Compares the shared schemas that were come upon.
    pub(super) fn finish(&mut self, diff: &mut Diff) {
        while let Some((old, new)) = self.waiting.pop() {
            let (Some(before), Some(after)) = (self.old.get(&old), self.new.get(&new)) else {
                continue;
            };
            let place = match old == new {
                true => format!("schema {new}"),
                false => format!("schema {new} (was {old})"),
            };
            self.compare(&place, before, after, diff);
        }
    }

    /// Compares two schemas; shared ones once each, later.
    pub(super) fn compare(&mut self, place: &str, old: &Value, new: &Value, diff: &mut Diff) {
        if let (Some(before), Some(after)) = (only_reference(old), only_reference(new)) {
            let pair = (before.to_owned(), after.to_owned());
            if self.seen.insert(pair.clone()) {
                self.waiting.push(pair);
            }
            return;
        }
        // One of the two is written in place: as it is where its name leads.
        let resolve = |schema: &Value, named: &BTreeMap<String, &Value>| {
            let held = only_reference(schema).and_then(|name| named.get(name).copied());
            held.unwrap_or(schema).clone()
        };
        let (old, new) = (resolve(old, &self.old), resolve(new, &self.new));
        let (old, new) = match (keywords(&old), keywords(&new)) {
            (Ok(old), Ok(new)) => (old, new),
            (Err(old), Err(new)) if old == new => return,
            (old, new) => {
                // `false` lets nothing pass.
                let more = old.is_err() && new.is_ok();
                let way = match (old, new) {
                    (Err(_), Ok(_)) | (Ok(_), Err(_)) => Way::of(more),
                    _ => Way::Changed,
                };
                return diff.add(way, place, "whether anything passes is different");
            }
        };
        self.keywords(place, &old, &new, diff);
    }

    fn keywords(
        &mut self,
        place: &str,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        diff: &mut Diff,
    ) {
        types(place, old, new, diff);
        required(place, old, new, diff);
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (before, after) = (old.get(name), new.get(name));
            match name.as_str() {
                "type" | "required" => {}
                "properties" => self.properties(place, old, new, diff),
                "enum" => values(place, before, after, diff),
                "allOf" | "anyOf" | "oneOf" => self.lists(place, name, before, after, diff),
                below if BELOW.contains(&below) => {
                    let any = Value::Bool(true);
                    let place = format!("{place}/{below}");
                    let (old, new) = (before.unwrap_or(&any), after.unwrap_or(&any));
                    self.compare(&place, old, new, diff);
                }
                bound if LEAST.contains(&bound) || MOST.contains(&bound) => {
                    bounds(place, bound, before, after, diff);
                }
                elsewhere if ELSEWHERE.contains(&elsewhere) => {}
                other => plain(place, other, before, after, diff),
            }
        }
        self.choice(place, old, new, diff);
        if old.get("$ref") != new.get("$ref") {
            self.reference(place, old.get("$ref"), new.get("$ref"), diff);
        }
    }

    /// A reference beside other keywords.
    fn reference(
        &mut self,
        place: &str,
        old: Option<&Value>,
        new: Option<&Value>,
        diff: &mut Diff,
    ) {
        match (old, new) {
            (Some(old), Some(new)) => {
                self.compare(place, &json!({"$ref": old}), &json!({"$ref": new}), diff);
            }
            (old, _) => diff.add(Way::of(old.is_some()), place, "refers to a schema or not"),
        }
    }

    fn properties(
        &mut self,
        place: &str,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        diff: &mut Diff,
    ) {
        let none = Map::new();
        let of = |schema: &Map<String, Value>| {
            schema
                .get("properties")
                .and_then(Value::as_object)
                .unwrap_or(&none)
                .clone()
        };
        let closed = |schema: &Map<String, Value>| {
            schema.get("additionalProperties") == Some(&Value::Bool(false))
        };
        let (before, after) = (of(old), of(new));
        for (name, schema) in &before {
            let place = format!("{place}/{name}");
            match after.get(name) {
                Some(other) => self.compare(&place, schema, other, diff),
                None if closed(new) => diff.add(Way::Removed, &place, "is refused"),
                None => diff.add(Way::Loosened, &place, "is not checked any more"),
            }
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            let way = if closed(old) {
                Way::Added
            } else {
                Way::Tightened
            };
            diff.add(way, &format!("{place}/{name}"), "is a new property");
        }
    }

    /// Lists of schemas: of as many, one by one; else those that are in one list only.
    fn lists(
        &mut self,
        place: &str,
        keyword: &str,
        old: Option<&Value>,
        new: Option<&Value>,
        diff: &mut Diff,
    ) {
        let (before, after) = (list(old), list(new));
        if before.len() == after.len() {
            for (index, (old, new)) in before.iter().zip(&after).enumerate() {
                self.compare(&format!("{place}/{keyword}/{index}"), old, new, diff);
            }
            return;
        }
        let all = keyword == "allOf";
        if before.is_empty() || after.is_empty() {
            let message = format!("`{keyword}` has come or gone");
            return diff.add(Way::of(after.is_empty()), place, message);
        }
        for (one, others, gone) in [(&before, &after, true), (&after, &before, false)] {
            for schema in one.iter().filter(|schema| !others.contains(schema)) {
                let said = if gone { "no longer has" } else { "has" };
                diff.add(
                    Way::of(gone == all),
                    place,
                    format!("`{keyword}` {said} {schema}"),
                );
            }
        }
    }

    /// `if`, `then`, `else`: comparable where the question is the same.
    fn choice(
        &mut self,
        place: &str,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        diff: &mut Diff,
    ) {
        if old.get("if") != new.get("if") {
            diff.add(Way::Changed, place, "`if` is another");
            return;
        }
        let any = Value::Bool(true);
        for keyword in ["then", "else"] {
            let of = |schema: &Map<String, Value>| schema.get(keyword).unwrap_or(&any).clone();
            if old.contains_key(keyword) || new.contains_key(keyword) {
                self.compare(&format!("{place}/{keyword}"), &of(old), &of(new), diff);
            }
        }
    }
}

/// The name that a schema is nothing but a reference to.
fn only_reference(schema: &Value) -> Option<&str> {
    let keywords = schema.as_object().filter(|keywords| keywords.len() == 1)?;
    keywords.get("$ref")?.as_str()?.strip_prefix("#/schemas/")
}

/// A schema's keywords; `Err` for `false`, which nothing passes.
fn keywords(schema: &Value) -> Result<Map<String, Value>, bool> {
    match schema {
        Value::Bool(false) => Err(false),
        Value::Object(keywords) => Ok(keywords.clone()),
        _ => Ok(Map::new()),
    }
}

fn types(place: &str, old: &Map<String, Value>, new: &Map<String, Value>, diff: &mut Diff) {
    const ALL: [&str; 6] = ["array", "boolean", "null", "number", "object", "string"];
    let of = |schema: &Map<String, Value>| -> BTreeSet<String> {
        let mut names: BTreeSet<String> = match schema.get("type") {
            None => ALL.map(str::to_owned).into(),
            stated => super::texts(stated).into_iter().collect(),
        };
        if names.contains("number") {
            names.insert("integer".into());
        }
        names
    };
    let (before, after) = (of(old), of(new));
    if before == after {
        return;
    }
    let way = match (before.is_subset(&after), after.is_subset(&before)) {
        (true, _) => Way::Loosened,
        (_, true) => Way::Tightened,
        _ => Way::Changed,
    };
    let said = |schema: &Map<String, Value>| {
        let stated = schema.get("type");
        stated.map_or_else(|| "any".to_owned(), |_| super::texts(stated).join(" or "))
    };
    diff.add(way, place, format!("type {} → {}", said(old), said(new)));
}

fn required(place: &str, old: &Map<String, Value>, new: &Map<String, Value>, diff: &mut Diff) {
    let of = |schema: &Map<String, Value>| super::texts(schema.get("required"));
    let (before, after) = (of(old), of(new));
    for name in before.iter().filter(|name| !after.contains(name)) {
        diff.add(
            Way::Loosened,
            &format!("{place}/{name}"),
            "is not required any more",
        );
    }
    for name in after.iter().filter(|name| !before.contains(name)) {
        diff.add(Way::Tightened, &format!("{place}/{name}"), "is required");
    }
}

fn values(place: &str, old: Option<&Value>, new: Option<&Value>, diff: &mut Diff) {
    let (before, after) = (list(old), list(new));
    match (old, new) {
        (Some(_), None) => return diff.add(Way::Loosened, place, "any value passes"),
        (None, Some(_)) => return diff.add(Way::Tightened, place, "values are limited"),
        _ => {}
    }
    for value in after.iter().filter(|value| !before.contains(value)) {
        diff.add(Way::Loosened, place, format!("{value} passes"));
    }
    for value in before.iter().filter(|value| !after.contains(value)) {
        diff.add(Way::Tightened, place, format!("{value} is refused"));
    }
}

fn bounds(place: &str, name: &str, old: Option<&Value>, new: Option<&Value>, diff: &mut Diff) {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    let way = match (number(old), number(new)) {
        (None, None) => return,
        (Some(_), None) => Way::Loosened,
        (None, Some(_)) => Way::Tightened,
        (Some(old), Some(new)) if old.total_cmp(&new).is_eq() => return,
        (Some(old), Some(new)) => Way::of(MOST.contains(&name) == (new > old)),
    };
    let said = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), Value::to_string);
    diff.add(
        way,
        place,
        format!("`{name}` {} → {}", said(old), said(new)),
    );
}

/// A keyword of which can only be said whether it is there and the same.
fn plain(place: &str, name: &str, old: Option<&Value>, new: Option<&Value>, diff: &mut Diff) {
    let way = match (old, new) {
        (old, new) if old == new => return,
        (Some(_), None) => Way::Loosened,
        (None, Some(_)) => Way::Tightened,
        _ => Way::Changed,
    };
    diff.add(way, place, format!("`{name}` is another"));
}
