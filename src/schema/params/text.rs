//! Parameters as text: query strings, cookies and percent-encoding (RFC 3986 §2.1, RFC 6265 §4.2).

use percent_encoding::percent_decode;

/// A parameter's text does not decode: `%` without two hexadecimal digits, or no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Decodes a piece that has already been split off.
///
/// In a query `+` is a space, as HTML forms write it.
pub fn decode(raw: &[u8], plus_is_space: bool) -> Result<String, Malformed> {
    if !escapes_are_whole(raw) {
        return Err(Malformed);
    }
    let decoded: Vec<u8> = if plus_is_space && raw.contains(&b'+') {
        let spaced: Vec<u8> = raw
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        percent_decode(&spaced).collect()
    } else {
        percent_decode(raw).collect()
    };
    String::from_utf8(decoded).map_err(|_| Malformed)
}

/// Whether every `%` is followed by two hexadecimal digits.
fn escapes_are_whole(raw: &[u8]) -> bool {
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let mut digit = || rest.next().is_some_and(u8::is_ascii_hexdigit);
            if !(digit() && digit()) {
                return false;
            }
        }
    }
    true
}

/// One `name=value` of a query, a form or a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The name, decoded.
    pub name: String,
    /// The value as it came; empty where there is no `=`.
    pub value: &'a [u8],
}

/// Splits a query or a form (`application/x-www-form-urlencoded`); empty pieces are passed over.
pub fn query_pairs(query: &[u8]) -> Result<Vec<Pair<'_>>, Malformed> {
    query
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let (name, value) = split_once(piece, b'=').unwrap_or((piece, b""));
            let name = decode(name, true)?;
            Ok(Pair { name, value })
        })
        .collect()
}

/// Splits the `Cookie` fields of a request. Names are taken as they are; what is not UTF-8 or has
/// no `=` cannot be a declared cookie and is passed over.
pub fn cookie_pairs<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Vec<Pair<'a>> {
    fields
        .flat_map(|field| field.split(|byte| *byte == b';'))
        .filter_map(|piece| {
            let (name, value) = split_once(piece.trim_ascii(), b'=')?;
            let name = std::str::from_utf8(name).ok()?.to_owned();
            Some(Pair { name, value })
        })
        .collect()
}

/// What stands before and after the first `at`.
pub fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = text.iter().position(|byte| *byte == at)?;
    let (before, after) = text.split_at_checked(index)?;
    Some((before, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn decodes_only_what_is_whole() {
        assert_eq!(decode(b"a%20b+c%2B", true).as_deref(), Ok("a b c+"));
        assert_eq!(decode(b"a%20b+c", false).as_deref(), Ok("a b+c"));
        assert_eq!(decode("%C3%A9é".as_bytes(), true).as_deref(), Ok("éé"));
        for bad in [
            &b"%"[..],
            b"%2",
            b"%zz",
            b"%2%20",
            b"%ff",
            b"\xff",
            b"%c3",
            b"%C0%AF",
        ] {
            assert_eq!(decode(bad, true), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn splits_queries_before_decoding() {
        let pairs = query_pairs(b"a=1%262&&b&=c&d%3D=e=f").unwrap();
        let found: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.name.as_str(), pair.value))
            .collect();
        let expected: [(&str, &[u8]); 4] =
            [("a", b"1%262"), ("b", b""), ("", b"c"), ("d=", b"e=f")];
        assert_eq!(found, expected);
        assert_eq!(query_pairs(b"a=1&%zz=2"), Err(Malformed));
    }

    #[test]
    fn splits_cookies_of_several_fields() {
        let fields: [&[u8]; 2] = [b"a=1; b=\"2\";c", b" a = 3 ;\xff=1"];
        let pairs = cookie_pairs(fields.into_iter());
        let found: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.name.as_str(), pair.value))
            .collect();
        let expected: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b"\"2\""), ("a ", b" 3")];
        assert_eq!(found, expected);
    }
}
