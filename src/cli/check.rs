//! `forecourt check`: is this a policy, and is it in force?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::Format;
use super::envoy_config;
use super::policy_file::{Finding, LoadError, PolicyFile, document, locate};

/// Check a policy, or the Envoy configuration that runs it, and report every problem at once
///
/// Exit code 0: the filter will load it. 1: it will not; each problem is listed with its line, its
/// path in the document and what to write instead. 2: the file cannot be read.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The policy, YAML or JSON; `-` for standard input
    #[arg(required_unless_present = "envoy_config")]
    file: Option<PathBuf>,
    /// Check an Envoy bootstrap or config dump instead, YAML or JSON: whether Forecourt is where it
    /// has to be, in full force, and its policies are policies
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    envoy_config: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  forecourt check shop.yaml
  forecourt check --envoy-config envoy.yaml
  curl -s 'http://127.0.0.1:9901/config_dump?include_eds' | forecourt check --envoy-config -";

/// What was found out about a file that is good enough.
struct Good {
    said: String,
    warnings: Vec<Finding>,
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        let checked = match (&self.envoy_config, &self.file) {
            (Some(file), _) => check_envoy_config(file),
            (None, Some(file)) => check_policy(file),
            // Not with what the argument's rules let through.
            (None, None) => return ExitCode::from(2),
        };
        match (&checked, self.format) {
            (Ok(good), Format::Text) => {
                for warning in &good.warnings {
                    eprintln!("warning: {warning}");
                }
                println!("{}", good.said);
            }
            (Err(error), Format::Text) => eprintln!("{error}"),
            (Ok(good), Format::Json) => println!(
                "{}",
                json!({ "ok": true, "problems": [], "warnings": good.warnings })
            ),
            (Err(error), Format::Json) => {
                println!("{}", json!({ "ok": false, "problems": error.findings() }));
                if error.findings().is_empty() {
                    eprintln!("{error}");
                }
            }
        }
        checked.map_or_else(
            |error| ExitCode::from(error.exit_code()),
            |_| ExitCode::SUCCESS,
        )
    }
}

fn check_policy(file: &Path) -> Result<Good, LoadError> {
    let loaded = PolicyFile::load(file)?;
    let policy = loaded.policy();
    Ok(Good {
        said: format!(
            "{}: ok, {} and {}",
            file.display(),
            count(policy.routes.len(), "route"),
            count(policy.issuers.len(), "issuer"),
        ),
        warnings: loaded.warnings().to_vec(),
    })
}

fn check_envoy_config(file: &Path) -> Result<Good, LoadError> {
    let (document, name) = document(file)?;
    let (problems, warnings) = envoy_config::check(&document.value);
    match problems.is_empty() {
        true => Ok(Good {
            said: format!("{}: ok", file.display()),
            warnings: locate(warnings.0, &document, &name),
        }),
        false => Err(LoadError::Refused(locate(problems.0, &document, &name))),
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
