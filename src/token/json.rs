//! JSON as tokens and key sets are read: one text, no member named twice at any depth, bounded
//! nesting.
//!
//! RFC 7515 §4 lets a parser either refuse duplicate members or take the last one; two readers that
//! choose differently see two tokens, so they are refused here.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting of arrays and objects in a token's header or payload, or in a key set.
pub const MAX_DEPTH: usize = 32;

/// Why a text was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFlaw {
    /// Not one JSON text in UTF-8 (RFC 8259).
    Syntax,
    /// An object names a member twice.
    DuplicateMember,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Some other value where an object has to be.
    NotAnObject,
}

impl fmt::Display for JsonFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "is not one JSON text in UTF-8",
            Self::DuplicateMember => "names a JSON member twice",
            Self::TooDeep => "nests too deeply",
            Self::NotAnObject => "is not a JSON object",
        })
    }
}

/// Reads a text that has to be an object.
///
/// # Errors
/// The first flaw met; nothing of the text is in it.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, JsonFlaw> {
    match value(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(JsonFlaw::NotAnObject),
    }
}

fn value(text: &[u8]) -> Result<Value, JsonFlaw> {
    let flaw = Cell::new(JsonFlaw::Syntax);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let strict = Strict {
        depth: 0,
        flaw: &flaw,
    };
    strict
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|_| flaw.get())
}

/// Builds a [`Value`], noting in `flaw` what serde's error type cannot carry.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    flaw: &'a Cell<JsonFlaw>,
}

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.stop(JsonFlaw::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn stop<E: Error>(self, flaw: JsonFlaw) -> E {
        self.flaw.set(flaw);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| self.stop(JsonFlaw::Syntax))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(self.stop(JsonFlaw::DuplicateMember));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            r#"{}"#,
            r#" {"a": [1, -1, 1.5, true, null, "x", {"b": {}}]} "#,
            r#"{"a":{"x":1},"b":{"x":1}}"#,
            "{\"emoji\":\"\u{1f600}\",\"escaped\":\"\\ud83d\\ude00\"}",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), expected);
        }
    }

    #[test]
    fn refuses_a_member_named_twice_however_it_is_spelt_or_nested() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":[{"y":{"a":1,"b":2,"a":3}}]}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(JsonFlaw::DuplicateMember));
        }
    }

    #[test]
    fn refuses_what_is_not_one_json_object_in_utf8() {
        for text in [
            &b""[..],
            b"{",
            b"{} {}",
            b"{}x",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":01}",
            b"{\"a\":1e999}",
            b"{\"a\":NaN}",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"{\"a\":\"\n\"}",
        ] {
            assert_eq!(object(text), Err(JsonFlaw::Syntax), "{text:?}");
        }
        for text in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(object(text.as_bytes()), Err(JsonFlaw::NotAnObject));
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            let inner = depth - 1;
            format!("{{\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
        };
        assert!(object(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            object(nested(MAX_DEPTH + 1).as_bytes()),
            Err(JsonFlaw::TooDeep)
        );
        let bomb = "[".repeat(1_000_000);
        assert_eq!(object(bomb.as_bytes()), Err(JsonFlaw::TooDeep));
    }
}
