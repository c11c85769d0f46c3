//! Where a request carries its token.

use crate::head::RequestHead;

/// What was found in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// No token.
    Nothing,
    /// This one, not looked at yet.
    Token(&'a [u8]),
    /// More than one.
    Several,
}

/// Looks for `Authorization: Bearer` (RFC 6750 §2.1). Credentials of another scheme are no token;
/// a repeated field is never resolved by picking one.
pub fn bearer(head: &RequestHead) -> Found<'_> {
    let Ok(field) = head.headers.single("authorization") else {
        return Found::Several;
    };
    match field.and_then(after_bearer) {
        None => Found::Nothing,
        // Envoy joins repeated `Authorization` fields with a comma, which no token holds.
        Some(token) if token.contains(&b',') => Found::Several,
        Some(token) => Found::Token(token),
    }
}

/// The credentials after the scheme, which is compared without regard to case (RFC 9110 §11.1).
fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = value.trim_ascii().split_at_checked(SCHEME.len())?;
    let credentials = rest.trim_ascii_start();
    // "Bearer" alone is a token that is missing its characters, not another scheme.
    let ends_here = rest.is_empty() || rest.first() == Some(&b' ');
    (scheme.eq_ignore_ascii_case(SCHEME) && ends_here).then_some(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Headers;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn head(values: &[&str]) -> RequestHead {
        let fields = values
            .iter()
            .map(|value| (b"Authorization".to_vec(), value.as_bytes().to_vec()));
        RequestHead {
            headers: Headers::new(fields.collect()),
        }
    }

    #[test]
    fn the_scheme_has_any_case_and_spaces_after_it() {
        for value in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER  a.b.c",
            " Bearer a.b.c ",
        ] {
            assert_eq!(bearer(&head(&[value])), Found::Token(b"a.b.c"), "{value:?}");
        }
        assert_eq!(bearer(&head(&["Bearer"])), Found::Token(b""));
    }

    #[test]
    fn other_credentials_are_no_token() {
        for value in [
            "",
            "Basic a.b.c",
            "Bearerish a.b.c",
            "a.b.c",
            "Bearer\ta.b.c",
            "Bear",
        ] {
            assert_eq!(bearer(&head(&[value])), Found::Nothing, "{value:?}");
        }
        assert_eq!(bearer(&head(&[])), Found::Nothing);
    }

    #[test]
    fn a_repeated_field_is_ambiguous_whatever_it_holds() {
        for values in [
            ["Bearer a.b.c", "Bearer a.b.c"],
            ["Bearer a.b.c", "Basic x"],
            ["", ""],
        ] {
            assert_eq!(bearer(&head(&values)), Found::Several);
        }
        let joined = head(&["Bearer a.b.c,Bearer a.b.c"]);
        assert_eq!(bearer(&joined), Found::Several);
    }
}
