//! Structured fields (RFC 9651), as targeted cache control, No-Vary-Search, Cache-Groups and
//! Cache-Status are written.

use sfv::{Dictionary, FieldType, Item, List, Parser};

/// The most bytes of one field that are parsed; a longer field is unreadable.
pub const MAX_BYTES: usize = 65_536;

/// A field that is a Dictionary; `None` where it is none. An absent field is an empty one.
pub fn dictionary<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Dictionary> {
    parse(lines)
}

/// A field that is a List; `None` where it is none. An absent field is an empty one.
pub fn list<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<List> {
    parse(lines)
}

/// A field that is an Item; `None` where it is none.
pub fn item<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Item> {
    parse(lines)
}

/// Joins the lines as RFC 9651 §4.2 says and parses the whole: a field is read entirely or not at
/// all.
fn parse<'a, T: FieldType>(lines: impl Iterator<Item = &'a [u8]>) -> Option<T> {
    let mut joined = Vec::new();
    for (index, line) in lines.enumerate() {
        if index > 0 {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(line);
        if joined.len() > MAX_BYTES {
            return None;
        }
    }
    Parser::new(&joined).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn lines_are_one_field() {
        let lines = [&b"max-age=60"[..], b"", b"private"];
        assert_eq!(dictionary(lines.into_iter()), None, "an empty member");
        let lines = [&b"max-age=60"[..], b"private"];
        assert_eq!(
            dictionary(lines.into_iter()).map(|found| found.len()),
            Some(2)
        );
        assert_eq!(list(std::iter::empty()), Some(vec![]));
        assert_eq!(item(std::iter::empty()), None);
    }

    #[test]
    fn a_field_without_end_is_not_read() {
        let long = "a, ".repeat(MAX_BYTES / 3 + 1);
        assert_eq!(list(std::iter::once(long.as_bytes())), None);
        assert!(list(std::iter::once(&b"a, b"[..])).is_some());
    }
}
