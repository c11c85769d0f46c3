//! URIs and IRIs: their syntax (RFC 3986, RFC 3987) and how a relative reference is resolved.

use std::net::Ipv6Addr;

/// The five parts of a reference (RFC 3986 appendix B).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parts<'t> {
    scheme: Option<&'t str>,
    authority: Option<&'t str>,
    path: &'t str,
    query: Option<&'t str>,
    fragment: Option<&'t str>,
}

impl<'t> Parts<'t> {
    /// Splits any text; what the parts hold is not checked.
    fn split(text: &'t str) -> Self {
        let (text, fragment) = cut(text, '#');
        let (text, query) = cut(text, '?');
        let (scheme, text) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, text),
        };
        let (authority, path) = match text.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
            None => (None, text),
        };
        Self {
            scheme,
            authority,
            path,
            query,
            fragment,
        }
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// What `reference` means where `base` is the base, without its fragment, and that fragment
/// (RFC 3986 §5.2).
pub fn resolve<'r>(base: &str, reference: &'r str) -> (String, &'r str) {
    let base = Parts::split(base);
    let relative = Parts::split(reference);
    let mut target = Parts {
        fragment: None,
        ..relative
    };
    let path;
    if relative.scheme.is_none() {
        target.scheme = base.scheme;
        if relative.authority.is_none() {
            target.authority = base.authority;
            if relative.path.is_empty() {
                target.query = relative.query.or(base.query);
                path = base.path.to_owned();
            } else if relative.path.starts_with('/') {
                path = without_dots(relative.path);
            } else {
                path = without_dots(&merge(base, relative.path));
            }
        } else {
            path = without_dots(relative.path);
        }
    } else {
        path = without_dots(relative.path);
    }
    target.path = &path;
    (join(target), relative.fragment.unwrap_or_default())
}

fn merge(base: Parts<'_>, path: &str) -> String {
    if base.authority.is_some() && base.path.is_empty() {
        return format!("/{path}");
    }
    let folder = base.path.rfind('/').map_or(0, |end| end + 1);
    format!("{}{path}", base.path.get(..folder).unwrap_or_default())
}

/// Takes out `.` and `..` (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    if !path.contains('.') {
        return path.to_owned();
    }
    let absolute = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    let mut folder = false;
    for segment in path.trim_start_matches('/').split('/') {
        folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let lead = if absolute { "/" } else { "" };
    let trail = if folder && !kept.is_empty() { "/" } else { "" };
    format!("{lead}{}{trail}", kept.join("/"))
}

fn join(parts: Parts<'_>) -> String {
    let mut text = String::new();
    for (before, part, after) in [
        ("", parts.scheme, ":"),
        ("//", parts.authority, ""),
        ("", Some(parts.path), ""),
        ("?", parts.query, ""),
    ] {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(part);
            text.push_str(after);
        }
    }
    text
}

/// Which characters a text may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// ASCII alone (RFC 3986).
    Uri,
    /// Letters of all scripts too (RFC 3987).
    Iri,
}

/// Whether the text is a URI or IRI with a scheme.
pub fn is_absolute(text: &str, alphabet: Alphabet) -> bool {
    Parts::split(text).scheme.is_some() && is_reference(text, alphabet)
}

/// Whether the text is a URI or IRI reference: relative, or with a scheme.
pub fn is_reference(text: &str, alphabet: Alphabet) -> bool {
    let parts = Parts::split(text);
    // `1a:b` would otherwise be a path whose first segment holds a colon (RFC 3986 §4.2).
    let opaque = parts.scheme.is_none() && parts.authority.is_none();
    let first = parts.path.split('/').next().unwrap_or_default();
    let fits = |text: &str, marks: &str, private: bool| holds(text, marks, alphabet, private);
    !(opaque && first.contains(':'))
        && parts
            .authority
            .is_none_or(|authority| is_authority(authority, alphabet))
        && fits(parts.path, ":@/", false)
        && parts.query.is_none_or(|query| fits(query, ":@/?", true))
        && parts
            .fragment
            .is_none_or(|fragment| fits(fragment, ":@/?", false))
}

fn is_authority(text: &str, alphabet: Alphabet) -> bool {
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", text),
    };
    let (host, port, bracketed) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inner, "")) => (inner, "", true),
            Some((inner, rest)) => match rest.strip_prefix(':') {
                Some(port) => (inner, port, true),
                None => return false,
            },
            None => return false,
        },
        None => {
            let (host, port) = host.split_once(':').unwrap_or((host, ""));
            (host, port, false)
        }
    };
    let named = if bracketed {
        host.parse::<Ipv6Addr>().is_ok() || is_future_address(host)
    } else {
        holds(host, "", alphabet, false)
    };
    named && port.bytes().all(|byte| byte.is_ascii_digit()) && holds(user, ":", alphabet, false)
}

/// `IPvFuture` (RFC 3986 §3.2.2).
fn is_future_address(text: &str) -> bool {
    let rest = text.strip_prefix(['v', 'V']);
    let parts = rest.and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(version, address)| {
        !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !address.is_empty()
            && !address.contains('%')
            && holds(address, ":", Alphabet::Uri, false)
    })
}

/// Whether the text holds nothing but unreserved characters, sub-delimiters, percent-encoded bytes
/// and `marks`.
fn holds(text: &str, marks: &str, alphabet: Alphabet, private: bool) -> bool {
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        let fits = match next {
            '%' => {
                let mut hex = || chars.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                hex() && hex()
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' => true,
            '!' | '$' | '&' | '\'' | '(' | ')' | '*' | '+' | ',' | ';' | '=' => true,
            other if other.is_ascii() => marks.contains(other),
            other => alphabet == Alphabet::Iri && (is_ucs(other) || private && is_private(other)),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// `ucschar` (RFC 3987 §2.2).
fn is_ucs(char: char) -> bool {
    let code = u32::from(char);
    match code {
        0xA0..=0xD7FF | 0xF900..=0xFDCF | 0xFDF0..=0xFFEF => true,
        0xE0000..=0xE0FFF => false,
        0x10000..=0xEFFFF => code & 0xFFFF < 0xFFFE,
        _ => false,
    }
}

/// `iprivate` (RFC 3987 §2.2), allowed in queries alone.
fn is_private(char: char) -> bool {
    let code = u32::from(char);
    matches!(code, 0xE000..=0xF8FF) || code >= 0xF0000 && code & 0xFFFF < 0xFFFE
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn references_are_resolved_as_rfc_3986_section_5_4_lists_them() {
        for (reference, expected) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g.", "http://a/b/c/g."),
        ] {
            let (resolved, fragment) = resolve("http://a/b/c/d;p?q", reference);
            assert_eq!((resolved.as_str(), fragment), (expected, ""), "{reference}");
        }
        assert_eq!(
            resolve("http://a/b#c", "#d"),
            ("http://a/b".to_owned(), "d")
        );
        assert_eq!(resolve("urn:x:y", "#d/e"), ("urn:x:y".to_owned(), "d/e"));
        assert_eq!(resolve("http://a", "b"), ("http://a/b".to_owned(), ""));
    }

    #[test]
    fn syntax_is_that_of_the_rfcs() {
        for (text, absolute, reference) in [
            ("http://a.example/b?c#d", true, true),
            ("urn:oasis:names", true, true),
            ("mailto:a@b.example", true, true),
            ("http://[::1]:80/", true, true),
            ("http://[v1.a:b]/", true, true),
            ("http://user:pass@a.example:/", true, true),
            ("/a/b", false, true),
            ("", false, true),
            ("//a", false, true),
            ("a:b:c", true, true),
            ("1a:b", false, false),
            ("http://a b", false, false),
            ("http://a/%zz", false, false),
            ("http://a/%4", false, false),
            ("http://[::1", false, false),
            ("http://[::1]x", false, false),
            ("http://a:8o/", false, false),
            ("http://a/\\b", false, false),
            ("http://a/{b}", false, false),
            ("#a#b", false, false),
            ("http://é.example/", false, false),
            ("://a", false, false),
        ] {
            assert_eq!(is_absolute(text, Alphabet::Uri), absolute, "{text}");
            assert_eq!(is_reference(text, Alphabet::Uri), reference, "{text}");
        }
        assert!(is_absolute("http://é.example/ß?\u{e000}", Alphabet::Iri));
        assert!(!is_absolute("http://é.example/\u{e000}", Alphabet::Iri));
        assert!(!is_absolute("http://é.example/\u{fdd0}", Alphabet::Iri));
    }
}
