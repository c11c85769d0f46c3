//! A route's caching rule, compiled: what it wants, and of which answers.

use super::{Asked, Tags, Validation, encoding, field, validate};
use crate::head::{Edit, RequestHead, ResponseHead};

/// A route's caching rule. The default one adds nothing to the safety rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Whether answers to verified requests may be shared.
    pub shared: bool,
    /// The cache in front.
    pub profile: Profile,
    /// What a cache of Envoy does with answers to verified requests.
    pub edge: Edge,
    /// What the route wants of answers that it expects: GET or HEAD, answered with one of
    /// [`EXPECTED`].
    pub base: Wish,
    /// What it wants of others, or of some of these: the first that fits is taken.
    pub cases: Vec<Case>,
    /// Field names for `Vary`, in lower case.
    pub vary: Vec<String>,
    /// The targeted field (RFC 9213), in lower case, that says what `s-maxage` would.
    pub targeted: Option<String>,
    /// Whether `Set-Cookie` is dropped from an answer that a shared cache may keep.
    pub strip_set_cookie: bool,
    /// `No-Vary-Search` for an answer without one.
    pub no_vary_search: Option<String>,
    /// Names under which caches can be told to drop the answers.
    pub tags: Tags,
    /// Content codings, best first, to which `Accept-Encoding` is brought down; empty: not at all.
    pub accept_encoding: Vec<String>,
    /// How answers are validated here; `None`: not at all.
    pub validation: Option<Validation>,
    /// The name, a token, under which `Cache-Status` tells what became of the answer.
    pub cache_status: Option<String>,
}

/// What a route wants of some answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What becomes of the origin's own lifetimes.
    pub mode: Mode,
    /// Who may keep it.
    pub keep: Keep,
    /// Seconds that it is fresh for a browser and, without `shared_ttl`, for every cache.
    pub ttl: Option<u32>,
    /// Seconds that it is fresh for a shared cache.
    pub shared_ttl: Option<u32>,
    /// Seconds that a stale answer may be used while a new one is fetched (RFC 5861 §3). Like the
    /// next two it goes with a lifetime of the route's own, and under [`Mode::Cap`] it is a limit.
    pub stale_while_revalidate: Option<u32>,
    /// Seconds that a stale answer may be used when the origin fails (RFC 5861 §4).
    pub stale_if_error: Option<u32>,
    /// The answer never changes while it is fresh (RFC 8246).
    pub immutable: bool,
    /// A stale answer must not be used at all (RFC 9111 §5.2.2.2); holds in every mode.
    pub must_revalidate: bool,
    /// [`Mode::Override`] goes over the origin's `private`, `no-store` and `no-cache` too.
    pub force: bool,
}

/// What becomes of the origin's own lifetimes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing but the safety rules.
    #[default]
    Off,
    /// They stand; what is doubtful is written anew in its strictest meaning.
    Respect,
    /// They stand; an answer without any gets the route's.
    Default,
    /// They stand up to the route's.
    Cap,
    /// The route's replace them.
    Override,
}

/// Who may keep an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Any cache that the origin and the safety rules allow.
    #[default]
    Any,
    /// The client's own cache only.
    Private,
    /// Nobody.
    Nobody,
}

/// The cache in front, whose ways the hints are made for.
///
#[doc = include_str!("profiles.md")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Any cache that keeps to RFC 9111.
    #[default]
    Generic,
    /// Browsers only; no shared cache is to keep anything.
    Browser,
    /// Google Cloud CDN.
    CloudCdn,
    /// Envoy's cache filters.
    EnvoyCache,
}

/// What a cache of Envoy, between the instance with the checks and the one with the hints, does
/// with answers to verified requests that are not shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// It passes them by.
    #[default]
    Bypass,
    /// It keeps them under a key of the caller's own.
    PerUser,
}

/// A wish for answers of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Statuses; empty: those of [`EXPECTED`].
    pub statuses: Vec<Statuses>,
    /// Media ranges that the answer's Content-Type is in; empty: any, even none.
    pub content_types: Vec<MediaRange>,
    /// Methods; empty: GET and HEAD.
    pub methods: Vec<String>,
    /// What is wanted of them.
    pub wish: Wish,
}

/// The statuses that a route's lifetime is meant for: successes and lasting redirects that RFC 9110
/// §15.1 lets caches keep, and 304, which renews a kept answer (RFC 9111 §4.3.4).
pub const EXPECTED: [u16; 8] = [200, 203, 204, 206, 300, 301, 304, 308];

impl Rule {
    /// What the route wants of this answer; `None` where the safety rules alone hold.
    pub fn wish(&self, asked: &Asked, answer: &ResponseHead) -> Option<&Wish> {
        // A 304 renews the 200 that a cache has, so it is under the same rule.
        let renews = answer.status()? == 304;
        let status = if renews { 200 } else { answer.status()? };
        let content_type = ContentType::read(answer);
        for case in &self.cases {
            if !case.is_of(&asked.method, status) {
                continue;
            }
            match content_type {
                _ if case.content_types.is_empty() => return case.wish.if_any(),
                // The kept answer may be in this case or not: nothing is said about it.
                ContentType::Absent if renews => return None,
                ContentType::Known(kind) if case.is_for(kind) => return case.wish.if_any(),
                _ => {}
            }
        }
        let expected = asked.is_retrieval() && EXPECTED.contains(&status);
        if expected { self.base.if_any() } else { None }
    }

    /// Whether [`Rule::decide`] takes the time for this answer: to tell how long one without Date lives
    /// that says when it expires, or to give it a Date.
    pub fn needs_time(&self, answer: &ResponseHead) -> bool {
        answer.headers.has("expires")
            || self.profile == Profile::EnvoyCache && !answer.headers.has("date")
    }

    /// The edits of a request on its way to the service and the caches before it.
    pub fn request_edits(&self, head: &RequestHead) -> Vec<Edit> {
        if !matches!(head.method(), b"GET" | b"HEAD") {
            return Vec::new();
        }
        let mut edits = Vec::new();
        if !self.accept_encoding.is_empty() {
            edits.extend(encoding::normalise(head, &self.accept_encoding));
        }
        // Envoy's cache passes every request with a client's own conditions by.
        if self.profile == Profile::EnvoyCache && self.validation.is_some() {
            edits.extend(validate::taken_over(head));
        }
        edits
    }
}

impl Wish {
    /// Seconds that a shared cache may take the answer as fresh.
    pub fn for_shared(&self) -> Option<u32> {
        self.shared_ttl.or(self.ttl)
    }

    fn if_any(&self) -> Option<&Self> {
        (self.mode != Mode::Off).then_some(self)
    }
}

impl Case {
    fn is_of(&self, method: &[u8], status: u16) -> bool {
        let of_method = match &*self.methods {
            [] => matches!(method, b"GET" | b"HEAD"),
            methods => methods.iter().any(|held| held.as_bytes() == method),
        };
        let of_status = match &*self.statuses {
            [] => EXPECTED.contains(&status),
            statuses => statuses.iter().any(|held| held.contain(status)),
        };
        of_method && of_status
    }

    fn is_for(&self, content_type: &[u8]) -> bool {
        self.content_types
            .iter()
            .any(|range| range.contains(content_type))
    }
}

/// One status, or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// This one.
    One(u16),
    /// All that begin with this digit.
    Class(u16),
}

impl Statuses {
    /// Reads `404` or `4xx`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(digit) = text.strip_suffix("xx") {
            let class = digit.parse().ok().filter(|class| (2..=5).contains(class))?;
            return (digit.len() == 1).then_some(Self::Class(class));
        }
        let status: u16 = text.parse().ok()?;
        (text.len() == 3 && (200..=599).contains(&status)).then_some(Self::One(status))
    }

    /// Whether the status is among them.
    pub fn contain(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => status / 100 == class,
        }
    }
}

/// A media range (RFC 9110 §12.5.1) without parameters: `text/html`, `image/*`, `*/*` or a suffix
/// such as `application/*+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    kind: String,
    subtype: String,
}

impl MediaRange {
    /// Reads a range; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, subtype) = text.split_once('/')?;
        let any = |part: &str| part == "*";
        let plain = |part: &str| field::is_token(part.as_bytes()) && !part.contains('*');
        let suffix = |part: &str| part.strip_prefix("*+").is_some_and(plain);
        let good = match any(kind) {
            true => any(subtype),
            false => plain(kind) && (plain(subtype) || any(subtype) || suffix(subtype)),
        };
        good.then(|| Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
        })
    }

    /// Whether the media type, without parameters and in any case, is in the range.
    pub fn contains(&self, essence: &[u8]) -> bool {
        let mut parts = essence.splitn(2, |byte| *byte == b'/');
        let (Some(kind), Some(subtype)) = (parts.next(), parts.next()) else {
            return false;
        };
        (self.kind == "*" || self.kind.as_bytes().eq_ignore_ascii_case(kind))
            && self.has_subtype(subtype)
    }

    fn has_subtype(&self, subtype: &[u8]) -> bool {
        match self.subtype.strip_prefix('*') {
            Some("") => true,
            Some(suffix) => subtype
                .len()
                .checked_sub(suffix.len())
                .and_then(|at| subtype.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
            None => self.subtype.as_bytes().eq_ignore_ascii_case(subtype),
        }
    }
}

/// The answer's Content-Type without its parameters.
#[derive(Clone, Copy)]
enum ContentType<'a> {
    Absent,
    /// Repeated, so it is in no range.
    Doubtful,
    Known(&'a [u8]),
}

impl<'a> ContentType<'a> {
    fn read(answer: &'a ResponseHead) -> Self {
        match answer.headers.single("content-type") {
            Ok(None) => Self::Absent,
            Err(_) => Self::Doubtful,
            Ok(Some(value)) => {
                let essence = value.split(|byte| *byte == b';').next();
                Self::Known(essence.unwrap_or_default().trim_ascii())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn statuses_are_one_or_a_class() {
        assert_eq!(Statuses::parse("404"), Some(Statuses::One(404)));
        assert_eq!(Statuses::parse("5xx"), Some(Statuses::Class(5)));
        for text in [
            "", "1xx", "6xx", "xx", "05xx", "199", "600", "0404", "+44", "4x4", "4XX",
        ] {
            assert_eq!(Statuses::parse(text), None, "{text}");
        }
        assert!(Statuses::Class(4).contain(499) && !Statuses::Class(4).contain(500));
    }

    #[test]
    fn media_ranges_hold_what_they_name() {
        for (range, inside, outside) in [
            ("text/html", "Text/HTML", "text/htmlx"),
            ("image/*", "image/png", "text/png"),
            ("*/*", "a/b", "a"),
            (
                "application/*+json",
                "application/problem+JSON",
                "application/json",
            ),
        ] {
            let range = MediaRange::parse(range).unwrap();
            assert!(range.contains(inside.as_bytes()), "{range:?} {inside}");
            assert!(!range.contains(outside.as_bytes()), "{range:?} {outside}");
        }
        for text in [
            "",
            "text",
            "*/html",
            "te*/html",
            "text/h*",
            "text/",
            "text/html; q=1",
            "a/b/c",
        ] {
            assert_eq!(MediaRange::parse(text), None, "{text}");
        }
    }
}
