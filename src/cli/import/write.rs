//! Values as YAML that a person would write: keys in the order of reading, what is short on one
//! line.

use serde_json::{Map, Value};

/// Longest line that a mapping or list is put on.
const WIDTH: usize = 100;
/// How deep mappings and lists may lie in each other on one line.
const MAX_INLINE: usize = 3;

/// Keys that come first, in this order; all others follow by name.
const FIRST: &[&str] = &[
    "name",
    "match",
    "methods",
    "to",
    "access",
    "request",
    "in",
    "$ref",
    "type",
    "enum",
    "const",
    "format",
    "required",
    "style",
    "explode",
    "allowEmptyValue",
    "contentType",
    "parameters",
    "contentTypes",
    "content",
    "schema",
    "url",
    "issuer",
    "preset",
    "project",
    "claim",
    "anyOf",
    "properties",
    "items",
    "if",
    "then",
];

/// Writes YAML line by line.
#[derive(Default)]
pub(super) struct Writer(String);

impl Writer {
    /// What has been written.
    pub fn text(self) -> String {
        self.0
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// A comment; none for an empty text.
    pub fn comment(&mut self, indent: usize, text: &str) {
        let blank = |c: char| {
            if c.is_control() || c == '\u{feff}' {
                ' '
            } else {
                c
            }
        };
        let text: String = text.chars().map(blank).collect();
        let mut words = text.split_whitespace().peekable();
        while words.peek().is_some() {
            let mut line = format!("{:indent$}#", "");
            while let Some(word) = words
                .next_if(|word| line.len() <= indent + 1 || line.len() + 1 + word.len() <= WIDTH)
            {
                line.push(' ');
                line.push_str(word);
            }
            self.line(&line);
        }
    }

    /// A member of a mapping.
    pub fn member(&mut self, indent: usize, name: &str, value: &Value) {
        let key = format!("{:indent$}{}:", "", scalar(name));
        self.value(&key, indent, value);
    }

    /// An element of a list.
    pub fn element(&mut self, indent: usize, value: &Value) {
        let Value::Object(members) = value else {
            return self.value(&format!("{:indent$}-", ""), indent, value);
        };
        if members.is_empty() || members.len() < 5 && self.fits(indent, value) {
            return self.value(&format!("{:indent$}-", ""), indent, value);
        }
        let at = self.0.len();
        for (name, value) in ordered(members) {
            self.member(indent + 2, name, value);
        }
        // The first member stands behind the dash.
        let dash = at + indent;
        if self.0.get(dash..=dash).is_some() {
            self.0.replace_range(dash..=dash, "-");
        }
    }

    fn fits(&self, indent: usize, value: &Value) -> bool {
        inline(value, MAX_INLINE).is_some_and(|text| indent + 2 + text.chars().count() <= WIDTH)
    }

    /// A value behind its key or dash.
    fn value(&mut self, before: &str, indent: usize, value: &Value) {
        let inline = inline(value, MAX_INLINE)
            .filter(|text| before.chars().count() + 1 + text.chars().count() <= WIDTH);
        match (inline, value) {
            (Some(text), _) => self.line(&format!("{before} {text}")),
            (None, Value::Object(members)) if !members.is_empty() => {
                self.line(before);
                for (name, value) in ordered(members) {
                    self.member(indent + 2, name, value);
                }
            }
            (None, Value::Array(elements)) if !elements.is_empty() => {
                self.line(before);
                for element in elements {
                    self.element(indent + 2, element);
                }
            }
            (None, Value::Object(_)) => self.line(&format!("{before} {{}}")),
            (None, Value::Array(_)) => self.line(&format!("{before} []")),
            (None, other) => self.line(&format!("{before} {}", one(other))),
        }
    }
}

fn ordered(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |name: &str| {
        FIRST
            .iter()
            .position(|first| *first == name)
            .unwrap_or(FIRST.len())
    };
    let mut ordered: Vec<_> = members.iter().collect();
    ordered.sort_by_key(|(name, _)| rank(name));
    ordered
}

/// A value on one line, if it is not nested too deeply.
fn inline(value: &Value, depth: usize) -> Option<String> {
    let rest = || depth.checked_sub(1);
    Some(match value {
        Value::Array(elements) => {
            let rest = rest()?;
            let all: Option<Vec<_>> = elements.iter().map(|one| inline(one, rest)).collect();
            format!("[{}]", all?.join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".into(),
        Value::Object(members) => {
            let rest = rest()?;
            let all: Option<Vec<_>> = ordered(members)
                .into_iter()
                .map(|(name, one)| Some(format!("{}: {}", scalar(name), inline(one, rest)?)))
                .collect();
            format!("{{ {} }}", all?.join(", "))
        }
        other => one(other),
    })
}

fn one(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Text as YAML: bare where nothing could take it for anything else.
fn scalar(text: &str) -> String {
    let first = text.chars().next().unwrap_or(' ');
    let bare = |c: char| c.is_ascii_alphanumeric() || "_./-$+@".contains(c);
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if (first.is_ascii_alphabetic() || "_/$".contains(first))
        && text.chars().all(bare)
        && !words.contains(&text.to_ascii_lowercase().as_str())
    {
        return text.to_owned();
    }
    let plain = |c: char| c == ' ' || c.is_alphanumeric() || c.is_ascii_punctuation();
    if text.contains('\\') && text.chars().all(plain) {
        // Regular expressions read best as they are.
        return format!("'{}'", text.replace('\'', "''"));
    }
    quoted(text)
}

/// YAML 1.2 §7.3.1.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::yaml::Document;
    use serde_json::json;

    fn written(value: &Value) -> String {
        let mut out = Writer::default();
        out.member(0, "k", value);
        out.text()
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let texts = [
            "",
            " ",
            "a",
            "a b",
            "null",
            "True",
            "no",
            "1",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#",
            "\"",
            "'",
            "\\d+'\"",
            "^[^/]+$",
            "{a}",
            "[a",
            "é",
            "日本",
            "\u{feff}",
            "\u{2028}",
            "\u{85}",
            "\u{7f}",
            "\u{1f600}",
            "a\nb",
            "\ta\r",
            "\0",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "~",
            "=",
            "<<",
            "1e3",
            "0x1f",
            ".5",
            "2024-01-01",
            "---",
            "...",
            "?",
            ": ",
            "a:",
            "$ref",
            "\\",
            "\u{ffff}",
            "\u{a0}",
        ];
        for text in texts {
            for value in [
                json!(text),
                json!([text, {text: text}]),
                json!({text: {text: [text]}}),
                json!({"long": vec![text; 60], text: {"a": {"b": {"c": {"d": text}}}}}),
            ] {
                let yaml = written(&value);
                let read = Document::parse(&yaml).unwrap_or_else(|e| panic!("{e:?}\n{yaml}"));
                assert_eq!(read.value, json!({"k": value}), "{yaml}");
            }
        }
        let numbers = json!([
            0,
            -1,
            1.5,
            1e300,
            u64::MAX,
            i64::MIN,
            1e-7,
            null,
            true,
            {},
            []
        ]);
        let yaml = written(&numbers);
        assert_eq!(Document::parse(&yaml).unwrap().value, json!({"k": numbers}));
    }

    #[test]
    fn short_values_stand_on_one_line_and_long_ones_do_not() {
        assert_eq!(
            written(&json!({"b": "x", "type": "string", "a": [1, 2]})),
            "k: { type: string, a: [1, 2], b: x }\n"
        );
        let long = "x".repeat(60);
        assert_eq!(
            written(&json!([{"a": long, "b": long}, {"c": [[[[1]]]]}])),
            format!("k:\n  - a: {long}\n    b: {long}\n  - c:\n      - [[[1]]]\n")
        );
    }

    #[test]
    fn comments_cannot_break_out_of_their_lines() {
        let mut out = Writer::default();
        out.comment(2, "a\nroutes: []\u{2028}b\u{85}c");
        out.comment(2, "");
        out.comment(0, &"word ".repeat(30));
        let text = out.text();
        assert!(
            text.lines().all(|line| line.trim_start().starts_with('#')),
            "{text}"
        );
        assert!(text.lines().count() == 3);
    }
}
