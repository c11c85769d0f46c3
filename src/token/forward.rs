//! What a verified token hands on to the service: claims as headers, the token itself or not.

use serde_json::Value;

use super::claims::{ClaimPath, Claims};
use crate::head::Edit;

/// What happens to the token on its way on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenHandling {
    /// It stays where it was.
    #[default]
    Keep,
    /// The service does not see it.
    Strip,
}

/// What is handed on.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// Claims and the header, in lower case, that each is written to.
    pub claims: Vec<(ClaimPath, String)>,
    /// The token itself.
    pub token: TokenHandling,
}

/// A claim's value has no plain form as a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPlain(pub ClaimPath);

impl Forward {
    /// The headers that this writes.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(|(_, header)| header.as_str())
    }

    /// The edits that write the claims. A claim that is absent or `null` writes no header.
    ///
    /// # Errors
    /// A claim whose value cannot be told from another's once it is a header: an object, a nested
    /// list, control characters, white space at either end, or a comma within a list's element.
    pub fn edits(&self, claims: &Claims) -> Result<Vec<Edit>, NotPlain> {
        let mut edits = Vec::new();
        for (path, header) in &self.claims {
            let value = match claims.at(path) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(list)) => joined(list),
                Some(value) => plain(value),
            };
            let value = value.ok_or_else(|| NotPlain(path.clone()))?;
            edits.push(Edit::Set(header.clone(), value.into_bytes()));
        }
        Ok(edits)
    }
}

fn joined(list: &[Value]) -> Option<String> {
    let elements: Option<Vec<_>> = list
        .iter()
        .map(|element| plain(element).filter(|text| !text.is_empty() && !text.contains(',')))
        .collect();
    Some(elements?.join(","))
}

/// A field value as RFC 9110 §5.5 wants it, such that the service reads what the token says.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let legal = text.bytes().all(|byte| byte >= b' ' && byte != 0x7f);
    (legal && text.trim_matches(' ') == text).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn written(value: Value) -> Option<String> {
        let forward = Forward {
            claims: vec![(ClaimPath::parse("c").unwrap(), "x-c".into())],
            ..Forward::default()
        };
        let claims = Claims::parse(json!({ "c": value }).to_string().as_bytes()).unwrap();
        let edits = forward.edits(&claims).ok()?;
        Some(match edits.as_slice() {
            [] => "(none)".into(),
            [Edit::Set(name, value)] if name == "x-c" => String::from_utf8(value.clone()).unwrap(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn plain_values_are_written_as_they_are() {
        for (value, expected) in [
            (json!("user-1"), "user-1"),
            (json!("M\u{fc}ller \u{1f600}"), "M\u{fc}ller \u{1f600}"),
            (json!("a, b"), "a, b"),
            (json!(""), ""),
            (json!(-12), "-12"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(["a", 1, false]), "a,1,false"),
            (json!([]), ""),
            (json!(null), "(none)"),
        ] {
            assert_eq!(written(value.clone()).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn nothing_that_could_be_read_as_something_else_is_written() {
        for value in [
            json!("a\r\nx-admin: true"),
            json!("a\nb"),
            json!("a\u{0}b"),
            json!("a\tb"),
            json!("a\u{7f}"),
            json!(" admin"),
            json!("admin "),
            json!(["a,b"]),
            json!(["a", ""]),
            json!(["a", ["b"]]),
            json!(["a", null]),
            json!(["a\r\nb"]),
            json!({ "a": 1 }),
        ] {
            assert_eq!(written(value.clone()), None, "{value}");
        }
    }
}
