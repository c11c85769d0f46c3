//! Text to JSON: a parameter is text on the wire, and its schema says what it stands for.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::style::{Form, SplitError, Text};

/// What a schema lets a value be, as far as reading text needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// `null`, written as the empty text.
    pub null: bool,
    /// `true` and `false`.
    pub boolean: bool,
    /// Numbers, written as JSON writes them.
    pub number: bool,
    /// Any text.
    pub string: bool,
    /// Lists, and what their elements may be.
    pub array: Option<Box<Plan>>,
    /// Objects.
    pub object: Option<Box<Members>>,
}

/// What the members of an object may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those the schema names.
    pub named: BTreeMap<String, Plan>,
    /// All others, where the schema says something of them.
    pub others: Option<Plan>,
}

/// How text that could be several things is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As null, boolean or number wherever it can be one.
    Typed,
    /// As a string wherever it may be one.
    Textual,
}

impl Plan {
    /// A plan for text alone.
    pub fn text() -> Self {
        Self {
            string: true,
            ..Self::default()
        }
    }

    /// What a value may be read as, the most structured first.
    pub fn forms(&self) -> impl Iterator<Item = Form> {
        let scalar = self.null || self.boolean || self.number || self.string;
        let structured = self.array.is_some() || self.object.is_some();
        [
            self.object.is_some().then_some(Form::Object),
            self.array.is_some().then_some(Form::Array),
            (scalar || !structured).then_some(Form::Scalar),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether text may mean something besides a string, so that both readings must be tried.
    pub fn is_ambiguous(&self) -> bool {
        let here = self.string && (self.null || self.boolean || self.number);
        here || self.array.as_ref().is_some_and(|plan| plan.is_ambiguous())
            || self.object.as_ref().is_some_and(|members| {
                let mut plans = members.named.values().chain(&members.others);
                plans.any(Self::is_ambiguous)
            })
    }

    /// The value that `text` stands for. Text that cannot be what the schema asks for stays text,
    /// for the schema to refuse; a list where the schema has none is one value given twice.
    pub fn read(&self, text: Text, reading: Reading) -> Result<Value, SplitError> {
        match (text, &self.array) {
            // A list of one that arrived where lists show by repetition only.
            (Text::One(leaf), Some(plan)) if !self.is_scalar() => {
                Ok(Value::Array(vec![plan.read(Text::One(leaf), reading)?]))
            }
            (Text::One(leaf), _) => Ok(self.scalar(leaf, reading)),
            (Text::Many(elements), Some(plan)) => {
                let read = elements
                    .into_iter()
                    .map(|element| plan.read(element, reading));
                Ok(Value::Array(read.collect::<Result<_, _>>()?))
            }
            (Text::Many(_), None) => Err(SplitError::Repeated),
            (Text::Fields(fields), _) => Ok(Value::Object(self.members(fields, reading)?)),
        }
    }

    fn is_scalar(&self) -> bool {
        self.null || self.boolean || self.number || self.string
    }

    fn members(
        &self,
        fields: Vec<(String, Text)>,
        reading: Reading,
    ) -> Result<Map<String, Value>, SplitError> {
        let text = Self::text();
        let members = self.object.as_deref();
        fields
            .into_iter()
            .map(|(name, field)| {
                let plan = members
                    .and_then(|members| members.named.get(&name).or(members.others.as_ref()))
                    .unwrap_or(&text);
                Ok((name, plan.read(field, reading)?))
            })
            .collect()
    }

    fn scalar(&self, leaf: String, reading: Reading) -> Value {
        if reading == Reading::Textual && self.string {
            return Value::String(leaf);
        }
        match leaf.as_str() {
            "" if self.null => return Value::Null,
            "true" if self.boolean => return Value::Bool(true),
            "false" if self.boolean => return Value::Bool(false),
            _ => {}
        }
        let number = if self.number { number(&leaf) } else { None };
        number.map_or(Value::String(leaf), Value::Number)
    }
}

/// A number as JSON writes it (RFC 8259 §6): no sign `+`, no leading zeros, no blanks.
fn number(text: &str) -> Option<Number> {
    let begins = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let ends = text.ends_with(|last: char| last.is_ascii_digit());
    (begins && ends)
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn text_becomes_what_the_schema_allows() {
        let all = Plan {
            null: true,
            boolean: true,
            number: true,
            ..Plan::default()
        };
        for (text, expected) in [
            ("", json!(null)),
            ("true", json!(true)),
            ("-1.5e2", json!(-150.0)),
            ("9007199254740993", json!(9007199254740993_i64)),
            ("True", json!("True")),
            ("01", json!("01")),
            ("+1", json!("+1")),
            (" 1", json!(" 1")),
            ("1 ", json!("1 ")),
            ("0x1", json!("0x1")),
            ("1_000", json!("1_000")),
            ("NaN", json!("NaN")),
            ("1e999", json!("1e999")),
            ("١", json!("١")),
        ] {
            let read = all.read(Text::One(text.into()), Reading::Typed);
            assert_eq!(read, Ok(expected), "{text:?}");
        }
        let read = Plan::text().read(Text::One("1".into()), Reading::Typed);
        assert_eq!(read, Ok(json!("1")));
    }

    #[test]
    fn ambiguous_text_has_two_readings() {
        let plan = Plan {
            number: true,
            ..Plan::text()
        };
        assert!(plan.is_ambiguous());
        assert_eq!(
            plan.read(Text::One("1".into()), Reading::Typed),
            Ok(json!(1))
        );
        assert_eq!(
            plan.read(Text::One("1".into()), Reading::Textual),
            Ok(json!("1"))
        );
    }
}
