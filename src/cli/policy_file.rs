//! A policy as a file: read, its key files put in, compiled, and every problem shown with its line.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};

use super::yaml::{Document, Position};
use crate::config::problem::{Place, Problem, Problems};
use crate::config::{self, RawPolicy};
use crate::policy::Policy;

/// A policy file that compiled.
#[derive(Debug)]
pub struct PolicyFile {
    value: Value,
    raw: RawPolicy,
    policy: Rc<Policy>,
    warnings: Vec<Finding>,
}

/// Why a policy file is none.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be read; the exit code is 2, as for wrong usage.
    Read(String),
    /// It is no policy.
    Refused(Vec<Finding>),
}

/// One thing that is wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Line from 1, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column from 1, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The place in the document, such as `routes[3].access`; empty for the whole.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl PolicyFile {
    /// Reads and compiles a policy, YAML or JSON; `-` reads standard input.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &path.display().to_string(), folder)
    }

    /// Compiles a policy's text; `name` is what findings call it, `folder` where key files are sought.
    pub fn parse(text: &str, name: &str, folder: &Path) -> Result<Self, LoadError> {
        let document = parse(text, name)?;
        let mut problems = Problems::default();
        let mut value = document.value.clone();
        inline_key_files(&mut value, folder, &mut problems);
        let compiled = config::raw(value.clone()).and_then(|raw| {
            let (policy, warnings) = raw.compile()?;
            Ok((raw, Rc::new(policy), warnings))
        });
        match compiled {
            Ok((raw, policy, warnings)) if problems.is_empty() => Ok(Self {
                value,
                raw,
                policy,
                warnings: locate(warnings.0, &document, name),
            }),
            outcome => {
                // Keys that could not be read are one problem, not also a set without keys.
                let unread: Vec<_> = problems
                    .0
                    .iter()
                    .map(|problem| problem.place.parent())
                    .collect();
                let found = outcome.err().unwrap_or_default().0.into_iter();
                let below = |place: &Place| {
                    let mut places = std::iter::successors(Some(place.clone()), Place::parent);
                    places.any(|place| unread.contains(&Some(place)))
                };
                let others: Vec<_> = found.filter(|problem| !below(&problem.place)).collect();
                problems.0.extend(others);
                Err(LoadError::Refused(locate(problems.0, &document, name)))
            }
        }
    }

    /// The policy as JSON, as the filter reads it: key files put in.
    pub fn json(&self) -> &Value {
        &self.value
    }

    /// The document's form.
    pub fn raw(&self) -> &RawPolicy {
        &self.raw
    }

    /// What is allowed but may not be meant.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// The compiled policy.
    pub fn policy(&self) -> Rc<Policy> {
        Rc::clone(&self.policy)
    }
}

/// A YAML or JSON file that need not be a policy, and what findings call it; `-` reads standard input.
pub(super) fn document(path: &Path) -> Result<(Document, String), LoadError> {
    let name = path.display().to_string();
    Ok((parse(&read(path)?, &name)?, name))
}

fn parse(text: &str, name: &str) -> Result<Document, LoadError> {
    Document::parse(text).map_err(|error| {
        LoadError::Refused(vec![Finding {
            file: name.to_owned(),
            line: Some(error.position.line),
            column: Some(error.position.column),
            path: String::new(),
            message: error.message,
        }])
    })
}

fn read(path: &Path) -> Result<String, LoadError> {
    let outcome = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    outcome.map_err(|error| LoadError::Read(format!("cannot read {}: {error}", path.display())))
}

/// Replaces `issuers.NAME.jwks.file` by `inline`: the filter has no file system.
fn inline_key_files(value: &mut Value, folder: &Path, problems: &mut Problems) {
    let Some(Value::Object(issuers)) = value.get_mut("issuers") else {
        return;
    };
    for (name, issuer) in issuers {
        let Some(Value::Object(jwks)) = issuer.get_mut("jwks") else {
            continue;
        };
        let Some(Value::String(file)) = jwks.get("file") else {
            continue;
        };
        let path = folder.join(file);
        let place = Place::root()
            .key("issuers")
            .key(name)
            .key("jwks")
            .key("file");
        match key_file(&path) {
            Ok(keys) if !jwks.contains_key("inline") => {
                jwks.remove("file");
                jwks.insert("inline".into(), keys);
            }
            Ok(_) => problems.add(&place, "stands beside `inline`; keep one of them"),
            Err(message) => {
                problems.add(&place, message);
                // So that the rest is still checked, without a second complaint about this.
                *jwks = serde_json::Map::from_iter([("inline".into(), json!({ "keys": [] }))]);
            }
        }
    }
}

fn key_file(path: &PathBuf) -> Result<Value, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()))
}

/// Problems with the lines on which they stand.
pub(super) fn locate(problems: Vec<Problem>, document: &Document, file: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = problems
        .into_iter()
        .map(|problem| {
            let Position { line, column } = document
                .position(&problem.place)
                .unwrap_or(Position { line: 1, column: 1 });
            Finding {
                file: file.to_owned(),
                line: Some(line),
                column: Some(column),
                path: problem.place.as_str().to_owned(),
                message: problem.message,
            }
        })
        .collect();
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        if self.path.is_empty() {
            write!(f, ": {}", self.message)
        } else {
            write!(f, ": {}: {}", self.path, self.message)
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(message) => f.write_str(message),
            Self::Refused(findings) => {
                for finding in findings {
                    writeln!(f, "{finding}")?;
                }
                let plural = if findings.len() == 1 {
                    "problem"
                } else {
                    "problems"
                };
                write!(f, "{} {plural}", findings.len())
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl LoadError {
    /// 2 for what cannot be read, 1 for what is no policy.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read(_) => 2,
            Self::Refused(_) => 1,
        }
    }

    /// The findings, for machines.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Read(_) => &[],
            Self::Refused(findings) => findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let error = PolicyFile::parse(text, "p.yaml", Path::new("")).unwrap_err();
        error.findings().iter().map(Finding::to_string).collect()
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_line() {
        let found = findings(
            "version: forecourt/v2\nrutes: []\nissuers: { a: 5 }\nroutes:\n  - match: { methods: [get], path: a }\n    access: { anyOf: [a, b] }\n  - match: { path: /a, hosts: 'a:1' }\n    access: public\n    mode: monitr\n",
        );
        let places: Vec<_> = found
            .iter()
            .map(|line| line.split(": ").nth(1).unwrap())
            .collect();
        assert_eq!(
            places,
            [
                "version",
                "rutes",
                "issuers.a",
                "routes[0].match.methods[0]",
                "routes[0].match.path",
                "routes[0].access.anyOf[1]",
                "routes[1].mode"
            ],
            "a route without a form is not checked further: {found:#?}"
        );
        assert_eq!(
            found[1],
            "p.yaml:2:1: rutes: unknown key `rutes`, did you mean `routes`?"
        );
    }

    #[test]
    fn keys_that_cannot_be_read_are_one_problem() {
        let found = findings(
            "version: forecourt/v1\nissuers:\n  a: { issuer: i, audiences: b, jwks: { file: none.json } }\nroutes:\n  - { match: { path: /a }, access: { anyOf: [a] } }\n",
        );
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with("p.yaml:3:41: issuers.a.jwks.file: cannot read none.json"),
            "{found:?}"
        );
    }

    #[test]
    fn routes_that_take_the_same_requests_are_a_problem() {
        let found = findings(
            "version: forecourt/v1\nroutes:\n  - { match: { methods: GET, path: '/a/{x}' }, access: public }\n  - { match: { methods: [POST, GET], path: '/a/{y}' }, access: public }\n",
        );
        assert_eq!(
            found,
            ["p.yaml:4:7: routes[1].match: takes the same requests as routes[0]"]
        );
    }
}
