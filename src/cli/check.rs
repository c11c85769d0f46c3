//! `forecourt check`: is this a policy?

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::Format;
use super::policy_file::PolicyFile;

/// Check a policy and report every problem at once
///
/// Exit code 0: the filter will load it. 1: it will not; each problem is listed with its line, its
/// path in the document and what to write instead. 2: the file cannot be read.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The policy, YAML or JSON; `-` for standard input
    file: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        let loaded = PolicyFile::load(&self.file);
        match (&loaded, self.format) {
            (Ok(file), Format::Text) => {
                for warning in file.warnings() {
                    eprintln!("warning: {warning}");
                }
                let policy = file.policy();
                println!(
                    "{}: ok, {} and {}",
                    self.file.display(),
                    count(policy.routes.len(), "route"),
                    count(policy.issuers.len(), "issuer"),
                );
            }
            (Err(error), Format::Text) => eprintln!("{error}"),
            (Ok(file), Format::Json) => {
                let warnings = file.warnings();
                println!(
                    "{}",
                    json!({ "ok": true, "problems": [], "warnings": warnings })
                );
            }
            (Err(error), Format::Json) => {
                println!("{}", json!({ "ok": false, "problems": error.findings() }));
                if error.findings().is_empty() {
                    eprintln!("{error}");
                }
            }
        }
        loaded.map_or_else(
            |error| ExitCode::from(error.exit_code()),
            |_| ExitCode::SUCCESS,
        )
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
