//! The native command line: the same policy, with the same code, before and around Envoy.

pub mod check;
pub mod client;
mod clock;
pub mod codes;
pub mod demo;
pub mod envoy;
pub mod envoy_config;
pub mod explain;
mod home;
pub mod import;
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
    Import(import::Args),
    Module(module::Args),
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
        Command::Import(args) => args.run(),
        Command::Module(args) => args.run(),
        Command::Token(args) => args.run(),
        Command::Render(args) => args.run(),
        Command::Schema(args) => args.run(),
        Command::Codes(args) => args.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Every command that a text quotes: lines that begin with `forecourt`, joined where they go on.
    fn quoted(text: &str) -> Vec<Vec<String>> {
        text.replace("\\\n", " ")
            .lines()
            .map(|line| line.trim_start().trim_start_matches("$ "))
            .filter(|line| line.starts_with("forecourt "))
            .map(words)
            .collect()
    }

    /// The words of a command, up to where its output goes or what it does is told.
    fn words(line: &str) -> Vec<String> {
        let command = line
            .split(" > ")
            .next()
            .unwrap()
            .split("   ")
            .next()
            .unwrap();
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in command.chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (' ', None) => words.push(String::new()),
                (c, _) => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        let stands_for = |word: String| match word.as_str() {
            "URL" => "http://127.0.0.1:8080".to_owned(),
            "HEX" => "00".repeat(32),
            _ => word,
        };
        words.into_iter().map(stands_for).collect()
    }

    fn help_texts(command: &clap::Command, texts: &mut Vec<String>) {
        let after = command.get_after_help();
        texts.extend(after.map(|text| text.to_string()));
        for sub in command.get_subcommands() {
            help_texts(sub, texts);
        }
    }

    #[test]
    fn every_command_that_is_quoted_is_one() {
        let mut texts = vec![
            include_str!("../../envoy/README.md").to_owned(),
            include_str!("../../istio/README.md").to_owned(),
            include_str!("../../envoy/demo-policy.yaml").replace('#', ""),
        ];
        help_texts(&Cli::command(), &mut texts);
        let commands: Vec<_> = texts.iter().flat_map(|text| quoted(text)).collect();
        assert!(commands.len() > 20, "{commands:?}");
        for command in commands {
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{command:?}: {error}");
            }
        }
    }
}
