//! `WWW-Authenticate` for refusals that have to do with the token (RFC 6750 §3, RFC 9470 §3).

use crate::reply::{Code, Refusal};

/// The protection space named in challenges.
const REALM: &str = "forecourt";

/// What a route asks of a token, as far as a challenge can say it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Scopes, with spaces between.
    pub scope: Option<String>,
    /// Longest time since the user signed in, in seconds.
    pub max_age: Option<u64>,
}

/// Adds the challenge to a refusal with status 401 or 403.
pub fn add(refusal: &mut Refusal, wanted: &Wanted) {
    let error = match (refusal.code, refusal.code.status()) {
        // No credentials: no error code, RFC 6750 §3.1.
        (Code::TokenMissing, _) => None,
        (Code::TokenAmbiguous, _) => Some("invalid_request"),
        (Code::AuthenticationTooOld, _) => Some("insufficient_user_authentication"),
        (_, 401) => Some("invalid_token"),
        (_, 403) => Some("insufficient_scope"),
        _ => return,
    };
    let mut challenge = format!("Bearer realm=\"{REALM}\"");
    if let Some(error) = error {
        let description = quotable(&refusal.detail);
        challenge += &format!(", error=\"{error}\", error_description=\"{description}\"");
    }
    if let (Code::ClaimMismatch, Some(scope)) = (refusal.code, &wanted.scope) {
        challenge += &format!(", scope=\"{}\"", quotable(scope));
    }
    if let (Code::AuthenticationTooOld, Some(max_age)) = (refusal.code, wanted.max_age) {
        challenge += &format!(", max_age=\"{max_age}\"");
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
        let wanted = Wanted {
            scope: scope.map(str::to_owned),
            max_age: Some(60),
        };
        add(&mut refusal, &wanted);
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
        assert_eq!(
            challenge(Code::AuthenticationTooOld, "d", None).as_deref(),
            Some(
                r#"Bearer realm="forecourt", error="insufficient_user_authentication", error_description="d", max_age="60""#
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
