//! Edge validation: entity tags for answers without one, and `304 Not Modified` for clients that
//! already have the answer (RFC 9110 §8.8, §13, §15.4.5).
//!
//! The driver's part, once the head has the edits of [`Rule::decide`]: hold the answer if
//! [`Rule::wants_body`] says so, then set what [`Rule::etag`] gives; in either case ask
//! [`Rule::not_modified`], and if it answers, send 304 with those fields in the answer's place.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::Asked;
use super::directives;
use super::field::http_date;
use super::rule::Rule;
use crate::head::{Edit, Headers, RequestHead, ResponseHead};

/// How a route has its answers validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Whether an answer without `ETag` gets one, and of which strength.
    pub etag: Option<Strength>,
    /// The most bytes that are held to make one.
    pub max_bytes: u64,
}

/// The strength of an entity tag (RFC 9110 §8.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// The answer may be changed on its way, by compression for instance.
    Weak,
    /// The answer reaches the client byte for byte.
    Strong,
}

/// What a request says about the answer that its client already has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The lines of `If-None-Match`, where there are any.
    none_match: Option<Vec<Vec<u8>>>,
    /// `If-Modified-Since`, where there is one line of it.
    modified_since: Option<Vec<u8>>,
    /// It is for a part, or only if nothing changed: that is the origin's to answer.
    for_origin: bool,
}

impl Conditions {
    /// Reads them off a request.
    pub fn read(head: &RequestHead) -> Self {
        let headers = &head.headers;
        let lines: Vec<_> = headers.all("if-none-match").map(<[u8]>::to_vec).collect();
        let since = headers.single("if-modified-since").ok().flatten();
        Self {
            none_match: (!lines.is_empty()).then_some(lines),
            modified_since: since.map(<[u8]>::to_vec),
            for_origin: ["range", "if-range", "if-match", "if-unmodified-since"]
                .iter()
                .any(|name| headers.has(name)),
        }
    }

    /// Whether the answer is the one that the client has (RFC 9110 §13.2.2). Only a 200 can be.
    fn are_met_by(&self, answer: &ResponseHead) -> bool {
        if self.for_origin || answer.status() != Some(200) {
            return false;
        }
        match (&self.none_match, &self.modified_since) {
            (Some(lines), _) => names_the_answer(lines, answer),
            (None, Some(since)) => is_unmodified(since, answer),
            (None, None) => false,
        }
    }
}

/// The edits that take from a request the conditions that are evaluated here instead.
pub fn taken_over(head: &RequestHead) -> Vec<Edit> {
    if Conditions::read(head).for_origin {
        return Vec::new();
    }
    ["if-none-match", "if-modified-since"]
        .iter()
        .filter(|name| head.headers.has(name))
        .map(|name| Edit::Remove((*name).to_owned()))
        .collect()
}

impl Rule {
    /// The most bytes of the answer to hold for its entity tag, or `None` where none is to be made.
    ///
    /// Only a whole answer of a stated, small enough length is held: one without Content-Length may
    /// be a stream. An answer to HEAD has no body to make a tag of, and leaves the field out, as
    /// RFC 9110 §9.3.2 allows.
    pub fn wants_body(&self, asked: &Asked, answer: &ResponseHead) -> Option<u64> {
        let validation = self.validation?;
        validation.etag?;
        let headers = &answer.headers;
        let whole = asked.method == b"GET"
            && !asked.conditions.for_origin
            && answer.status() == Some(200)
            && !headers.has("content-range")
            && !headers.has("transfer-encoding");
        let wanted = whole
            && !headers.has("etag")
            && !is_streamed(headers)
            && !directives::read(headers.all("cache-control"))
                .directives
                .no_store;
        let length = content_length(headers)?;
        (wanted && (1..=validation.max_bytes).contains(&length)).then_some(validation.max_bytes)
    }

    /// The entity tag of an answer that was held. It covers the body and the fields that change
    /// its meaning, so that no two representations share one.
    pub fn etag(&self, answer: &ResponseHead, body: &[u8]) -> Option<Edit> {
        let strength = self.validation?.etag?;
        let mut digest = Sha256::new();
        for name in ["content-type", "content-encoding", "content-language"] {
            for value in answer.headers.all(name) {
                digest.update(value);
                digest.update(b"\n");
            }
            digest.update(b"\0");
        }
        digest.update(body);
        let digest = digest.finalize();
        let text = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or(&digest));
        let prefix = match strength {
            Strength::Weak => "W/",
            Strength::Strong => "",
        };
        let value = format!("{prefix}\"{text}\"");
        Some(Edit::Set("etag".to_owned(), value.into_bytes()))
    }

    /// The fields of the 304 that stands for the answer, where the client has it already.
    pub fn not_modified(
        &self,
        asked: &Asked,
        answer: &ResponseHead,
    ) -> Option<Vec<(String, Vec<u8>)>> {
        self.validation?;
        if !asked.is_retrieval() || !asked.conditions.are_met_by(answer) {
            return None;
        }
        Some(kept_fields(&answer.headers))
    }
}

/// RFC 9110 §15.4.5: the fields of the 200, but for those that describe the content that is not
/// sent. Last-Modified stays where no entity tag says the same better.
fn kept_fields(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    const CONTENT: [&str; 14] = [
        "connection",
        "content-digest",
        "content-encoding",
        "content-language",
        "content-length",
        "content-md5",
        "content-range",
        "content-type",
        "digest",
        "keep-alive",
        "repr-digest",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let tagged = headers.has("etag");
    let left_out = |name: &str| {
        name.starts_with(':') || CONTENT.contains(&name) || tagged && name == "last-modified"
    };
    headers
        .iter()
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
        .filter(|(name, _)| !left_out(name))
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect()
}

/// Whether `If-None-Match` names the answer's tag, compared weakly (RFC 9110 §13.1.2). A field that
/// is no list of tags names nothing.
fn names_the_answer(lines: &[Vec<u8>], answer: &ResponseHead) -> bool {
    if let [line] = lines
        && line.trim_ascii() == b"*"
    {
        return true;
    }
    let Some(own) = answer.headers.single("etag").ok().flatten().and_then(tag) else {
        return false;
    };
    let named: Option<Vec<_>> = lines.iter().map(|line| tags(line)).collect();
    named.is_some_and(|named| named.concat().contains(&own))
}

/// The one entity tag that the bytes are, without the mark of a weak one.
fn tag(value: &[u8]) -> Option<&[u8]> {
    match take_tag(value.trim_ascii())? {
        (tag, []) => Some(tag),
        _ => None,
    }
}

/// The entity tags of one line of a list.
fn tags(line: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
            continue;
        }
        let (tag, after) = take_tag(rest)?;
        found.push(tag);
        rest = after.trim_ascii_start();
        if !matches!(rest.first(), None | Some(b',')) {
            return None;
        }
    }
    Some(found)
}

/// RFC 9110 §8.8.3: `[W/] DQUOTE *etagc DQUOTE`, and what follows it.
fn take_tag(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let quoted = bytes.strip_prefix(b"W/").unwrap_or(bytes);
    let rest = quoted.strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let (tag, rest) = rest.split_at_checked(end)?;
    let good = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    tag.iter().all(good).then_some(())?;
    Some((tag, rest.get(1..)?))
}

/// RFC 9110 §13.1.3; a field or a Last-Modified that is no date says nothing.
fn is_unmodified(since: &[u8], answer: &ResponseHead) -> bool {
    let modified = answer.headers.single("last-modified").ok().flatten();
    match (modified.and_then(http_date), http_date(since)) {
        (Some(modified), Some(since)) => modified <= since,
        _ => false,
    }
}

/// Types whose bodies come over time, whatever their length says.
fn is_streamed(headers: &Headers) -> bool {
    const STREAMS: [&[u8]; 3] = [
        b"text/event-stream",
        b"multipart/x-mixed-replace",
        b"application/grpc",
    ];
    headers.all("content-type").any(|value| {
        let lower = value.to_ascii_lowercase();
        STREAMS.iter().any(|stream| lower.starts_with(stream))
    })
}

fn content_length(headers: &Headers) -> Option<u64> {
    let value = headers.single("content-length").ok().flatten()?;
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()?
        .parse()
        .ok()
        .filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn fields(of: &[(&str, &str)]) -> Headers {
        let pair =
            |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Headers::new(of.iter().map(pair).collect())
    }

    fn asked(method: &str, of: &[(&str, &str)]) -> Asked {
        let mut head = of.to_vec();
        head.push((":method", method));
        let head = RequestHead {
            headers: fields(&head),
        };
        Asked {
            method: head.method().to_vec(),
            conditions: Conditions::read(&head),
            ..Asked::default()
        }
    }

    fn answer(status: &str, of: &[(&str, &str)]) -> ResponseHead {
        let mut head = of.to_vec();
        head.push((":status", status));
        ResponseHead {
            headers: fields(&head),
        }
    }

    fn rule(etag: Option<Strength>) -> Rule {
        Rule {
            validation: Some(Validation {
                etag,
                max_bytes: 100,
            }),
            ..Rule::default()
        }
    }

    fn is_304(request: &[(&str, &str)], response: &[(&str, &str)]) -> bool {
        let asked = asked("GET", request);
        rule(None)
            .not_modified(&asked, &answer("200", response))
            .is_some()
    }

    #[test]
    fn tags_are_compared_weakly() {
        // The four pairs of RFC 9110 §8.8.3.2, compared weakly.
        for (one, other, same) in [
            ("W/\"1\"", "W/\"1\"", true),
            ("W/\"1\"", "W/\"2\"", false),
            ("W/\"1\"", "\"1\"", true),
            ("\"1\"", "\"1\"", true),
        ] {
            assert_eq!(is_304(&[("if-none-match", one)], &[("etag", other)]), same);
            assert_eq!(is_304(&[("if-none-match", other)], &[("etag", one)]), same);
        }
    }

    #[test]
    fn if_none_match_is_a_list() {
        let etag = [("etag", "\"a,b\"")];
        for lines in [
            &["\"a,b\""][..],
            &["\"x\", W/\"a,b\" ,, \"y\""],
            &["\"x\"", "\"a,b\""],
            &["*"],
            &[" * "],
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
            assert!(is_304(&lines, &etag), "{lines:?}");
        }
        for line in [
            "",
            "\"a\"",
            "a,b",
            "\"A,B\"",
            "\"a,b",
            "w/\"a,b\"",
            "\"a,b\" \"x\"",
            "\"a,b\"x",
            "*, \"a,b\"",
            "\"a b\", \"a,b\"",
            "W/ \"a,b\"",
        ] {
            assert!(!is_304(&[("if-none-match", line)], &etag), "{line}");
        }
        let repeated = [("etag", "\"a\""), ("etag", "\"a\"")];
        assert!(!is_304(&[("if-none-match", "\"a\"")], &repeated));
        assert!(!is_304(&[("if-none-match", "\"a\"")], &[("etag", "a")]));
        assert!(!is_304(&[("if-none-match", "\"a\"")], &[]));
    }

    #[test]
    fn dates_count_only_without_tags() {
        let modified = [("last-modified", DATE), ("etag", "\"1\"")];
        let since = |value| ("if-modified-since", value);
        assert!(is_304(&[since(DATE)], &modified));
        assert!(is_304(&[since(LATER)], &modified));
        assert!(!is_304(&[since(EARLIER)], &modified));
        assert!(!is_304(
            &[since(LATER), ("if-none-match", "\"2\"")],
            &modified
        ));
        assert!(is_304(
            &[since(EARLIER), ("if-none-match", "\"1\"")],
            &modified
        ));
        assert!(!is_304(&[since(DATE), since(DATE)], &modified));
        assert!(!is_304(&[since("now")], &modified));
        assert!(!is_304(&[since(LATER)], &[("last-modified", "then")]));
        assert!(!is_304(&[since(LATER)], &[]));
    }

    #[test]
    fn what_is_the_origins_to_answer_is_left_to_it() {
        let etag = [("etag", "\"1\"")];
        let condition = ("if-none-match", "\"1\"");
        for name in ["range", "if-range", "if-match", "if-unmodified-since"] {
            assert!(!is_304(&[condition, (name, "x")], &etag), "{name}");
        }
        for status in ["206", "204", "301", "304", "404", "412", "500"] {
            let asked = asked("GET", &[condition]);
            let answer = answer(status, &etag);
            assert_eq!(rule(None).not_modified(&asked, &answer), None, "{status}");
        }
        for (method, wanted) in [("HEAD", true), ("POST", false), ("PUT", false)] {
            let asked = asked(method, &[condition]);
            let found = rule(None).not_modified(&asked, &answer("200", &etag));
            assert_eq!(found.is_some(), wanted, "{method}");
        }
        let asked = asked("GET", &[condition]);
        let off = Rule::default();
        assert_eq!(off.not_modified(&asked, &answer("200", &etag)), None);
    }

    #[test]
    fn a_304_keeps_what_rfc_9110_15_4_5_names() {
        let response = [
            ("content-location", "/a"),
            ("date", DATE),
            ("etag", "\"1\""),
            ("vary", "accept"),
            ("cache-control", "max-age=5"),
            ("expires", LATER),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("last-modified", DATE),
        ];
        let names = |response: &[(&str, &str)], request| {
            let asked = asked("GET", &[request]);
            let kept = rule(None)
                .not_modified(&asked, &answer("200", response))
                .unwrap();
            kept.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&response, ("if-none-match", "\"1\"")),
            [
                "content-location",
                "date",
                "etag",
                "vary",
                "cache-control",
                "expires",
                "set-cookie",
                "access-control-allow-origin"
            ]
        );
        let untagged = [("last-modified", DATE)];
        assert_eq!(
            names(&untagged, ("if-modified-since", DATE)),
            ["last-modified"]
        );
    }

    #[test]
    fn only_whole_small_answers_are_held() {
        let plain = asked("GET", &[]);
        let strong = rule(Some(Strength::Strong));
        let wants = |asked: &Asked, status: &str, more: &[(&str, &str)]| {
            let mut head = vec![("content-length", "100")];
            head.extend_from_slice(more);
            strong.wants_body(asked, &answer(status, &head)).is_some()
        };
        assert!(wants(&plain, "200", &[]));
        assert!(wants(
            &plain,
            "200",
            &[("cache-control", "private"), ("content-type", "text/html")]
        ));
        for (status, more) in [
            ("206", ("x", "y")),
            ("404", ("x", "y")),
            ("200", ("etag", "\"1\"")),
            ("200", ("etag", "")),
            ("200", ("content-range", "bytes 0-1/2")),
            ("200", ("transfer-encoding", "chunked")),
            ("200", ("cache-control", "no-store")),
            ("200", ("content-type", "Text/Event-Stream; charset=utf-8")),
            ("200", ("content-type", "application/grpc-web+proto")),
            ("200", ("content-length", "100")),
        ] {
            assert!(!wants(&plain, status, &[more]), "{status} {more:?}");
        }
        assert!(!wants(&asked("HEAD", &[]), "200", &[]));
        assert!(!wants(&asked("POST", &[]), "200", &[]));
        assert!(!wants(&asked("GET", &[("range", "bytes=0-1")]), "200", &[]));
    }

    #[test]
    fn an_answer_without_a_small_length_goes_on_at_once() {
        let strong = rule(Some(Strength::Strong));
        for length in ["0", "101", "", "+5", "5, 5", "x", "99999999999999999999"] {
            let answer = answer("200", &[("content-length", length)]);
            assert_eq!(
                strong.wants_body(&asked("GET", &[]), &answer),
                None,
                "{length}"
            );
        }
        assert_eq!(
            strong.wants_body(&asked("GET", &[]), &answer("200", &[])),
            None
        );
        let small = answer("200", &[("content-length", "5")]);
        assert_eq!(strong.wants_body(&asked("GET", &[]), &small), Some(100));
        for rule in [rule(None), Rule::default()] {
            assert_eq!(rule.wants_body(&asked("GET", &[]), &small), None);
            assert_eq!(rule.etag(&small, b""), rule.validation.and(None));
        }
    }

    #[test]
    fn a_made_tag_tells_representations_apart_and_answers_a_304() {
        let make = |strength, head: &[(&str, &str)], body: &[u8]| match rule(Some(strength))
            .etag(&answer("200", head), body)
        {
            Some(Edit::Set(_, value)) => String::from_utf8(value).unwrap(),
            other => panic!("{other:?}"),
        };
        let strong = |head: &[(&str, &str)], body: &[u8]| make(Strength::Strong, head, body);
        let html = [("content-type", "text/html")];
        let tag = strong(&html, b"a");
        assert_eq!(tag, strong(&html, b"a"));
        assert_eq!(format!("W/{tag}"), make(Strength::Weak, &html, b"a"));
        for other in [
            strong(&html, b"b"),
            strong(&[("content-type", "text/plain")], b"a"),
            strong(
                &[("content-type", "text/html"), ("content-encoding", "br")],
                b"a",
            ),
            strong(&[("content-encoding", "text/html")], b"a"),
            strong(&html, b""),
        ] {
            assert_ne!(tag, other);
        }
        assert!(is_304(&[("if-none-match", &tag)], &[("etag", &tag)]));
        assert!(is_304(
            &[("if-none-match", &format!("W/{tag}"))],
            &[("etag", &tag)]
        ));
    }

    #[test]
    fn conditions_are_taken_over_unless_the_origin_must_answer() {
        let take = |of: &[(&str, &str)]| {
            let edits = taken_over(&RequestHead {
                headers: fields(of),
            });
            edits.len()
        };
        assert_eq!(take(&[]), 0);
        assert_eq!(take(&[("if-none-match", "*")]), 1);
        assert_eq!(
            take(&[("if-none-match", "*"), ("if-modified-since", DATE)]),
            2
        );
        assert_eq!(take(&[("if-none-match", "*"), ("range", "bytes=0-")]), 0);
    }
}
