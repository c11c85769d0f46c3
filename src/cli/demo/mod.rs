//! `forecourt demo`: the whole of it, in a real Envoy, in one command.

mod examples;
mod offload;
mod table;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use self::world::World;
use super::Format;
use super::envoy::EnvoyBinary;
use super::output::{Failure, Paint, exit, say};
use super::run::{Parts, asked_to_end, block_on, listen_address};
use super::yaml::Document;

/// The policy that the demo runs.
pub const POLICY: &str = include_str!("../../../envoy/demo-policy.yaml");

/// Its document, as it is written: key files are still named, not put in.
pub(super) fn policy_document() -> Result<Value, String> {
    Document::parse(POLICY)
        .map(|document| document.value)
        .map_err(|error| error.message)
}

/// See it work: a policy, a service, an issuer and a real Envoy, on this machine only
///
/// Starts a small service as one runs it on Cloud Run, an issuer of tokens and an Envoy with the module
/// on free loopback ports. Sends example requests, good and bad, and shows for each what Forecourt
/// decided and whether the service was reached. Then stays up for requests of your own until Ctrl-C.
///
/// The policy and the keys that it ran with are left in target/forecourt-demo.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// End after the examples; exit code 1 if any outcome was not the expected one
    #[arg(long)]
    once: bool,
    /// Where clients connect; a free loopback port if not given
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", hide_default_value = true, value_parser = listen_address)]
    listen: SocketAddr,
    #[command(flatten)]
    parts: Parts,
    /// How to print the examples; json ends after them, as --once does
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  forecourt demo
  forecourt demo --once
  forecourt demo --once --format json
  forecourt demo --envoy 1.37.0 --listen 8000";

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        exit(self.prepare_and_run())
    }

    fn prepare_and_run(&self) -> Result<(), Failure> {
        // Before anything listens for signals: a build or a download is ended by Ctrl-C as ever.
        let (binary, module) = (self.parts.envoy()?, self.parts.module()?);
        block_on(async {
            tokio::select! {
                outcome = self.demonstrate(&binary, module) => outcome,
                ended = asked_to_end() => Ok(ended?),
            }
        })
    }

    async fn demonstrate(&self, binary: &EnvoyBinary, module: PathBuf) -> Result<(), Failure> {
        let world = World::start(binary, module, self.listen).await?;
        let paint = Paint::for_stdout();
        if self.format == Format::Text {
            say(&table::introduction(&world, paint))?;
        }
        let outcomes = examples::run(&world).await?;
        let rows = world
            .offload
            .measure(&world.envoy, &world.customers)
            .await?;
        match self.format {
            Format::Text => {
                say(&table::outcomes(&outcomes, paint))?;
                say(&offload::table(&rows, paint))?;
            }
            Format::Json => {
                let all = serde_json::json!({ "examples": outcomes, "offload": rows });
                say(&format!("{all:#}\n"))?;
            }
        }
        let unexpected = outcomes.iter().filter(|outcome| !outcome.expected).count()
            + rows.iter().filter(|row| !row.expected).count();
        if self.once || self.format == Format::Json {
            world.stop().await;
            return match unexpected {
                0 => Ok(()),
                _ => Err(Failure::no(format!(
                    "{unexpected} of {} outcomes were not the expected ones",
                    outcomes.len() + rows.len()
                ))),
            };
        }
        say(&table::invitation(&world, paint))?;
        let status = world.envoy.ended().await;
        Err(Failure::no(format!("Envoy ended by itself ({status})")))
    }
}
