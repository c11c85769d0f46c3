//! Raw values that several parts of the policy share.

use std::fmt;

use deserr::{Deserr, IntoValue, Value, ValueKind, ValuePointerRef};
use serde::{Serialize, Serializer};

use super::problem::{Problems, refuse};

/// A length of time, written as `90s`, `5m`, `1h30m` or `7d`, or as a whole number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Span {
    /// Reads the text form; units may follow each other from large to small.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total = 0u64;
        let mut units = UNITS.iter();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, tail) = rest.split_at_checked(digits)?;
            let unit = tail.chars().next()?;
            let (_, seconds) = units.find(|(name, _)| *name == unit)?;
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*seconds)?)?;
            rest = tail.get(unit.len_utf8()..)?;
        }
        (!text.is_empty()).then_some(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, seconds) in UNITS {
            let count = rest / seconds;
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
            rest %= seconds;
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Deserr<Problems> for Span {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Value::Integer(seconds) => Ok(Self(seconds)),
            Value::String(text) => Self::parse(&text).ok_or_else(|| {
                refuse(
                    location,
                    format!("`{text}` is not a length of time; write `90s`, `5m`, `1h30m` or `7d`"),
                )
            }),
            other => Err(wrong_kind(
                &other,
                "a length of time such as `5m`",
                location,
            )),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A length of time: `90s`, `5m`, `1h30m`, `7d`, or whole seconds.",
            "oneOf": [
                { "type": "string", "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" },
                { "type": "integer", "minimum": 0 }
            ]
        })
    }
}

/// The finding for a value of the wrong kind, in the words of a hand-written form.
pub fn wrong_kind<V: IntoValue>(
    value: &Value<V>,
    wanted: &str,
    location: ValuePointerRef<'_>,
) -> Problems {
    let kind = match value.kind() {
        ValueKind::Null => "empty",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer | ValueKind::NegativeInteger => "a whole number",
        ValueKind::Float => "a number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "a mapping",
    };
    refuse(location, format!("is {kind}, but must be {wanted}"))
}

/// One text or a list of them: `GET` or `[GET, POST]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Texts(pub Vec<String>);

impl Texts {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deserr<Problems> for Texts {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Value::String(text) => Ok(Self(vec![text])),
            Value::Sequence(_) => Deserr::deserialize_from_value(value, location).map(Self),
            other => Err(wrong_kind(&other, "a text or a list of texts", location)),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for Texts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Texts".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "One text or a list of them.",
            "oneOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" } }
            ]
        })
    }
}

/// Whether a value need not be written.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A part of the document whose faults do not hide those of its neighbours: what has no form is kept
/// as its problems, and everything else is compiled all the same, so that all is told at once.
#[derive(Clone, Debug)]
pub enum Part<T> {
    /// It has the form of a `T`.
    Formed(T),
    /// It does not.
    Broken(Problems),
}

impl<T> Part<T> {
    /// The value; what is wrong with a broken part goes to `problems`.
    pub fn get(&self, problems: &mut Problems) -> Option<&T> {
        match self {
            Self::Formed(value) => Some(value),
            Self::Broken(found) => {
                problems.0.extend(found.0.iter().cloned());
                None
            }
        }
    }

    /// The value, if it has one.
    pub fn formed(&self) -> Option<&T> {
        match self {
            Self::Formed(value) => Some(value),
            Self::Broken(_) => None,
        }
    }
}

impl<T: Deserr<Problems>> Deserr<Problems> for Part<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        Ok(match T::deserialize_from_value(value, location) {
            Ok(value) => Self::Formed(value),
            Err(problems) => Self::Broken(problems),
        })
    }
}

impl<T: Serialize> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Formed(value) => value.serialize(serializer),
            Self::Broken(problems) => Err(serde::ser::Error::custom(problems)),
        }
    }
}

#[cfg(feature = "cli")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Part<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn spans_read_and_print_alike() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("0s", 0),
        ] {
            assert_eq!(Span::parse(text), Some(Span(seconds)), "{text}");
            assert_eq!(Span::parse(&Span(seconds).to_string()), Some(Span(seconds)));
        }
        assert_eq!(Span(90).to_string(), "1m30s");
    }

    #[test]
    fn spans_without_one_meaning_are_refused() {
        for text in [
            "",
            "5",
            "m",
            "5x",
            "-5m",
            "5m5h",
            "5m5m",
            "1.5h",
            "5 m",
            "99999999999999999999s",
            "9999999999999999999d",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
