//! What a verified token hands on to the service: claims as headers, the token itself or not.

use serde_json::Value;

use super::claims::{ClaimPath, Claims};
use super::source::Source;
use crate::head::Edit;

/// What happens to the token on its way on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenHandling {
    /// It stays where it was.
    Keep,
    /// The service does not see it.
    Strip,
}

/// What is handed on.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    /// Claims and the header, in lower case, that each is written to.
    pub claims: Vec<(ClaimPath, String)>,
    /// The header that the payload is written to, as base64url.
    pub payload: Option<PayloadHeader>,
    /// The header that the token is written to.
    pub token_header: Option<String>,
    /// The token itself, where it was found. Unless the policy says, a token in the query is taken
    /// out, since queries end up in logs (RFC 6750 §5.3), and others stay.
    pub token: Option<TokenHandling>,
    /// Claims for access logs and later filters, by the name they get there, which then learn the issuer
    /// and the subject too; `None` tells them nothing.
    pub log: Option<Vec<(ClaimPath, String)>>,
    /// Whether Envoy chooses the route again, now that the headers say who is calling.
    pub clear_route_cache: bool,
}

/// How the payload is handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadHeader {
    /// The header, in lower case.
    pub name: String,
    /// Whether `=` fills the text up to a multiple of four characters (RFC 4648 §3.2).
    pub padded: bool,
}

/// A claim's value has no plain form as a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPlain(pub ClaimPath);

impl Forward {
    /// The headers that this writes.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let claims = self.claims.iter().map(|(_, header)| header);
        let payload = self.payload.iter().map(|header| &header.name);
        claims
            .chain(payload)
            .chain(&self.token_header)
            .map(String::as_str)
    }

    /// The edits that write the headers. A claim that is absent or `null` writes none.
    ///
    /// # Errors
    /// A claim whose value cannot be told from another's once it is a header: an object, a nested
    /// list, control characters, white space at either end, or a comma within a list's element.
    pub fn edits(&self, token: &[u8], claims: &Claims) -> Result<Vec<Edit>, NotPlain> {
        let mut edits = Vec::new();
        for (path, header) in &self.claims {
            if let Some(value) = written(path, claims)? {
                edits.push(Edit::Set(header.clone(), value.into_bytes()));
            }
        }
        if let Some(header) = &self.payload {
            edits.push(Edit::Set(header.name.clone(), header.value(token)));
        }
        if let Some(header) = &self.token_header {
            edits.push(Edit::Set(header.clone(), token.to_vec()));
        }
        Ok(edits)
    }

    /// The claims for access logs. What has no plain form is left out.
    pub fn logged(&self, claims: &Claims) -> Option<Vec<(String, String)>> {
        let entry = |(path, name): &(ClaimPath, String)| {
            let value = written(path, claims).ok().flatten()?;
            Some((name.clone(), value))
        };
        Some(self.log.as_ref()?.iter().filter_map(entry).collect())
    }

    /// Whether a token found there is taken out.
    pub fn strips(&self, source: &Source) -> bool {
        let default = match source {
            Source::Query(_) => TokenHandling::Strip,
            Source::Header { .. } | Source::Cookie(_) => TokenHandling::Keep,
        };
        self.token.unwrap_or(default) == TokenHandling::Strip
    }
}

impl PayloadHeader {
    /// The middle part of the token is the payload in canonical base64url already.
    fn value(&self, token: &[u8]) -> Vec<u8> {
        let payload = token.split(|byte| *byte == b'.').nth(1).unwrap_or_default();
        let mut value = payload.to_vec();
        while self.padded && !value.len().is_multiple_of(4) {
            value.push(b'=');
        }
        value
    }
}

fn written(path: &ClaimPath, claims: &Claims) -> Result<Option<String>, NotPlain> {
    let value = match claims.at(path) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => joined(list),
        Some(value) => plain(value),
    };
    value.map(Some).ok_or_else(|| NotPlain(path.clone()))
}

fn joined(list: &[Value]) -> Option<String> {
    let elements: Option<Vec<_>> = list
        .iter()
        .map(|element| plain(element).filter(|text| !text.is_empty() && !text.contains(',')))
        .collect();
    Some(elements?.join(","))
}

/// A field value as RFC 9110 §5.5 wants it, such that the service reads what the token says.
pub(super) fn plain(value: &Value) -> Option<String> {
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

    fn header(value: Value) -> Option<String> {
        let forward = Forward {
            claims: vec![(ClaimPath::parse("c").unwrap(), "x-c".into())],
            ..Forward::default()
        };
        let claims = Claims::parse(json!({ "c": value }).to_string().as_bytes()).unwrap();
        let edits = forward.edits(b"a.b.c", &claims).ok()?;
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
            assert_eq!(header(value.clone()).as_deref(), Some(expected), "{value}");
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
            assert_eq!(header(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn the_payload_is_handed_on_as_it_came_padded_or_not() {
        for (token, padded, expected) in [
            ("h.e30.s", false, "e30"),
            ("h.e30.s", true, "e30="),
            ("h.eyJhIjoxfQ.s", true, "eyJhIjoxfQ=="),
            ("h.eyJhIjoxMX0.s", true, "eyJhIjoxMX0="),
            ("h.eyJhIjoxMTF9.s", true, "eyJhIjoxMTF9"),
        ] {
            let name = "x-endpoint-api-userinfo".to_owned();
            let forward = Forward {
                payload: Some(PayloadHeader {
                    name: name.clone(),
                    padded,
                }),
                token_header: Some("x-token".into()),
                ..Forward::default()
            };
            let edits = forward.edits(token.as_bytes(), &Claims::default()).unwrap();
            let payload = Edit::Set(name, expected.into());
            assert_eq!(edits, [payload, Edit::Set("x-token".into(), token.into())]);
            let headers: Vec<_> = forward.headers().collect();
            assert_eq!(headers, ["x-endpoint-api-userinfo", "x-token"]);
        }
    }

    #[test]
    fn logs_leave_out_what_has_no_plain_form() {
        let path = |name| ClaimPath::parse(name).unwrap();
        let forward = Forward {
            log: Some(vec![
                (path("sub"), "sub".into()),
                (path("bad"), "bad".into()),
            ]),
            ..Forward::default()
        };
        let claims = Claims::parse(br#"{"sub":"u","bad":"a\nb"}"#).unwrap();
        assert_eq!(
            forward.logged(&claims),
            Some(vec![("sub".into(), "u".into())])
        );
        assert_eq!(Forward::default().logged(&claims), None);
    }

    #[test]
    fn a_token_in_the_query_is_taken_out_unless_told_otherwise() {
        let query = Source::Query("access_token".into());
        let default = Forward::default();
        assert!(default.strips(&query) && !default.strips(&Source::bearer()));
        for (handling, strips) in [(TokenHandling::Keep, false), (TokenHandling::Strip, true)] {
            let forward = Forward {
                token: Some(handling),
                ..Forward::default()
            };
            assert_eq!(forward.strips(&query), strips);
            assert_eq!(forward.strips(&Source::bearer()), strips);
        }
    }
}
