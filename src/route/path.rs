//! The one normal form in which paths are matched.
//!
//! A service behind the proxy decodes and resolves a path by its own habits. A path that two
//! readers could take for two different resources is refused here, so that what was matched is
//! what the service will see: no rule is walked around with `%2e%2e`, `//`, `\` or `%00`.

use std::borrow::Cow;

/// Longest path that is looked at, in bytes, query not counted.
pub const MAX_PATH: usize = 8 * 1024;
/// Most segments that are looked at.
pub const MAX_SEGMENTS: usize = 128;

/// Why a path has no single meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Does not begin with `/`.
    NotAbsolute,
    /// Longer than [`MAX_PATH`] or deeper than [`MAX_SEGMENTS`].
    TooLong,
    /// A byte that RFC 3986 §3.3 does not allow in a path, or a backslash.
    BadByte,
    /// `%` without two hexadecimal digits behind it.
    BadEncoding,
    /// `%00` and other encoded control characters, or an encoded backslash.
    EncodedControl,
    /// `.` or `..` as a segment, in whatever spelling, also before `;`.
    DotSegment,
    /// `//`.
    EmptySegment,
    /// A segment that is not UTF-8 once decoded.
    NotUtf8,
}

impl PathError {
    /// One sentence for the client's developer.
    pub fn detail(self) -> &'static str {
        match self {
            Self::NotAbsolute => "The path must begin with a slash.",
            Self::TooLong => "The path is longer than 8 KiB or has more than 128 segments.",
            Self::BadByte => {
                "The path holds a backslash or a character that must be percent-encoded."
            }
            Self::BadEncoding => {
                "The path holds a percent sign without two hexadecimal digits behind it."
            }
            Self::EncodedControl => "The path holds an encoded control character or backslash.",
            Self::DotSegment => "The path holds a dot segment.",
            Self::EmptySegment => "The path holds an empty segment.",
            Self::NotUtf8 => "The path is not UTF-8.",
        }
    }
}

/// A request target whose path has one meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// The path as it came, without the query.
    pub raw: &'a str,
    /// Its segments; `/` alone has none, and a trailing slash is an empty last one.
    pub segments: Vec<Segment<'a>>,
    /// What stands behind the `?`, where there is one.
    pub query: Option<&'a [u8]>,
    /// Whether a segment holds `%2F`: one reader sees one segment, another two. It is one here, and
    /// only a route that says so takes it.
    pub encoded_slash: bool,
}

impl<'a> Path<'a> {
    /// The path as those read it who take `;` and what follows it in a segment for parameters of
    /// that segment (RFC 3986 §3.3) and drop them; `None` where there are none. A segment that
    /// begins with `;` is left alone: so OpenAPI writes parameters in the style `matrix`.
    pub fn without_parameters(&self) -> Option<Self> {
        if !self.raw.contains([';', '%']) {
            return None;
        }
        let cut = |text: &str| text.find(';').filter(|at| *at > 0);
        let mut path = None;
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(at) = cut(&segment.text) else {
                continue;
            };
            let path = path.get_or_insert_with(|| self.clone());
            if let Some(segment) = path.segments.get_mut(index) {
                segment.text = segment.text.get(..at).unwrap_or_default().to_owned().into();
            }
        }
        path
    }

    /// The path from that segment to the end, as it came.
    pub fn from_segment(&self, index: usize) -> &'a str {
        let start = self.segments.get(index).map(|segment| segment.start);
        start.and_then(|at| self.raw.get(at..)).unwrap_or_default()
    }
}

/// One segment of a path: as sent, and decoded for matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The bytes as they came, percent-encoding and all.
    pub raw: &'a str,
    /// The same, decoded.
    pub text: Cow<'a, str>,
    start: usize,
}

impl<'a> Segment<'a> {
    /// The part of the raw segment whose decoded form is `text[start..end]`.
    pub fn raw_range(&self, start: usize, end: usize) -> &'a str {
        let at = |decoded: usize| {
            let (mut raw, mut seen) = (0, 0);
            let bytes = self.raw.as_bytes();
            while seen < decoded && raw < bytes.len() {
                raw += if bytes.get(raw) == Some(&b'%') { 3 } else { 1 };
                seen += 1;
            }
            raw
        };
        self.raw.get(at(start)..at(end)).unwrap_or_default()
    }
}

/// Reads a request target (RFC 9112 §3.2.1, origin form) and refuses what has no single meaning.
pub fn parse(target: &[u8]) -> Result<Path<'_>, PathError> {
    let (path, query) = split_query(target);
    if path.len() > MAX_PATH {
        return Err(PathError::TooLong);
    }
    if !path.starts_with(b"/") {
        return Err(PathError::NotAbsolute);
    }
    if !path.iter().all(|byte| *byte == b'/' || is_path_byte(*byte)) {
        return Err(PathError::BadByte);
    }
    let raw = std::str::from_utf8(path).map_err(|_| PathError::BadByte)?;
    if path.windows(2).any(|pair| pair == b"//") {
        return Err(PathError::EmptySegment);
    }
    let mut segments = Vec::with_capacity(8);
    let mut start = 1;
    while raw.len() > 1 && start <= raw.len() {
        if segments.len() == MAX_SEGMENTS {
            return Err(PathError::TooLong);
        }
        let rest = raw.get(start..).unwrap_or_default();
        let piece = rest.split('/').next().unwrap_or_default();
        segments.push(segment(piece, start)?);
        start += piece.len() + 1;
    }
    let encoded_slash = segments.iter().any(|segment| segment.text.contains('/'));
    Ok(Path {
        raw,
        segments,
        query,
        encoded_slash,
    })
}

/// The path and, where there is a `?`, the query behind it.
pub fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => {
            let (path, query) = target.split_at(at);
            (path, query.get(1..))
        }
        None => (target, None),
    }
}

fn segment(raw: &str, start: usize) -> Result<Segment<'_>, PathError> {
    let text = decode(raw)?;
    // An encoded slash may be one to the service, so `..%2F` is a dot segment too.
    if text.as_bytes().contains(&b'.') && text.split('/').any(is_dots) {
        return Err(PathError::DotSegment);
    }
    Ok(Segment { raw, text, start })
}

/// Whether a segment is `.` or `..`. Servlet containers drop `;…` before they resolve dots, so
/// `..;x` is one to them.
pub(super) fn is_dots(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

/// Whether RFC 3986 §3.3 allows the byte in a segment. It does not allow the last ten, but real
/// clients send them unencoded, and no server reads them in two ways.
fn is_path_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*'
            | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'|' | b'^' | b'{' | b'}' | b'[' | b']'
            | b'"' | b'<' | b'>' | b'`')
}

fn decode(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let value = hex(bytes.next())? << 4 | hex(bytes.next())?;
        match value {
            b'\\' | 0..=0x1f | 0x7f => return Err(PathError::EncodedControl),
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| PathError::NotUtf8)
}

fn hex(digit: Option<u8>) -> Result<u8, PathError> {
    match digit {
        Some(byte @ b'0'..=b'9') => Ok(byte - b'0'),
        Some(byte @ b'a'..=b'f') => Ok(byte - b'a' + 10),
        Some(byte @ b'A'..=b'F') => Ok(byte - b'A' + 10),
        _ => Err(PathError::BadEncoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn texts(target: &str) -> Result<Vec<String>, PathError> {
        Ok(parse(target.as_bytes())?
            .segments
            .into_iter()
            .map(|segment| segment.text.into_owned())
            .collect())
    }

    #[test]
    fn one_path_has_one_form_in_every_spelling() {
        for target in [
            "/users/@me",
            "/users/%40me",
            "/%75sers/%40%6de",
            "/users/@me?x=/../y",
        ] {
            assert_eq!(texts(target).unwrap(), ["users", "@me"], "{target}");
        }
        assert_eq!(texts("/").unwrap(), [""; 0]);
        assert_eq!(texts("/a/").unwrap(), ["a", ""]);
        assert_eq!(texts("/caf%C3%A9").unwrap(), ["café"]);
        assert_eq!(
            texts("/a%252Fb").unwrap(),
            ["a%2Fb"],
            "decoded once, not twice"
        );
        assert_eq!(texts("/...").unwrap(), ["..."]);
    }

    #[test]
    fn paths_with_two_meanings_are_refused() {
        use PathError::*;
        for (target, error) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("http://h/a", NotAbsolute),
            ("//", EmptySegment),
            ("/a//b", EmptySegment),
            ("//a", EmptySegment),
            ("/a//", EmptySegment),
            ("/a/../b", DotSegment),
            ("/a/.", DotSegment),
            ("/a/%2e%2E/b", DotSegment),
            ("/a/.%2e/b", DotSegment),
            ("/a/..;/b", DotSegment),
            ("/a/..%3b/b", DotSegment),
            ("/a/..%2Fb", DotSegment),
            ("/a/b%2f..", DotSegment),
            ("/a/b%2f%2e%2E;x%2Fc", DotSegment),
            ("/a%5Cb", EncodedControl),
            ("/a\\b", BadByte),
            ("/a%00", EncodedControl),
            ("/a%0d%0ab", EncodedControl),
            ("/a b", BadByte),
            ("/a#b", BadByte),
            ("/caf\u{e9}", BadByte),
            ("/a%", BadEncoding),
            ("/a%2", BadEncoding),
            ("/a%zz", BadEncoding),
            ("/a%ff", NotUtf8),
        ] {
            assert_eq!(texts(target), Err(error), "{target}");
        }
        assert_eq!(parse(b"/a\0b").unwrap_err(), BadByte);
        assert_eq!(texts(&format!("/{}", "a".repeat(MAX_PATH))), Err(TooLong));
        assert_eq!(texts(&"/a".repeat(MAX_SEGMENTS + 1)), Err(TooLong));
    }

    #[test]
    fn an_encoded_slash_is_noticed_and_splits_nothing() {
        for target in ["/a%2Fb", "/a%2fb"] {
            assert_eq!(texts(target).unwrap(), ["a/b"]);
            assert!(parse(target.as_bytes()).unwrap().encoded_slash, "{target}");
        }
        let twice = parse(b"/a%252Fb?c=%2F").unwrap();
        assert!(
            !twice.encoded_slash,
            "decoded once, and the query is no path"
        );
    }

    #[test]
    fn a_range_of_the_decoded_text_leads_back_to_the_bytes_sent() {
        let segment = segment("img-%40a%2Cb.png", 0).unwrap();
        assert_eq!(segment.text, "img-@a,b.png");
        assert_eq!(segment.raw_range(4, 8), "%40a%2Cb");
    }
}
