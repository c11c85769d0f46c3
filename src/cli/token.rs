//! `forecourt token`: a token from the demo issuer's key.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::clock;
use super::keys::{IssuerKey, demo_dir};
use super::output::{Failure, exit, say};
use super::yaml::Document;
use crate::time::UnixTime;
use crate::token::algorithm::Algorithm;
use crate::token::mint::mint;

/// Make a token with the demo issuer's key
///
/// The key is made once and stays in the target folder, so tokens are good for a demo that runs, and
/// for any policy that was given the same keys (see --jwks). `iss`, `aud`, `sub`, `iat` and `exp` are
/// filled in from the policy; every claim can be replaced.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The issuer, by its name in the policy
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// The policy that names the issuer; the demo's own if none is given
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// A claim; the value is JSON if it can be read as such, else text; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// Leave a claim out; may be repeated
    #[arg(long = "without", value_name = "NAME")]
    without: Vec<String>,
    /// How long the token is good for, such as 90s, 15m, 1h; -1h makes one that has expired
    #[arg(long, value_name = "TIME", default_value = "1h", allow_hyphen_values = true, value_parser = lifetime)]
    expires: i64,
    /// Print the issuer's public keys instead, for `jwks: { file: … }` in a policy
    #[arg(long, conflicts_with_all = ["claims", "without"])]
    jwks: bool,
}

const EXAMPLES: &str = "\
Examples:
  forecourt token --issuer customers
  forecourt token --issuer customers --claim sub=alice --claim scope='orders.read orders.write'
  forecourt token --issuer staff --claim 'roles=[\"admin\"]' --expires 5m
  curl -H \"Authorization: Bearer $(forecourt token --issuer customers)\" http://127.0.0.1:10000/

With a policy of your own:
  forecourt token --issuer customers --policy shop.yaml --jwks > customers.jwks.json
  forecourt token --issuer customers --policy shop.yaml";

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        exit(self.make().and_then(|text| say(&format!("{text}\n"))))
    }

    fn make(&self) -> Result<String, Failure> {
        let policy = match &self.policy {
            None => super::demo::policy_document().map_err(Failure::no)?,
            Some(path) => document(path)?,
        };
        let issuer = Issuer::named(&policy, &self.issuer)?;
        let key = IssuerKey::load_or_make(&demo_dir(), &self.issuer, issuer.algorithm)
            .map_err(Failure::no)?;
        if self.jwks {
            return Ok(format!("{:#}", key.jwks()));
        }
        let mut claims = default_claims(&issuer, clock::now(), self.expires);
        claims.extend(self.claims.iter().cloned());
        claims.retain(|name, _| !self.without.contains(name));
        Ok(mint(
            &key.key,
            &key.kid,
            &Map::new(),
            &Value::Object(claims),
        ))
    }
}

/// The policy as it was written: its key files may still have to be made, with `--jwks`.
fn document(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    let document = Document::parse(&text)
        .map_err(|error| Failure::usage(format!("{}: {}", path.display(), error.message)))?;
    Ok(document.value)
}

/// What a policy says of an issuer, as far as a token needs it.
pub(super) struct Issuer {
    iss: String,
    audience: Option<String>,
    pub(super) algorithm: Algorithm,
}

impl Issuer {
    /// The `iss` of its tokens.
    pub(super) fn iss(&self) -> &str {
        &self.iss
    }

    /// The issuer of that name in a policy's document.
    pub(super) fn named(policy: &Value, name: &str) -> Result<Self, Failure> {
        let issuers = policy.get("issuers").and_then(Value::as_object);
        let issuer = issuers.and_then(|issuers| issuers.get(name));
        let Some(issuer) = issuer else {
            let known: Vec<_> = issuers
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .collect();
            return Err(Failure::usage(format!(
                "the policy has no issuer `{name}`; it has {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                },
            )));
        };
        let text = |name: &str| issuer.get(name).and_then(first_text);
        let algorithm = text("algorithms").unwrap_or("ES256");
        Ok(Self {
            iss: text("issuer").unwrap_or_default().to_owned(),
            audience: text("audiences").map(str::to_owned),
            algorithm: Algorithm::named(algorithm)
                .ok_or_else(|| Failure::usage(format!("`{algorithm}` is not an algorithm")))?,
        })
    }
}

/// A text, or the first of a list of texts.
fn first_text(value: &Value) -> Option<&str> {
    value
        .as_str()
        .or_else(|| value.as_array()?.first()?.as_str())
}

pub(super) fn default_claims(issuer: &Issuer, now: UnixTime, lifetime: i64) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), json!(issuer.iss));
    if let Some(audience) = &issuer.audience {
        claims.insert("aud".to_owned(), json!(audience));
    }
    claims.insert("sub".to_owned(), json!("alice"));
    claims.insert("iat".to_owned(), json!(now.0));
    claims.insert(
        "exp".to_owned(),
        json!(now.0.saturating_add_signed(lifetime)),
    );
    claims
}

fn claim(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok((name.to_owned(), value))
        }
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn lifetime(text: &str) -> Result<i64, String> {
    let (sign, span) = text.strip_prefix('-').map_or((1, text), |span| (-1, span));
    let span = humantime::parse_duration(span).map_err(|error| error.to_string())?;
    i64::try_from(span.as_secs())
        .map(|seconds| sign * seconds)
        .map_err(|_| "is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_value_is_json_or_text() {
        for (text, value) in [
            ("a=b", json!("b")),
            ("a=true", json!(true)),
            ("a=[\"x\"]", json!(["x"])),
            ("a=x=y", json!("x=y")),
            ("a=", json!("")),
        ] {
            assert_eq!(claim(text), Ok(("a".to_owned(), value)));
        }
        assert!(claim("a").is_err());
        assert!(claim("=b").is_err());
    }

    #[test]
    fn a_lifetime_may_lie_in_the_past() {
        assert_eq!(lifetime("1h"), Ok(3600));
        assert_eq!(lifetime("-5m"), Ok(-300));
        assert!(lifetime("soon").is_err());
        assert!(lifetime("").is_err());
    }

    #[test]
    fn an_issuer_is_taken_from_the_policy() {
        let policy = json!({ "issuers": { "a": {
            "issuer": "https://a.example/", "audiences": ["x", "y"], "algorithms": ["RS256"],
        }}});
        let issuer = Issuer::named(&policy, "a").unwrap_or_else(|_| panic!());
        let claims = default_claims(&issuer, UnixTime(1000), -10);
        assert_eq!(claims["iss"], "https://a.example/");
        assert_eq!(claims["aud"], "x");
        assert_eq!(
            (&claims["iat"], &claims["exp"]),
            (&json!(1000), &json!(990))
        );
        assert_eq!(issuer.algorithm.as_str(), "RS256");
        let Err(Failure::Usage(message)) = Issuer::named(&policy, "b") else {
            panic!()
        };
        assert_eq!(message, "the policy has no issuer `b`; it has a");
    }
}
