//! `access`: who may call a route.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Value as Raw, ValuePointerRef};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::problem::{Place, Problems, did_you_mean};
use super::types::wrong_kind;
use crate::token::claims::ClaimPath;
use crate::token::forward::{Forward, TokenHandling};
use crate::token::rule::{ClaimRule, Test};
use crate::token::{Access, Issuer, Rules};

/// Who may call: `public`, or what the caller's token has to be.
#[derive(Clone, Debug)]
pub enum RawAccess {
    /// Everybody.
    Public,
    /// Callers with a token.
    Rules(RawRules),
}

/// What a caller's token has to be.
#[derive(Clone, Debug, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "AccessRules", deny_unknown_fields))]
pub struct RawRules {
    /// The issuers, by their names under `issuers`, whose tokens are accepted.
    pub any_of: Vec<String>,
    /// Rules on the token's claims; all of them have to be met.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<RawClaimRule>,
    /// What is handed on to the service.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<RawForward>,
}

/// A rule on one claim: every test in it has to hold. An absent claim, or one that is `null`,
/// meets no test.
#[derive(Clone, Debug, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "ClaimRule", deny_unknown_fields))]
pub struct RawClaimRule {
    /// The claim.
    pub claim: RawClaimPath,
    /// The value is exactly this string, number or boolean.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// The value is a list with this element. For `scope`, `scp`, `permission` and `permissions`
    /// a string of words with spaces between counts as a list.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<Value>,
}

/// What is handed on to the service.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Forward", deny_unknown_fields))]
pub struct RawForward {
    /// Claims and the request header that each is written to: strings, numbers and booleans as
    /// they are, lists with commas between. Clients cannot set these headers themselves, on any
    /// route. A claim that a header cannot carry unambiguously is refused with 403.
    #[deserr(default)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// Whether the service sees the token itself; `keep` where not given.
    #[deserr(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<RawTokenHandling>,
}

/// Whether the service sees the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "TokenHandling"))]
pub enum RawTokenHandling {
    /// It stays in the request.
    Keep,
    /// It is taken out.
    Strip,
}

/// The name of a claim. `a.b` is `b` within `a`; a period of the name itself is written `\.`, or
/// the names are written as a list: `[a, b]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawClaimPath {
    /// As text.
    Text(String),
    /// As a list of names.
    Names(Vec<String>),
}

impl Deserr<Problems> for RawAccess {
    fn deserialize_from_value<V: IntoValue>(
        value: Raw<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Raw::String(word) if word == "public" => Ok(Self::Public),
            rules @ Raw::Map(_) => {
                RawRules::deserialize_from_value(rules, location).map(Self::Rules)
            }
            other => Err(wrong_kind(
                &other,
                "`public`, or a mapping such as `{ anyOf: [ISSUER] }`",
                location,
            )),
        }
    }
}

impl Serialize for RawAccess {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Public => serializer.serialize_str("public"),
            Self::Rules(rules) => rules.serialize(serializer),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for RawAccess {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Access".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let rules = generator.subschema_for::<RawRules>();
        schemars::json_schema!({
            "description": "Who may call: `public`, or what the caller's token has to be.",
            "oneOf": [{ "const": "public" }, rules]
        })
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

impl RawAccess {
    /// Checks the rule against the issuers of the policy, and makes what the request path works
    /// with.
    pub fn compile(&self, issuers: &[Issuer], at: &Place, problems: &mut Problems) -> Access {
        match self {
            Self::Public => Access::public(),
            Self::Rules(rules) => Access::restricted(rules.compile(issuers, at, problems)),
        }
    }
}

impl RawRules {
    fn compile(&self, issuers: &[Issuer], at: &Place, problems: &mut Problems) -> Rules {
        let claims = self
            .claims
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| rule.compile(&at.key("claims").index(index), problems));
        let claims = claims.collect();
        let forward = self.forward.clone().unwrap_or_default();
        Rules {
            any_of: self.issuers(issuers, &at.key("anyOf"), problems),
            claims,
            forward: forward.compile(&at.key("forward"), problems),
        }
    }

    fn issuers(&self, issuers: &[Issuer], at: &Place, problems: &mut Problems) -> Vec<usize> {
        if self.any_of.is_empty() {
            problems.add(
                at,
                "is empty, so nobody could call; name issuers, or write `access: public`",
            );
        }
        let mut indexes = Vec::new();
        for (position, name) in self.any_of.iter().enumerate() {
            let at = at.index(position);
            match issuers.iter().position(|issuer| issuer.name == *name) {
                None => problems.add(&at, unknown_issuer(name, issuers)),
                Some(index) if indexes.contains(&index) => {
                    problems.add(&at, format!("`{name}` is named twice"));
                }
                Some(index) => indexes.push(index),
            }
        }
        indexes
    }
}

fn unknown_issuer(name: &str, issuers: &[Issuer]) -> String {
    let near = did_you_mean(name, issuers.iter().map(|issuer| issuer.name.as_str()));
    if near.is_empty() {
        format!("`{name}` is not under `issuers`; add it there")
    } else {
        format!("`{name}` is not under `issuers`{near}")
    }
}

impl RawClaimPath {
    fn compile(&self, at: &Place, problems: &mut Problems) -> Option<ClaimPath> {
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

impl RawClaimRule {
    fn compile(&self, at: &Place, problems: &mut Problems) -> Option<ClaimRule> {
        let claim = self.claim.compile(&at.key("claim"), problems);
        let mut tests = Vec::new();
        for (name, value, test) in [
            ("equals", &self.equals, Test::Equals as fn(Value) -> Test),
            ("contains", &self.contains, Test::Contains),
        ] {
            match value {
                None => {}
                Some(Value::Array(_) | Value::Object(_) | Value::Null) => problems.add(
                    &at.key(name),
                    "must be a string, a number, or true or false",
                ),
                Some(scalar) => tests.push(test(scalar.clone())),
            }
        }
        if self.equals.is_none() && self.contains.is_none() {
            problems.add(at, "tests nothing; add `equals` or `contains`");
        }
        let claim = claim?;
        Some(ClaimRule {
            space_delimited: ClaimRule::SPACE_DELIMITED.contains(&claim.last()),
            claim,
            tests,
        })
    }
}

impl RawForward {
    fn compile(&self, at: &Place, problems: &mut Problems) -> Forward {
        let mut claims: Vec<(ClaimPath, String)> = Vec::new();
        for (claim, header) in &self.claims {
            let at = at.key("claims").key(claim);
            let name = header_name(header, &at, problems);
            if claims.iter().any(|(_, held)| *held == name) {
                problems.add(&at, format!("another claim is written to `{name}` already"));
            }
            if let Some(path) = RawClaimPath::Text(claim.clone()).compile(&at, problems) {
                claims.push((path, name));
            }
        }
        Forward {
            claims,
            token: match self.token {
                Some(RawTokenHandling::Strip) => TokenHandling::Strip,
                Some(RawTokenHandling::Keep) | None => TokenHandling::Keep,
            },
        }
    }
}

/// Headers that mean something to the proxy or to HTTP itself.
const RESERVED: [&str; 15] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// A header that the policy may set: a token of RFC 9110 §5.6.2 in lower case, of no meaning to
/// HTTP or the proxy.
pub(super) fn header_name(name: &str, at: &Place, problems: &mut Problems) -> String {
    let lower = name.to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if lower.is_empty() || !lower.bytes().all(legal) {
        problems.add(
            at,
            format!("`{name}` is not the name of a header; write one such as `x-user-id`"),
        );
    } else if RESERVED.contains(&lower.as_str()) || lower.starts_with("x-envoy-") {
        problems.add(
            at,
            format!("`{lower}` has a meaning of its own; write another, such as `x-user-id`"),
        );
    }
    lower
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::token::KeySource;
    use crate::token::keyset::KeySet;

    fn issuers() -> Vec<Issuer> {
        let named = |name: &str| Issuer {
            name: name.to_owned(),
            iss: vec![format!("https://{name}.example")],
            audiences: vec!["orders".into()],
            algorithms: Vec::new(),
            keys: KeySource::Inline(KeySet::default()),
            clock_skew: 0,
        };
        vec![named("customers"), named("partners")]
    }

    fn compile(json: Value) -> (Access, Vec<String>) {
        let raw: RawAccess = deserr::deserialize::<_, _, Problems>(json).unwrap();
        let mut problems = Problems::default();
        let access = raw.compile(&issuers(), &Place::root().key("access"), &mut problems);
        (access, problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn public_is_a_word() {
        let (access, problems) = compile(json!("public"));
        assert!(access.is_public() && problems.is_empty());
        for wrong in [json!("pubic"), json!(true), json!(null), json!([])] {
            let result = deserr::deserialize::<RawAccess, _, Problems>(wrong);
            let message = result.unwrap_err().to_string();
            assert!(
                message.contains("must be `public`, or a mapping"),
                "{message}"
            );
        }
    }

    #[test]
    fn rules_compile_and_print_back() {
        let json = json!({
            "anyOf": ["partners", "customers"],
            "claims": [
                { "claim": "email_verified", "equals": true },
                { "claim": ["https://example.com/roles"], "contains": "admin" },
            ],
            "forward": { "claims": { "sub": "X-User-Id" }, "token": "strip" },
        });
        let (access, problems) = compile(json.clone());
        assert_eq!(problems, Vec::<String>::new());
        assert!(!access.is_public());
        assert_eq!(access.headers_set().collect::<Vec<_>>(), ["x-user-id"]);
        let raw: RawAccess = deserr::deserialize::<_, _, Problems>(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&raw).unwrap(), json);
    }

    #[test]
    fn every_mistake_is_named_with_its_place_and_its_mend() {
        let rule = |rule: Value| json!({ "anyOf": ["customers"], "claims": [rule] });
        let header = |name: &str| json!({ "anyOf": ["customers"], "forward": { "claims": { "sub": name } } });
        for (json, expected) in [
            (
                json!({ "anyOf": [] }),
                "access.anyOf: is empty, so nobody could call",
            ),
            (
                json!({ "anyOf": ["customer"] }),
                "access.anyOf[0]: `customer` is not under `issuers`, did you mean `customers`?",
            ),
            (
                json!({ "anyOf": ["google"] }),
                "access.anyOf[0]: `google` is not under `issuers`; add it there",
            ),
            (
                json!({ "anyOf": ["customers", "customers"] }),
                "access.anyOf[1]: `customers` is named twice",
            ),
            (
                rule(json!({ "claim": "a" })),
                "access.claims[0]: tests nothing",
            ),
            (
                rule(json!({ "claim": "a..b", "equals": 1 })),
                "access.claims[0].claim: is not the name of a claim",
            ),
            (
                rule(json!({ "claim": "a", "equals": [1] })),
                "access.claims[0].equals: must be a string, a number, or true or false",
            ),
            (
                rule(json!({ "claim": "a", "contains": { "b": 1 } })),
                "access.claims[0].contains: must be a string",
            ),
            (
                header("host"),
                "access.forward.claims.sub: `host` has a meaning of its own",
            ),
            (
                header("Content-Length"),
                "access.forward.claims.sub: `content-length` has",
            ),
            (
                header("connection"),
                "access.forward.claims.sub: `connection` has",
            ),
            (
                header("authorization"),
                "access.forward.claims.sub: `authorization` has",
            ),
            (
                header("x-envoy-retry-on"),
                "access.forward.claims.sub: `x-envoy-retry-on` has",
            ),
            (
                header(":path"),
                "access.forward.claims.sub: `:path` is not the name of a header",
            ),
            (
                header("x user"),
                "access.forward.claims.sub: `x user` is not the name of a header",
            ),
            (
                header("x\r\ny"),
                "access.forward.claims.sub: `x\r\ny` is not the name of a header",
            ),
            (
                header(""),
                "access.forward.claims.sub: `` is not the name of a header",
            ),
            (
                json!({
                    "anyOf": ["customers"],
                    "forward": { "claims": { "sub": "x-user", "uid": "X-User" } }
                }),
                "access.forward.claims.uid: another claim is written to `x-user` already",
            ),
        ] {
            let (_, problems) = compile(json.clone());
            assert!(
                problems.len() == 1 && problems[0].starts_with(expected),
                "{json}: {problems:?}"
            );
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known() {
        let json = json!({ "anyof": ["customers"] });
        let problems = deserr::deserialize::<RawAccess, _, Problems>(json).unwrap_err();
        let text = problems.to_string();
        assert!(text.contains("did you mean `anyOf`?"), "{text}");
    }
}
