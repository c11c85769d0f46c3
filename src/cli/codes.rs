//! `forecourt codes`: what a reason code means.

use std::process::ExitCode;

use serde_json::json;

use super::Format;
use crate::config::problem::did_you_mean;
use crate::reply::Code;

/// Explain reason codes: all of them, or one
///
/// A refused request carries its code in the reply's body (`code`), in the access log, in the module's
/// log and in the name of a counter. Exit code 1: there is no such code.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The code to explain; all of them if it is not given
    code: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        let wanted = |code: &&Code| {
            self.code
                .as_deref()
                .is_none_or(|name| name == code.as_str())
        };
        let codes: Vec<&Code> = Code::ALL.iter().filter(wanted).collect();
        if codes.is_empty() {
            let name = self.code.as_deref().unwrap_or_default();
            let near = did_you_mean(name, Code::ALL.iter().map(|code| code.as_str()));
            eprintln!("no such code: {name}{near}");
            return ExitCode::FAILURE;
        }
        match self.format {
            Format::Text => {
                for code in codes {
                    println!("{} ({})\n    {}", code.as_str(), code.status(), code.doc());
                }
            }
            Format::Json => {
                let code = |code: &&Code| json!({ "code": code.as_str(), "status": code.status(), "title": code.title(), "when": code.doc() });
                println!("{}", json!(codes.iter().map(code).collect::<Vec<_>>()));
            }
        }
        ExitCode::SUCCESS
    }
}
