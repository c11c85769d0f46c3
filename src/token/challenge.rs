//! `WWW-Authenticate` for refusals that have to do with the token (RFC 6750 §3).

use crate::reply::{Code, Refusal};

/// The protection space named in challenges.
const REALM: &str = "forecourt";

/// Adds the challenge to a refusal with status 401 or 403; `scope` is what the route asked for.
pub fn add(refusal: &mut Refusal, scope: Option<&str>) {
    let error = match refusal.code {
        // No credentials: no error code, RFC 6750 §3.1.
        Code::TokenMissing => None,
        Code::TokenAmbiguous => Some("invalid_request"),
        code => match code.status() {
            401 => Some("invalid_token"),
            403 => Some("insufficient_scope"),
            _ => return,
        },
    };
    let mut challenge = format!("Bearer realm=\"{REALM}\"");
    if let Some(error) = error {
        challenge += &format!(
            ", error=\"{error}\", error_description=\"{}\"",
            quotable(&refusal.detail)
        );
    }
    if let Some(scope) = scope {
        challenge += &format!(", scope=\"{}\"", quotable(scope));
    }
    refusal
        .headers
        .push(("www-authenticate".to_owned(), challenge));
}

/// The characters that RFC 6750 §3 leaves to `error_description` and `scope`.
fn quotable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' | '\\' => '\'',
            ' '..='~' => character,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn challenge(code: Code, detail: &'static str, scope: Option<&str>) -> Option<String> {
        let mut refusal = Refusal::new(code, detail);
        add(&mut refusal, scope);
        refusal.headers.pop().map(|(_, value)| value)
    }

    #[test]
    fn follows_rfc_6750() {
        assert_eq!(
            challenge(Code::TokenMissing, "d", None).as_deref(),
            Some(r#"Bearer realm="forecourt""#)
        );
        assert_eq!(
            challenge(Code::TokenExpired, "It has expired.", None).as_deref(),
            Some(
                r#"Bearer realm="forecourt", error="invalid_token", error_description="It has expired.""#
            )
        );
        assert_eq!(
            challenge(Code::ClaimMismatch, "d", Some("orders.write")).as_deref(),
            Some(
                r#"Bearer realm="forecourt", error="insufficient_scope", error_description="d", scope="orders.write""#
            )
        );
        assert_eq!(challenge(Code::KeysUnavailable, "d", None), None);
    }

    #[test]
    fn nothing_breaks_out_of_the_quotes() {
        assert_eq!(
            challenge(Code::ClaimMismatch, "a\"b\\c\r\nd\u{e9}", None).as_deref(),
            Some(
                r#"Bearer realm="forecourt", error="insufficient_scope", error_description="a'b'c??d?""#
            )
        );
    }
}
