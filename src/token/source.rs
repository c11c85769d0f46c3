//! Where a request carries its token, and how it is taken out again.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode;

use crate::head::{Edit, Headers, RequestHead};

/// One place to look for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A header, named in lower case.
    Header {
        /// Its name.
        name: String,
        /// What stands before the token.
        lead: Lead,
    },
    /// A cookie (RFC 6265 §5.4), by its exact name.
    Cookie(String),
    /// A query parameter, by its exact name once percent-decoded (RFC 6750 §2.3).
    Query(String),
}

/// What stands before a token in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// Nothing: the field is the token.
    Nothing,
    /// An authentication scheme (RFC 9110 §11.1) in any case, then spaces.
    Scheme(String),
    /// This text, exactly.
    Prefix(String),
}

/// What was found in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// No token.
    Nothing,
    /// This one, not looked at yet.
    Token(Cow<'a, [u8]>),
    /// More than one.
    Several,
}

impl Source {
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    pub fn bearer() -> Self {
        Self::Header {
            name: "authorization".to_owned(),
            lead: Lead::Scheme("Bearer".to_owned()),
        }
    }

    /// Looks for a token. A place that holds something else, such as credentials of another
    /// scheme, holds no token; one that is there twice is never resolved by picking one.
    pub fn find<'a>(&self, head: &'a RequestHead) -> Found<'a> {
        match self {
            Self::Header { name, lead } => match head.headers.single(name) {
                Err(_) => Found::Several,
                Ok(field) => match field.and_then(|value| lead.strip(value)) {
                    None => Found::Nothing,
                    // Envoy joins repeated fields with a comma, which no token holds.
                    Some(token) if token.contains(&b',') => Found::Several,
                    Some(token) => Found::Token(Cow::Borrowed(token)),
                },
            },
            Self::Cookie(name) => only(
                cookies(&head.headers)
                    .filter(|pair| is_cookie(pair, name))
                    .map(|pair| Cow::Borrowed(value_of(pair))),
            ),
            Self::Query(name) => only(
                parameters(head.target())
                    .filter(|pair| is_parameter(pair, name))
                    .map(|pair| percent_decode(value_of(pair)).into()),
            ),
        }
    }

    /// Whether there is anything in this place, be it a token of this kind or not.
    pub fn is_filled(&self, head: &RequestHead) -> bool {
        match self {
            Self::Header { name, .. } => head.headers.has(name),
            Self::Cookie(name) => cookies(&head.headers).any(|pair| is_cookie(pair, name)),
            Self::Query(name) => parameters(head.target()).any(|pair| is_parameter(pair, name)),
        }
    }

    /// The header that it is, if it is one.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::Cookie(_) | Self::Query(_) => None,
        }
    }

    /// The edit that takes the token out, everything else in its place left as it is.
    pub fn strip(&self, head: &RequestHead) -> Edit {
        match self {
            Self::Header { name, .. } => Edit::Remove(name.clone()),
            Self::Cookie(name) => {
                let kept = cookies(&head.headers).filter(|pair| !is_cookie(pair, name));
                let kept: Vec<_> = kept.collect();
                if kept.is_empty() {
                    Edit::Remove("cookie".to_owned())
                } else {
                    Edit::Set("cookie".to_owned(), kept.join(&b"; "[..]))
                }
            }
            Self::Query(name) => {
                let kept = parameters(head.target()).filter(|pair| !is_parameter(pair, name));
                let kept: Vec<_> = kept.collect();
                let (path, _) = split_query(head.target());
                let mut target = path.to_vec();
                if !kept.is_empty() {
                    target.push(b'?');
                    target.extend(kept.join(&b'&'));
                }
                Edit::Set(":path".to_owned(), target)
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, lead } => match lead {
                Lead::Nothing => write!(f, "header {name}"),
                Lead::Scheme(scheme) => write!(f, "header {name} with scheme {scheme}"),
                Lead::Prefix(prefix) => write!(f, "header {name} with prefix {prefix:?}"),
            },
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
        }
    }
}

impl Lead {
    fn strip<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let value = value.trim_ascii();
        match self {
            Self::Nothing => (!value.is_empty()).then_some(value),
            Self::Prefix(prefix) => value.strip_prefix(prefix.as_bytes()),
            Self::Scheme(scheme) => {
                let (given, rest) = value.split_at_checked(scheme.len())?;
                // The scheme alone is a token that is missing its characters, not another scheme.
                let ends_here = rest.is_empty() || rest.first() == Some(&b' ');
                (given.eq_ignore_ascii_case(scheme.as_bytes()) && ends_here)
                    .then_some(rest.trim_ascii_start())
            }
        }
    }
}

fn only<'a>(mut tokens: impl Iterator<Item = Cow<'a, [u8]>>) -> Found<'a> {
    match (tokens.next(), tokens.next()) {
        (None, _) => Found::Nothing,
        (Some(token), None) => Found::Token(token),
        (Some(_), Some(_)) => Found::Several,
    }
}

/// The `name=value` pairs of all `Cookie` fields; HTTP/2 may split them (RFC 9113 §8.2.3).
fn cookies(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    headers
        .all("cookie")
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

fn is_cookie(pair: &[u8], name: &str) -> bool {
    name_of(pair).trim_ascii() == name.as_bytes()
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut halves = target.splitn(2, |byte| *byte == b'?');
    (halves.next().unwrap_or_default(), halves.next())
}

fn parameters(target: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (_, query) = split_query(target);
    query
        .into_iter()
        .flat_map(|query| query.split(|byte| *byte == b'&'))
}

/// Compares the decoded name, so that no spelling of it hides a second token.
fn is_parameter(pair: &[u8], name: &str) -> bool {
    percent_decode(name_of(pair)).eq(name.bytes())
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn value_of(pair: &[u8]) -> &[u8] {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    halves.nth(1).unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        RequestHead {
            headers: Headers::new(fields.collect()),
        }
    }

    fn authorization(value: &str) -> RequestHead {
        head(&[("Authorization", value)])
    }

    fn token(text: &str) -> Found<'_> {
        Found::Token(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn the_scheme_has_any_case_and_spaces_after_it() {
        for value in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER  a.b.c",
            " Bearer a.b.c ",
        ] {
            let head = authorization(value);
            assert_eq!(Source::bearer().find(&head), token("a.b.c"), "{value:?}");
        }
        assert_eq!(Source::bearer().find(&authorization("Bearer")), token(""));
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
            let head = authorization(value);
            assert_eq!(Source::bearer().find(&head), Found::Nothing, "{value:?}");
        }
        assert_eq!(Source::bearer().find(&head(&[])), Found::Nothing);
    }

    #[test]
    fn a_repeated_field_is_ambiguous_whatever_it_holds() {
        for [first, second] in [["Bearer a.b.c"; 2], ["Bearer a.b.c", "Basic x"], ["", ""]] {
            let head = head(&[("authorization", first), ("authorization", second)]);
            assert_eq!(Source::bearer().find(&head), Found::Several);
        }
        let joined = authorization("Bearer a.b.c,Bearer a.b.c");
        assert_eq!(Source::bearer().find(&joined), Found::Several);
    }

    #[test]
    fn headers_may_hold_the_token_bare_or_after_a_prefix() {
        let iap = Source::Header {
            name: "x-goog-iap-jwt-assertion".into(),
            lead: Lead::Nothing,
        };
        let request = head(&[("x-goog-iap-jwt-assertion", "a.b.c")]);
        assert_eq!(iap.find(&request), token("a.b.c"));
        let empty = head(&[("x-goog-iap-jwt-assertion", "")]);
        assert_eq!(iap.find(&empty), Found::Nothing);
        assert!(iap.is_filled(&empty) && !iap.is_filled(&head(&[])));
        assert_eq!(
            iap.strip(&request),
            Edit::Remove("x-goog-iap-jwt-assertion".into())
        );
        let prefixed = Source::Header {
            name: "x-token".into(),
            lead: Lead::Prefix("jwt:".into()),
        };
        assert_eq!(
            prefixed.find(&head(&[("x-token", "jwt:a.b.c")])),
            token("a.b.c")
        );
        assert_eq!(
            prefixed.find(&head(&[("x-token", "JWT:a.b.c")])),
            Found::Nothing
        );
    }

    #[test]
    fn cookies_are_found_by_exact_name_and_taken_out_alone() {
        let source = Source::Cookie("session".into());
        for (fields, expected, stripped) in [
            (
                vec![("cookie", "a=1; session=a.b.c; b=2")],
                token("a.b.c"),
                Edit::Set("cookie".into(), b"a=1; b=2".to_vec()),
            ),
            (
                vec![("cookie", "a=1"), ("cookie", "session=a.b.c")],
                token("a.b.c"),
                Edit::Set("cookie".into(), b"a=1".to_vec()),
            ),
            (
                vec![("cookie", "session=a.b.c")],
                token("a.b.c"),
                Edit::Remove("cookie".into()),
            ),
            (
                vec![("cookie", "session=x; session=a.b.c")],
                Found::Several,
                Edit::Remove("cookie".into()),
            ),
            (
                vec![("cookie", "session=x"), ("cookie", "session=x")],
                Found::Several,
                Edit::Remove("cookie".into()),
            ),
            (
                vec![("cookie", "Session=x; xsession=y; session2=z; session")],
                token(""),
                Edit::Set(
                    "cookie".into(),
                    b"Session=x; xsession=y; session2=z".to_vec(),
                ),
            ),
        ] {
            let head = head(&fields);
            assert_eq!(source.find(&head), expected, "{fields:?}");
            assert_eq!(source.strip(&head), stripped, "{fields:?}");
            assert!(source.is_filled(&head), "{fields:?}");
        }
        assert_eq!(source.find(&head(&[])), Found::Nothing);
        assert!(!source.is_filled(&head(&[("cookie", "Session=x; xsession=y")])));
    }

    #[test]
    fn query_parameters_are_found_however_they_are_spelt_and_taken_out_alone() {
        let source = Source::Query("access_token".into());
        for (target, expected, stripped) in [
            ("/p?access_token=a.b.c", token("a.b.c"), "/p"),
            (
                "/p?x=1&access_token=a.b.c&y=%20",
                token("a.b.c"),
                "/p?x=1&y=%20",
            ),
            ("/p?access%5Ftoken=a%2Eb.c", token("a.b.c"), "/p"),
            ("/p?access_token=a&access_token=b", Found::Several, "/p"),
            (
                "/p?access_token=a&%61ccess_token=b&z",
                Found::Several,
                "/p?z",
            ),
            ("/p?access_token", token(""), "/p"),
            ("/p?Access_token=a", Found::Nothing, "/p?Access_token=a"),
            ("/p?a=access_token=b", Found::Nothing, "/p?a=access_token=b"),
            ("/p?a?access_token=b", Found::Nothing, "/p?a?access_token=b"),
            ("/access_token=a", Found::Nothing, "/access_token=a"),
        ] {
            let head = head(&[(":path", target)]);
            assert_eq!(source.find(&head), expected, "{target}");
            assert_eq!(source.is_filled(&head), expected != Found::Nothing);
            let edit = Edit::Set(":path".into(), stripped.as_bytes().to_vec());
            assert_eq!(source.strip(&head), edit, "{target}");
        }
    }
}
