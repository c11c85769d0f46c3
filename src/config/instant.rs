//! Instants, as the policy writes them.

use std::fmt;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::{Serialize, Serializer};

use super::problem::{Problems, refuse};
use super::types::wrong_kind;
use crate::time::UnixTime;

/// An instant: `2026-11-23T12:00:00Z` (RFC 3339, in UTC, without fractions), or whole seconds since
/// 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub UnixTime);

const SECONDS_PER_DAY: u64 = 86_400;

impl Instant {
    /// Reads the text form. None where it is not one, or names a day that there is not.
    pub fn parse(text: &str) -> Option<Self> {
        let shape = "dddd-dd-ddTdd:dd:ddZ";
        let fits = |(shape, byte): (u8, u8)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        };
        if text.len() != shape.len() || !shape.bytes().zip(text.bytes()).all(fits) {
            return None;
        }
        let mut fields = text
            .split(|c: char| !c.is_ascii_digit())
            .map_while(|digits| digits.parse::<u64>().ok());
        let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
        let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
        if hour > 23 || minute > 59 || second > 59 || year < 1970 {
            return None;
        }
        let day_of_month = day
            .checked_sub(1)
            .filter(|day| *day < days_in(year, month))?;
        let days_of_years: u64 = (1970..year).map(days_in_year).sum();
        let days_of_months: u64 = (1..month).map(|month| days_in(year, month)).sum();
        let days = days_of_years + days_of_months + day_of_month;
        let seconds = hour * 3_600 + minute * 60 + second;
        Some(Self(UnixTime(days * SECONDS_PER_DAY + seconds)))
    }
}

fn days_in_year(year: u64) -> u64 {
    (1..=12).map(|month| days_in(year, month)).sum()
}

/// Days of a month; none of a month that there is not.
fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.0)
    }
}

impl Deserr<Problems> for Instant {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Value::Integer(seconds) => Ok(Self(UnixTime(seconds))),
            Value::String(text) => Self::parse(&text).ok_or_else(|| {
                let mend = "write one such as `2026-11-23T12:00:00Z`, in UTC";
                refuse(location, format!("`{text}` is not an instant; {mend}"))
            }),
            other => Err(wrong_kind(
                &other,
                "an instant such as `2026-11-23T12:00:00Z`",
                location,
            )),
        }
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.0)
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for Instant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An instant in UTC, as `2026-11-23T12:00:00Z`, or whole seconds since 1970.",
            "oneOf": [
                { "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" },
                { "type": "integer", "minimum": 0 }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn instants_are_read_to_the_second() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2024-12-31T00:00:00Z", 1_735_603_200),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(
                Instant::parse(text),
                Some(Instant(UnixTime(seconds))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20+01:00",
            "2023-11-14T22:13:20.5Z",
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-04-31T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01t00:00:00z",
            "1969-12-31T23:59:59Z",
            "+023-01-01T00:00:00Z",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }
}
