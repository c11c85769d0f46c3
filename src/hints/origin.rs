//! What the origin said of its answer, in the fields of RFC 9111 §5.

use super::directives::{self, MAX_SECONDS, Reading, Scope};
use super::field;
use crate::head::ResponseHead;
use crate::time::UnixTime;

/// The origin's own hints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its Cache-Control.
    pub reading: Reading,
    /// The seconds that `Expires` gives (RFC 9111 §4.2.1), where Cache-Control has no `max-age`.
    pub expires: Option<u32>,
    /// Seconds since the answer was made, as `Age` says (§5.1).
    pub age: u32,
}

impl Origin {
    /// Reads the answer's fields.
    pub fn read(answer: &ResponseHead, now: UnixTime) -> Self {
        let mut reading = directives::read(answer.headers.all("cache-control"));
        let silent = !answer.headers.has("cache-control");
        // `Pragma` has no meaning in an answer (RFC 9111 §5.4), but whoever sends it means this.
        if silent && names(answer, "pragma", "no-cache") {
            reading.directives.no_cache = Scope::Whole;
        }
        let expires = match reading.directives.max_age {
            None => expires(answer, now),
            Some(_) => None,
        };
        Self {
            reading,
            expires,
            age: age(answer),
        }
    }

    /// Seconds that a private cache takes the answer as fresh, if that is said (§4.2.1).
    pub fn lifetime(&self) -> Option<u32> {
        self.reading.directives.max_age.or(self.expires)
    }
}

/// Whether a list field names a token, however sloppy the rest of it is.
pub fn names(answer: &ResponseHead, field: &str, token: &str) -> bool {
    answer
        .headers
        .all(field)
        .any(|line| field::words(line).any(|word| word == token.as_bytes()))
}

/// Seconds from Date to Expires; 0 where Expires is past, repeated or no date (RFC 9111 §5.3).
fn expires(answer: &ResponseHead, now: UnixTime) -> Option<u32> {
    let value = answer.headers.single("expires").transpose()?;
    let sent = answer
        .headers
        .single("date")
        .ok()
        .flatten()
        .and_then(field::http_date)
        .unwrap_or(now);
    let lifetime = value
        .ok()
        .and_then(field::http_date)
        .map_or(0, |until| until.0.saturating_sub(sent.0));
    Some(u32::try_from(lifetime).map_or(MAX_SECONDS, |seconds| seconds.min(MAX_SECONDS)))
}

/// The first value counts, one that is no number does not (RFC 9111 §5.1).
fn age(answer: &ResponseHead) -> u32 {
    let first = answer.headers.all("age").next();
    let value = first.and_then(|line| line.split(|byte| *byte == b',').next());
    value
        .and_then(|value| directives::delta_seconds(value.trim_ascii()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Headers;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Tue, 15 Nov 1994 08:12:31 GMT
    const NOW: UnixTime = UnixTime(784_887_151);

    fn head(fields: &[(&str, &str)]) -> ResponseHead {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        ResponseHead {
            headers: Headers::new(fields.collect()),
        }
    }

    #[test]
    fn expires_is_read_as_rfc_9111_says() {
        let date = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");
        let later = ("expires", "Tue, 15 Nov 1994 08:13:01 GMT");
        let past = ("expires", "Tue, 15 Nov 1994 08:12:01 GMT");
        for (fields, wanted) in [
            (vec![date, later], Some(30)),
            (vec![later], Some(30)),
            (vec![("date", "yesterday"), later], Some(30)),
            (vec![date, past], Some(0)),
            (vec![date, ("expires", "0")], Some(0)),
            (vec![later, date, later], Some(0)),
            (
                vec![("expires", "Fri, 31 Dec 9999 23:59:59 GMT")],
                Some(MAX_SECONDS),
            ),
            (vec![date], None),
            (vec![later, ("cache-control", "max-age=1")], None),
        ] {
            assert_eq!(
                Origin::read(&head(&fields), NOW).expires,
                wanted,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn age_is_its_first_number() {
        for (value, wanted) in [
            ("60", 60),
            ("60, 5", 60),
            ("x", 0),
            ("-1", 0),
            ("", 0),
            ("1.5", 0),
        ] {
            assert_eq!(
                Origin::read(&head(&[("age", value)]), NOW).age,
                wanted,
                "{value}"
            );
        }
        assert_eq!(
            Origin::read(&head(&[("age", "99999999999")]), NOW).age,
            MAX_SECONDS
        );
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let no_cache = |fields: &[_]| Origin::read(&head(fields), NOW).reading.directives.no_cache;
        let pragma = ("pragma", "foo, No-Cache");
        assert_eq!(no_cache(&[pragma]), Scope::Whole);
        assert_eq!(
            no_cache(&[pragma, ("cache-control", "max-age=5")]),
            Scope::Absent
        );
        assert_eq!(no_cache(&[("pragma", "no-cached")]), Scope::Absent);
    }
}
