//! Schema Objects of Swagger 2.0, OpenAPI 3.0 and 3.1 to JSON Schema 2020-12.
//!
//! It walks by keyword position: a property may be *named* `type` or `$ref`. What only describes
//! (`title`, `example`, `x-…`) is left out; what would check something and cannot is reported.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::convert::{Converter, Version};
use super::documents::Node;
use super::report::Kind;
use crate::config::schemas::is_asserted;

/// Names that a request need not hold, because the service alone writes them.
pub(super) type Names = BTreeSet<String>;

const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Keywords that describe, and those that other keywords are read with.
const SILENT: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$ref",
    "$schema",
    "$vocabulary",
    "collectionFormat",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalDocs",
    "nullable",
    "readOnly",
    "title",
    "writeOnly",
    "xml",
];

/// Formats of the OpenAPI format registry that ask for nothing that JSON's types do not.
const PLAIN_FORMATS: &[&str] = &["binary", "double", "float", "password"];

/// Keywords whose value is a whole number from 0.
const COUNTS: &[&str] = &[
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
];

/// How many references one schema may be merged from to know what is read-only.
const MAX_MERGED: usize = 256;

impl<'d> Converter<'d> {
    /// The schema at `node`, as a policy writes it.
    pub(super) fn schema(&mut self, node: &Node<'d>) -> Value {
        self.schema_with(node, &Names::new(), &[])
    }

    /// The same for an object that holds other keys besides a schema's, which are passed over.
    pub(super) fn schema_among(&mut self, node: &Node<'d>, others: &[&str]) -> Value {
        self.schema_with(node, &Names::new(), others)
    }

    fn schema_with(&mut self, node: &Node<'d>, unwritten: &Names, others: &[&str]) -> Value {
        match node.value {
            Value::Bool(all) => Value::Bool(*all),
            Value::Object(_) => self.object(node, unwritten, others),
            _ => {
                self.note(Kind::Unchecked, node, "is no schema; any value passes");
                Value::Bool(true)
            }
        }
    }

    pub(super) fn object(&mut self, node: &Node<'d>, outer: &Names, others: &[&str]) -> Value {
        let nullable = node.flag("nullable") || node.flag("x-nullable");
        let mut unwritten = read_only_names(node);
        unwritten.extend(outer.iter().cloned());
        let mut out = Map::new();
        if node.text("$ref").is_some() {
            let Some(target) = self.follow(node) else {
                return Value::Bool(true);
            };
            let referred = self.member(&target, &unwritten, false);
            if self.version != Version::V31 {
                self.note_siblings(node, others);
                return if nullable {
                    or_null(referred)
                } else {
                    referred
                };
            }
            match referred {
                Value::Object(reference) if reference.len() == 1 => out = reference,
                inlined => push_all_of(&mut out, inlined),
            }
        }
        for (keyword, child) in node.members() {
            if !others.contains(&keyword) {
                self.keyword(keyword, &child, &unwritten, &mut out);
            }
        }
        self.exclusive(node, ("minimum", "exclusiveMinimum"), &mut out);
        self.exclusive(node, ("maximum", "exclusiveMaximum"), &mut out);
        self.discriminate(node, &unwritten, &mut out);
        if nullable {
            return with_null(out);
        }
        Value::Object(out)
    }

    /// A schema that applies to the same value as one around it: a reference stays one, unless the
    /// target requires what only the schema around it says to be read-only.
    pub(super) fn member(&mut self, target: &Node<'d>, outer: &Names, in_all_of: bool) -> Value {
        let asks = |names: &Names| {
            let mut required = Names::new();
            each_part(target, &mut |part| {
                let list = part.list("required");
                required.extend(
                    list.iter()
                        .filter_map(|one| one.value.as_str())
                        .map(str::to_owned),
                );
            });
            let own = read_only_names(target);
            names
                .iter()
                .any(|name| required.contains(name) && !own.contains(name))
        };
        if !outer.is_empty() && asks(outer) && self.enter(&target.spot()) {
            let inlined = self.schema_with(target, outer, &[]);
            self.leave();
            return inlined;
        }
        self.refer(target, in_all_of)
    }

    fn keyword(
        &mut self,
        keyword: &str,
        node: &Node<'d>,
        unwritten: &Names,
        out: &mut Map<String, Value>,
    ) {
        let value = match keyword {
            "type" => self.types(node, out),
            "enum" => self.enumeration(node),
            "const" => Some(node.value.clone()),
            "format" => self.format(node, out),
            "pattern" => self.pattern(node).map(Value::String),
            "minimum" | "maximum" => self.number(node, |_| true),
            "multipleOf" => self.number(node, |number| number > 0.0),
            "uniqueItems" => (node.value == &Value::Bool(true)).then_some(Value::Bool(true)),
            "required" => self.required(node, unwritten),
            "dependentRequired" => Some(node.value.clone()),
            "properties" | "dependentSchemas" => self.named(node),
            "patternProperties" => self.pattern_properties(node),
            "additionalProperties" => self.additional(node),
            "items" => self.items(node, out),
            "allOf" | "anyOf" | "oneOf" => self.combined(keyword, node, unwritten),
            "prefixItems" => self.list(node),
            "not"
            | "if"
            | "then"
            | "else"
            | "contains"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties" => Some(self.schema(node)),
            "contentEncoding" => {
                if node.value == "base64" && !out.contains_key("format") {
                    out.insert("format".into(), "byte".into());
                }
                None
            }
            "$id" => {
                let message = "does not change where references lead";
                self.note(Kind::Assumed, node, message);
                None
            }
            counted if COUNTS.contains(&counted) => self.count(node),
            silent if SILENT.contains(&silent) || silent.starts_with("x-") => None,
            other => {
                let message = format!("`{other}` is no keyword of schemas here; it checks nothing");
                self.note(Kind::Unchecked, node, message);
                None
            }
        };
        if let Some(value) = value {
            out.insert(keyword.to_owned(), value);
        }
    }

    fn types(&mut self, node: &Node<'d>, out: &mut Map<String, Value>) -> Option<Value> {
        let names: Vec<&Value> = match node.value {
            Value::Array(names) => names.iter().collect(),
            one => vec![one],
        };
        let mut known: Vec<Value> = Vec::new();
        for name in names {
            let name = match name.as_str() {
                // Swagger 2.0's word for the content of an upload.
                Some("file") => "string",
                Some(name) if TYPES.contains(&name) => name,
                _ => {
                    let message = format!("{name} is no type; any passes");
                    self.note(Kind::Unchecked, node, message);
                    return None;
                }
            };
            if !known.contains(&name.into()) {
                known.push(name.into());
            }
        }
        // A format may have said more already.
        if out.contains_key("type") {
            return out.remove("type");
        }
        match known.len() {
            0 => None,
            1 => known.pop(),
            _ => Some(Value::Array(known)),
        }
    }

    fn enumeration(&mut self, node: &Node<'d>) -> Option<Value> {
        match node.value {
            Value::Array(values) if !values.is_empty() => Some(node.value.clone()),
            _ => {
                self.note(Kind::Unchecked, node, "names no values; any passes");
                None
            }
        }
    }

    fn format(&mut self, node: &Node<'d>, out: &mut Map<String, Value>) -> Option<Value> {
        match node.value.as_str() {
            Some(format) if is_asserted(format) => Some(node.value.clone()),
            Some(format) if PLAIN_FORMATS.contains(&format) => None,
            // Kubernetes writes `type: string` beside it and means either.
            Some("int-or-string") => {
                out.insert("type".into(), json!(["integer", "string"]));
                None
            }
            _ => {
                let message = format!("`format: {}` is not asserted", plain(node.value));
                self.note(Kind::Unchecked, node, message);
                None
            }
        }
    }

    /// A regular expression that the linear matcher can run.
    fn pattern(&mut self, node: &Node<'d>) -> Option<String> {
        let Some(text) = node.value.as_str() else {
            self.note(Kind::Unchecked, node, "is no regular expression");
            return None;
        };
        let inner = text
            .strip_prefix('/')
            .and_then(|text| text.strip_suffix('/'));
        let text = match inner {
            Some(inner) if inner.starts_with('^') || inner.ends_with('$') => {
                self.note(
                    Kind::Assumed,
                    node,
                    "stands between slashes, with which it could never match; read without",
                );
                inner
            }
            _ => text,
        };
        if text.starts_with("/^") || text.len() > 2 && text.ends_with("$/") {
            self.note(Kind::Unchecked, node, "can never match; left out");
            return None;
        }
        if !self.compiles(text) {
            self.note(
                Kind::Unchecked,
                node,
                "is no regular expression that runs in linear time: look-around, a back-reference, \
                 a syntax error, or too large",
            );
            return None;
        }
        Some(text.to_owned())
    }

    fn number(&mut self, node: &Node<'d>, good: fn(f64) -> bool) -> Option<Value> {
        let number = node.value.as_f64().filter(|number| good(*number));
        if number.is_none() {
            let message = format!("{} is no bound on numbers", node.value);
            self.note(Kind::Unchecked, node, message);
        }
        number.map(|_| node.value.clone())
    }

    fn count(&mut self, node: &Node<'d>) -> Option<Value> {
        let whole = node
            .value
            .as_f64()
            .filter(|number| *number >= 0.0 && number.fract() == 0.0);
        if whole.is_none() {
            let message = format!("{} is no count", node.value);
            self.note(Kind::Unchecked, node, message);
        }
        whole.map(|_| node.value.clone())
    }

    fn required(&mut self, node: &Node<'d>, unwritten: &Names) -> Option<Value> {
        let Value::Array(names) = node.value else {
            self.note(
                Kind::Unchecked,
                node,
                "`required` in a schema is a list of its properties; this says nothing",
            );
            return None;
        };
        let names: BTreeSet<&str> = names.iter().filter_map(Value::as_str).collect();
        let names: Vec<Value> = names
            .into_iter()
            .filter(|name| !unwritten.contains(*name))
            .map(Value::from)
            .collect();
        (!names.is_empty()).then_some(Value::Array(names))
    }

    fn named(&mut self, node: &Node<'d>) -> Option<Value> {
        let named = node.members().into_iter();
        let named: Map<_, _> = named
            .map(|(name, child)| (name.to_owned(), self.schema(&child)))
            .collect();
        (!named.is_empty()).then_some(Value::Object(named))
    }

    fn pattern_properties(&mut self, node: &Node<'d>) -> Option<Value> {
        let mut named = Map::new();
        for (pattern, child) in node.members() {
            if self.compiles(pattern) {
                let schema = self.schema(&child);
                named.insert(pattern.to_owned(), schema);
            } else {
                let message = "its name is no regular expression that runs in linear time";
                self.note(Kind::Unchecked, &child, message);
            }
        }
        (!named.is_empty()).then_some(Value::Object(named))
    }

    fn additional(&mut self, node: &Node<'d>) -> Option<Value> {
        let schema = self.schema(node);
        let says_nothing =
            schema == Value::Bool(true) || schema.as_object().is_some_and(Map::is_empty);
        (!says_nothing).then_some(schema)
    }

    fn items(&mut self, node: &Node<'d>, out: &mut Map<String, Value>) -> Option<Value> {
        if node.value.is_array() {
            // A list of positions, as before 2020-12.
            let list = self.list(node)?;
            out.insert("prefixItems".into(), list);
            return None;
        }
        self.additional(node)
    }

    fn list(&mut self, node: &Node<'d>) -> Option<Value> {
        let list: Vec<Value> = node.elements().iter().map(|one| self.schema(one)).collect();
        if list.is_empty() {
            self.note(Kind::Unchecked, node, "names no schemas; it checks nothing");
        }
        (!list.is_empty()).then_some(Value::Array(list))
    }

    fn combined(&mut self, keyword: &str, node: &Node<'d>, unwritten: &Names) -> Option<Value> {
        let mut list = Vec::new();
        for branch in node.elements() {
            let alone = branch.text("$ref").is_some() && self.only_refers(&branch);
            list.push(match alone {
                true => match self.follow(&branch) {
                    Some(target) => self.member(&target, unwritten, keyword == "allOf"),
                    None => Value::Bool(true),
                },
                false => self.schema_with(&branch, unwritten, &[]),
            });
        }
        if list.is_empty() {
            self.note(Kind::Unchecked, node, "names no schemas; it checks nothing");
        }
        (!list.is_empty()).then_some(Value::Array(list))
    }

    /// `exclusiveMinimum: true` of OpenAPI 3.0 makes a strict bound of the one beside it; 3.1 has a
    /// number there. Both are found in documents of either version.
    fn exclusive(
        &mut self,
        node: &Node<'d>,
        (bound, strict): (&str, &str),
        out: &mut Map<String, Value>,
    ) {
        let Some(child) = node.get(strict) else {
            return;
        };
        match child.value {
            Value::Bool(false) => {}
            Value::Bool(true) => match out.remove(bound) {
                Some(number) => {
                    out.insert(strict.to_owned(), number);
                }
                None => {
                    let message = format!("has no `{bound}` beside it; it checks nothing");
                    self.note(Kind::Unchecked, &child, message);
                }
            },
            _ => {
                if let Some(number) = self.number(&child, |_| true) {
                    out.insert(strict.to_owned(), number);
                }
            }
        }
    }

    /// Before 3.1, what stands beside `$ref` is ignored (OpenAPI 3.0 §4.7.23).
    fn note_siblings(&mut self, node: &Node<'d>, others: &[&str]) {
        for (keyword, child) in node.members() {
            let silent = SILENT.contains(&keyword) || keyword.starts_with("x-");
            if keyword == "nullable" {
                let message = "stands beside `$ref`, where OpenAPI 3.0 ignores it; read as meant";
                self.note(Kind::Assumed, &child, message);
            } else if !silent && !others.contains(&keyword) {
                let message = format!(
                    "`{keyword}` stands beside `$ref`, where OpenAPI before 3.1 ignores it, and so \
                     does the policy"
                );
                self.note(Kind::Unchecked, &child, message);
            }
        }
    }

    /// Whether an object with a `$ref` says nothing else.
    pub(super) fn only_refers(&self, node: &Node<'d>) -> bool {
        let mut members = node.members().into_iter();
        members.all(|(keyword, _)| {
            keyword == "$ref"
                || keyword != "nullable" && keyword != "discriminator" && SILENT.contains(&keyword)
                || keyword.starts_with("x-") && keyword != "x-nullable"
        })
    }
}

/// A value as a person would name it.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn push_all_of(out: &mut Map<String, Value>, schema: Value) {
    match out.get_mut("allOf") {
        Some(Value::Array(list)) => list.push(schema),
        _ => {
            out.insert("allOf".into(), json!([schema]));
        }
    }
}

/// The schema, or `null`.
pub(super) fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// `nullable: true`.
fn with_null(mut schema: Map<String, Value>) -> Value {
    let composed = ["$ref", "allOf", "anyOf", "oneOf", "not", "if", "const"];
    if composed.iter().any(|keyword| schema.contains_key(*keyword)) {
        return or_null(Value::Object(schema));
    }
    let null = Value::from("null");
    match schema.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&null) => types.push(null),
        Some(Value::String(one)) if one != "null" => {
            let types = json!([one, "null"]);
            schema.insert("type".into(), types);
        }
        _ => {}
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    Value::Object(schema)
}

/// Visits a schema and every schema that it is all of, references followed.
fn each_part<'d>(node: &Node<'d>, visit: &mut impl FnMut(&Node<'d>)) {
    let mut seen = BTreeSet::new();
    let mut next = vec![node.clone()];
    while let Some(part) = next.pop() {
        if seen.len() >= MAX_MERGED || !seen.insert(part.spot()) {
            continue;
        }
        visit(&part);
        if let Some(target) = part.text("$ref").and_then(|text| part.target(text).ok()) {
            next.push(target);
        }
        next.extend(part.list("allOf"));
    }
}

/// The properties of a schema, and of all it is made of, that are read-only: a request that leaves
/// them out is complete (OpenAPI 3.0 §4.7.24.2, `readOnly`).
fn read_only_names(node: &Node<'_>) -> Names {
    let mut names = Names::new();
    each_part(node, &mut |part| {
        for (name, property) in part.map("properties") {
            let mut read_only = false;
            each_part(&property, &mut |part| read_only |= part.flag("readOnly"));
            if read_only {
                names.insert(name.to_owned());
            }
        }
    });
    names
}
