//! Security Requirement Objects: who may call.
//!
//! What a document leaves open is closed in the policy: a scheme that no issuer is known for becomes
//! an issuer without anything, at which `forecourt check` stops.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::convert::{Converter, Version};
use super::documents::Node;
use super::google;
use super::issuers::{Accepted, Issuers, Scheme};
use super::report::Kind;

/// An issuer of the policy, with what a person has to know.
pub(super) struct Issuer {
    pub comments: Vec<String>,
    pub value: Value,
}

/// Who may call, and with which query parameters credentials come.
pub(super) struct Access {
    pub value: Value,
    pub queries: Vec<String>,
}

/// One way to be let in.
#[derive(Default)]
struct Way {
    tokens: Vec<Token>,
    /// Schemes that nothing of the policy can check.
    unknown: Vec<String>,
}

struct Token {
    accepted: Accepted,
    scopes: BTreeSet<String>,
}

/// The schemes of a document, and what they come to.
pub(super) struct Security<'d, 'o> {
    schemes: BTreeMap<&'d str, Node<'d>>,
    given: Option<&'o Issuers>,
    /// The issuers that routes accept, and those that have to be written yet.
    pub issuers: BTreeMap<String, Issuer>,
}

impl<'d, 'o> Security<'d, 'o> {
    pub(super) fn new(converter: &mut Converter<'d>, given: Option<&'o Issuers>) -> Self {
        let root = converter.docs.root();
        let schemes = root.and_then(|root| match converter.version {
            Version::V2 => root.get("securityDefinitions"),
            _ => root.get("components")?.get("securitySchemes"),
        });
        let members = schemes.map(|node| node.members()).unwrap_or_default();
        let schemes = members
            .into_iter()
            .filter_map(|(name, node)| Some((name, converter.resolve(&node)?)))
            .collect();
        Self {
            schemes,
            given,
            issuers: BTreeMap::new(),
        }
    }

    /// Who may call an operation.
    pub(super) fn access(
        &mut self,
        converter: &mut Converter<'d>,
        root: &Node<'d>,
        operation: &Node<'d>,
    ) -> Access {
        let Some(stated) = operation.get("security").or_else(|| root.get("security")) else {
            let message = "says nothing of `security`, so everybody may call";
            converter.note(Kind::Assumed, operation, message);
            return open();
        };
        let mut queries = Vec::new();
        let mut ways = Vec::new();
        for requirement in stated.elements() {
            ways.push(self.way(converter, &requirement, operation, &mut queries));
        }
        queries.sort();
        queries.dedup();
        let value = self.rules(converter, &stated, ways);
        Access { value, queries }
    }

    fn way(
        &mut self,
        converter: &mut Converter<'d>,
        requirement: &Node<'d>,
        operation: &Node<'d>,
        queries: &mut Vec<String>,
    ) -> Way {
        let mut way = Way::default();
        for (name, scopes) in requirement.members() {
            let scheme = self.schemes.get(name).cloned();
            let Some(scheme) = scheme else {
                let message = format!("no security scheme is called `{name}`");
                converter.faults.push(scopes.fault(message));
                continue;
            };
            queries.extend(query_of(&scheme));
            match self.token(converter, name, &scheme) {
                Some(Scheme::Ignore) => {}
                Some(Scheme::Issuer(mut accepted)) => {
                    google::audiences_of(operation, name, &mut accepted);
                    let scoped = matches!(scheme.text("type"), Some("oauth2" | "openIdConnect"));
                    let listed = scopes.elements();
                    let listed = listed.iter().filter_map(|one| one.value.as_str());
                    let scopes: BTreeSet<_> = listed.map(str::to_owned).collect();
                    if !scoped && !scopes.is_empty() {
                        let message = "roles of a scheme without scopes are not checked";
                        converter.note(Kind::Unchecked, requirement, message);
                    }
                    way.tokens.push(Token {
                        accepted,
                        scopes: if scoped { scopes } else { BTreeSet::new() },
                    });
                }
                None => way.unknown.push(name.to_owned()),
            }
        }
        way
    }

    /// What stands for a scheme; `None` for one that is no token's.
    fn token(
        &mut self,
        converter: &mut Converter<'d>,
        name: &str,
        scheme: &Node<'d>,
    ) -> Option<Scheme> {
        if let Some(given) = self.given
            && let Some(found) = given.schemes.get(name)
        {
            if let Scheme::Issuer(accepted) = found
                && let Some(value) = given.issuers.get(&accepted.issuer)
            {
                let issuer = Issuer {
                    comments: Vec::new(),
                    value: value.clone(),
                };
                self.issuers.insert(accepted.issuer.clone(), issuer);
            }
            return Some(found.clone());
        }
        if let Some(issuer) = google::issuer(converter, scheme) {
            self.issuers.entry(name.to_owned()).or_insert(issuer);
            return Some(Scheme::Issuer(Accepted::of(name)));
        }
        let kind = scheme.text("type").unwrap_or_default();
        let http = scheme
            .text("scheme")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let has_tokens =
            matches!(kind, "oauth2" | "openIdConnect") || kind == "http" && http == "bearer";
        has_tokens.then(|| {
            self.leave_open(converter, name);
            Scheme::Issuer(Accepted::of(name))
        })
    }

    /// Makes an issuer that a person has to write.
    fn leave_open(&mut self, converter: &mut Converter<'d>, name: &str) {
        let Some(scheme) = self.schemes.get(name) else {
            return;
        };
        let (said, what) = describe(scheme);
        let message = format!("{said}: nobody can call until {what}");
        converter.note(Kind::Closed, scheme, message);
        let mut comments = vec![format!("TODO {said}. Nobody can call until {what}.")];
        if let Some(uri) = scheme.text("openIdConnectUrl") {
            let issuer = uri
                .strip_suffix("/.well-known/openid-configuration")
                .unwrap_or(uri);
            comments.push(format!(
                "Perhaps: {{ preset: oidc, issuer: {issuer:?}, audiences: [...] }}"
            ));
        }
        let value = json!({});
        self.issuers
            .entry(name.to_owned())
            .or_insert(Issuer { comments, value });
    }

    /// One rule that lets in whom any of the ways lets in, and nobody else.
    fn rules(&mut self, converter: &mut Converter<'d>, at: &Node<'d>, ways: Vec<Way>) -> Value {
        let anonymous = ways.is_empty()
            || ways
                .iter()
                .any(|way| way.tokens.is_empty() && way.unknown.is_empty());
        let (mut known, unknown): (Vec<Way>, Vec<Way>) =
            ways.into_iter().partition(|way| !way.tokens.is_empty());
        for name in known.iter().flat_map(|way| &way.unknown) {
            let message = format!("`{name}` is not checked beside the token");
            converter.note(Kind::Unchecked, at, message);
        }
        let unknown: BTreeSet<String> = unknown.into_iter().flat_map(|way| way.unknown).collect();
        if known.is_empty() {
            if anonymous {
                return json!("public");
            }
            for name in &unknown {
                self.leave_open(converter, name);
            }
            return json!({"anyOf": unknown});
        }
        for name in unknown {
            let message = format!("callers with `{name}` alone are refused");
            converter.note(Kind::Closed, at, message);
        }
        let several = |way: &Way| issuers_of(way).len() > 1;
        let mut out = Map::new();
        if let Some(index) = known.iter().position(several) {
            if known.len() > 1 {
                let message = "several tokens at once are one of several ways in; only the ways \
                               with one token are kept";
                converter.note(Kind::Closed, at, message);
            }
            if known.iter().all(several) {
                let way = known.swap_remove(index);
                let all: Vec<Value> = way
                    .tokens
                    .iter()
                    .map(|token| written(&token.accepted))
                    .collect();
                out.insert("allOf".into(), all.into());
                known = vec![way];
            } else {
                known.retain(|way| !several(way));
            }
        }
        if !out.contains_key("allOf") {
            out.insert("anyOf".into(), any_of(&known));
        }
        if anonymous {
            out.insert("optional".into(), true.into());
        }
        let claims = claims(converter, at, &known);
        if !claims.is_empty() {
            out.insert("claims".into(), claims.into());
        }
        if known.iter().flat_map(|way| &way.tokens).any(|token| {
            let scheme = self.schemes.get(token.accepted.issuer.as_str());
            scheme.is_some_and(google::is_google)
        }) {
            let header = json!({"payload": {"header": "x-endpoint-api-userinfo"}});
            out.insert("forward".into(), header);
        }
        Value::Object(out)
    }
}

fn open() -> Access {
    Access {
        value: json!("public"),
        queries: Vec::new(),
    }
}

/// The query parameters that a scheme's credentials come in.
fn query_of(scheme: &Node<'_>) -> Vec<String> {
    let own = (scheme.text("in") == Some("query"))
        .then(|| scheme.text("name"))
        .flatten();
    own.map(str::to_owned)
        .into_iter()
        .chain(google::queries(scheme))
        .collect()
}

/// A scheme for a person, and what is to be done about it.
fn describe(scheme: &Node<'_>) -> (String, &'static str) {
    let kind = scheme.text("type").unwrap_or("unknown");
    let detail = scheme.text("scheme").or_else(|| scheme.text("in"));
    let detail = detail
        .map(|detail| format!(" {detail}"))
        .unwrap_or_default();
    let said = format!("{}: {kind}{detail}", scheme.place());
    let what = match (kind, scheme.text("scheme")) {
        ("oauth2" | "openIdConnect", _) | ("http", Some("bearer" | "Bearer")) => {
            "its tokens' issuer is named, here or with --issuers"
        }
        _ => {
            "something is put in its place, as the policy checks tokens: an issuer, or `ignore` in \
             the file of --issuers where the service checks it"
        }
    };
    (said, what)
}

fn issuers_of(way: &Way) -> BTreeSet<&str> {
    let tokens = way.tokens.iter();
    tokens.map(|token| token.accepted.issuer.as_str()).collect()
}

fn written(accepted: &Accepted) -> Value {
    match &accepted.audiences {
        Some(audiences) => json!({"issuer": accepted.issuer, "audiences": audiences}),
        None => json!(accepted.issuer),
    }
}

/// Each issuer once. Where ways differ in audiences, all of them do.
fn any_of(ways: &[Way]) -> Value {
    let mut merged: Vec<Accepted> = Vec::new();
    for token in ways.iter().flat_map(|way| &way.tokens) {
        let accepted = &token.accepted;
        match merged
            .iter_mut()
            .find(|held| held.issuer == accepted.issuer)
        {
            None => merged.push(accepted.clone()),
            Some(held) => held.audiences = either(&held.audiences, &accepted.audiences),
        }
    }
    merged.iter().map(written).collect()
}

fn either(one: &Option<Value>, other: &Option<Value>) -> Option<Value> {
    let list = |value: &Value| match value {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut all = list(one.as_ref()?);
    for audience in list(other.as_ref()?) {
        if !all.contains(&audience) {
            all.push(audience);
        }
    }
    Some(Value::Array(all))
}

/// Rules on scopes. All rules have to hold, so ways that differ in more than one scope each cannot be
/// told apart: then every one of their scopes is asked for.
fn claims<'d>(converter: &mut Converter<'d>, at: &Node<'d>, ways: &[Way]) -> Vec<Value> {
    let mut by_issuer: BTreeMap<(&str, &str), Vec<BTreeSet<String>>> = BTreeMap::new();
    for way in ways {
        let mut of_way: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        for token in &way.tokens {
            let key = (
                token.accepted.issuer.as_str(),
                token.accepted.scope_claim.as_str(),
            );
            of_way
                .entry(key)
                .or_default()
                .extend(token.scopes.iter().cloned());
        }
        for (key, scopes) in of_way {
            by_issuer.entry(key).or_default().push(scopes);
        }
    }
    let alone = by_issuer.len() == 1;
    let mut rules = Vec::new();
    for ((issuer, claim), ways) in by_issuer {
        let mut rule = |test: &str, value: Value| {
            let mut rule = Map::from_iter([("claim".to_owned(), json!(claim))]);
            if !alone {
                rule.insert("issuer".into(), issuer.into());
            }
            rule.insert(test.to_owned(), value);
            if !matches!(claim, "scope" | "scp" | "permission" | "permissions") {
                rule.insert("spaceDelimited".into(), true.into());
            }
            rules.push(Value::Object(rule));
        };
        let mut all = ways.iter().flatten().cloned().collect::<BTreeSet<_>>();
        let common = |scope: &String| ways.iter().all(|way| way.contains(scope));
        let shared: Vec<String> = all.iter().filter(|scope| common(scope)).cloned().collect();
        for scope in &shared {
            all.remove(scope);
            rule("contains", json!(scope));
        }
        let rest: Vec<usize> = ways.iter().map(|way| way.len() - shared.len()).collect();
        if rest.contains(&0) {
            continue;
        }
        if rest.iter().all(|length| *length == 1) {
            rule("oneOf", json!(all));
            continue;
        }
        converter.note(
            Kind::Closed,
            at,
            "asks for one of several sets of scopes; the policy asks for all of them",
        );
        for scope in all {
            rule("contains", json!(scope));
        }
    }
    rules
}
