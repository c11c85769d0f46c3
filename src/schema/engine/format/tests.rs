#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn holds(format: &str, text: &str) -> bool {
    Format::named(format).unwrap().holds(text, &Labels::load())
}

/// What the official suite does not ask; it asks the rest.
#[test]
fn formats_take_what_their_grammars_do() {
    for (format, good, wrong) in [
        (
            "byte",
            &["", "aGk=", "aGV5"][..],
            &["aGk", "a", "aGk=\n", "aG k="][..],
        ),
        (
            "date",
            &["2024-02-29", "0000-01-01"],
            &[
                "2023-02-29",
                "2024-2-9",
                "2024-13-01",
                "2024-01-00",
                "2024-01-01-",
                "+024-01-01",
                "2100-02-29",
            ],
        ),
        (
            "date-time",
            &["2024-01-01T00:00:00Z", "2024-01-01t00:00:00.1-00:00"],
            &[
                "2024-01-01 00:00:00Z",
                "2024-01-01T00:00Z",
                "2024-01-01T00:00:00",
                "2024-01-01TT00:00:00Z",
            ],
        ),
        (
            "time",
            &["23:59:60z", "01:29:60+01:30"],
            &[
                "1:2:3Z",
                "00:00:00.Z",
                "00:00:00+1:00",
                "00:00:00+00:00:00",
                "00:00:00é",
                "00:00:00é+",
            ],
        ),
        (
            "duration",
            &["P1Y2M", "P3W", "PT1H2M3S"],
            &[
                "P", "PT", "P1", "P1YT", "P1Y1D", "P1W1D", "P1DT1D", "P1é", "P1M1Y", "P1M2M",
            ],
        ),
        (
            "email",
            &[
                "a@b",
                "\"\"@b.example",
                "\"a@b\\\"\"@[IPv6:::1]",
                "a+b@1.example",
            ],
            &[
                "a@",
                "@b",
                "a@b@c",
                "a@b..c",
                "\"a\"b\"@c",
                "\"a@b",
                "é@b.example",
                "a@[::1]",
                "a b@c",
                "a\n@b",
                "a@b\0",
            ],
        ),
        (
            "idn-email",
            &["é@b.example", "a@é.example"],
            &["a＠b", "é@", "é@\u{302e}a.example"],
        ),
        (
            "hostname",
            &["a", "a-b.1", "XN--9N2BP8Q"],
            &[
                "",
                "a.",
                ".a",
                "a..b",
                "-a",
                "a-",
                "a_b",
                "ab--c",
                "xn--",
                "xn--a",
                "xn--99999999",
                "é",
            ],
        ),
        (
            "ipv4",
            &["1.2.3.4"],
            &["01.2.3.4", "1.2.3", "1.2.3.4.", "::1"],
        ),
        (
            "ipv6",
            &["::", "1::2", "::ffff:1.2.3.4"],
            &["::1%eth0", "1.2.3.4", ":::", "[::1]"],
        ),
        (
            "json-pointer",
            &["", "/", "/a~0~1b", "/é"],
            &["a", "/~", "/~2", "/a~"],
        ),
        ("regex", &["^(?<!a)b$", ""], &["(", "[", "a{2,1}"]),
        (
            "relative-json-pointer",
            &["0", "10#", "1/a"],
            &["", "01", "1#/a", "-1", "1a"],
        ),
        (
            "uri-template",
            &["{?a,b*}", "/{+a:9}/é"],
            &["{", "}", "{}", "{a:}", "{a:b}", "{a*:1}", "{a%2}", "<", "%"],
        ),
        (
            "uuid",
            &["2EB8AA08-AA98-11EA-B4AA-73B441D16380"],
            &[
                "2EB8AA08AA9811EAB4AA73B441D16380",
                "2EB8AA08-AA98-11EA-B4AA-73B441D1638é",
            ],
        ),
    ] {
        for text in good {
            assert!(holds(format, text), "{format} {text:?}");
        }
        for text in wrong {
            assert!(!holds(format, text), "{format} {text:?}");
        }
    }
    assert!(Format::named("nonsense").is_none());
}

#[test]
fn long_texts_end_soon() {
    let long = "1".repeat(1 << 20);
    for (name, _) in FORMATS.iter().filter(|(name, _)| *name != "regex") {
        assert!(!holds(name, &format!("{long}\u{1}")), "{name}");
        assert!(!holds(name, &format!("xn--{long}\u{1}")), "{name}");
    }
}
