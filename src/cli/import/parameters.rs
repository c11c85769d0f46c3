//! Parameter Objects, and what Swagger 2.0 calls `formData`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::convert::{Converter, Version};
use super::documents::Node;
use super::report::Kind;
use crate::schema::{MediaType, is_token};

/// Header parameters that OpenAPI says nothing by (OpenAPI 3.1 §4.8.12.2).
const IGNORED_HEADERS: [&str; 3] = ["accept", "content-type", "authorization"];

/// Keys of a Swagger 2.0 parameter that its schema does not stand among.
const BESIDE_SCHEMA: &[&str] = &["allowEmptyValue", "in", "name", "required"];

/// The parameters that an operation has, those of its path included.
pub(super) struct Parameters<'d> {
    /// In path, query, header and cookie, as the policy writes them.
    pub written: Vec<Value>,
    /// Swagger 2.0's `in: body`.
    pub body: Option<Node<'d>>,
    /// Swagger 2.0's `in: formData`.
    pub form: Vec<Node<'d>>,
}

impl<'d> Converter<'d> {
    /// The parameters of an operation; `names` are the path template's, by the document's names.
    pub(super) fn parameters(
        &mut self,
        item: &Node<'d>,
        operation: &Node<'d>,
        names: &BTreeMap<String, String>,
    ) -> Parameters<'d> {
        let mut found = Parameters {
            written: Vec::new(),
            body: None,
            form: Vec::new(),
        };
        for node in self.merged(item, operation) {
            match node.text("in") {
                Some("body") if self.version == Version::V2 => found.body = Some(node),
                Some("formData") if self.version == Version::V2 => found.form.push(node),
                _ => found.written.extend(self.parameter(&node, names)),
            }
        }
        found
    }

    /// An operation's own parameters replace those of its path that have the same name and place.
    fn merged(&mut self, item: &Node<'d>, operation: &Node<'d>) -> Vec<Node<'d>> {
        let mut merged: Vec<((String, String), Node<'d>)> = Vec::new();
        for list in [item.list("parameters"), operation.list("parameters")] {
            for node in list {
                let Some(node) = self.resolve(&node) else {
                    continue;
                };
                let location = node.text("in").unwrap_or_default().to_owned();
                let name = node.text("name").unwrap_or_default();
                let name = match location.as_str() {
                    "header" => name.to_ascii_lowercase(),
                    _ => name.to_owned(),
                };
                let key = (location, name);
                match merged.iter_mut().find(|(held, _)| *held == key) {
                    Some((_, held)) => *held = node,
                    None => merged.push((key, node)),
                }
            }
        }
        merged.into_iter().map(|(_, node)| node).collect()
    }

    fn parameter(&mut self, node: &Node<'d>, names: &BTreeMap<String, String>) -> Option<Value> {
        let (location, name) = self.placed(node, names)?;
        let mut out = Map::new();
        out.insert("name".into(), name.into());
        out.insert("in".into(), location.into());
        if node.flag("required") && location != "path" {
            out.insert("required".into(), true.into());
        }
        if node.flag("allowEmptyValue") && location == "query" {
            out.insert("allowEmptyValue".into(), true.into());
        }
        match self.version {
            Version::V2 => self.collection(node, location, &mut out),
            _ => self.styled(node, location, &mut out),
        }
        Some(Value::Object(out))
    }

    /// Where a parameter stands and what the policy calls it; `None` where it says nothing.
    fn placed(
        &mut self,
        node: &Node<'d>,
        names: &BTreeMap<String, String>,
    ) -> Option<(&'d str, String)> {
        let name = node.text("name").filter(|name| !name.is_empty());
        let (Some(location), Some(name)) = (node.text("in"), name) else {
            self.note(Kind::Unchecked, node, "has no `name` or no `in`; left out");
            return None;
        };
        match location {
            "path" => match names.get(name) {
                Some(name) => Some((location, name.clone())),
                None => {
                    let message = "is no parameter of the path; left out";
                    self.note(Kind::Unchecked, node, message);
                    None
                }
            },
            "header" if IGNORED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) => None,
            "header" if !is_token(name) => {
                self.note(Kind::Unchecked, node, "is no name of a header; left out");
                None
            }
            "query" | "header" | "cookie" => Some((location, name.to_owned())),
            other => {
                let message = format!("`in: {other}` is no place of parameters here; left out");
                self.note(Kind::Unchecked, node, message);
                None
            }
        }
    }

    /// `style` and `explode`, or `content`.
    fn styled(&mut self, node: &Node<'d>, location: &str, out: &mut Map<String, Value>) {
        if let Some((media, content)) = node.map("content").into_iter().next() {
            if MediaType::parse(media.as_bytes()).is_some_and(|media| media.is_json()) {
                out.insert("contentType".into(), "application/json".into());
                self.parameter_schema(&content, out);
            } else {
                let message = format!("a parameter's value of type `{media}` is not checked");
                self.note(Kind::Unchecked, &content, message);
            }
            return;
        }
        let (usual, allowed): (_, &[_]) = match location {
            "path" => ("simple", &["simple", "label", "matrix"]),
            "query" => (
                "form",
                &["form", "spaceDelimited", "pipeDelimited", "deepObject"],
            ),
            "header" => ("simple", &["simple"]),
            _ => ("form", &["form"]),
        };
        let style = node.text("style").unwrap_or(usual);
        if !allowed.contains(&style) {
            let message =
                format!("`style: {style}` is none of its place; its value is not checked");
            self.note(Kind::Unchecked, node, message);
            return;
        }
        if style != usual {
            out.insert("style".into(), style.into());
        }
        let explode = node.value.get("explode").and_then(Value::as_bool);
        if let Some(explode) = explode
            && explode != (style == "form")
            && style != "deepObject"
        {
            out.insert("explode".into(), explode.into());
        }
        self.parameter_schema(node, out);
    }

    fn parameter_schema(&mut self, node: &Node<'d>, out: &mut Map<String, Value>) {
        let Some(schema) = node.get("schema") else {
            return;
        };
        let schema = self.schema(&schema);
        set_schema(schema, out);
    }

    /// Swagger 2.0: the schema stands among the parameter's own keys, and lists have a
    /// `collectionFormat`.
    fn collection(&mut self, node: &Node<'d>, location: &str, out: &mut Map<String, Value>) {
        let style = match (node.text("collectionFormat").unwrap_or("csv"), location) {
            _ if node.text("type") != Some("array") => Ok(None),
            ("csv", "query") => Ok(Some(("explode", json!(false)))),
            ("csv", _) | ("multi", "query") => Ok(None),
            ("ssv", "query") => Ok(Some(("style", json!("spaceDelimited")))),
            ("pipes", "query") => Ok(Some(("style", json!("pipeDelimited")))),
            (other, _) => Err(other),
        };
        match style {
            Ok(style) => {
                if let Some((key, value)) = style {
                    out.insert(key.into(), value);
                }
                let schema = self.schema_among(node, BESIDE_SCHEMA);
                set_schema(schema, out);
            }
            Err(other) => {
                let message = format!("`collectionFormat: {other}` is not checked here");
                self.note(Kind::Unchecked, node, message);
            }
        }
    }

    /// The schema of a form whose fields are parameters, and what is said of single fields.
    pub(super) fn form_schema(&mut self, fields: &[Node<'d>]) -> (Value, Map<String, Value>) {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut encoding = Map::new();
        for field in fields {
            let Some(name) = field.text("name") else {
                continue;
            };
            let schema = self.schema_among(field, BESIDE_SCHEMA);
            properties.insert(name.to_owned(), schema);
            if field.flag("required") {
                required.push(Value::from(name));
            }
            if field.text("type") == Some("array") {
                let style = match field.text("collectionFormat").unwrap_or("csv") {
                    "csv" => json!({"style": "form", "explode": false}),
                    "ssv" => json!({"style": "spaceDelimited"}),
                    "pipes" => json!({"style": "pipeDelimited"}),
                    "multi" => continue,
                    other => {
                        let message = format!("`collectionFormat: {other}` is not checked here");
                        self.note(Kind::Unchecked, field, message);
                        properties.insert(name.to_owned(), true.into());
                        continue;
                    }
                };
                encoding.insert(name.to_owned(), style);
            }
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if let (Some(schema), false) = (schema.as_object_mut(), required.is_empty()) {
            schema.insert("required".into(), required.into());
        }
        (schema, encoding)
    }
}

/// A parameter without a schema is text.
fn set_schema(schema: Value, out: &mut Map<String, Value>) {
    let json = out.contains_key("contentType");
    if json || schema != json!({"type": "string"}) && schema != json!({}) {
        out.insert("schema".into(), schema);
    }
}
