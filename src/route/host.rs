//! Hosts: exact, or `*.` in front of a suffix.

use std::borrow::Cow;

/// A host that a route answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(String),
    /// Any host below this suffix, which begins with a dot; not the suffix itself.
    Below(String),
}

impl HostPattern {
    /// Reads `api.example.com` or `*.example.com`; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err("`*` stands for whole labels at the front: `*.example.com`".into());
        }
        if name.contains(['/', ':', '@', '?', '#']) && !name.starts_with('[') {
            return Err("a host has no scheme, port or path: `api.example.com`".into());
        }
        let host = normal(name.as_bytes()).filter(|host| !host.is_empty());
        let host = host.ok_or("a host is letters, digits, `-` and dots, or `[…]` for IPv6")?;
        Ok(if below {
            Self::Below(format!(".{host}"))
        } else {
            Self::Exact(host.into_owned())
        })
    }
}

/// What `*.` may stand in front of for a host in normal form, from long to short.
pub(super) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    let dots = host.match_indices('.').filter(|(at, _)| *at > 0);
    dots.filter_map(|(at, _)| host.get(at..))
}

/// A host in the form it is compared in: lower case, no port, no final dot. `None` for what is no
/// host (RFC 9110 §4.2.3, RFC 3986 §3.2.2).
pub fn normal(authority: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(authority).ok()?;
    let host = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            is_port(port).then_some(())?;
            let plain = |c: u8| c.is_ascii_hexdigit() || matches!(c, b':' | b'.');
            address.bytes().all(plain).then_some(())?;
            text.get(..address.len() + 2)?
        }
        None => {
            let (host, port) = match text.find(':') {
                Some(at) => text.split_at(at),
                None => (text, ""),
            };
            is_port(port).then_some(())?;
            let host = host.strip_suffix('.').unwrap_or(host);
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
            host.bytes().all(plain).then_some(host)?
        }
    };
    Some(match host.bytes().any(|c| c.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    })
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|c| c.is_ascii_digit()),
        None => text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn hosts_have_one_form() {
        for (given, host) in [
            ("API.Example.com", Some("api.example.com")),
            ("a.test:8080", Some("a.test")),
            ("a.test.", Some("a.test")),
            ("[::1]:80", Some("[::1]")),
            ("", Some("")),
            ("a b", None),
            ("a.test:8o", None),
            ("user@a.test", None),
            ("[::1", None),
        ] {
            assert_eq!(normal(given.as_bytes()).as_deref(), host, "{given}");
        }
        assert_eq!(normal(b"\xff"), None);
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a.*",
            "https://a.test",
            "a.test:80",
            "a.test/x",
            "a b",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
