//! `multipart/form-data` (RFC 7578, RFC 2046 §5.1.1), read strictly: what two readers could split
//! differently is refused.

use super::media::MediaType;

/// How many parts a body may have.
const MAX_PARTS: usize = 1000;

/// How long the fields of one part may be, in bytes.
const MAX_HEAD: usize = 8192;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'b> {
    /// The field's name.
    pub name: String,
    /// Whether it came with a file's name.
    pub is_file: bool,
    /// Its declared type.
    pub media: Option<MediaType>,
    /// Its content.
    pub content: &'b [u8],
}

/// The body is not one well-formed form; says what is wrong, without a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartError(pub &'static str);

/// The boundary that a media type declares, if it is one (RFC 2046 §5.1.1).
pub fn boundary(media: &MediaType) -> Option<&str> {
    let boundary = media.parameter("boundary")?;
    let of_boundary = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let fits = (1..=70).contains(&boundary.len()) && !boundary.ends_with(' ');
    (fits && boundary.bytes().all(of_boundary)).then_some(boundary)
}

/// Splits a body into its parts.
pub fn parse<'b>(body: &'b [u8], boundary: &str) -> Result<Vec<Part<'b>>, MultipartError> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = delimiter.as_bytes();
    let first = delimiter.get(2..).unwrap_or_default();
    let mut rest = body
        .strip_prefix(first)
        .ok_or(MultipartError("it does not begin with its boundary"))?;
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return match end {
                b"" | b"\r\n" => Ok(parts),
                _ => Err(MultipartError("something follows its last boundary")),
            };
        }
        rest = rest
            .strip_prefix(b"\r\n")
            .ok_or(MultipartError("a boundary is not on a line of its own"))?;
        if parts.len() == MAX_PARTS {
            return Err(MultipartError("it has too many parts"));
        }
        let end = find(rest, delimiter).ok_or(MultipartError("its last boundary is missing"))?;
        let (whole, after) = rest.split_at_checked(end).unwrap_or_default();
        parts.push(part(whole)?);
        rest = after.get(delimiter.len()..).unwrap_or_default();
    }
}

fn part(whole: &[u8]) -> Result<Part<'_>, MultipartError> {
    let split = find(whole, b"\r\n\r\n").filter(|end| *end <= MAX_HEAD);
    let (head, content) = split
        .and_then(|end| whole.split_at_checked(end))
        .ok_or(MultipartError("a part has no head, or too large a one"))?;
    let content = content.get(4..).unwrap_or_default();
    let head =
        std::str::from_utf8(head).map_err(|_| MultipartError("a part's head is not UTF-8"))?;
    let mut name = None;
    let mut media = None;
    for line in head.split("\r\n") {
        let (field, value) = field(line)?;
        match field.to_ascii_lowercase().as_str() {
            "content-disposition" if name.is_none() => name = Some(disposition(value)?),
            "content-type" if media.is_none() => {
                let parsed = MediaType::parse(value.as_bytes());
                media = Some(parsed.ok_or(MultipartError("a part's type is not a media type"))?);
            }
            "content-disposition" | "content-type" => {
                return Err(MultipartError("a part repeats a field"));
            }
            "content-transfer-encoding" if !is_identity(value) => {
                return Err(MultipartError("a part has a transfer encoding"));
            }
            _ => {}
        }
    }
    let (name, is_file) = name.ok_or(MultipartError("a part has no name"))?;
    Ok(Part {
        name,
        is_file,
        media,
        content,
    })
}

fn field(line: &str) -> Result<(&str, &str), MultipartError> {
    let broken = MultipartError("a part's head is malformed");
    let (name, value) = line.split_once(':').ok_or(broken)?;
    let clean =
        super::media::is_token(name) && !value.contains(|c: char| c.is_control() && c != '\t');
    clean.then_some((name, value.trim())).ok_or(broken)
}

/// Name, and whether there is a file's name (RFC 7578 §4.2).
fn disposition(value: &str) -> Result<(String, bool), MultipartError> {
    // Some readers unescape a backslash and others do not; browsers write `%22` instead.
    if value.contains('\\') {
        return Err(MultipartError("a part's name holds a backslash"));
    }
    // The same grammar as a media type's, but for the slash.
    let broken = MultipartError("a part is not form data with a name");
    let media = value
        .strip_prefix("form-data")
        .and_then(|rest| MediaType::parse(format!("form/data{rest}").as_bytes()))
        .ok_or(broken)?;
    if media.parameter("filename*").is_some() || media.parameter("name*").is_some() {
        return Err(MultipartError(
            "a part has an extended parameter (RFC 7578 §4.2)",
        ));
    }
    let name = media.parameter("name").ok_or(broken)?.to_owned();
    Ok((name, media.parameter("filename").is_some()))
}

fn is_identity(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"]
        .iter()
        .any(|name| encoding.eq_ignore_ascii_case(name))
}

/// Where `needle`, which begins with CR, first stands.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let rest = text.get(start..)?;
        let at = start + rest.iter().position(|byte| *byte == b'\r')?;
        if text.get(at..).is_some_and(|rest| rest.starts_with(needle)) {
            return Some(at);
        }
        start = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &str) -> Result<Vec<(String, bool, String)>, MultipartError> {
        let parsed = parse(body.as_bytes(), "b")?;
        let shown = parsed.into_iter().map(|part| {
            let content = String::from_utf8_lossy(part.content).into_owned();
            (part.name, part.is_file, content)
        });
        Ok(shown.collect())
    }

    #[test]
    fn parts_are_split_at_their_boundary_alone() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--c\r\n--b\r\n\
                    content-disposition:form-data; filename=\"x; y\" ; name=f\r\nContent-Type: image/png\r\n\
                    X-Other: y\r\n\r\n\r\n--b--\r\n";
        let expected = vec![
            ("a".to_owned(), false, "1\r\n--c".to_owned()),
            ("f".to_owned(), true, String::new()),
        ];
        assert_eq!(parts(body), Ok(expected));
        assert_eq!(parts("--b--"), Ok(Vec::new()));
    }

    #[test]
    fn what_readers_could_split_differently_is_refused() {
        let head = "Content-Disposition: form-data; name=\"a\"";
        for body in [
            String::new(),
            "--b".into(),
            "--b\r\n".into(),
            "--b--x".into(),
            "preamble\r\n--b--".into(),
            "\r\n--b--".into(),
            format!("--b\n{head}\n\n1\n--b--"),
            format!("--b\r\n{head}\r\n\r\n1\r\n--b"),
            format!("--b\r\n{head}\r\n\r\n1\r\n--b-"),
            format!("--b\r\n{head}\r\n\r\n1\r\n--b \r\n--b--"),
            format!("--b\r\n{head}\r\n\r\n1\r\n--bc\r\n{head}\r\n\r\n2\r\n--b--"),
            format!("--b\r\n{head}\r\n\r\n1\r\n--b--\r\nepilogue"),
            format!("--b\r\n{head}\r\n1\r\n--b--"),
            format!("--b\r\n{head}\r\n{head}\r\n\r\n1\r\n--b--"),
            format!("--b\r\n{head}\r\n folded\r\n\r\n1\r\n--b--"),
            format!("--b\r\n{head}\nContent-Type: a/b\r\n\r\n1\r\n--b--"),
            format!("--b\r\n{head}\r\nContent-Transfer-Encoding: base64\r\n\r\n1\r\n--b--"),
            format!("--b\r\n{head}\r\nContent-Type: x\r\n\r\n1\r\n--b--"),
            format!("--b\r\n{head}\r\n{}: y\r\n\r\n1\r\n--b--", "x".repeat(9000)),
            "--b\r\n\r\n1\r\n--b--".into(),
            "--b\r\nContent-Type: a/b\r\n\r\n1\r\n--b--".into(),
            "--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--".into(),
            "--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--".into(),
            "--b\r\nContent-Disposition: form-data; name=\"a\\\"; name=\"b\"\r\n\r\n1\r\n--b--"
                .into(),
            "--b\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n--b--".into(),
            "--b\r\nContent-Disposition: form-data; name=a; filename*=utf-8''x\r\n\r\n1\r\n--b--"
                .into(),
            "--b\r\nContent-Disposition: form-data; name=a b\r\n\r\n1\r\n--b--".into(),
        ] {
            assert!(parts(&body).is_err(), "{body:?}");
        }
        let many = format!("--b\r\n{head}\r\n\r\n1\r\n").repeat(1001) + "--b--";
        assert_eq!(parts(&many), Err(MultipartError("it has too many parts")));
        let returns = format!("--b\r\n{head}\r\n\r\n{}", "\r".repeat(1 << 20));
        assert!(parts(&returns).is_err());
    }

    #[test]
    fn boundaries_are_those_of_rfc_2046() {
        let of = |value: &str| {
            let media = MediaType::parse(value.as_bytes()).unwrap();
            boundary(&media).map(str::to_owned)
        };
        assert_eq!(of("a/b; boundary=x-y"), Some("x-y".into()));
        assert_eq!(of("a/b; boundary=\"x y\""), Some("x y".into()));
        for value in [
            "a/b",
            "a/b; boundary=\"\"",
            "a/b; boundary=\"x \"",
            "a/b; boundary=\"x\u{e9}\"",
            "a/b; boundary=\"x@y\"",
        ] {
            assert_eq!(of(value), None, "{value}");
        }
        assert_eq!(of(&format!("a/b; boundary={}", "x".repeat(71))), None);
    }
}
