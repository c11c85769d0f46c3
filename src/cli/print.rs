//! Configuration in print: in the order in which a person reads it, and no longer than it must be.

use std::fmt::Write;

use serde_json::{Map, Value};
use serde_yaml_ng as yaml;

/// What comes first in a mapping, if it is there; all else follows by name.
const FIRST: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "version",
    "name",
    "namespace",
    "@type",
    "applyTo",
    "claim",
    "match",
    "methods",
    "path",
    "address",
    "issuers",
    "schemas",
    "routes",
];

/// The widest line of JSON that holds a whole list or object, in bytes.
const WIDTH: usize = 100;

/// The value as YAML.
pub fn yaml(value: &Value) -> Result<String, yaml::Error> {
    yaml::to_string(&ordered(value))
}

fn ordered(value: &Value) -> yaml::Value {
    match value {
        Value::Object(members) => yaml::Value::Mapping(
            members_in_order(members)
                .into_iter()
                .map(|(name, value)| (yaml::Value::from(name.as_str()), ordered(value)))
                .collect(),
        ),
        Value::Array(items) => yaml::Value::Sequence(items.iter().map(ordered).collect()),
        // A scalar always has a form in YAML.
        scalar => yaml::to_value(scalar).unwrap_or_default(),
    }
}

fn members_in_order(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |name: &str| FIRST.iter().position(|first| *first == name);
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| rank(name).unwrap_or(FIRST.len()));
    members
}

/// The value as JSON; what fits on one line is on one line.
pub fn json(value: &Value) -> String {
    let mut text = String::new();
    write_json(value, 0, &mut text);
    text
}

fn write_json(value: &Value, depth: usize, text: &mut String) {
    let short = one_line(value);
    let items: Vec<(String, &Value)> = match value {
        _ if depth > 0 && short.len() + 2 * depth <= WIDTH => Vec::new(),
        Value::Object(members) => members_in_order(members)
            .into_iter()
            .map(|(name, value)| (format!("{}: ", Value::from(name.as_str())), value))
            .collect(),
        Value::Array(items) => items.iter().map(|item| (String::new(), item)).collect(),
        _ => Vec::new(),
    };
    if items.is_empty() {
        text.push_str(&short);
        return;
    }
    let (open, close) = if value.is_array() {
        ('[', ']')
    } else {
        ('{', '}')
    };
    text.push(open);
    for (index, (name, item)) in items.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{comma}\n{:indent$}{name}",
            "",
            indent = 2 * (depth + 1)
        );
        write_json(item, depth + 1, text);
    }
    let _ = write!(text, "\n{:indent$}{close}", "", indent = 2 * depth);
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let members: Vec<_> = members_in_order(members)
                .into_iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), one_line(value)))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(one_line).collect();
            format!("[{}]", items.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "routes": [{ "path": "/a", "cache": { "ttl": "5m" }, "name": "a\nb \"c\"" }],
            "empty": [{}, []],
            "long": "x".repeat(120),
            "version": 1,
            "big": u64::MAX,
        })
    }

    #[test]
    fn print_reads_back_to_the_same_value() {
        let back: Value = serde_json::from_str(&super::json(&sample())).unwrap();
        assert_eq!(back, sample());
        let back: Value = serde_yaml_ng::from_str(&super::yaml(&sample()).unwrap()).unwrap();
        assert_eq!(back, sample());
    }

    #[test]
    fn what_names_a_thing_comes_first_and_what_is_short_stays_on_a_line() {
        let text = super::json(&json!({ "b": [1, { "z": 1, "name": "n" }], "version": "v" }));
        let expected = "{\n  \"version\": \"v\",\n  \"b\": [1, { \"name\": \"n\", \"z\": 1 }]\n}";
        assert_eq!(text, expected);
        let yaml = super::yaml(&json!({ "b": 1, "kind": "K" })).unwrap();
        assert_eq!(yaml, "kind: K\nb: 1\n");
    }

    #[test]
    fn long_things_are_broken() {
        let text = super::json(&json!([["x".repeat(60), "y".repeat(60)]]));
        assert_eq!(text.lines().count(), 6, "{text}");
    }
}
