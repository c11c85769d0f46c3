#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn matches(pattern: &str, text: &str) -> bool {
    let mut builder = Builder::default();
    let id = builder.add(pattern).unwrap();
    let mut scratch = Scratch::default();
    builder
        .finish()
        .is_match(id, text, &mut scratch, &mut Budget::of(1 << 30))
}

fn bad(pattern: &str) -> Bad {
    Builder::default().add(pattern).unwrap_err()
}

#[test]
fn patterns_match_as_ecma_262_says() {
    for (pattern, good, wrong) in [
        ("^abc$", "abc", "abc\n"),
        ("abc", "xabcx", "ab"),
        ("^[A-Z]{3}-[0-9]{4}$", "ABC-1234", "ABC-123"),
        ("^a*$", "", "ab"),
        ("^a*ab$", "aaab", "b"),
        ("^(a|bc)+d?$", "abcbcd", "abcb"),
        (r"^\d{4}-\d{2}(-\d{2})?$", "2024-01", "2024-01-0"),
        (r"^\S+$", "a\u{200b}b", "a\u{feff}b"),
        (r"^\w$", "a", "é"),
        (r"^\D$", "߀", "0"),
        (r"^.$", "🐲", "\u{2028}"),
        (r"^🐲*$", "🐲🐲", "🐉"),
        (r"^\uD83D\uDC32$", "🐲", "🐉"),
        (r"^\u{1F432}$", "🐲", "🐉"),
        (r"^\x41\cJ\t\0$", "A\n\t\0", "A\n\t"),
        (r"^\p{Letter}+$", "π", "1"),
        (r"^\P{Lu}[\p{Nd}_]$", "a৪", "A1"),
        (r"^\p{Script=Greek}$", "π", "p"),
        (r"\bfoo\b", "a foo b", "afoo"),
        (r"^[^]$", "\n", ""),
        (r"^[\w.-]+@[^@\s]+$", "a.b-c@d", "a b@c"),
        (r"^[a-z&&b]$", "&", "B"),
        (r"^[[a]$", "[", "]"),
        (r"^[--a]$", "A", "z"),
        (r"^{a}$", "{a}", "a"),
        (r"^a{,2}$", "a{,2}", "aa"),
        (r"^a{2,}?$", "aaa", "a"),
        (r"(?i)^ab[c-e]$", "ABD", "abf"),
        (r"^(?i:a)b$", "Ab", "AB"),
        (r"\Aab\z", "ab", "abc"),
        (r"^(a+)+$", "aaaa", "aaaab"),
        (r"^(([a-z]{2}){2}-){2}$", "abcd-abcd-", "abcd-abc-"),
        (r"^(a*)*$", "aa", "b"),
        (r"^(|a)+$", "", "b"),
        ("^x?x?x?xxx$", "xxx", "xx"),
        (r"^\/v1\/\-\_$", "/v1/-_", "v1"),
        ("^$", "", "a"),
    ] {
        assert!(matches(pattern, good), "{pattern} {good:?}");
        assert!(!matches(pattern, wrong), "{pattern} {wrong:?}");
    }
    assert!(!matches("[]", "a") && matches("", ""));
}

#[test]
fn what_cannot_run_in_linear_time_or_is_no_expression_is_refused() {
    for (pattern, expected) in [
        ("^(?=a)b", Bad::LookAround),
        ("(?<!a)b", Bad::LookAround),
        (r"(a)\1", Bad::BackReference),
        (r"(?<n>a)\k<n>", Bad::BackReference),
        ("(", Bad::Syntax),
        (")", Bad::Syntax),
        ("[a", Bad::Syntax),
        ("[z-a]", Bad::Syntax),
        ("a**", Bad::Syntax),
        ("+", Bad::Syntax),
        ("a{2,1}", Bad::Syntax),
        (r"\", Bad::Syntax),
        (r"\a", Bad::Syntax),
        (r"\x4", Bad::Syntax),
        (r"\u{110000}", Bad::Syntax),
        (r"\p{Nonsense}", Bad::Syntax),
        (r"\p{L}}\p{", Bad::Syntax),
        ("(?P<n>a)", Bad::Syntax),
        ("(?#a)", Bad::Syntax),
        ("((a{1000}){1000}){1000}", Bad::Size),
        ("a{4294967296}", Bad::Size),
    ] {
        assert_eq!(bad(pattern), expected, "{pattern}");
    }
    assert_eq!(bad(&"(".repeat(100_000)), Bad::Size);
    // Nothing, very often.
    assert!(matches("^(((){1000000}){1000000}){1000000}$", ""));
    assert_eq!(bad("(()|(){1000000}){1000000}a"), Bad::Size);
    assert_eq!(bad(&"a?".repeat(100_000)), Bad::Size);
}

#[test]
fn expressions_are_told_from_other_text() {
    for good in [
        "(?<n>a)\\k<n>",
        "(?<=a+)b",
        "[]",
        "[^]",
        "\\cA",
        "([abc])+\\s+$",
        "(?!a)*",
    ] {
        assert!(is_expression(good), "{good}");
    }
    for wrong in [
        "\\a", "(?P<n>x)", "(?#c)a", "(?i)abc", "^(abc]", "\\A", "(?<1>a)",
    ] {
        assert!(!is_expression(wrong), "{wrong}");
    }
}

#[test]
fn long_texts_take_linear_time_and_the_budget_ends_what_takes_too_long() {
    let long = format!("{}!", "a".repeat(1 << 20));
    assert!(!matches("^(a+)+$", &long));
    assert!(!matches("(a|aa)+$", &long));
    let mut builder = Builder::default();
    let id = builder.add("(a?){500}b").unwrap();
    let mut budget = Budget::of(100_000);
    let patterns = builder.finish();
    assert!(!patterns.is_match(id, &long, &mut Scratch::default(), &mut budget));
    assert!(budget.is_spent());
}

#[test]
fn equal_patterns_and_classes_are_kept_once() {
    let mut builder = Builder::default();
    let one = builder.add("^[a-z]+$").unwrap();
    assert_eq!(builder.add("^[a-z]+$"), Ok(one));
    assert_ne!(builder.add("^[a-z]*[b-z]$"), Ok(one));
    let patterns = builder.finish();
    assert_eq!((patterns.list.len(), patterns.classes.len()), (2, 2));
    assert_eq!(patterns.text(one), "^[a-z]+$");
}
