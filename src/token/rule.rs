//! Rules on claims: what a verified token has to say before a route lets it pass.

use std::cmp::Ordering;
use std::fmt;

use regex_lite::Regex;
use serde_json::{Number, Value};

use super::claims::{ClaimPath, Claims};

/// Tests on one claim, all of which have to hold.
#[derive(Clone, Debug)]
pub struct ClaimRule {
    /// The claim.
    pub claim: ClaimPath,
    /// What its value is held against.
    pub tests: Vec<Test>,
    /// A string value is a list with spaces between, as `scope` is (RFC 8693 §4.2).
    pub space_delimited: bool,
    /// The rule is for tokens of this issuer only, by index.
    pub issuer: Option<usize>,
}

/// One test on a value. A `null` is held for an absent claim, which passes no test but
/// `Present(false)` and negations.
///
/// `OneOf`, `StartsWith`, `EndsWith` and `Matches` hold for a list as soon as they hold for one of
/// its elements. A test that says nothing of a value's type does not hold, and neither does its
/// negation: `not` never lets pass what a rule cannot read.
#[derive(Clone, Debug)]
pub enum Test {
    /// The value is this string, number or boolean.
    Equals(Value),
    /// The value is one of these.
    OneOf(Vec<Value>),
    /// The value is a list with this element.
    Contains(Value),
    /// The value is a string that starts so.
    StartsWith(String),
    /// The value is a string that ends so.
    EndsWith(String),
    /// The whole of the value, a string, matches. Takes time linear in its length.
    Matches(Regex),
    /// The value is a number, and no smaller.
    AtLeast(Number),
    /// The value is a number, and no larger.
    AtMost(Number),
    /// Whether there is a value at all.
    Present(bool),
    /// The test does not hold.
    Not(Box<Test>),
}

/// What a test says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    NotMet,
    /// The test says nothing of values of this type; neither it nor its negation holds.
    Unfit,
}

impl From<bool> for Verdict {
    fn from(met: bool) -> Self {
        if met { Self::Met } else { Self::NotMet }
    }
}

impl ClaimRule {
    /// The claims whose strings are lists by long habit, whatever a rule says.
    pub const SPACE_DELIMITED: [&str; 4] = ["scope", "scp", "permission", "permissions"];

    /// The first test that the claims do not pass.
    pub fn broken_by(&self, claims: &Claims) -> Option<&Test> {
        let value = claims.at(&self.claim).filter(|value| !value.is_null());
        self.tests
            .iter()
            .find(|test| self.verdict(test, value) != Verdict::Met)
    }

    /// The scope that this rule asks for, where it is one of `scope` or `scp`.
    pub fn scope(&self) -> Option<&str> {
        if !matches!(self.claim.last(), "scope" | "scp") {
            return None;
        }
        self.tests.iter().find_map(|test| match test {
            Test::Contains(scope) => scope.as_str(),
            _ => None,
        })
    }

    fn verdict(&self, test: &Test, value: Option<&Value>) -> Verdict {
        match (test, value) {
            (Test::Not(test), value) => match self.verdict(test, value) {
                Verdict::Met => Verdict::NotMet,
                Verdict::NotMet => Verdict::Met,
                Verdict::Unfit => Verdict::Unfit,
            },
            (Test::Present(wanted), value) => (value.is_some() == *wanted).into(),
            (_, None) => Verdict::NotMet,
            (Test::Equals(wanted), Some(value)) => scalar(value, |value| same(value, wanted)),
            (Test::Contains(wanted), Some(value)) => match self.elements(value) {
                Some(elements) => elements.iter().any(|element| same(element, wanted)).into(),
                None => Verdict::Unfit,
            },
            (Test::OneOf(wanted), Some(value)) => self.any(value, |value| {
                scalar(value, |value| {
                    wanted.iter().any(|wanted| same(value, wanted))
                })
            }),
            (Test::StartsWith(start), Some(value)) => {
                self.any(value, |value| text(value, |text| text.starts_with(start)))
            }
            (Test::EndsWith(end), Some(value)) => {
                self.any(value, |value| text(value, |text| text.ends_with(end)))
            }
            (Test::Matches(regex), Some(value)) => {
                self.any(value, |value| text(value, |text| regex.is_match(text)))
            }
            (Test::AtLeast(bound), Some(value)) => number(value, |value| {
                compare(value, bound).is_some_and(Ordering::is_ge)
            }),
            (Test::AtMost(bound), Some(value)) => number(value, |value| {
                compare(value, bound).is_some_and(Ordering::is_le)
            }),
        }
    }

    /// The elements of a list, in whichever form it is written.
    fn elements(&self, value: &Value) -> Option<Vec<Value>> {
        match value {
            Value::Array(list) => Some(list.clone()),
            Value::String(list) if self.space_delimited => {
                let words = list.split(' ').filter(|word| !word.is_empty());
                Some(words.map(Value::from).collect())
            }
            _ => None,
        }
    }

    /// A test on a value, or on each element of a list: unfit as soon as it is for one of them.
    fn any(&self, value: &Value, test: impl Fn(&Value) -> Verdict) -> Verdict {
        let Some(elements) = self.elements(value) else {
            return test(value);
        };
        let mut met = Verdict::NotMet;
        for element in &elements {
            match test(element) {
                Verdict::Unfit => return Verdict::Unfit,
                Verdict::Met => met = Verdict::Met,
                Verdict::NotMet => {}
            }
        }
        met
    }
}

fn scalar(value: &Value, test: impl Fn(&Value) -> bool) -> Verdict {
    match value {
        Value::Array(_) | Value::Object(_) => Verdict::Unfit,
        scalar => test(scalar).into(),
    }
}

fn text(value: &Value, test: impl Fn(&str) -> bool) -> Verdict {
    value
        .as_str()
        .map_or(Verdict::Unfit, |text| test(text).into())
}

fn number(value: &Value, test: impl Fn(&Number) -> bool) -> Verdict {
    match value {
        Value::Number(number) => test(number).into(),
        _ => Verdict::Unfit,
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => write!(f, "equals {value}"),
            Self::OneOf(values) => write!(f, "oneOf {}", Value::from(values.clone())),
            Self::Contains(value) => write!(f, "contains {value}"),
            Self::StartsWith(start) => write!(f, "startsWith {start:?}"),
            Self::EndsWith(end) => write!(f, "endsWith {end:?}"),
            Self::Matches(regex) => write!(f, "matches {:?}", regex.as_str()),
            Self::AtLeast(bound) => write!(f, "atLeast {bound}"),
            Self::AtMost(bound) => write!(f, "atMost {bound}"),
            Self::Present(wanted) => write!(f, "present {wanted}"),
            Self::Not(test) => write!(f, "not {test}"),
        }
    }
}

/// Equality of JSON values, numbers by what they mean: 1 is 1.0.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            compare(left, right) == Some(Ordering::Equal)
        }
        _ => left == right,
    }
}

/// Exact among whole numbers; as floating-point numbers otherwise.
fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn met(claim: &str, test: Test, claims: Value) -> bool {
        let claim = ClaimPath::parse(claim).unwrap();
        let rule = ClaimRule {
            space_delimited: ClaimRule::SPACE_DELIMITED.contains(&claim.last()),
            claim,
            tests: vec![test],
            issuer: None,
        };
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        rule.broken_by(&claims).is_none()
    }

    #[test]
    fn equals_compares_scalars_of_the_same_type() {
        for (wanted, value, expected) in [
            (json!(true), json!(true), true),
            (json!(true), json!("true"), false),
            (json!(true), json!(1), false),
            (json!("a"), json!("a"), true),
            (json!("a"), json!("A"), false),
            (json!("a"), json!(["a"]), false),
            (json!(1), json!(1.0), true),
            (json!(1), json!("1"), false),
            (
                json!(9_007_199_254_740_993u64),
                json!(9_007_199_254_740_992u64),
                false,
            ),
            (json!(-1), json!(-1), true),
            (json!("a"), json!(null), false),
        ] {
            let held = met("x", Test::Equals(wanted.clone()), json!({ "x": value }));
            assert_eq!(held, expected, "{wanted} {value}");
        }
        assert!(!met("x", Test::Equals(json!(true)), json!({})));
    }

    #[test]
    fn contains_is_membership_never_a_part_of_a_string() {
        for (claim, value, expected) in [
            ("groups", json!(["ops", "dev"]), true),
            ("groups", json!(["developers"]), false),
            ("groups", json!([["dev"]]), false),
            ("groups", json!("dev"), false),
            ("groups", json!("ops dev"), false),
            ("groups", json!({ "dev": true }), false),
            ("scope", json!("ops dev"), true),
            ("scope", json!("dev"), true),
            ("scope", json!("developers"), false),
            ("scope", json!("ops,dev"), false),
            ("scope", json!("ops\tdev"), false),
            ("scp", json!(["dev"]), true),
            ("realm.permissions", json!("dev ops"), false),
        ] {
            let held = met(claim, Test::Contains(json!("dev")), json!({ claim: value }));
            assert_eq!(held, expected, "{claim} {value}");
        }
        let nested = json!({ "realm": { "permissions": "dev ops" } });
        assert!(met(
            "realm.permissions",
            Test::Contains(json!("dev")),
            nested
        ));
        assert!(met(
            "levels",
            Test::Contains(json!(2)),
            json!({ "levels": [1, 2] })
        ));
    }

    #[test]
    fn lists_meet_a_test_by_one_of_their_elements() {
        let one_of = || Test::OneOf(vec![json!("a"), json!(2)]);
        let matches = || Test::Matches(Regex::new(r"\A(?:a+b)\z").unwrap());
        for (test, value, expected) in [
            (one_of(), json!("a"), true),
            (one_of(), json!(2.0), true),
            (one_of(), json!("2"), false),
            (one_of(), json!(["x", "a"]), true),
            (one_of(), json!(["x"]), false),
            (one_of(), json!([]), false),
            (one_of(), json!(["a", ["b"]]), false),
            (one_of(), json!({ "a": 1 }), false),
            (Test::StartsWith("team-".into()), json!("team-1"), true),
            (
                Test::StartsWith("team-".into()),
                json!(["x", "team-1"]),
                true,
            ),
            (Test::StartsWith("team-".into()), json!("my team-1"), false),
            (Test::StartsWith("1".into()), json!(12), false),
            (
                Test::EndsWith("@example.com".into()),
                json!("a@example.com"),
                true,
            ),
            (
                Test::EndsWith("@example.com".into()),
                json!("a@example.com.evil"),
                false,
            ),
            (matches(), json!("aaab"), true),
            (matches(), json!("xaaab"), false),
            (matches(), json!("aaab\n"), false),
            (matches(), json!(1), false),
        ] {
            let label = format!("{test} {value}");
            assert_eq!(met("x", test, json!({ "x": value })), expected, "{label}");
        }
        let scope = json!({ "scope": "x team-1" });
        assert!(met("scope", Test::StartsWith("team-".into()), scope));
    }

    #[test]
    fn bounds_compare_numbers_and_nothing_else() {
        let at_least = |n: i64| Test::AtLeast(n.into());
        let at_most = |n: i64| Test::AtMost(n.into());
        for (test, value, expected) in [
            (at_least(18), json!(18), true),
            (at_least(18), json!(17.999), false),
            (at_least(18), json!("18"), false),
            (at_least(18), json!([18]), false),
            (at_least(-1), json!(u64::MAX), true),
            (at_most(3), json!(3.0), true),
            (at_most(3), json!(4), false),
            (at_most(3), json!(true), false),
        ] {
            let label = format!("{test} {value}");
            assert_eq!(met("x", test, json!({ "x": value })), expected, "{label}");
        }
    }

    #[test]
    fn not_inverts_what_a_test_can_read() {
        let not = |test| Test::Not(Box::new(test));
        let not_admin = || not(Test::Equals(json!("admin")));
        for (test, claims, expected) in [
            (not_admin(), json!({ "x": "user" }), true),
            (not_admin(), json!({ "x": "admin" }), false),
            (not_admin(), json!({}), true),
            // A list could hide what the rule looks for.
            (not_admin(), json!({ "x": ["admin"] }), false),
            (
                not(Test::OneOf(vec![json!("a")])),
                json!({ "x": ["b", "a"] }),
                false,
            ),
            (
                not(Test::OneOf(vec![json!("a")])),
                json!({ "x": ["b"] }),
                true,
            ),
            (
                not(Test::OneOf(vec![json!("a")])),
                json!({ "x": [["a"]] }),
                false,
            ),
            (not(Test::AtMost(5.into())), json!({ "x": "1" }), false),
            (
                not(Test::Contains(json!("a"))),
                json!({ "x": "a b" }),
                false,
            ),
            (not(Test::Present(true)), json!({}), true),
            (not(Test::Present(true)), json!({ "x": 1 }), false),
            (Test::Present(true), json!({ "x": false }), true),
            (Test::Present(true), json!({ "x": null }), false),
            (Test::Present(false), json!({}), true),
            (Test::Present(false), json!({ "x": null }), true),
            (Test::Present(false), json!({ "x": 0 }), false),
        ] {
            let label = format!("{test} {claims}");
            assert_eq!(met("x", test, claims), expected, "{label}");
        }
    }

    #[test]
    fn classes_of_a_regex_are_about_ascii() {
        let test = || Test::Matches(Regex::new(r"\A(?:(?i)user-\w+\d)\z").unwrap());
        for (value, expected) in [
            ("USER-a_7", true),
            ("user-\u{e9}7", false),
            ("user-a\u{663}", false),
            ("u\u{17f}er-a7", false),
        ] {
            assert_eq!(met("x", test(), json!({ "x": value })), expected, "{value}");
        }
    }

    #[test]
    fn regexes_take_linear_time() {
        let test = Test::Matches(Regex::new(r"\A(?:(a+)+)\z").unwrap());
        let hostile = format!("{}b", "a".repeat(10_000));
        assert!(!met("x", test, json!({ "x": hostile })));
    }
}
