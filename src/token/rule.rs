//! Rules on claims: what a verified token has to say before a route lets it pass.

use std::fmt;

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
}

/// One test on a value. A `null` is held for an absent claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The value is this string, number or boolean.
    Equals(Value),
    /// The value is a list with this element.
    Contains(Value),
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
            Test::Equals(_) => None,
        })
    }

    fn verdict(&self, test: &Test, value: Option<&Value>) -> Verdict {
        let Some(value) = value else {
            return Verdict::NotMet;
        };
        match test {
            Test::Equals(wanted) => match value {
                Value::Array(_) | Value::Object(_) => Verdict::Unfit,
                scalar => same(scalar, wanted).into(),
            },
            Test::Contains(wanted) => match value {
                Value::Array(list) => list.iter().any(|element| same(element, wanted)).into(),
                Value::String(list) if self.space_delimited => {
                    list.split(' ').any(|element| wanted == element).into()
                }
                _ => Verdict::Unfit,
            },
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => write!(f, "equals {value}"),
            Self::Contains(value) => write!(f, "contains {value}"),
        }
    }
}

/// Equality of JSON values, numbers by what they mean: 1 is 1.0.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        _ => left == right,
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left == right,
        _ => left.as_f64() == right.as_f64(),
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
}
