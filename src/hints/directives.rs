//! The cache directives of a response (RFC 9111 §5.2.2): read to the strictest meaning, printed in
//! one form.

use std::fmt;

use super::field::{self, Member};
use super::rule::Keep;

/// The longest lifetime that is written: RFC 9111 §1.2.2 lets a reader take anything greater as
/// this.
pub const MAX_SECONDS: u32 = 1 << 31;

/// A directive that may be limited to named fields (RFC 9111 §5.2.2.4, §5.2.2.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Not there.
    #[default]
    Absent,
    /// Of these fields only, in lower case. Many caches read it as [`Scope::Whole`], and so do the
    /// safety rules.
    Fields(Vec<String>),
    /// Of the whole response.
    Whole,
}

impl Scope {
    /// Whether it is there in either form.
    pub fn is_set(&self) -> bool {
        *self != Self::Absent
    }

    fn widen(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Whole, _) | (_, Self::Absent) => {}
            (Self::Fields(held), Self::Fields(more)) => {
                for name in more {
                    if !held.contains(&name) {
                        held.push(name);
                    }
                }
            }
            (_, other) => *self = other,
        }
    }
}

/// What one response's Cache-Control says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `private` (§5.2.2.7).
    pub private: Scope,
    /// `no-store` (§5.2.2.5).
    pub no_store: bool,
    /// `no-cache` (§5.2.2.4).
    pub no_cache: Scope,
    /// `max-age` (§5.2.2.1), seconds.
    pub max_age: Option<u32>,
    /// `s-maxage` (§5.2.2.10), seconds.
    pub s_maxage: Option<u32>,
    /// `must-revalidate` (§5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (§5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (§5.2.2.3).
    pub must_understand: bool,
    /// `no-transform` (§5.2.2.6).
    pub no_transform: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `stale-while-revalidate` (RFC 5861 §3), seconds.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` (RFC 5861 §4), seconds.
    pub stale_if_error: Option<u32>,
    /// Directives that nobody here knows, in order, passed on as they are (§5.2.3).
    pub extensions: Vec<(String, Option<String>)>,
}

/// A reading of one response's Cache-Control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What it says.
    pub directives: Directives,
    /// Whether another reader could have read something else: a piece that is no directive, a
    /// number that is none, a directive twice.
    pub doubtful: bool,
}

/// Reads the lines of a Cache-Control field.
///
/// Of a repeated directive the stricter one holds. A lifetime that is no number is 0: RFC 9111
/// §4.2.1 asks caches to take such a response as stale. In a piece that cannot be read the
/// restrictions still count; a permission does not.
pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Reading {
    let mut reading = Reading::default();
    for member in field::members(lines) {
        match member {
            Member::Directive(name, value) => {
                reading.take(&name.to_ascii_lowercase(), value.as_deref());
            }
            Member::Unreadable(piece) => reading.salvage(piece),
        }
    }
    reading
}

impl Reading {
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let held = &mut self.directives;
        let mut doubtful = false;
        match name {
            b"max-age" => doubtful = shorten(&mut held.max_age, value),
            b"s-maxage" => doubtful = shorten(&mut held.s_maxage, value),
            b"stale-while-revalidate" => {
                doubtful = shorten(&mut held.stale_while_revalidate, value);
            }
            b"stale-if-error" => doubtful = shorten(&mut held.stale_if_error, value),
            b"private" => held.private.widen(scope(value)),
            b"no-cache" => held.no_cache.widen(scope(value)),
            b"no-store" => held.no_store = true,
            b"must-revalidate" => held.must_revalidate = true,
            b"proxy-revalidate" => held.proxy_revalidate = true,
            b"must-understand" => held.must_understand = true,
            b"no-transform" => held.no_transform = true,
            // A permission with an argument that it cannot have is none.
            b"public" if value.is_none() => held.public = true,
            b"public" => doubtful = true,
            // Arguments of it have no meaning and are ignored (RFC 8246 §2).
            b"immutable" => held.immutable = true,
            _ => doubtful = !held.extend(name, value),
        }
        self.doubtful |= doubtful;
    }

    fn salvage(&mut self, piece: &[u8]) {
        self.doubtful = true;
        for word in field::words(piece) {
            match &*word {
                b"private" | b"no-store" | b"no-cache" | b"must-revalidate"
                | b"proxy-revalidate" | b"no-transform" => self.take(&word, None),
                b"max-age" | b"s-maxage" => self.take(&word, Some(b"")),
                _ => {}
            }
        }
    }
}

impl Directives {
    /// Whether the response allows a shared cache nothing by itself (RFC 9111 §3).
    pub fn forbids_sharing(&self) -> bool {
        self.no_store || self.private.is_set()
    }

    /// Whether any directive limits storing or using a stored response without asking again.
    pub fn forbids_reuse(&self) -> bool {
        self.no_store || self.no_cache.is_set()
    }

    /// Whether a lifetime is stated here.
    pub fn has_lifetime(&self) -> bool {
        self.max_age.is_some() || self.s_maxage.is_some()
    }

    /// Limits storing to the client's own cache. What was stricter stays so.
    ///
    /// `public`, `s-maxage` and `must-understand` go: each of them is a permission to a cache that
    /// weighs them against `private` or `no-store` differently (RFC 9111 §3.5, §5.2.2.3).
    pub fn make_private(&mut self) {
        self.public = false;
        self.s_maxage = None;
        self.must_understand = false;
        if !self.no_store {
            self.private = Scope::Whole;
        }
    }

    /// Forbids storing at all. Nothing else has a meaning beside it, but `no-transform`.
    pub fn make_no_store(&mut self) {
        *self = Self {
            no_store: true,
            no_transform: self.no_transform,
            ..Self::default()
        };
    }

    /// Puts the route's limits on keeping and using the answer in the place of the origin's.
    /// `no-transform` stays: it is not about keeping.
    pub fn lift_limits(&mut self, keep: Keep) {
        self.no_store = false;
        self.no_cache = Scope::Absent;
        self.must_revalidate = false;
        self.proxy_revalidate = false;
        self.must_understand = false;
        self.private = match keep {
            Keep::Any => Scope::Absent,
            Keep::Private | Keep::Nobody => Scope::Whole,
        };
    }

    /// The value of a targeted field (RFC 9213) that says the same to shared caches, with their
    /// own lifetime.
    pub fn targeted_twin(&self, seconds: u32) -> String {
        Self {
            max_age: Some(seconds),
            must_revalidate: self.must_revalidate,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            ..Self::default()
        }
        .to_string()
    }

    fn extend(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (Some(name), Ok(value)) = (
            text(name),
            value.map_or(Ok(None), |value| text(value).map(Some).ok_or(())),
        ) else {
            return false;
        };
        if self.extensions.iter().any(|(held, _)| *held == name) {
            return false;
        }
        self.extensions.push((name, value));
        true
    }
}

impl fmt::Display for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = List { f, first: true };
        list.flag("public", self.public)?;
        list.scope("private", &self.private)?;
        list.flag("no-store", self.no_store)?;
        list.scope("no-cache", &self.no_cache)?;
        list.seconds("max-age", self.max_age)?;
        list.seconds("s-maxage", self.s_maxage)?;
        list.flag("must-revalidate", self.must_revalidate)?;
        list.flag("proxy-revalidate", self.proxy_revalidate)?;
        list.flag("must-understand", self.must_understand)?;
        list.flag("no-transform", self.no_transform)?;
        list.flag("immutable", self.immutable)?;
        list.seconds("stale-while-revalidate", self.stale_while_revalidate)?;
        list.seconds("stale-if-error", self.stale_if_error)?;
        for (name, value) in &self.extensions {
            list.name(&field::print_member(name, value.as_deref()))?;
        }
        Ok(())
    }
}

/// Writes members with a comma between them.
struct List<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    first: bool,
}

impl List<'_, '_> {
    fn name(&mut self, name: &str) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.f.write_str(", ")?;
        }
        self.f.write_str(name)
    }

    fn flag(&mut self, name: &str, set: bool) -> fmt::Result {
        if set { self.name(name) } else { Ok(()) }
    }

    fn seconds(&mut self, name: &str, seconds: Option<u32>) -> fmt::Result {
        let Some(seconds) = seconds else {
            return Ok(());
        };
        self.name(name)?;
        write!(self.f, "={seconds}")
    }

    fn scope(&mut self, name: &str, scope: &Scope) -> fmt::Result {
        match scope {
            Scope::Absent => Ok(()),
            Scope::Whole => self.name(name),
            Scope::Fields(fields) => {
                self.name(name)?;
                write!(self.f, "=\"{}\"", fields.join(", "))
            }
        }
    }
}

/// Takes a lifetime over the held one if it is shorter; says whether that was doubtful.
fn shorten(held: &mut Option<u32>, value: Option<&[u8]>) -> bool {
    let read = value.and_then(delta_seconds);
    let doubtful = read.is_none() || held.is_some();
    let new = read.unwrap_or(0);
    *held = Some(held.map_or(new, |old| old.min(new)));
    doubtful
}

/// RFC 9111 §1.2.2: digits only; too great a number is the greatest.
pub fn delta_seconds(value: &[u8]) -> Option<u32> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u32, |total, digit| {
        digit.is_ascii_digit().then(|| {
            total
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'))
                .min(MAX_SECONDS)
        })
    })
}

fn scope(value: Option<&[u8]>) -> Scope {
    let Some(value) = value else {
        return Scope::Whole;
    };
    match field::tokens(std::iter::once(value)) {
        Some(fields) if !fields.is_empty() => Scope::Fields(fields),
        _ => Scope::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn reading(text: &str) -> Reading {
        read(std::iter::once(text.as_bytes()))
    }

    /// Reads, prints, and checks that the print means the same without a doubt.
    fn print(text: &str) -> String {
        let printed = reading(text).directives.to_string();
        let again = reading(&printed);
        assert!(!again.doubtful, "{text} -> {printed}");
        assert_eq!(again.directives, reading(text).directives, "{text}");
        printed
    }

    #[test]
    fn every_directive_reads_and_prints() {
        let text = "public, private=\"a, b\", no-store, no-cache, max-age=1, s-maxage=2, \
                    must-revalidate, proxy-revalidate, must-understand, no-transform, immutable, \
                    stale-while-revalidate=3, stale-if-error=4, x, y=z, w=\"a \\\"b\\\\\"";
        assert!(!reading(text).doubtful);
        assert_eq!(print(text), text);
    }

    #[test]
    fn case_and_quotes_do_not_matter() {
        assert_eq!(print("Max-Age=\"60\", PRIVATE"), "private, max-age=60");
        assert_eq!(print("private=Set-Cookie"), "private=\"set-cookie\"");
    }

    #[test]
    fn repeated_directives_mean_the_strictest() {
        for (text, meant) in [
            ("max-age=60, max-age=10", "max-age=10"),
            ("max-age=10, max-age=60", "max-age=10"),
            ("private=\"a\", private", "private"),
            ("private, private=\"a\"", "private"),
            ("no-cache=\"a\", no-cache=\"b, a\"", "no-cache=\"a, b\""),
        ] {
            assert_eq!(print(text), meant, "{text}");
        }
        assert!(reading("max-age=60, max-age=10").doubtful);
        assert!(reading("x=1, x=2").doubtful);
    }

    #[test]
    fn a_lifetime_that_is_no_number_is_stale() {
        for value in ["", "=", "=-1", "=1.5", "=abc", "=\"\"", "=\"1 \"", "=0x10"] {
            let text = format!("max-age{value}");
            assert_eq!(reading(&text).directives.max_age, Some(0), "{text}");
            assert!(reading(&text).doubtful, "{text}");
        }
    }

    #[test]
    fn too_long_a_lifetime_is_the_longest() {
        for value in [
            "2147483648",
            "2147483649",
            "4294967296",
            "99999999999999999999",
        ] {
            assert_eq!(
                delta_seconds(value.as_bytes()),
                Some(MAX_SECONDS),
                "{value}"
            );
        }
        assert_eq!(delta_seconds(b"2147483647"), Some(2_147_483_647));
    }

    #[test]
    fn restrictions_in_unreadable_pieces_count_and_permissions_do_not() {
        for (text, meant) in [
            ("private; max-age=60", "private, max-age=0"),
            ("public; max-age=60", "max-age=0"),
            ("no-store foo", "no-store"),
            ("foo bar no-cache", "no-cache"),
            ("max-age = 60", "max-age=0"),
            ("public=yes, max-age=60", "max-age=60"),
            ("xprivate y", ""),
        ] {
            assert_eq!(print(text), meant, "{text}");
            assert!(reading(text).doubtful, "{text}");
        }
    }

    #[test]
    fn arguments_of_immutable_are_ignored() {
        assert_eq!(print("immutable=1, max-age=5"), "max-age=5, immutable");
        assert!(!reading("immutable=1, immutable").doubtful);
    }

    #[test]
    fn bytes_that_are_no_text_are_harmless() {
        let reading = read(std::iter::once(&b"x=\"\xff\", \xff, private"[..]));
        assert!(reading.doubtful);
        assert_eq!(reading.directives.to_string(), "private");
    }
}
