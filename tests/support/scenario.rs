//! A scenario file: one policy, and what becomes of each of several requests.
//!
//! The same file runs through the native core and through the real module in real Envoy, so the two
//! cannot drift apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use forecourt::cli::yaml::Document;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A scenario file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What the file shows.
    #[allow(dead_code, reason = "for people who read the file")]
    pub about: String,
    /// The policy. An issuer without `jwks` gets the test keys of its algorithms.
    pub policy: Value,
    pub cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub request: Request,
    #[serde(default)]
    pub answer: Answer,
    pub expect: Expect,
    /// Engines that cannot show this case, with the reason.
    #[serde(default)]
    pub skip: BTreeMap<Engine, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Engine {
    Native,
    Envoy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Request {
    #[serde(default = "get")]
    pub method: String,
    pub path: String,
    pub host: Option<String>,
    /// Name to value, or to a list of values.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// A token to mint.
    pub token: Option<Token>,
    /// And another one.
    pub second_token: Option<Token>,
    pub body: Option<String>,
    /// The body as base64, for what is not text.
    pub base64: Option<String>,
    /// The body as JSON, written without spaces.
    pub json: Option<Value>,
    /// A body of that many bytes `a`.
    pub body_size: Option<usize>,
}

fn get() -> String {
    "GET".into()
}

/// A token to mint with a test key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Token {
    /// The issuer's name in the policy: its `issuer`, first audience and an `exp` in an hour are put
    /// in where `claims` does not say otherwise.
    pub issuer: String,
    #[serde(default = "es256")]
    pub alg: String,
    /// The secret of an HMAC in place of the issuer's own; `public key` is the issuer's public key
    /// as JSON.
    #[serde(default)]
    pub secret: Option<String>,
    /// Where it is put; `Authorization: Bearer` where nothing is said.
    #[serde(default, rename = "in")]
    pub place: Place,
    /// Claims; `null` leaves one out, `+60` and `-60` for times are seconds from now.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// Members of the JOSE header that differ from the usual; `null` leaves one out.
    #[serde(default)]
    pub header: Map<String, Value>,
    /// Signed by a key that the issuer does not have, under the `kid` of one that it has.
    #[serde(default)]
    pub forged: bool,
    /// The payload's text, signed as it is, in place of the claims.
    #[serde(default)]
    pub payload: Option<String>,
    /// What stands in place of the signature.
    #[serde(default)]
    pub signature: Option<String>,
    /// A change to the token's text: first part to be replaced by the second.
    #[serde(default)]
    pub replace: Option<(String, String)>,
    /// A text put in front of or behind the compact form.
    #[serde(default)]
    pub suffix: String,
}

/// Where a request carries a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// A header, nothing before the token.
    Header(String),
    /// A header, and what stands before the token.
    Lead(String, String),
    /// A cookie; among those of `headers`, if there are any.
    Cookie(String),
    /// A query parameter.
    Query(String),
}

impl Default for Place {
    fn default() -> Self {
        Self::Lead("authorization".into(), "Bearer ".into())
    }
}

fn es256() -> String {
    "ES256".into()
}

/// What the service answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub headers: Map<String, Value>,
    #[serde(default)]
    pub body: String,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: ok(),
            headers: Map::new(),
            body: String::new(),
        }
    }
}

fn ok() -> u16 {
    200
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expect {
    /// The status that the client gets.
    pub status: u16,
    /// The reason code of a refusal; without one the request must reach the service.
    pub code: Option<String>,
    /// Reason codes that monitor mode lets pass; seen natively only.
    #[serde(default)]
    pub monitored: Vec<String>,
    /// Headers that the client gets: a text, a list of texts, `null` for absent; `~text` is
    /// contained.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// `pointer keyword` of each error in a refusal's body, in order.
    pub errors: Option<Vec<String>>,
    /// Headers that the service gets, in the same form, `:path` among them.
    #[serde(default)]
    pub service: Map<String, Value>,
    /// Path and query that the service gets, where that is the point.
    pub target: Option<String>,
}

/// Every scenario file, in order of name.
pub fn all() -> Vec<(PathBuf, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the scenarios are there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable scenario");
            let document = Document::parse(&text).unwrap_or_else(|error| {
                panic!(
                    "{}:{}: {}",
                    path.display(),
                    error.position.line,
                    error.message
                )
            });
            let scenario = serde_json::from_value(document.value)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, scenario)
        })
        .collect()
}

/// The values of a header in a scenario: none, one or several.
pub fn values(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(many) => many.iter().flat_map(values).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

impl Request {
    pub fn body(&self) -> Vec<u8> {
        let text = self.body.iter().map(|text| text.clone().into_bytes());
        let bytes = self.base64.iter().map(|text| {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.expect("base64")
        });
        let json = self.json.iter();
        let json = json.map(|value| serde_json::to_vec(value).expect("JSON"));
        let sized = self.body_size.iter().map(|size| vec![b'a'; *size]);
        let mut bodies = text.chain(bytes).chain(json).chain(sized);
        let body = bodies.next().unwrap_or_default();
        assert!(bodies.next().is_none(), "a request has one body");
        body
    }
}

/// What came of a case.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the client got.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What the service got.
    pub service: Option<Service>,
    /// Known natively only.
    pub monitored: Option<Vec<String>>,
}

#[derive(Debug, Default)]
pub struct Service {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Everything in which the outcome is not what the case expects.
pub fn differences(case: &Case, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    let expect = &case.expect;
    if outcome.status != expect.status {
        found.push(format!(
            "status {} instead of {}",
            outcome.status, expect.status
        ));
    }
    let problem: Option<Value> = serde_json::from_slice(&outcome.body).ok();
    let is_problem = outcome
        .headers
        .iter()
        .any(|(name, value)| name == "content-type" && value == "application/problem+json");
    let code = problem
        .as_ref()
        .filter(|_| is_problem)
        .and_then(|problem| problem.get("code")?.as_str());
    let head = case.request.method == "HEAD";
    if code != expect.code.as_deref() && !head && !expect.headers.contains_key("grpc-status") {
        found.push(format!("code {code:?} instead of {:?}", expect.code));
    }
    match (&outcome.service, &expect.code) {
        (Some(_), Some(_)) => found.push("the service was reached".into()),
        (None, None) => found.push("the service was not reached".into()),
        (None, Some(_)) => {}
        (Some(service), None) => {
            compare("service", &expect.service, &service.headers, &mut found);
            if let Some(target) = &expect.target {
                let wanted = Map::from_iter([(":path".to_owned(), target.clone().into())]);
                compare("service", &wanted, &service.headers, &mut found);
            }
            if service.body != case.request.body() {
                found.push(format!(
                    "the service got {} bytes of body, or others",
                    service.body.len()
                ));
            }
        }
    }
    compare("answer", &expect.headers, &outcome.headers, &mut found);
    if let Some(expected) = &expect.errors {
        let errors: Vec<String> = problem
            .iter()
            .flat_map(|problem| problem["errors"].as_array().cloned().unwrap_or_default())
            .map(|error| format!("{} {}", text(&error["pointer"]), text(&error["keyword"])))
            .collect();
        if errors != *expected {
            found.push(format!("errors {errors:?} instead of {expected:?}"));
        }
    }
    if let Some(monitored) = &outcome.monitored
        && *monitored != expect.monitored
    {
        found.push(format!(
            "monitored {monitored:?} instead of {:?}",
            expect.monitored
        ));
    }
    if !expect.service.is_empty() && expect.code.is_some() {
        found.push("a refused case cannot expect what the service gets".into());
    }
    found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn compare(
    whose: &str,
    expected: &Map<String, Value>,
    held: &[(String, String)],
    found: &mut Vec<String>,
) {
    for (name, value) in expected {
        let wanted = values(value);
        let got: Vec<&str> = held
            .iter()
            .filter(|(held, _)| held == name)
            .map(|(_, value)| value.as_str())
            .collect();
        let same = |(wanted, got): (&String, &&str)| match wanted.strip_prefix('~') {
            Some(part) => got.contains(part),
            None => wanted == got,
        };
        if wanted.len() != got.len() || !wanted.iter().zip(&got).all(same) {
            found.push(format!(
                "{whose} header {name}: {got:?} instead of {wanted:?}"
            ));
        }
    }
}
