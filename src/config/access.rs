//! `access`: who may call a route.

use deserr::{Deserr, IntoValue, Value as Raw, ValuePointerRef};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::claim_rules::RawClaimRule;
use super::forward::RawForward;
use super::issuers::check_audiences;
use super::problem::{Place, Problems, did_you_mean};
use super::types::{Span, Texts, wrong_kind};
use crate::token::claims::ClaimPath;
use crate::token::rule::{ClaimRule, Test};
use crate::token::{Accepted, Access, Issuer, Requirement, Rules};

/// Who may call: `public`, or what the caller's token has to be.
#[derive(Clone, Debug)]
pub enum RawAccess {
    /// Everybody.
    Public,
    /// Callers with a token.
    Rules(Box<RawRules>),
}

/// What a caller's token has to be.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "AccessRules", deny_unknown_fields))]
pub struct RawRules {
    /// The issuers, by their names under `issuers`, of which one has to have issued the token.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_of: Option<Vec<RawAccepted>>,
    /// The issuers of which each has to have issued a token that the request carries. The first
    /// says who is calling.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_of: Option<Vec<RawAccepted>>,
    /// A request without any token passes too, as nobody's. One with a bad token never does.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Whether CORS preflight requests pass, which browsers send without a token; `true` where not
    /// given. A route still has to match them.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<bool>,
    /// Rules on the token's claims; all of them have to be met.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<RawClaimRule>,
    /// Longest time since the user signed in, by the claim `auth_time`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// What is handed on to the service.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<RawForward>,
}

/// An issuer whose tokens are accepted: its name, or its name and whom the tokens have to be for on
/// this route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAccepted {
    /// Its name under `issuers`.
    pub issuer: String,
    /// Audiences in place of the issuer's own.
    pub audiences: Option<Texts>,
}

/// The mapping form of [`RawAccepted`].
#[derive(Clone, Debug, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "AcceptedIssuer", deny_unknown_fields)
)]
struct RawAcceptedMapping {
    /// Its name under `issuers`.
    issuer: String,
    /// Whom its tokens have to be for on this route, in place of the issuer's own audiences.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audiences: Option<Texts>,
}

impl Deserr<Problems> for RawAccess {
    fn deserialize_from_value<V: IntoValue>(
        value: Raw<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Raw::String(word) if word == "public" => Ok(Self::Public),
            rules @ Raw::Map(_) => RawRules::deserialize_from_value(rules, location)
                .map(|rules| Self::Rules(Box::new(rules))),
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

impl Deserr<Problems> for RawAccepted {
    fn deserialize_from_value<V: IntoValue>(
        value: Raw<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Raw::String(issuer) => Ok(Self {
                issuer,
                audiences: None,
            }),
            mapping @ Raw::Map(_) => {
                let mapping = RawAcceptedMapping::deserialize_from_value(mapping, location)?;
                Ok(Self {
                    issuer: mapping.issuer,
                    audiences: mapping.audiences,
                })
            }
            other => Err(wrong_kind(
                &other,
                "the name of an issuer, or `{ issuer: NAME, audiences: [...] }`",
                location,
            )),
        }
    }
}

impl Serialize for RawAccepted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.audiences {
            None => serializer.serialize_str(&self.issuer),
            Some(audiences) => RawAcceptedMapping {
                issuer: self.issuer.clone(),
                audiences: Some(audiences.clone()),
            }
            .serialize(serializer),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for RawAccepted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Accepted".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mapping = generator.subschema_for::<RawAcceptedMapping>();
        schemars::json_schema!({
            "description": "An issuer by its name under `issuers`, with other audiences for this route or not.",
            "oneOf": [{ "type": "string" }, mapping]
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
        let requirement = self.requirement(issuers, at, problems);
        let mut claims = self.claims(&requirement, issuers, at, problems);
        check_callers(&requirement, issuers, &mut claims, at, problems);
        let forward = self.forward.clone().unwrap_or_default();
        if self.max_age == Some(Span(0)) {
            problems.add(
                &at.key("maxAge"),
                "is 0, so that no sign-in would be recent enough",
            );
        }
        Rules {
            requirement,
            optional: self.optional,
            preflight: self.preflight.unwrap_or(true),
            claims,
            max_age: self.max_age.map(|span| span.0),
            forward: forward.compile(&at.key("forward"), problems),
        }
    }

    fn requirement(&self, issuers: &[Issuer], at: &Place, problems: &mut Problems) -> Requirement {
        match (&self.any_of, &self.all_of) {
            (Some(items), None) => {
                Requirement::AnyOf(accepted(items, issuers, &at.key("anyOf"), problems))
            }
            (None, Some(items)) => {
                let at = at.key("allOf");
                let items = accepted(items, issuers, &at, problems);
                check_places(&items, issuers, &at, problems);
                Requirement::AllOf(items)
            }
            (Some(_), Some(_)) => {
                problems.add(at, "has both `anyOf` and `allOf`; keep one");
                Requirement::default()
            }
            (None, None) => {
                problems.add(
                    at,
                    "names no issuer; write `anyOf: [ISSUER]`, or `access: public`",
                );
                Requirement::default()
            }
        }
    }

    fn claims(
        &self,
        requirement: &Requirement,
        issuers: &[Issuer],
        at: &Place,
        problems: &mut Problems,
    ) -> Vec<ClaimRule> {
        let mut rules = Vec::new();
        for (index, rule) in self.claims.iter().enumerate() {
            let at = at.key("claims").index(index);
            let issuer = rule.issuer.as_ref().and_then(|name| {
                let at = at.key("issuer");
                let index = lookup(name, issuers, &at, problems)?;
                let mut accepted = requirement.accepted().iter();
                if !accepted.any(|item| item.issuer == index) {
                    problems.add(
                        &at,
                        format!("`{name}` is not among the issuers that this route accepts"),
                    );
                }
                Some(index)
            });
            rules.extend(rule.compile(issuer, &at, problems));
        }
        rules
    }
}

fn accepted(
    items: &[RawAccepted],
    issuers: &[Issuer],
    at: &Place,
    problems: &mut Problems,
) -> Vec<Accepted> {
    if items.is_empty() {
        problems.add(
            at,
            "is empty, so nobody could call; name issuers, or write `access: public`",
        );
    }
    let mut accepted: Vec<Accepted> = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let at = at.index(position);
        if let Some(audiences) = &item.audiences {
            check_audiences(&audiences.0, &at.key("audiences"), problems);
        }
        let Some(index) = lookup(&item.issuer, issuers, &at, problems) else {
            continue;
        };
        if accepted.iter().any(|held| held.issuer == index) {
            problems.add(&at, format!("`{}` is named twice", item.issuer));
        }
        // An issuer without a name is a broken one, of which enough is said elsewhere.
        let audience_missing = issuers
            .get(index)
            .is_some_and(|own| own.audiences.is_empty() && !own.iss.is_empty());
        if item.audiences.is_none() && audience_missing {
            problems.add(
                &at,
                format!(
                    "neither `{0}` nor this route names an audience, so tokens for anybody would \
                     pass; write `{{ issuer: {0}, audiences: [...] }}`",
                    item.issuer
                ),
            );
        }
        accepted.push(Accepted {
            issuer: index,
            audiences: item.audiences.as_ref().map(|list| list.0.clone()),
        });
    }
    accepted
}

/// Tokens that are all required cannot be looked for in one place, where there is but one.
fn check_places(items: &[Accepted], issuers: &[Issuer], at: &Place, problems: &mut Problems) {
    let sources = |item: &Accepted| {
        let issuer = issuers.get(item.issuer);
        issuer.map_or(&[][..], |issuer| issuer.sources.as_slice())
    };
    for (position, item) in items.iter().enumerate() {
        let mut before = items.iter().take(position).flat_map(sources);
        if let Some(shared) = before.find(|source| sources(item).contains(source)) {
            problems.add(
                &at.index(position),
                format!(
                    "its token is looked for in the same place as another's ({shared}); give the \
                     issuer a place of its own under `from`"
                ),
            );
        }
    }
}

/// Where anybody can get a token of an issuer, a route has to say who may call.
fn check_callers(
    requirement: &Requirement,
    issuers: &[Issuer],
    rules: &mut Vec<ClaimRule>,
    at: &Place,
    problems: &mut Problems,
) {
    for item in requirement.accepted() {
        let Some(issuer) = issuers.get(item.issuer).filter(|own| own.open_to_anyone) else {
            continue;
        };
        let has_rule_on = |names: &[&str]| {
            issuer.claims.iter().chain(rules.iter()).any(|rule| {
                names.contains(&rule.claim.to_string().as_str())
                    && rule.issuer.is_none_or(|only| only == item.issuer)
            })
        };
        if !has_rule_on(&["email", "sub", "azp", "hd"]) {
            problems.add(
                at,
                format!(
                    "any Google identity can get a token of `{}` for this audience, so a valid \
                     one says nothing about who may call; add a rule under `claims` on `email`, \
                     `sub`, `azp` or `hd`",
                    issuer.name
                ),
            );
        }
        // An address that Google has not verified can be anybody's.
        if has_rule_on(&["email"]) && !has_rule_on(&["email_verified"]) {
            rules.extend(email_verified(item.issuer));
        }
    }
}

fn email_verified(issuer: usize) -> Option<ClaimRule> {
    Some(ClaimRule {
        claim: ClaimPath::of_names(vec!["email_verified".to_owned()])?,
        tests: vec![Test::Equals(json!(true))],
        space_delimited: false,
        issuer: Some(issuer),
    })
}

fn lookup(name: &str, issuers: &[Issuer], at: &Place, problems: &mut Problems) -> Option<usize> {
    let index = issuers.iter().position(|issuer| issuer.name == name);
    if index.is_none() {
        let near = did_you_mean(name, issuers.iter().map(|issuer| issuer.name.as_str()));
        let mend = if near.is_empty() {
            "; add it there"
        } else {
            &near
        };
        problems.add(at, format!("`{name}` is not under `issuers`{mend}"));
    }
    index
}

#[cfg(test)]
mod tests;
