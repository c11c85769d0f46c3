//! Field values as RFC 9110 writes them: comma-separated lists, tokens, quoted strings and dates.
//!
//! Lines are read one at a time. A cache that joins them first (RFC 9110 §5.3) sees the same
//! members, except after an unfinished quoted string; there the single line is the safer reading,
//! since it still finds a `private` in the line that follows.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;

use crate::time::UnixTime;

/// One member of a comma-separated list of directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// `name` or `name=value`; a quoted value comes without its quotes and backslashes.
    Directive(&'a [u8], Option<Cow<'a, [u8]>>),
    /// Neither, as it was written.
    Unreadable(&'a [u8]),
}

/// The members of a list of directives, empty ones left out (RFC 9110 §5.6.1.2).
pub fn members<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = Member<'a>> {
    elements(lines).map(member)
}

/// The members of a list as they are written, empty ones left out.
pub fn elements<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| Elements(Some(line)))
}

/// The tokens of a list such as `Vary`, in lower case; `None` where a member is no token.
pub fn tokens<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Vec<String>> {
    elements(lines)
        .map(|element| {
            let token = std::str::from_utf8(element).ok()?;
            is_token(element).then(|| token.to_ascii_lowercase())
        })
        .collect()
}

/// Whether the bytes are a token (RFC 9110 §5.6.2), as every field name and directive is.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

/// The words in a piece that could not be read, in lower case.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    bytes
        .split(|byte| !is_tchar(*byte))
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
}

/// A directive as it is written, its value quoted where it is no token.
pub fn print_member(name: &str, value: Option<&str>) -> String {
    match value {
        None => name.to_owned(),
        Some(value) if is_token(value.as_bytes()) => format!("{name}={value}"),
        Some(value) => {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            format!("{name}=\"{escaped}\"")
        }
    }
}

/// An HTTP-date in any of the three forms of RFC 9110 §5.6.7. Years run from 1970 to 9999.
///
/// A two-digit year below 70 lies in this century, any other in the last one.
pub fn http_date(value: &[u8]) -> Option<UnixTime> {
    let date: HttpDate = std::str::from_utf8(value).ok()?.parse().ok()?;
    let since_epoch = SystemTime::from(date)
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    Some(since_epoch.into())
}

/// The instant as an IMF-fixdate; an instant after the year 9999 as the last one of that year.
pub fn print_http_date(time: UnixTime) -> String {
    const LAST: u64 = 253_402_300_799;
    let instant = SystemTime::UNIX_EPOCH + Duration::from_secs(time.0.min(LAST));
    HttpDate::from(instant).to_string()
}

/// Splits one line at its commas, those inside quoted strings left alone.
struct Elements<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.0.take()?;
            let element = match line.split_at_checked(comma(line)) {
                Some((element, rest)) => {
                    self.0 = rest.get(1..);
                    element
                }
                None => line,
            };
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Where the first comma outside quotes is, or the length of the line.
fn comma(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

fn member(element: &[u8]) -> Member<'_> {
    read_member(element).unwrap_or(Member::Unreadable(element))
}

fn read_member(element: &[u8]) -> Option<Member<'_>> {
    let end = element.iter().position(|byte| *byte == b'=');
    let (name, value) = match end {
        None => (element, None),
        Some(at) => {
            let (name, rest) = element.split_at_checked(at)?;
            (name, Some(argument(rest.get(1..)?)?))
        }
    };
    is_token(name).then_some(Member::Directive(name, value))
}

/// A token or a quoted string (RFC 9110 §5.6.4).
fn argument(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(rest) = value.strip_prefix(b"\"") else {
        return is_token(value).then_some(Cow::Borrowed(value));
    };
    let inner = rest.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(bytes.next()?),
            _ => text.push(byte),
        }
    }
    Some(Cow::Owned(text))
}

fn trim(bytes: &[u8]) -> &[u8] {
    let not_space = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(not_space).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(not_space).map_or(start, |at| at + 1);
    bytes.get(start..end).unwrap_or_default()
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn read(lines: &[&'static str]) -> Vec<Member<'static>> {
        members(lines.iter().map(|line| line.as_bytes())).collect()
    }

    fn directive(name: &'static str, value: Option<&'static str>) -> Member<'static> {
        Member::Directive(name.as_bytes(), value.map(|v| Cow::Borrowed(v.as_bytes())))
    }

    #[test]
    fn lists_split_at_commas_outside_quotes() {
        assert_eq!(
            read(&["a, b=1 ,, c=\"x, \\\"y\\\"\"\t", "d"]),
            [
                directive("a", None),
                directive("b", Some("1")),
                directive("c", Some("x, \"y\"")),
                directive("d", None),
            ]
        );
        assert_eq!(read(&["", " , ,", "\t"]), []);
    }

    #[test]
    fn what_is_no_directive_stays_visible() {
        for text in [
            "private; max-age=5",
            "a b",
            "a=",
            "=a",
            "a =1",
            "a= 1",
            "a=\"x",
            "a=\"x\"y",
            "a=\"x\\\"",
            "a=\"x\"\"",
            "\"a\"",
            "ä",
        ] {
            assert_eq!(
                read(&[text]),
                [Member::Unreadable(text.as_bytes())],
                "{text}"
            );
        }
    }

    #[test]
    fn an_unfinished_quote_does_not_swallow_the_next_line() {
        assert_eq!(
            read(&["max-age=60, x=\"", "private"]).last(),
            Some(&directive("private", None))
        );
    }

    #[test]
    fn token_lists_refuse_anything_else() {
        let read = |text: &str| tokens(std::iter::once(text.as_bytes()));
        assert_eq!(
            read("Accept, origin,"),
            Some(vec!["accept".into(), "origin".into()])
        );
        assert_eq!(read(""), Some(vec![]));
        for text in ["a b", "\"a\"", "a, b;c", "\u{e9}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_three_date_forms_of_rfc_9110_5_6_7() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                http_date(text.as_bytes()),
                Some(UnixTime(784_111_777)),
                "{text}"
            );
        }
        assert_eq!(
            print_http_date(UnixTime(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            &b"0"[..],
            b"",
            b"-1",
            b"Mon, 06 Nov 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 UTC",
            b"Sun, 06 Nov 1994 08:49:60 GMT",
            b"Sun, 31 Feb 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1969 08:49:37 GMT",
            b"Sun, 06 Nov 1994",
            b"Sunday, ",
            b"Sun, 06 N\xffv 1994 08:49:37 GMT",
        ] {
            assert_eq!(http_date(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn the_end_of_time_prints() {
        assert_eq!(
            print_http_date(UnixTime(u64::MAX)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }
}
