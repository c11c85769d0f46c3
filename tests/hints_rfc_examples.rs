//! Field values that the RFCs give as examples, through the hints.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

#[path = "hints/model.rs"]
mod model;

use forecourt::hints::{Asked, Mode, Rule, Wish, directives, structured};
use forecourt::time::UnixTime;
use forecourt::trace::Trace;
use sfv::FieldType;

/// The fields of an example after the hints.
fn after(rule: &Rule, fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mut answer = model::answer("200", &fields);
    let asked = Asked {
        method: b"GET".to_vec(),
        ..Asked::default()
    };
    let edits = rule.decide(&asked, &answer, UnixTime(0), &mut Trace::off());
    answer.headers.apply(&edits);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let fields = answer.headers.iter();
    fields
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(name, _)| name != ":status")
        .collect()
}

#[test]
fn examples_of_cache_control_read_and_print_alike() {
    for (text, source) in [
        ("private, community=\"UCI\"", "RFC 9111 §5.2.3"),
        ("max-age=5", "RFC 9111 §5.2.2.1"),
        ("max-age=600, stale-while-revalidate=30", "RFC 5861 §3.1"),
        ("max-age=600, stale-if-error=1200", "RFC 5861 §4.1"),
        ("max-age=31536000, immutable", "RFC 8246 §2"),
        ("max-age=60, s-maxage=120", "RFC 9213"),
    ] {
        let reading = directives::read(std::iter::once(text.as_bytes()));
        assert!(!reading.doubtful, "{source}");
        // Tokens and quoted strings mean the same (RFC 9111 §5.2); where a token does, it is used.
        let printed = reading.directives.to_string().replace('"', "");
        let sorted = |text: &str| {
            let mut members: Vec<_> = text.split(", ").map(str::to_owned).collect();
            members.sort_unstable();
            members
        };
        assert_eq!(sorted(&printed), sorted(&text.replace('"', "")), "{source}");
    }
}

#[test]
fn targeted_examples_of_rfc_9213_pass_and_are_capped() {
    let examples = [
        [
            ("cache-control", "max-age=60, s-maxage=120"),
            ("cdn-cache-control", "max-age=600"),
        ],
        [
            ("cdn-cache-control", "max-age=600"),
            ("cache-control", "no-store"),
        ],
    ];
    let rule = |mode, ttl| Rule {
        base: Wish {
            mode,
            ttl,
            ..Wish::default()
        },
        ..Rule::default()
    };
    for example in examples {
        let held: Vec<_> = example
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(after(&rule(Mode::Respect, None), &example), held);
        assert_eq!(after(&rule(Mode::Default, Some(9)), &example), held);
    }
    let capped = after(&rule(Mode::Cap, Some(30)), &examples[0]);
    assert!(capped.contains(&("cache-control".into(), "max-age=30, s-maxage=30".into())));
    assert!(capped.contains(&("cdn-cache-control".into(), "max-age=30".into())));
}

#[test]
fn examples_of_cache_status_parse() {
    for (text, source) in [
        (
            "OriginCache; hit; ttl=1100, \"CDN Company Here\"; hit; ttl=545",
            "RFC 9211",
        ),
        ("ExampleCache; hit; ttl=376", "RFC 9211"),
        ("ExampleCache; fwd=stale; fwd-status=304", "RFC 9211"),
        ("ExampleCache; hit; detail=MEMORY", "RFC 9211"),
    ] {
        let list = structured::list(std::iter::once(text.as_bytes())).unwrap();
        let printed = list.serialize().unwrap();
        assert_eq!(printed.replace(';', "; "), text, "{source}");
    }
}

#[test]
fn an_earlier_caches_word_is_added_to() {
    let rule = Rule {
        cache_status: Some("BrowserSideCache".into()),
        ..Rule::default()
    };
    let held = "OriginCache; hit; ttl=1100, \"CDN Company Here\"; hit; ttl=545";
    let after = after(&rule, &[("cache-status", held)]);
    assert_eq!(
        after,
        [
            ("cache-status".to_owned(), held.to_owned()),
            (
                "cache-status".to_owned(),
                "BrowserSideCache;detail=unsaid".to_owned()
            ),
        ]
    );
}
