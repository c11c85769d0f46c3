//! The native command line: the same policy, with the same code, before and around Envoy.

pub mod check;
pub mod client;
mod clock;
pub mod codes;
pub mod demo;
pub mod envoy;
pub mod explain;
mod home;
pub mod istio;
pub mod keys;
pub mod module;
mod output;
pub mod policy_file;
mod print;
pub mod reference;
pub mod render;
mod run;
pub mod schema;
pub mod serve;
pub mod token;
pub mod up;
pub mod yaml;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For machines
    Json,
}

/// Token validation, request checks and caching hints for Envoy and Istio in front of Cloud Run
///
/// One policy file says who may call which route, what a request must look like, and what caches may
/// keep of the answers. The module `forecourt.wasm` enforces it in Envoy; this command writes, checks,
/// explains and runs the same policy with the same code.
#[derive(Debug, Parser)]
#[command(
    name = "forecourt",
    version,
    max_term_width = 100,
    after_help = AFTER_HELP,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Start here:
  forecourt demo                               see it work, in a real Envoy
  forecourt up --policy FILE --upstream URL    put it in front of a service of your own

Exit codes: 0 yes, 1 no, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Up(up::Args),
    Check(check::Args),
    Explain(explain::Args),
    Token(token::Args),
    Render(render::Args),
    Schema(schema::Args),
    Codes(codes::Args),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(args) => args.run(),
        Command::Up(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Explain(args) => args.run(),
        Command::Token(args) => args.run(),
        Command::Render(args) => args.run(),
        Command::Schema(args) => args.run(),
        Command::Codes(args) => args.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
