//! The claims of a token (RFC 7519 §4): reading them, naming them, and the rules on time and
//! audience that hold for every token.

use std::fmt;

use serde_json::{Map, Value};

use super::json::{self, JsonFlaw};
use crate::time::UnixTime;

/// The last second of the year 9999. A later NumericDate is taken for an error, such as
/// milliseconds where seconds belong.
const LATEST: u64 = 253_402_300_799;

/// The claims of one token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    members: Map<String, Value>,
    /// `exp`, `nbf` and `iat`, which are looked at on each use of the token.
    expiry: Option<NumericDate>,
    not_before: Option<NumericDate>,
    issued: Option<NumericDate>,
}

/// Why a payload is not a set of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimsFlaw {
    /// Not a JSON object.
    Json(JsonFlaw),
    /// A registered claim is not of the type that RFC 7519 §4.1 gives it.
    Type(&'static str),
}

/// A claim about time: seconds since the epoch and whether a fraction of one was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NumericDate {
    seconds: u64,
    fraction: bool,
}

/// What is wrong with a token's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFlaw {
    /// `exp` is missing, or no number from the epoch to the year 9999.
    NoExpiry,
    /// `exp` has passed.
    Expired,
    /// The claim, `nbf` or `iat`, is in the future.
    NotYet(&'static str),
}

impl Claims {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not a JSON object, or `iss`, `sub`, `jti`, `nbf` or `iat` has another type than
    /// RFC 7519 §4.1 says.
    pub fn parse(payload: &[u8]) -> Result<Self, ClaimsFlaw> {
        let members = json::object(payload).map_err(ClaimsFlaw::Json)?;
        for name in ["iss", "sub", "jti"] {
            if members.get(name).is_some_and(|value| !value.is_string()) {
                return Err(ClaimsFlaw::Type(name));
            }
        }
        let date = |name| match members.get(name) {
            None => Ok(None),
            Some(value) => NumericDate::of(value)
                .map(Some)
                .ok_or(ClaimsFlaw::Type(name)),
        };
        Ok(Self {
            not_before: date("nbf")?,
            issued: date("iat")?,
            // Whether it must be there, and be a date, is for the check of the times to say.
            expiry: members.get("exp").and_then(NumericDate::of),
            members,
        })
    }

    /// The value that a path leads to.
    pub fn at(&self, path: &ClaimPath) -> Option<&Value> {
        let (first, rest) = path.0.split_first()?;
        rest.iter()
            .try_fold(self.members.get(first)?, |value, name| {
                value.as_object()?.get(name)
            })
    }

    /// A claim by its name.
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    /// A claim that is a NumericDate (RFC 7519 §2); a fraction of a second is cut off.
    pub fn date(&self, name: &str) -> Option<UnixTime> {
        let date = self.members.get(name).and_then(NumericDate::of)?;
        Some(UnixTime(date.seconds))
    }

    /// Seconds from `iat` to `exp`, or from `now` if the token does not say when it was issued. A
    /// token without `exp` lives for ever.
    pub fn lifetime(&self, now: UnixTime) -> u64 {
        let issued = self.date("iat").unwrap_or(now);
        self.date("exp")
            .map_or(u64::MAX, |expiry| expiry.0.saturating_sub(issued.0))
    }

    /// Whether `aud` (RFC 7519 §4.1.3), a string or a list of nothing but strings, names one of
    /// the audiences, compared exactly.
    pub fn audience_is_one_of(&self, audiences: &[String]) -> bool {
        let accepted = |name: &str| audiences.iter().any(|audience| audience == name);
        match self.members.get("aud") {
            Some(Value::String(name)) => accepted(name),
            Some(Value::Array(names)) => {
                names.iter().all(Value::is_string)
                    && names.iter().filter_map(Value::as_str).any(accepted)
            }
            _ => false,
        }
    }

    /// Checks `exp`, `nbf` and `iat` (RFC 7519 §4.1.4 to §4.1.6) with `skew` seconds of tolerance.
    ///
    /// # Errors
    /// The first of the three that does not hold.
    pub fn check_times(&self, now: UnixTime, skew: u64) -> Result<(), TimeFlaw> {
        let expiry = self.expiry.ok_or(TimeFlaw::NoExpiry)?;
        if now >= UnixTime(expiry.seconds).saturating_add(skew) {
            return Err(TimeFlaw::Expired);
        }
        let latest = now.saturating_add(skew);
        for (name, date) in [("nbf", self.not_before), ("iat", self.issued)] {
            if date.is_some_and(|date| UnixTime(date.rounded_up()) > latest) {
                return Err(TimeFlaw::NotYet(name));
            }
        }
        Ok(())
    }
}

impl NumericDate {
    /// RFC 7519 §2: a number, whole or not. Negative numbers and those beyond [`LATEST`] are none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked before the fraction is cut off"
    )]
    fn of(value: &Value) -> Option<Self> {
        let (seconds, fraction) = match (value.as_u64(), value.as_f64()) {
            (Some(seconds), _) => (seconds, false),
            (None, Some(date)) if (0.0..=LATEST as f64).contains(&date) => {
                (date as u64, date.fract() != 0.0)
            }
            _ => return None,
        };
        (seconds <= LATEST).then_some(Self { seconds, fraction })
    }

    fn rounded_up(self) -> u64 {
        self.seconds.saturating_add(u64::from(self.fraction))
    }
}

/// The way to a claim: a name, or the names of the objects around it and its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// Reads `a.b` as `b` within `a`. A period or backslash of a name itself is written with a
    /// backslash before it, so `https://example\.com/role` is one name. None where a name is empty
    /// or a backslash stands before something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut names = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '.' => names.push(String::new()),
                '\\' => {
                    let escaped = characters.next().filter(|c| matches!(c, '.' | '\\'))?;
                    names.last_mut()?.push(escaped);
                }
                other => names.last_mut()?.push(other),
            }
        }
        Self::of_names(names)
    }

    /// The path of those names. None where there is none, or one is empty.
    pub fn of_names(names: Vec<String>) -> Option<Self> {
        let complete = !names.is_empty() && names.iter().all(|name| !name.is_empty());
        complete.then_some(Self(names))
    }

    /// The innermost name.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "." };
            let escaped = name.replace('\\', "\\\\").replace('.', "\\.");
            write!(f, "{separator}{escaped}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn claims(value: Value) -> Claims {
        Claims::parse(value.to_string().as_bytes()).unwrap()
    }

    fn times(value: Value, skew: u64) -> Result<(), TimeFlaw> {
        claims(value).check_times(NOW, skew)
    }

    #[test]
    fn expiry_is_exact_to_the_second_on_either_side_of_the_skew() {
        for (exp, skew, expected) in [
            (json!(NOW.0 + 1), 0, Ok(())),
            (json!(NOW.0), 0, Err(TimeFlaw::Expired)),
            (json!(NOW.0 - 59), 60, Ok(())),
            (json!(NOW.0 - 60), 60, Err(TimeFlaw::Expired)),
            (json!(1_700_000_000.9), 0, Err(TimeFlaw::Expired)),
            (json!(1_700_000_001.5), 0, Ok(())),
            (json!(0), 60, Err(TimeFlaw::Expired)),
            (json!(LATEST), u64::MAX, Ok(())),
        ] {
            assert_eq!(times(json!({ "exp": exp }), skew), expected, "{exp} {skew}");
        }
    }

    #[test]
    fn an_expiry_that_is_no_usable_date_is_none() {
        for exp in [
            json!(null),
            json!("1700000001"),
            json!(true),
            json!([1_700_000_001]),
            json!({}),
            json!(-1),
            json!(-0.5),
            json!(1_700_000_001_000u64),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
            json!(1.8446744073709552e19),
        ] {
            assert_eq!(
                times(json!({ "exp": exp }), 60),
                Err(TimeFlaw::NoExpiry),
                "{exp}"
            );
        }
        assert_eq!(times(json!({}), 60), Err(TimeFlaw::NoExpiry));
    }

    #[test]
    fn a_token_from_the_future_has_to_wait() {
        for name in ["nbf", "iat"] {
            for (date, skew, good) in [
                (json!(NOW.0), 0, true),
                (json!(NOW.0 + 1), 0, false),
                (json!(1_700_000_000.1), 0, false),
                (json!(NOW.0 + 60), 60, true),
                (json!(NOW.0 + 61), 60, false),
                (json!(LATEST), 60, false),
            ] {
                let result = times(json!({ "exp": NOW.0 + 600, name: date }), skew);
                let expected = if good {
                    Ok(())
                } else {
                    Err(TimeFlaw::NotYet(name))
                };
                assert_eq!(result, expected, "{name} {date} {skew}");
            }
        }
    }

    #[test]
    fn registered_claims_have_their_types() {
        for (name, value) in [
            ("iss", json!(1)),
            ("iss", json!(["https://issuer.example"])),
            ("sub", json!(null)),
            ("jti", json!({})),
            ("nbf", json!("0")),
            ("iat", json!(-1)),
            ("iat", json!(1e300)),
        ] {
            let payload = json!({ name: value }).to_string();
            assert_eq!(
                Claims::parse(payload.as_bytes()),
                Err(ClaimsFlaw::Type(name))
            );
        }
        assert_eq!(Claims::parse(b""), Err(ClaimsFlaw::Json(JsonFlaw::Syntax)));
        assert_eq!(
            Claims::parse(b"[]"),
            Err(ClaimsFlaw::Json(JsonFlaw::NotAnObject))
        );
        assert_eq!(
            Claims::parse(br#"{"exp":1,"exp":9999999999}"#),
            Err(ClaimsFlaw::Json(JsonFlaw::DuplicateMember))
        );
    }

    #[test]
    fn the_audience_is_compared_exactly() {
        let accepted = ["orders".to_owned(), "https://shop.example/".to_owned()];
        for (aud, good) in [
            (json!("orders"), true),
            (json!(["other", "orders"]), true),
            (json!("https://shop.example/"), true),
            (json!("https://shop.example"), false),
            (json!("shop.example/"), false),
            (json!("Orders"), false),
            (json!("orders "), false),
            (json!("orders other"), false),
            (json!(["orders", 1]), false),
            (json!([["orders"]]), false),
            (json!([]), false),
            (json!(""), false),
            (json!(null), false),
            (json!({"orders": true}), false),
        ] {
            let held = claims(json!({ "aud": aud })).audience_is_one_of(&accepted);
            assert_eq!(held, good, "{aud}");
        }
        assert!(!claims(json!({})).audience_is_one_of(&accepted));
    }

    #[test]
    fn paths_reach_nested_names_and_names_with_periods() {
        let claims = claims(json!({
            "a": { "b": { "c": 1 } },
            "a.b": 2,
            "https://example.com/role": 3,
            "back\\slash": 4,
        }));
        for (path, expected) in [
            ("a.b.c", Some(json!(1))),
            (r"a\.b", Some(json!(2))),
            (r"https://example\.com/role", Some(json!(3))),
            (r"back\\slash", Some(json!(4))),
            ("a.x", None),
            ("a.b.c.d", None),
            ("b", None),
        ] {
            let path = ClaimPath::parse(path).unwrap();
            assert_eq!(claims.at(&path).cloned(), expected, "{path}");
            assert_eq!(ClaimPath::parse(&path.to_string()), Some(path));
        }
        for path in ["", ".", "a.", ".a", "a..b", r"a\b", r"a\"] {
            assert_eq!(ClaimPath::parse(path), None, "{path}");
        }
    }
}
