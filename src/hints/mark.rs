//! What the instance before a cache tells the one behind it.
//!
//! A filter behind Envoy's cache sees neither tokens that were taken out nor, where the host was
//! rewritten, which route a request took. The instance before it says so in [`MARK`], a field that is
//! removed from every client's request first and that no service gets to see. A request whose answer
//! may be for one caller only also gets [`BYPASS`] as `Authorization` where it has none left: that
//! field is what keeps Envoy's caches from answering it, and from keeping its answer.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::{Asked, Rule};

/// The field that carries the mark.
pub const MARK: &str = "x-forecourt-asked";
/// The value of an `Authorization` that is there for caches alone.
pub const BYPASS: &[u8] = b"Forecourt-Bypass";

const ENCODED: &AsciiSet = NON_ALPHANUMERIC;

/// What is told of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its route's index and name; both must fit, since the two instances may for a moment run
    /// different policies.
    pub route: Option<(usize, String)>,
    /// A token was verified for it.
    pub verified: bool,
    /// It carried credentials.
    pub credentials: bool,
    /// Its answer is nobody else's, and the cache passes it by.
    pub personal: bool,
    /// Its answer is nobody else's, and the cache keeps it under the caller's own key.
    pub own_key: bool,
    /// The values of the path template's names.
    pub parameters: Vec<(String, Vec<u8>)>,
}

impl Mark {
    /// The mark of a request under a rule, without a key of the caller's own.
    pub fn of(asked: &Asked, rule: &Rule, route: Option<(usize, String)>) -> Self {
        Self {
            route,
            verified: asked.verified,
            credentials: asked.credentials,
            personal: asked.has_credentials() && !rule.shared,
            own_key: false,
            parameters: if rule.tags.is_empty() {
                Vec::new()
            } else {
                asked.parameters.clone()
            },
        }
    }

    /// Its text: flags, index, name and parameters, percent-encoded with `;` and `=` between.
    pub fn print(&self) -> String {
        let flags = [
            (self.verified, 'v'),
            (self.credentials, 'c'),
            (self.personal, 'p'),
            (self.own_key, 'k'),
        ];
        let mut text: String = flags
            .iter()
            .filter_map(|(held, flag)| held.then_some(*flag))
            .collect();
        if let Some((index, name)) = &self.route {
            text += &format!(";{index};{}", encoded(name.as_bytes()));
        }
        for (name, value) in &self.parameters {
            text += &format!(";{}={}", encoded(name.as_bytes()), encoded(value));
        }
        text
    }

    /// Reads a mark; `None` where it is not as [`Self::print`] writes one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut parts = text.split(';');
        let mut mark = Self::default();
        for flag in parts.next()?.chars() {
            match flag {
                'v' => mark.verified = true,
                'c' => mark.credentials = true,
                'p' => mark.personal = true,
                'k' => mark.own_key = true,
                _ => return None,
            }
        }
        if let Some(index) = parts.next() {
            let name = String::from_utf8(decoded(parts.next()?)).ok()?;
            mark.route = Some((index.parse().ok()?, name));
        }
        for part in parts {
            let (name, value) = part.split_once('=')?;
            let name = String::from_utf8(decoded(name)).ok()?;
            mark.parameters.push((name, decoded(value)));
        }
        (mark.print() == text).then_some(mark)
    }
}

fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, ENCODED).to_string()
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_mark_comes_back_as_it_was_written() {
        let full = Mark {
            route: Some((7, "GET /a;b=\u{e9}".into())),
            verified: true,
            credentials: true,
            personal: true,
            own_key: true,
            parameters: vec![("id".into(), b"\xff;=\r\n".to_vec()), ("".into(), vec![])],
        };
        let plain = Mark {
            route: Some((0, String::new())),
            ..Mark::default()
        };
        for mark in [full, plain, Mark::default()] {
            let text = mark.print();
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert_eq!(Mark::parse(text.as_bytes()), Some(mark), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_mark() {
        for text in [
            &b"x"[..],
            b"pv",
            b"kv",
            b"vv",
            b"v;1",
            b"v;a;b",
            b"v;01;b",
            b"v;1;a b",
            b"v;1;b;c",
            b"v;1;b,v;1;b",
            b"v;1;%C3",
            b"\xff",
        ] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_shared_rule_shares_what_came_with_credentials() {
        let shared = Rule {
            shared: true,
            ..Rule::default()
        };
        let asked = |verified, credentials| Asked {
            verified,
            credentials,
            ..Asked::default()
        };
        for (asked, rule, personal) in [
            (asked(false, false), &Rule::default(), false),
            (asked(true, false), &Rule::default(), true),
            (asked(false, true), &Rule::default(), true),
            (asked(true, true), &shared, false),
        ] {
            assert_eq!(Mark::of(&asked, rule, None).personal, personal);
        }
    }
}
