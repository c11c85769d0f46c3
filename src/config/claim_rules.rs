//! Rules on claims, as issuers and routes write them.

use deserr::{Deserr, IntoValue, Value as Raw, ValuePointerRef};
use regex_lite::RegexBuilder;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::problem::{Place, Problems};
use super::types::wrong_kind;
use crate::token::claims::ClaimPath;
use crate::token::rule::{ClaimRule, Test};

/// Largest compiled form of a pattern, in bytes.
const MAX_REGEX_BYTES: usize = 128 * 1024;

/// The name of a claim. `a.b` is `b` within `a`; a period of the name itself is written `\.`, or
/// the names are written as a list: `[a, b]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawClaimPath {
    /// As text.
    Text(String),
    /// As a list of names.
    Names(Vec<String>),
}

/// Declares a mapping that holds the tests on a value, and more keys of its own before them.
macro_rules! with_tests {
    ($(#[$attribute:meta])* $name:ident { $($own:tt)* }) => {
        #[derive(Clone, Debug, Deserr, Serialize)]
        #[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
        #[serde(rename_all = "camelCase")]
        #[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
        $(#[$attribute])*
        pub struct $name {
            $($own)*
            /// The value is exactly this string, number or boolean.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub equals: Option<Value>,
            /// The value, or an element of the list that it is, is one of these.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub one_of: Option<Vec<Value>>,
            /// The value is a list with this element. For `scope`, `scp`, `permission` and
            /// `permissions` a string of words with spaces between counts as a list.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub contains: Option<Value>,
            /// The value, or an element of the list that it is, is a string that starts so.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub starts_with: Option<String>,
            /// The value, or an element of the list that it is, is a string that ends so.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub ends_with: Option<String>,
            /// The whole value, or the whole of an element of the list that it is, matches this
            /// regular expression, in the syntax of RE2 without `\p`: `\d`, `\w`, `\s`, `\b`
            /// and `(?i)` are about ASCII. No look-around or back-references: it runs in linear time.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub matches: Option<String>,
            /// The value is a number, and no smaller.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub at_least: Option<Value>,
            /// The value is a number, and no larger.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub at_most: Option<Value>,
            /// Whether the claim is there at all, with a value other than `null`.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub present: Option<bool>,
        }

        impl $name {
            fn tests(&self, at: &Place, problems: &mut Problems) -> Vec<Test> {
                let mut tests = Tests { at, problems, found: Vec::new() };
                tests.scalar("equals", self.equals.as_ref(), Test::Equals);
                tests.one_of(self.one_of.as_deref());
                tests.scalar("contains", self.contains.as_ref(), Test::Contains);
                tests.text("startsWith", self.starts_with.as_ref(), Test::StartsWith);
                tests.text("endsWith", self.ends_with.as_ref(), Test::EndsWith);
                tests.matches(self.matches.as_deref());
                tests.number("atLeast", self.at_least.as_ref(), Test::AtLeast);
                tests.number("atMost", self.at_most.as_ref(), Test::AtMost);
                tests.found.extend(self.present.map(Test::Present));
                tests.found
            }

            fn is_empty(&self) -> bool {
                self.equals.is_none()
                    && self.one_of.is_none()
                    && self.contains.is_none()
                    && self.starts_with.is_none()
                    && self.ends_with.is_none()
                    && self.matches.is_none()
                    && self.at_least.is_none()
                    && self.at_most.is_none()
                    && self.present.is_none()
            }
        }
    };
}

with_tests! {
    /// A rule on one claim: every test in it has to hold. An absent claim, or one that is `null`,
    /// passes no test but `present: false` and what is under `not`.
    #[cfg_attr(feature = "cli", schemars(rename = "ClaimRule", deny_unknown_fields))]
    RawClaimRule {
        /// The claim.
        pub claim: RawClaimPath,
        /// The rule is for tokens of this issuer only. With `anyOf` it is for all where not given,
        /// with `allOf` for the first issuer named.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub issuer: Option<String>,
        /// A string value is a list of words with spaces between; so it is for `scope`, `scp`,
        /// `permission` and `permissions` where not given.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub space_delimited: Option<bool>,
        /// None of these tests holds. A value of a type that a test does not know fails the rule.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub not: Option<RawTests>,
    }
}

with_tests! {
    /// Tests on a value.
    #[cfg_attr(feature = "cli", schemars(rename = "ClaimTests", deny_unknown_fields))]
    RawTests {}
}

/// Collects the tests of one mapping.
struct Tests<'a> {
    at: &'a Place,
    problems: &'a mut Problems,
    found: Vec<Test>,
}

impl Tests<'_> {
    fn scalar(&mut self, name: &str, value: Option<&Value>, test: fn(Value) -> Test) {
        match value {
            None => {}
            Some(Value::Array(_) | Value::Object(_) | Value::Null) => self.problems.add(
                &self.at.key(name),
                "must be a string, a number, or true or false",
            ),
            Some(scalar) => self.found.push(test(scalar.clone())),
        }
    }

    fn one_of(&mut self, values: Option<&[Value]>) {
        let Some(values) = values else { return };
        let at = self.at.key("oneOf");
        if values.is_empty() {
            self.problems.add(&at, "is empty, so no value would do");
        }
        for (index, value) in values.iter().enumerate() {
            if matches!(value, Value::Array(_) | Value::Object(_) | Value::Null) {
                self.problems.add(
                    &at.index(index),
                    "must be a string, a number, or true or false",
                );
            }
        }
        self.found.push(Test::OneOf(values.to_vec()));
    }

    fn text(&mut self, name: &str, text: Option<&String>, test: fn(String) -> Test) {
        match text {
            None => {}
            Some(text) if text.is_empty() => self
                .problems
                .add(&self.at.key(name), "is empty, so every string would do"),
            Some(text) => self.found.push(test(text.clone())),
        }
    }

    fn matches(&mut self, pattern: Option<&str>) {
        let Some(pattern) = pattern else { return };
        // Alone first: `a)|(b` must not become valid by the brackets around it.
        let whole = format!(r"\A(?:{pattern})\z");
        let regex = [pattern, whole.as_str()]
            .map(|text| RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build());
        match regex {
            [Ok(_), Ok(regex)] => self.found.push(Test::Matches(regex)),
            [Err(error), _] | [_, Err(error)] => {
                let message = error.to_string();
                let reason = message.lines().last().unwrap_or_default();
                self.problems.add(
                    &self.at.key("matches"),
                    format!("is not a regular expression that runs in linear time: {reason}"),
                );
            }
        }
    }

    fn number(&mut self, name: &str, value: Option<&Value>, test: fn(serde_json::Number) -> Test) {
        match value {
            None => {}
            Some(Value::Number(number)) => self.found.push(test(number.clone())),
            Some(_) => self.problems.add(&self.at.key(name), "must be a number"),
        }
    }
}

impl RawClaimRule {
    /// The rule, and its place checked; `issuer` has been looked up already.
    pub(super) fn compile(
        &self,
        issuer: Option<usize>,
        at: &Place,
        problems: &mut Problems,
    ) -> Option<ClaimRule> {
        let claim = self.claim.compile(&at.key("claim"), problems);
        let mut tests = self.tests(at, problems);
        if let Some(not) = &self.not {
            let at = at.key("not");
            let inner = not.tests(&at, problems);
            tests.extend(inner.into_iter().map(|test| Test::Not(Box::new(test))));
            if not.is_empty() {
                problems.add(&at, NO_TEST);
            }
        } else if self.is_empty() {
            problems.add(at, NO_TEST);
        }
        let claim = claim?;
        Some(ClaimRule {
            space_delimited: self
                .space_delimited
                .unwrap_or_else(|| ClaimRule::SPACE_DELIMITED.contains(&claim.last())),
            claim,
            tests,
            issuer,
        })
    }
}

const NO_TEST: &str = "tests nothing; add `equals`, `oneOf`, `contains`, `startsWith`, `endsWith`, \
                       `matches`, `atLeast`, `atMost` or `present`";

impl RawClaimPath {
    pub(super) fn compile(&self, at: &Place, problems: &mut Problems) -> Option<ClaimPath> {
        let path = match self {
            Self::Text(text) => ClaimPath::parse(text),
            Self::Names(names) => ClaimPath::of_names(names.clone()),
        };
        if path.is_none() {
            problems.add(
                at,
                "is not the name of a claim: write `name`, `outer.inner`, or `\\.` for a period \
                 that belongs to a name; no name may be empty",
            );
        }
        path
    }
}

impl Deserr<Problems> for RawClaimPath {
    fn deserialize_from_value<V: IntoValue>(
        value: Raw<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Raw::String(text) => Ok(Self::Text(text)),
            list @ Raw::Sequence(_) => {
                Vec::<String>::deserialize_from_value(list, location).map(Self::Names)
            }
            other => Err(wrong_kind(&other, "the name of a claim", location)),
        }
    }
}

impl Serialize for RawClaimPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for RawClaimPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The name of a claim: `a.b` is `b` within `a`; `\\.` is a period of the name itself; a list holds the names one by one.",
            "oneOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::claims::Claims;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn compile(json: Value) -> (Option<ClaimRule>, Vec<String>) {
        let raw: RawClaimRule = deserr::deserialize::<_, _, Problems>(json).unwrap();
        let mut problems = Problems::default();
        let rule = raw.compile(None, &Place::root().key("rule"), &mut problems);
        (rule, problems.0.iter().map(ToString::to_string).collect())
    }

    fn meets(rule: Value, claims: &Value) -> bool {
        let (compiled, problems) = compile(rule);
        assert_eq!(problems, Vec::<String>::new());
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        compiled.unwrap().broken_by(&claims).is_none()
    }

    #[test]
    fn every_test_of_a_rule_has_to_hold() {
        let claims = json!({
            "email": "ann@example.com", "level": 3, "groups": ["ops", "dev"],
            "scope": "a b", "words": "a b", "https://example.com/role": "admin",
        });
        for (rule, expected) in [
            (
                json!({ "claim": "email", "endsWith": "@example.com" }),
                true,
            ),
            (
                json!({ "claim": "email", "matches": "[a-z]+@example.com" }),
                true,
            ),
            (
                json!({ "claim": "email", "matches": "[a-z]+@example" }),
                false,
            ),
            (
                json!({ "claim": "email", "matches": "x|ann@example.com" }),
                true,
            ),
            (json!({ "claim": "level", "atLeast": 3, "atMost": 3 }), true),
            (
                json!({ "claim": "level", "atLeast": 3, "atMost": 2 }),
                false,
            ),
            (json!({ "claim": "groups", "oneOf": ["dev", "qa"] }), true),
            (
                json!({ "claim": "groups", "contains": "ops", "not": { "contains": "dev" } }),
                false,
            ),
            (
                json!({ "claim": "groups", "not": { "contains": "qa", "startsWith": "x" } }),
                true,
            ),
            (
                json!({ "claim": "groups", "not": { "contains": "qa", "startsWith": "d" } }),
                false,
            ),
            (json!({ "claim": "scope", "contains": "b" }), true),
            (json!({ "claim": "words", "contains": "b" }), false),
            (
                json!({ "claim": "words", "contains": "b", "spaceDelimited": true }),
                true,
            ),
            (
                json!({ "claim": "scope", "contains": "b", "spaceDelimited": false }),
                false,
            ),
            (json!({ "claim": "absent", "present": false }), true),
            (json!({ "claim": "absent", "not": { "equals": 1 } }), true),
            (
                json!({ "claim": "absent", "not": { "equals": 1 }, "present": true }),
                false,
            ),
            (
                json!({ "claim": "https://example\\.com/role", "equals": "admin" }),
                true,
            ),
            (
                json!({ "claim": ["https://example.com/role"], "equals": "admin" }),
                true,
            ),
        ] {
            assert_eq!(meets(rule.clone(), &claims), expected, "{rule}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_place_and_its_mend() {
        for (rule, expected) in [
            (json!({ "claim": "a" }), "rule: tests nothing; add `equals`"),
            (
                json!({ "claim": "a", "not": {} }),
                "rule.not: tests nothing",
            ),
            (
                json!({ "claim": "a..b", "equals": 1 }),
                "rule.claim: is not the name of a claim",
            ),
            (
                json!({ "claim": [], "equals": 1 }),
                "rule.claim: is not the name of a claim",
            ),
            (
                json!({ "claim": "a", "equals": [1] }),
                "rule.equals: must be a string, a number",
            ),
            (
                json!({ "claim": "a", "contains": {} }),
                "rule.contains: must be a string",
            ),
            (json!({ "claim": "a", "oneOf": [] }), "rule.oneOf: is empty"),
            (
                json!({ "claim": "a", "oneOf": [1, []] }),
                "rule.oneOf[1]: must be a string",
            ),
            (
                json!({ "claim": "a", "startsWith": "" }),
                "rule.startsWith: is empty, so every",
            ),
            (
                json!({ "claim": "a", "atLeast": "1" }),
                "rule.atLeast: must be a number",
            ),
            (
                json!({ "claim": "a", "not": { "atMost": [] } }),
                "rule.not.atMost: must be a number",
            ),
            (
                json!({ "claim": "a", "matches": "(?=a)b" }),
                "rule.matches: is not a regular expression that runs in linear time: look-around",
            ),
            (
                json!({ "claim": "a", "matches": "\\p{L}+" }),
                "rule.matches: is not a regular",
            ),
            (
                json!({ "claim": "a", "matches": "a)|(b" }),
                "rule.matches: is not a regular",
            ),
            (
                json!({ "claim": "a", "matches": "(a{1000}){1000}" }),
                "rule.matches: is not a regular",
            ),
        ] {
            let (_, problems) = compile(rule.clone());
            assert!(
                problems.len() == 1 && problems[0].starts_with(expected),
                "{rule}: {problems:?}"
            );
        }
    }
}
