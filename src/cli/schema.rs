//! `forecourt schema`: the policy language, as JSON Schema.

use std::process::ExitCode;

use serde_json::Value;

use super::reference;
use crate::config::RawPolicy;

/// Print the JSON Schema of policies, for editors to complete and check them
///
/// Example, for editors that speak the YAML language server:
///   forecourt schema > forecourt.schema.json
///   # yaml-language-server: $schema=forecourt.schema.json   (first line of the policy)
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Print a reference for people instead, in Markdown
    #[arg(long)]
    markdown: bool,
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        if self.markdown {
            print!("{}", reference::policy_reference());
        } else {
            println!("{:#}", policy_schema());
        }
        ExitCode::SUCCESS
    }
}

/// The JSON Schema (draft 2020-12) of a policy document.
pub fn policy_schema() -> Value {
    schemars::schema_for!(RawPolicy).to_value()
}
