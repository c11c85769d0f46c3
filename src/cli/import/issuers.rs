//! `--issuers FILE`: who issues the tokens that a document's security schemes speak of.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::cli::yaml::Document;
use crate::config::problem::{Place, Problem, Problems, did_you_mean};

/// What stands for a security scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Tokens of one of the issuers.
    Issuer(Accepted),
    /// Nothing: somebody else checks it.
    Ignore,
}

/// An issuer, and how its tokens are read for a scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its name under `issuers`.
    pub issuer: String,
    /// Audiences in place of the issuer's own.
    pub audiences: Option<Value>,
    /// The claim that lists scopes.
    pub scope_claim: String,
}

impl Accepted {
    /// Tokens of that issuer, with scopes in `scope`.
    pub fn of(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: None,
            scope_claim: "scope".into(),
        }
    }
}

/// The content of the file.
#[derive(Clone, Debug, Default)]
pub struct Issuers {
    /// Issuers, as a policy writes them.
    pub issuers: Map<String, Value>,
    /// What stands for each security scheme of the document.
    pub schemes: BTreeMap<String, Scheme>,
}

impl Issuers {
    /// Reads the file's document; what is wrong with the issuers themselves is found when the policy
    /// is checked.
    pub fn read(document: &Document) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let mut read = Self::default();
        let root = Place::root();
        let Value::Object(keys) = &document.value else {
            problems.add(
                &root,
                "must be a mapping with `issuers` and `securitySchemes`",
            );
            return Err(problems.0);
        };
        for (key, value) in keys {
            let at = root.key(key);
            match (key.as_str(), value) {
                ("version", _) => {}
                ("issuers", Value::Object(issuers)) => read.issuers = issuers.clone(),
                ("securitySchemes", Value::Object(_)) => {}
                ("issuers" | "securitySchemes", _) => problems.add(&at, "must be a mapping"),
                (other, _) => {
                    let near = did_you_mean(other, ["issuers", "securitySchemes"]);
                    problems.add(&at, format!("unknown key `{other}`{near}"));
                }
            }
        }
        if let Some(Value::Object(schemes)) = keys.get("securitySchemes") {
            for (name, value) in schemes {
                let at = root.key("securitySchemes").key(name);
                if let Some(scheme) = read.scheme(value, &at, &mut problems) {
                    read.schemes.insert(name.clone(), scheme);
                }
            }
        }
        match problems.is_empty() {
            true => Ok(read),
            false => Err(problems.0),
        }
    }

    fn scheme(&self, value: &Value, at: &Place, problems: &mut Problems) -> Option<Scheme> {
        let mut accepted = Accepted::of("");
        match value {
            Value::String(word) if word == "ignore" => return Some(Scheme::Ignore),
            Value::String(issuer) => accepted.issuer.clone_from(issuer),
            Value::Object(keys) => {
                for (key, value) in keys {
                    match (key.as_str(), value) {
                        ("issuer", Value::String(issuer)) => accepted.issuer.clone_from(issuer),
                        ("scopeClaim", Value::String(claim)) => {
                            accepted.scope_claim.clone_from(claim);
                        }
                        ("audiences", Value::Array(_) | Value::String(_)) => {
                            accepted.audiences = Some(value.clone());
                        }
                        (other, _) => {
                            let known = ["issuer", "audiences", "scopeClaim"];
                            let near = did_you_mean(other, known);
                            problems.add(&at.key(other), format!("is not understood{near}"));
                        }
                    }
                }
            }
            _ => {}
        }
        if !self.issuers.contains_key(&accepted.issuer) {
            let near = did_you_mean(&accepted.issuer, self.issuers.keys().map(String::as_str));
            let message = format!(
                "must be `ignore`, the name of an issuer in this file, or `{{ issuer: NAME, \
                 audiences: [...], scopeClaim: scp }}`{near}"
            );
            problems.add(at, message);
            return None;
        }
        Some(Scheme::Issuer(accepted))
    }
}
