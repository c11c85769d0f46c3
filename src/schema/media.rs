//! Media types (RFC 9110 §8.3.1) and the ranges of them that a policy accepts.
//!
//! Matching is by parsed parts, never by substring: `text/plain; a="application/json"` is text.

/// Longest `Content-Type` value that is looked at, in bytes.
const MAX_LENGTH: usize = 1024;

/// A media type as a request declares it; names in lower case, parameter values as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    kind: String,
    subtype: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Parses `type "/" subtype parameters`; `None` for anything else, for a parameter that is
    /// given twice, and for more than 1024 bytes.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        if text.len() > MAX_LENGTH {
            return None;
        }
        let text = trim(text);
        let (essence, rest) = match text.find([';', ' ', '\t']) {
            Some(end) => text.split_at_checked(end)?,
            None => (text, ""),
        };
        let (kind, subtype) = essence.split_once('/')?;
        (is_token(kind) && is_token(subtype)).then_some(())?;
        Some(Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            parameters: parameters(rest)?,
        })
    }

    /// Whether this is `application/json` or has the `+json` structured syntax suffix (RFC 6839 §3.1).
    pub fn is_json(&self) -> bool {
        self.is("application", "json") || self.has_json_suffix()
    }

    /// Whether type and subtype are these; both in lower case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && self.subtype == subtype
    }

    /// Whether the type is text.
    pub fn is_text(&self) -> bool {
        self.kind == "text"
    }

    /// The value of a parameter; `name` in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(held, _)| held == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the type names no charset, or UTF-8: the only one JSON may have (RFC 8259 §8.1).
    pub fn is_utf8(&self) -> bool {
        self.parameter("charset").is_none_or(|charset| {
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
        })
    }

    fn has_json_suffix(&self) -> bool {
        self.subtype
            .strip_suffix("+json")
            .is_some_and(|stem| !stem.is_empty())
    }
}

/// What a policy accepts: a type, `type/*`, `*/*` or `type/*+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    kind: String,
    subtype: String,
}

/// How closely a range fits a type; the greater the closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// `*/*`.
    Any,
    /// `type/*`.
    Kind,
    /// JSON under another name: the range is `application/json` or `type/*+json`, the type has the
    /// suffix `+json`.
    Suffix,
    /// The very type.
    Exact,
}

impl MediaRange {
    /// Parses a range. Parameters are refused: they never take part in matching.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, subtype) = text.split_once('/')?;
        let whole = subtype == "*";
        let known = if kind == "*" {
            whole
        } else {
            is_type_name(kind) && (whole || subtype == "*+json" || is_type_name(subtype))
        };
        known.then(|| Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
        })
    }

    /// How the range fits, if it does.
    pub fn fit(&self, media: &MediaType) -> Option<Fit> {
        let same_kind = self.kind == media.kind;
        if same_kind && self.subtype == media.subtype {
            Some(Fit::Exact)
        } else if media.has_json_suffix()
            && (self.is("application", "json") || same_kind && self.subtype == "*+json")
        {
            Some(Fit::Suffix)
        } else if same_kind && self.subtype == "*" {
            Some(Fit::Kind)
        } else {
            (self.kind == "*").then_some(Fit::Any)
        }
    }

    /// Whether type and subtype are these; both in lower case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && self.subtype == subtype
    }

    /// Whether every type in the range is JSON.
    pub fn is_json(&self) -> bool {
        self.is("application", "json") || self.subtype.ends_with("+json")
    }
}

impl std::fmt::Display for MediaRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype)
    }
}

/// `*( OWS ";" OWS [ parameter ] )` (RFC 9110 §5.6.6).
fn parameters(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    loop {
        rest = trim(rest);
        if rest.is_empty() {
            return Some(found);
        }
        rest = trim_start(rest.strip_prefix(';')?);
        if rest.is_empty() || rest.starts_with(';') {
            continue;
        }
        let (name, after) = rest.split_once('=')?;
        is_token(name).then_some(())?;
        let name = name.to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                let (value, after) = after.split_at_checked(end)?;
                is_token(value).then_some(())?;
                (value.to_owned(), after)
            }
        };
        if found.iter().any(|(held, _)| *held == name) {
            return None;
        }
        found.push((name, value));
        rest = after;
    }
}

/// The text of a quoted-string (RFC 9110 §5.6.4) whose opening quote is already read, and what
/// follows it.
pub fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next().filter(|c| is_quotable(*c))?),
            c => value.push(Some(c).filter(|c| is_quotable(*c))?),
        }
    }
}

fn is_quotable(c: char) -> bool {
    c == '\t' || !c.is_control()
}

fn is_type_name(text: &str) -> bool {
    is_token(text) && !text.contains('*')
}

/// `1*tchar` (RFC 9110 §5.6.2).
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn fit(range: &str, media: &str) -> Option<Fit> {
        MediaRange::parse(range)
            .unwrap()
            .fit(&MediaType::parse(media.as_bytes()).unwrap())
    }

    #[test]
    fn parses_types_with_parameters() {
        let media = MediaType::parse(b" Application/JSON ;; Charset=\"UTF\\-8\" ; v=1").unwrap();
        assert!(media.is("application", "json"));
        assert_eq!(media.parameter("charset"), Some("UTF-8"));
        assert_eq!(media.parameter("v"), Some("1"));
        assert!(media.is_utf8());
    }

    #[test]
    fn refuses_what_is_not_a_media_type() {
        for value in [
            "",
            "/",
            "a/",
            "/b",
            "application",
            "a/b/c",
            "a/b, c/d",
            "a b/c",
            "a/b x",
            "a/b; c",
            "a/b; c=",
            "a/b; =d",
            "a/b; c=\"d",
            "a/b; c=\"d\"e",
            "a/b; c=d; C=e",
            "a/b; c =d",
            "a/b; c= d",
            "a/b; c=\"\u{7f}\"",
            "application/json\0",
        ] {
            assert_eq!(MediaType::parse(value.as_bytes()), None, "{value:?}");
        }
        assert_eq!(MediaType::parse(b"a/\xff"), None);
        assert_eq!(
            MediaType::parse(format!("a/{}", "b".repeat(2000)).as_bytes()),
            None
        );
    }

    #[test]
    fn ranges_fit_by_parts_and_the_closest_is_greatest() {
        assert_eq!(
            fit("application/json", "application/json; charset=utf-8"),
            Some(Fit::Exact)
        );
        assert_eq!(
            fit("application/json", "application/vnd.shop+json"),
            Some(Fit::Suffix)
        );
        assert_eq!(
            fit("application/*+json", "application/vnd.shop+json"),
            Some(Fit::Suffix)
        );
        assert_eq!(fit("application/*", "application/xml"), Some(Fit::Kind));
        assert_eq!(fit("*/*", "image/png"), Some(Fit::Any));
        assert!(Fit::Exact > Fit::Suffix && Fit::Suffix > Fit::Kind && Fit::Kind > Fit::Any);
    }

    #[test]
    fn a_mention_of_a_type_is_not_the_type() {
        for media in [
            "application/jsonp",
            "application/x-application-json",
            "text/plain; x=\"application/json\"",
            "application/+json",
            "text/application+jsonx",
        ] {
            assert_eq!(fit("application/json", media), None, "{media}");
        }
        assert_eq!(fit("application/*+json", "text/a+json"), None);
    }

    #[test]
    fn ranges_are_types_or_whole_wildcards() {
        for range in ["application/json", "text/*", "*/*", "application/*+json"] {
            assert_eq!(MediaRange::parse(range).unwrap().to_string(), range);
        }
        for range in [
            "json", "*/json", "a*/b", "a/b*", "a/*+xml", "a/b; c=d", "a/", "*", "a/**",
        ] {
            assert_eq!(MediaRange::parse(range), None, "{range}");
        }
    }

    #[test]
    fn only_utf8_counts_as_utf8() {
        for (value, expected) in [
            ("a/json", true),
            ("a/json; charset=utf-8", true),
            ("a/json; charset=\"UTF8\"", true),
            ("a/json; charset=utf-16", false),
            ("a/json; charset=iso-8859-1", false),
            ("a/json; charset=\"\"", false),
        ] {
            let media = MediaType::parse(value.as_bytes()).unwrap();
            assert_eq!(media.is_utf8(), expected, "{value}");
        }
    }
}
