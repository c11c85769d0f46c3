//! The policy language in Markdown, written from its JSON Schema, so that it cannot disagree with it.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::schema::policy_schema;
use crate::reply::Code;

/// The rules of the caching hints that no route weakens by accident.
pub const SAFETY: &str = include_str!("../hints/safety.md");

/// What the hints write for each cache in front.
pub const PROFILES: &str = include_str!("../hints/profiles.md");

/// Every key of a policy, one table for each kind of object, in the order in which they are reached.
pub fn policy_reference() -> String {
    let schema = policy_schema();
    let empty = Map::new();
    let definitions = schema
        .get("$defs")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut pages = Pages {
        definitions,
        queue: vec!["Policy".to_owned()],
        text: String::new(),
    };
    pages.table("Policy", &schema);
    let mut next = 1;
    while let Some(name) = pages.queue.get(next).cloned() {
        if let Some(definition) = definitions.get(&name) {
            pages.table(&name, definition);
        }
        next += 1;
    }
    pages.text
}

/// Every reason code, as a table.
pub fn code_reference() -> String {
    let mut text = "| code | status | when |\n|---|---|---|\n".to_owned();
    for code in Code::ALL {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            code.as_str(),
            code.status(),
            code.doc()
        );
    }
    text
}

struct Pages<'a> {
    definitions: &'a Map<String, Value>,
    /// The definitions that have a table, or will.
    queue: Vec<String>,
    text: String,
}

impl Pages<'_> {
    fn table(&mut self, name: &str, schema: &Value) {
        let Some(properties) = schema["properties"].as_object() else {
            return;
        };
        let _ = writeln!(self.text, "#### {name}\n\n{}\n", about(schema));
        self.text += "| key | value | meaning |\n|---|---|---|\n";
        let required = schema["required"].as_array();
        // What must be there comes first.
        let must = |key: &String| required.is_some_and(|list| list.iter().any(|held| held == key));
        let (first, then): (Vec<_>, Vec<_>) = properties.iter().partition(|(key, _)| must(key));
        for (key, property) in first.into_iter().chain(then) {
            let value = self.value(property);
            let star = if must(key) { " *" } else { "" };
            let _ = writeln!(
                self.text,
                "| `{key}`{star} | {value} | {} |",
                about(property)
            );
        }
        self.text.push('\n');
    }

    /// What a value may be, in words.
    fn value(&mut self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|uri| uri.strip_prefix("#/$defs/"))
        {
            return self.named(name);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(forms) = schema[key].as_array() {
                return self.any(forms);
            }
        }
        if let Some(value) = schema.get("const") {
            return format!(
                "`{}`",
                value.as_str().map_or(value.to_string(), str::to_owned)
            );
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|kind| *kind != "null"),
            kind => kind.as_str(),
        };
        match kind {
            Some("array") => format!("list of {}", self.value(&schema["items"])),
            Some("object") if schema["additionalProperties"].is_object() => {
                format!("name → {}", self.value(&schema["additionalProperties"]))
            }
            Some("boolean") => "`true` or `false`".into(),
            Some("integer") => "whole number".into(),
            Some(kind) => kind.into(),
            None => "any JSON".into(),
        }
    }

    fn any(&mut self, forms: &[Value]) -> String {
        let mut words: Vec<String> = Vec::new();
        for form in forms.iter().filter(|form| form["type"] != "null") {
            let word = self.value(form);
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(" or ")
    }

    fn named(&mut self, name: &str) -> String {
        let Some(definition) = self.definitions.get(name).cloned() else {
            return name.into();
        };
        if name == "Span" {
            return "time, as `5m`".into();
        }
        if definition.get("properties").is_none() {
            return self.value(&definition);
        }
        if !self.queue.iter().any(|held| held == name) {
            self.queue.push(name.to_owned());
        }
        format!("[{name}](#{})", name.to_ascii_lowercase())
    }
}

/// The description on one line, fit for a table's cell.
fn about(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}
