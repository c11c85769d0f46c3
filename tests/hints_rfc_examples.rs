//! Field values that the RFCs give as examples, and what their text says of them, through the hints.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

#[path = "hints/model.rs"]
mod model;

use forecourt::head::{Edit, Headers, RequestHead, ResponseHead};
use forecourt::hints::{
    Asked, Conditions, Mode, Rule, Strength, Tags, Template, Validation, Wish, directives,
    encoding, field, structured, vary,
};
use forecourt::time::UnixTime;
use forecourt::trace::Trace;
use sfv::FieldType;

type Fields<'a> = &'a [(&'a str, &'a str)];

fn headers(fields: Fields<'_>) -> Headers {
    let pair = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    Headers::new(fields.iter().map(pair).collect())
}

fn answer(fields: Fields<'_>) -> ResponseHead {
    let status = [(":status", "200")];
    ResponseHead {
        headers: headers(&[&status, fields].concat()),
    }
}

fn get(fields: Fields<'_>) -> Asked {
    let method = [(":method", "GET")];
    let head = RequestHead {
        headers: headers(&[&method, fields].concat()),
    };
    Asked {
        method: b"GET".to_vec(),
        conditions: Conditions::read(&head),
        ..Asked::default()
    }
}

fn rule(mode: Mode, ttl: Option<u32>) -> Rule {
    Rule {
        base: Wish {
            mode,
            ttl,
            ..Wish::default()
        },
        ..Rule::default()
    }
}

/// The fields of an example after the hints.
fn after(rule: &Rule, asked: &Asked, fields: Fields<'_>) -> Vec<(String, String)> {
    let mut answer = answer(fields);
    let edits = rule.decide(asked, &answer, UnixTime(0), &mut Trace::off());
    answer.headers.apply(&edits);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let fields = answer.headers.iter();
    fields
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| name != ":status")
        .collect()
}

fn owned(fields: Fields<'_>) -> Vec<(String, String)> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(pair).collect()
}

#[test]
fn cache_control_reads_and_prints_as_the_text_says() {
    for (text, printed, source) in [
        ("max-age=5", "max-age=5", "RFC 9111 §5.2.2.1"),
        // "A sender MUST NOT generate the quoted-string form."
        ("max-age=\"5\"", "max-age=5", "RFC 9111 §5.2.2.1"),
        ("s-maxage=10", "s-maxage=10", "RFC 9111 §5.2.2.10"),
        ("s-maxage=\"10\"", "s-maxage=10", "RFC 9111 §5.2.2.10"),
        // "A sender SHOULD NOT generate the token form", and names are case-insensitive.
        (
            "no-cache=Set-Cookie",
            "no-cache=\"set-cookie\"",
            "RFC 9111 §5.2.2.4",
        ),
        (
            "private=Set-Cookie",
            "private=\"set-cookie\"",
            "RFC 9111 §5.2.2.7",
        ),
        // A token and a quoted string mean the same (RFC 9111 §5.2).
        (
            "private, community=\"UCI\"",
            "private, community=UCI",
            "RFC 9111 §5.2.3",
        ),
        (
            "max-age=600, stale-while-revalidate=30",
            "max-age=600, stale-while-revalidate=30",
            "RFC 5861 §3.1",
        ),
        (
            "max-age=600, stale-if-error=1200",
            "max-age=600, stale-if-error=1200",
            "RFC 5861 §4.1",
        ),
        (
            "max-age=31536000, immutable",
            "max-age=31536000, immutable",
            "RFC 8246 §2.2",
        ),
        // "If any arguments are present, they have no meaning and MUST be ignored. Multiple
        // instances of the immutable extension are equivalent to one instance."
        ("immutable=\"x\", immutable", "immutable", "RFC 8246 §2"),
        (
            "max-age=60, s-maxage=120",
            "max-age=60, s-maxage=120",
            "RFC 9213 §3.1",
        ),
    ] {
        let reading = directives::read(std::iter::once(text.as_bytes()));
        assert!(!reading.doubtful, "{source}");
        assert_eq!(reading.directives.to_string(), printed, "{source}");
    }
}

#[test]
fn of_several_values_the_most_restrictive_holds() {
    // RFC 9111 §4.2.1: the first value or none, the most restrictive of conflicting directives, and
    // stale where the lifetime is no number. Where the first is longer, the shorter is taken.
    for (lines, meant) in [
        (&["max-age=60", "max-age=600"][..], "max-age=60"),
        (&["max-age=600", "max-age=60"], "max-age=60"),
        (&["max-age=1.5"], "max-age=0"),
        (&["public, private, max-age=5"], "private, max-age=5"),
    ] {
        let fields: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
        let mut asked = get(&[]);
        asked.credentials = meant.contains("private");
        assert_eq!(
            after(&rule(Mode::Respect, None), &asked, &fields),
            owned(&[("cache-control", meant)]),
            "{lines:?}"
        );
    }
    let both = [("cache-control", "max-age=5, no-cache")];
    assert_eq!(
        after(&rule(Mode::Default, Some(9)), &get(&[]), &both),
        owned(&both)
    );
}

#[test]
fn expires_as_rfc_9111_5_3_says() {
    let date = ("date", "Thu, 01 Dec 1994 15:00:00 GMT");
    let hour = ("expires", "Thu, 01 Dec 1994 16:00:00 GMT");
    let limit = rule(Mode::Cap, Some(60));
    let said = |fields: Fields<'_>| {
        let fields = after(&limit, &get(&[]), fields);
        let held = fields.into_iter().find(|(name, _)| name == "cache-control");
        held.map(|(_, value)| value)
    };
    assert_eq!(said(&[date, hour]).as_deref(), Some("max-age=60"));
    // "especially the value "0", as representing a time in the past": nothing to cut.
    assert_eq!(said(&[date, ("expires", "0")]), None);
    // With max-age "a recipient MUST ignore the Expires header field".
    let outranked = [date, hour, ("cache-control", "max-age=5")];
    assert_eq!(said(&outranked).as_deref(), Some("max-age=5"));
}

#[test]
fn targeted_examples_of_rfc_9213_pass_and_are_capped() {
    let examples: [Fields<'_>; 5] = [
        // §2
        &[("cdn-cache-control", "max-age=60")],
        // §2.3
        &[
            ("age", "1800"),
            ("cache-control", "max-age=600"),
            ("cdn-cache-control", "max-age=3600"),
        ],
        // §3.1
        &[
            ("cache-control", "max-age=60, s-maxage=120"),
            ("cdn-cache-control", "max-age=600"),
        ],
        &[
            ("cdn-cache-control", "max-age=600"),
            ("cache-control", "no-store"),
        ],
        &[("cache-control", "no-store"), ("cdn-cache-control", "none")],
    ];
    for example in examples {
        let asked = get(&[]);
        assert_eq!(
            after(&rule(Mode::Respect, None), &asked, example),
            owned(example)
        );
    }
    let capped = after(&rule(Mode::Cap, Some(30)), &get(&[]), examples[2]);
    assert!(capped.contains(&("cache-control".into(), "max-age=30, s-maxage=30".into())));
    assert!(capped.contains(&("cdn-cache-control".into(), "max-age=30".into())));
    // §2.1: parameters are ignored; a decimal is not coerced, and what cannot be parsed is as if it
    // were not there.
    for (held, meant) in [
        ("max-age=600;x=1", Some("max-age=30")),
        ("max-age=5;x=1", Some("max-age=5;x=1")),
        ("max-age=600.5", Some("max-age=0")),
        ("max-age=600,", None),
    ] {
        let fields = after(
            &rule(Mode::Cap, Some(30)),
            &get(&[]),
            &[("cdn-cache-control", held)],
        );
        let found = fields.first().map(|(_, value)| value.as_str());
        assert_eq!(found, meant, "{held}");
    }
}

#[test]
fn examples_of_cache_status_parse_and_are_added_to() {
    let examples: [&[&str]; 10] = [
        // RFC 9211 §2.8
        &["ExampleCache; hit; detail=MEMORY"],
        // RFC 9211 §3
        &["ExampleCache; hit"],
        &["ExampleCache; hit; ttl=376"],
        &["ExampleCache; hit; ttl=-412"],
        &["ExampleCache; fwd=uri-miss"],
        &["ExampleCache; fwd=stale; fwd-status=304"],
        &["ExampleCache; fwd=uri-miss; collapsed"],
        &["ExampleCache; fwd=uri-miss; collapsed=?0"],
        &["OriginCache; hit; ttl=1100, \"CDN Company Here\"; hit; ttl=545"],
        &[
            "ReverseProxyCache; hit",
            "ForwardProxyCache; fwd=uri-miss; collapsed; stored",
            "BrowserCache; fwd=uri-miss",
        ],
    ];
    let named = Rule {
        cache_status: Some("edge".into()),
        ..Rule::default()
    };
    for lines in examples {
        let list = structured::list(lines.iter().map(|line| line.as_bytes())).unwrap();
        let printed = list.serialize().unwrap();
        assert_eq!(printed.replace(';', "; "), lines.join(", "));
        // §2: "caches SHOULD preserve the existing field value", and the last member is the one
        // closest to the user.
        let held: Vec<_> = lines.iter().map(|line| ("cache-status", *line)).collect();
        let mut wanted = held.clone();
        wanted.push(("cache-status", "edge;detail=unsaid"));
        assert_eq!(after(&named, &get(&[]), &held), owned(&wanted));
    }
    // §2.1: "hit" and "fwd" are exclusive.
    for (from_cache, there, not) in [(true, ";hit", "fwd"), (false, ";fwd=miss", "hit")] {
        let mut asked = get(&[]);
        asked.from_cache = Some(from_cache);
        let fields = after(&named, &asked, &[("cache-control", "max-age=5")]);
        let (_, value) = fields.last().unwrap();
        assert!(value.contains(there) && !value.contains(not), "{value}");
    }
}

#[test]
fn groups_are_added_to_the_example_of_rfc_9875_2() {
    let example = [
        ("content-type", "application/javascript"),
        ("cache-control", "max-age=3600"),
        ("cache-groups", "\"scripts\""),
    ];
    let groups = |count: usize| Rule {
        tags: Tags {
            // "at least 32 groups in a field value, with up to at least 32 characters in each".
            cache_groups: (0..count)
                .map(|index| Template::parse(&format!("{index:032}")).unwrap())
                .collect(),
            ..Tags::default()
        },
        ..rule(Mode::Respect, None)
    };
    let value = |count| {
        let fields = after(&groups(count), &get(&[]), &example);
        let (_, value) = fields
            .into_iter()
            .find(|(n, _)| n == "cache-groups")
            .unwrap();
        value
    };
    assert_eq!(value(0), "\"scripts\"");
    assert_eq!(value(1), format!("\"scripts\", \"{:032}\"", 0));
    assert_eq!(value(32).split(", ").count(), 33);
}

#[test]
fn the_date_formats_of_rfc_9110_5_6_7() {
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ] {
        let time = field::http_date(text.as_bytes()).unwrap();
        // "the sender MUST generate those timestamps in the IMF-fixdate format".
        assert_eq!(
            field::print_http_date(time),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }
}

#[test]
fn accept_encoding_as_rfc_9110_12_5_3_says() {
    let offered = ["br".to_owned(), "gzip".to_owned()];
    for (held, wanted) in [
        ("compress, gzip", "gzip"),
        // "implies that the user agent does not want any content coding".
        ("", "identity"),
        ("*", "br, gzip"),
        ("compress;q=0.5, gzip;q=1.0", "gzip"),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"),
    ] {
        let head = RequestHead {
            headers: headers(&[("accept-encoding", held)]),
        };
        let wanted = Edit::Set("accept-encoding".into(), wanted.into());
        assert_eq!(encoding::normalise(&head, &offered), Some(wanted), "{held}");
    }
}

#[test]
fn vary_of_rfc_9110_12_5_5_keeps_what_it_names() {
    let held = answer(&[("vary", "Accept-Encoding, accept-language")]);
    let merged = "accept-encoding, accept-language, origin";
    assert_eq!(
        vary::merge(&held, &["accept-encoding".into(), "origin".into()]),
        Some(Edit::Set("vary".into(), merged.into()))
    );
    assert_eq!(vary::merge(&held, &["accept-language".into()]), None);
}

fn validating() -> Rule {
    Rule {
        validation: Some(Validation {
            etag: Some(Strength::Strong),
            max_bytes: 1_000,
        }),
        ..Rule::default()
    }
}

fn is_304(asked: Fields<'_>, answered: Fields<'_>) -> bool {
    let kept = validating().not_modified(&get(asked), &answer(answered));
    kept.is_some()
}

#[test]
fn if_none_match_as_rfc_9110_13_1_2_says() {
    let examples = [
        "\"xyzzy\"",
        "W/\"xyzzy\"",
        "\"xyzzy\", \"r2d2xxxx\", \"c3piozzzz\"",
        "W/\"xyzzy\", W/\"r2d2xxxx\", W/\"c3piozzzz\"",
        "*",
    ];
    for condition in examples {
        let asked = [("if-none-match", condition)];
        // The tags of §8.8.3, compared weakly (§8.8.3.2).
        for (tag, same) in [
            ("\"xyzzy\"", true),
            ("W/\"xyzzy\"", true),
            ("\"\"", condition == "*"),
        ] {
            assert_eq!(is_304(&asked, &[("etag", tag)]), same, "{condition} {tag}");
        }
        // §13.2.2: If-Modified-Since counts only where If-None-Match is not there.
        let date = "Sat, 29 Oct 1994 19:43:31 GMT";
        let asked = [("if-none-match", condition), ("if-modified-since", date)];
        let other = [("etag", "\"other\""), ("last-modified", date)];
        assert_eq!(is_304(&asked, &other), condition == "*", "{condition}");
    }
    let empty = [("if-none-match", "\"\"")];
    assert!(is_304(&empty, &[("etag", "\"\"")]));
    // "a list value containing "*" and other values … is syntactically invalid".
    let mixed = [("if-none-match", "*, \"xyzzy\"")];
    assert!(!is_304(&mixed, &[("etag", "\"xyzzy\"")]));
}

#[test]
fn if_modified_since_as_rfc_9110_13_1_3_says() {
    let since = [("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT")];
    for (modified, same) in [
        ("Sat, 29 Oct 1994 19:43:31 GMT", true),
        ("Sat, 29 Oct 1994 19:43:30 GMT", true),
        ("Tue, 15 Nov 1994 12:45:26 GMT", false),
    ] {
        assert_eq!(is_304(&since, &[("last-modified", modified)]), same);
    }
    // It is ignored where it is no date, and for other methods than GET and HEAD.
    let invalid = [("if-modified-since", "yesterday")];
    let modified = [("last-modified", "Sat, 29 Oct 1994 19:43:31 GMT")];
    assert!(!is_304(&invalid, &modified));
    let post = Asked {
        method: b"POST".to_vec(),
        conditions: Conditions::read(&RequestHead {
            headers: headers(&since),
        }),
        ..Asked::default()
    };
    assert_eq!(validating().not_modified(&post, &answer(&modified)), None);
}

#[test]
fn representations_have_tags_of_their_own_as_in_rfc_9110_8_8_3_3() {
    let text = "Hello World!\r\n".repeat(5);
    let plain = [("content-type", "text/plain"), ("vary", "Accept-Encoding")];
    let coded = [&plain[..], &[("content-encoding", "gzip")]].concat();
    let tag = |fields: Fields<'_>| validating().etag(&answer(fields), text.as_bytes()).unwrap();
    assert_ne!(tag(&plain), tag(&coded));
    assert_eq!(tag(&plain), tag(&plain));
}

#[test]
fn a_304_has_what_rfc_9110_15_4_5_names() {
    // The answer of RFC 9110 §3.9, with a few fields more.
    let whole = [
        ("date", "Mon, 27 Jul 2009 12:28:53 GMT"),
        ("server", "Apache"),
        ("last-modified", "Wed, 22 Jul 2009 19:15:56 GMT"),
        ("etag", "\"34aa387-d-1568eb00\""),
        ("accept-ranges", "bytes"),
        ("content-length", "51"),
        ("vary", "Accept-Encoding"),
        ("content-type", "text/plain"),
        ("content-location", "/hello.txt"),
        ("cache-control", "max-age=60"),
        ("expires", "Mon, 27 Jul 2009 12:29:53 GMT"),
    ];
    let asked = get(&[("if-none-match", "\"34aa387-d-1568eb00\"")]);
    let kept = validating().not_modified(&asked, &answer(&whole)).unwrap();
    let names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
    for must in [
        "content-location",
        "date",
        "etag",
        "vary",
        "cache-control",
        "expires",
    ] {
        assert!(names.contains(&must), "{must}");
    }
    // "Last-Modified might be useful if the response does not have an ETag field".
    for metadata in ["last-modified", "content-type", "content-length"] {
        assert!(!names.contains(&metadata), "{metadata}");
    }
}
