//! Parameters in path, query, header and cookie, as OpenAPI describes them.

mod coerce;
mod style;
mod text;

use serde_json::Value;

use super::engine::Schema;
use super::explain::{self, MOST};
use super::json::{self, Limits};
use crate::head::Headers;
use crate::reply::{Code, Refusal, Violation};
use crate::trace::Trace;
pub use coerce::{Members, Plan, Reading};
pub use style::{
    Encoding, Form, SplitError, Style, Text, bracket_steps, split_members, split_named,
};
pub use text::{Malformed, Pair, cookie_pairs, decode, query_pairs};

/// How many parameters a query may have.
const MAX_PAIRS: usize = 1000;

/// What a route says about its parameters.
#[derive(Clone, Debug)]
pub struct ParamRule {
    /// The parameters it names.
    pub params: Vec<Param>,
    /// Whether a query may hold parameters that are not named.
    pub additional: bool,
    /// Longest query, in bytes.
    pub max_query: usize,
    /// Largest sum of all fields' names and values, in bytes.
    pub max_headers: usize,
    /// Bounds on parameters that are JSON texts.
    pub limits: Limits,
    /// Whether refusals list what to mend.
    pub explain: bool,
    /// Whether refusals are only logged and counted.
    pub monitor: bool,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// In the path's template.
    Path,
    /// In the query.
    Query,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
}

impl Location {
    /// Its name in policies and refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Self::Query => Encoding::Query,
            Self::Header => Encoding::Plain,
            Self::Path | Self::Cookie => Encoding::Percent,
        }
    }
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name; of a header in lower case.
    pub name: String,
    /// Where it stands.
    pub location: Location,
    /// Whether a request without it is refused.
    pub required: bool,
    /// Whether `name=` passes whatever the schema says.
    pub allow_empty: bool,
    /// How it is written.
    pub written: Written,
    /// What it must be.
    pub schema: Option<Schema>,
    /// Names of other parameters at the same location: never members of this one.
    pub siblings: Vec<String>,
}

/// How a parameter is written.
#[derive(Clone, Debug)]
pub enum Written {
    /// In one of OpenAPI's styles.
    Style {
        /// Which.
        style: Style,
        /// Whether elements and members stand on their own.
        explode: bool,
        /// What its text may stand for.
        plan: Plan,
    },
    /// As a JSON text.
    Json,
}

/// A finding: why, and what to mend.
type Finding = (Code, Violation);

/// The parts of a request that parameters stand in.
struct Parts<'r> {
    path: &'r [(&'r str, &'r str)],
    query: Vec<Pair<'r>>,
    headers: &'r Headers,
    cookies: Vec<Pair<'r>>,
}

/// What came for one parameter.
struct Given<'r> {
    values: Vec<&'r [u8]>,
    /// Steps into an object, where its members came on their own.
    members: Vec<(Vec<String>, &'r [u8])>,
}

impl Given<'_> {
    fn is_absent(&self) -> bool {
        self.values.is_empty() && self.members.is_empty()
    }
}

impl ParamRule {
    /// Checks every parameter of a request.
    ///
    /// `path` has the percent-encoded value of each of the template's parameters, `query` is what
    /// stands behind the `?`.
    pub fn check(
        &self,
        path: &[(&str, &str)],
        query: Option<&[u8]>,
        headers: &Headers,
        trace: &mut Trace,
    ) -> Result<(), Refusal> {
        self.check_sizes(query.unwrap_or_default(), headers)?;
        let parts = Parts {
            path,
            query: self.read_query(query.unwrap_or_default())?,
            headers,
            cookies: cookie_pairs(headers.all("cookie")),
        };
        let mut findings = Vec::new();
        for param in &self.params {
            param.check(&parts, &self.limits, &mut findings);
        }
        if !self.additional {
            self.check_unknown(&parts, &mut findings);
        }
        if findings.is_empty() {
            trace.note("parameters", || format!("{} checked", self.params.len()));
            return Ok(());
        }
        Err(self.refuse(findings))
    }

    fn check_sizes(&self, query: &[u8], headers: &Headers) -> Result<(), Refusal> {
        if query.len() > self.max_query {
            let detail = format!("The query is longer than {} bytes.", self.max_query);
            return Err(Refusal::new(Code::QueryTooLong, detail));
        }
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.len().saturating_add(value.len()))
            .sum();
        if size > self.max_headers {
            let detail = format!("The header fields exceed {} bytes.", self.max_headers);
            return Err(Refusal::new(Code::HeadersTooLarge, detail));
        }
        Ok(())
    }

    /// The pairs of a query that somebody will look at.
    fn read_query<'q>(&self, query: &'q [u8]) -> Result<Vec<Pair<'q>>, Refusal> {
        let asks = |param: &Param| param.location == Location::Query;
        if self.additional && !self.params.iter().any(asks) {
            return Ok(Vec::new());
        }
        let malformed = |detail| Refusal::new(Code::ParameterMalformed, detail);
        let pairs = query_pairs(query).map_err(|Malformed| {
            malformed("The query is not well-formed percent-encoded UTF-8.")
        })?;
        if pairs.len() > MAX_PAIRS {
            return Err(malformed("The query has more than 1000 parameters."));
        }
        Ok(pairs)
    }

    fn check_unknown(&self, parts: &Parts<'_>, findings: &mut Vec<Finding>) {
        for pair in &parts.query {
            let known =
                |param: &Param| param.location == Location::Query && param.claims(&pair.name);
            if !self.params.iter().any(known) {
                let violation = explain::violation(
                    "query",
                    pair.name.clone(),
                    "additionalParameters",
                    "no such parameter".into(),
                );
                findings.push((Code::ParameterUnknown, violation));
            }
        }
    }

    /// One refusal for all findings; its code is that of the gravest.
    fn refuse(&self, mut findings: Vec<Finding>) -> Refusal {
        findings.sort();
        findings.dedup();
        let code = findings.first().map_or(Code::Internal, |(code, _)| *code);
        let mut refusal = Refusal::new(code, detail(code));
        if self.explain {
            let mut errors: Vec<_> = findings
                .into_iter()
                .map(|(_, violation)| violation)
                .collect();
            errors.sort();
            errors.truncate(MOST);
            refusal.errors = errors;
        }
        refusal
    }
}

fn detail(code: Code) -> &'static str {
    match code {
        Code::ParameterMalformed => "A parameter is not written as the API describes it.",
        Code::ParameterRepeated => "A parameter that has one value is given several times.",
        Code::ParameterUnknown => "The query holds a parameter that the API does not describe.",
        Code::ParameterMissing => "A required parameter is missing.",
        _ => "A parameter does not match its schema.",
    }
}

impl Param {
    /// Whether a name in the query belongs to this parameter.
    fn claims(&self, name: &str) -> bool {
        match &self.written {
            Written::Style {
                style: Style::DeepObject,
                ..
            } => style::bracket_steps(name, &self.name).is_some(),
            Written::Style { plan, .. } => {
                name == self.name && !self.only_members() || self.is_member(plan, name)
            }
            Written::Json => name == self.name,
        }
    }

    /// Whether the parameter comes as names of its members instead of its own.
    fn only_members(&self) -> bool {
        match &self.written {
            Written::Style {
                style: Style::Form,
                explode: true,
                plan,
            } => plan.object.is_some() && plan.forms().count() == 1,
            _ => false,
        }
    }

    fn is_member(&self, plan: &Plan, name: &str) -> bool {
        let exploded = matches!(
            self.written,
            Written::Style {
                style: Style::Form,
                explode: true,
                ..
            }
        );
        exploded
            && !self.siblings.iter().any(|sibling| sibling == name)
            && plan
                .object
                .as_ref()
                .is_some_and(|members| members.named.contains_key(name) || members.others.is_some())
    }

    fn check(&self, parts: &Parts<'_>, limits: &Limits, findings: &mut Vec<Finding>) {
        let given = self.given(parts);
        if given.is_absent() {
            if self.required {
                let violation = self.violation("", "required", "this parameter is required");
                findings.push((Code::ParameterMissing, violation));
            }
            return;
        }
        if self.allow_empty && given.members.is_empty() && given.values == [b""] {
            return;
        }
        let mut refused = Vec::new();
        match &self.written {
            Written::Json => self.check_json(&given, limits, &mut refused),
            Written::Style {
                style,
                explode,
                plan,
            } => self.check_style(&given, *style, *explode, plan, &mut refused),
        }
        findings.append(&mut refused);
    }

    fn given<'r>(&self, parts: &Parts<'r>) -> Given<'r> {
        let mut given = Given {
            values: Vec::new(),
            members: Vec::new(),
        };
        match self.location {
            Location::Path => given.values.extend(
                parts
                    .path
                    .iter()
                    .filter(|(name, _)| *name == self.name)
                    .map(|(_, value)| value.as_bytes()),
            ),
            Location::Header => given.values.extend(parts.headers.all(&self.name)),
            Location::Query => self.collect(&parts.query, &mut given),
            Location::Cookie => self.collect(&parts.cookies, &mut given),
        }
        given
    }

    fn collect<'r>(&self, pairs: &[Pair<'r>], given: &mut Given<'r>) {
        for pair in pairs {
            match &self.written {
                Written::Style {
                    style: Style::DeepObject,
                    ..
                } => {
                    if let Some(steps) = style::bracket_steps(&pair.name, &self.name) {
                        given.members.push((steps, pair.value));
                    }
                }
                Written::Style { plan, .. } if self.is_member(plan, &pair.name) => {
                    given.members.push((vec![pair.name.clone()], pair.value));
                }
                _ if pair.name == self.name && !self.only_members() => {
                    given.values.push(pair.value);
                }
                _ => {}
            }
        }
    }

    fn check_json(&self, given: &Given<'_>, limits: &Limits, findings: &mut Vec<Finding>) {
        let [raw] = given.values.as_slice() else {
            findings.push(self.finding(SplitError::Repeated));
            return;
        };
        let decoded = match self.location {
            Location::Header => Ok(raw.to_vec()),
            _ => decode(raw, self.location == Location::Query).map(String::into_bytes),
        };
        let Ok(decoded) = decoded else {
            findings.push(self.finding(SplitError::Malformed));
            return;
        };
        match json::parse(&decoded, limits) {
            Ok(value) => self.check_value(value, findings),
            Err(_) => {
                let violation = self.violation("", "content", "one JSON text without duplicates");
                findings.push((Code::ParameterMalformed, violation));
            }
        }
    }

    /// Tries every form and reading that the schema allows; the findings of the first one count.
    fn check_style(
        &self,
        given: &Given<'_>,
        style: Style,
        explode: bool,
        plan: &Plan,
        findings: &mut Vec<Finding>,
    ) {
        let readings: &[Reading] = if plan.is_ambiguous() {
            &[Reading::Typed, Reading::Textual]
        } else {
            &[Reading::Typed]
        };
        for form in plan.forms() {
            let text = match self.split(given, style, explode, form) {
                Ok(text) => text,
                Err(error) => {
                    findings.push(self.finding(error));
                    continue;
                }
            };
            for reading in readings {
                let mut refused = Vec::new();
                match plan.read(text.clone(), *reading) {
                    Ok(value) => self.check_value(value, &mut refused),
                    Err(error) => refused.push(self.finding(error)),
                }
                if refused.is_empty() {
                    findings.clear();
                    return;
                }
                if findings.is_empty() {
                    *findings = refused;
                }
            }
        }
    }

    fn split(
        &self,
        given: &Given<'_>,
        style: Style,
        explode: bool,
        form: Form,
    ) -> Result<Text, SplitError> {
        let encoding = self.location.encoding();
        if form == Form::Object && !given.members.is_empty() {
            return style::split_members(given.members.iter().cloned(), encoding);
        }
        match (self.location, given.values.as_slice()) {
            (Location::Path, [raw]) => {
                style::split_value(raw, &self.name, style, explode, form, encoding)
            }
            (Location::Header, [raw]) => {
                style::split_value(raw, &self.name, style, explode, form, encoding)
            }
            (Location::Header, lines) if form != Form::Scalar => {
                // Lists may come in several lines (RFC 9110 §5.3).
                let joined = lines.join(&b","[..]);
                style::split_value(&joined, &self.name, style, explode, form, encoding)
            }
            (Location::Path | Location::Header, _) => Err(SplitError::Repeated),
            (_, []) => Err(SplitError::Style),
            (_, values) => style::split_named(values, style, explode, form, encoding),
        }
    }

    fn check_value(&self, value: Value, findings: &mut Vec<Finding>) {
        let Some(schema) = &self.schema else { return };
        let Err(mismatch) = schema.check(value, self.location.as_str()) else {
            return;
        };
        if mismatch.violations.is_empty() {
            let violation = self.violation("", "schema", "a value that the schema allows");
            findings.push((Code::ParameterInvalid, violation));
        }
        for found in mismatch.violations {
            let violation = self.violation(&found.pointer, &found.keyword, &found.expected);
            findings.push((Code::ParameterInvalid, violation));
        }
    }

    fn finding(&self, error: SplitError) -> Finding {
        match error {
            SplitError::Malformed => (
                Code::ParameterMalformed,
                self.violation("", "style", "percent-encoded UTF-8"),
            ),
            SplitError::Repeated => (
                Code::ParameterRepeated,
                self.violation("", "style", "one value"),
            ),
            SplitError::Style => (
                Code::ParameterMalformed,
                self.violation("", "style", "a value in the style that the API describes"),
            ),
        }
    }

    /// A violation at this parameter, or below it.
    fn violation(&self, pointer: &str, keyword: &str, expected: &str) -> Violation {
        explain::violation(
            self.location.as_str(),
            format!("{}{pointer}", self.name),
            keyword,
            expected.to_owned(),
        )
    }
}
