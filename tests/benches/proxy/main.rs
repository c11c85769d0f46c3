//! What a request costs in real Envoy: this module beside what one would use in its place.
//!
//! ```console
//! $ cargo bench --bench proxy                        # every chain, a quarter of an hour
//! $ cargo bench --bench proxy -- --quick             # short rounds, to see that it works
//! $ cargo bench --bench proxy -- --chains warm,full  # those whose name begins so
//! $ cargo bench --bench proxy -- --http2 --out tests/benches/results
//! ```
//!
//! Each chain is an Envoy of its own with one worker. They are loaded in turn, round after round;
//! the figure is the CPU time of all processes that a chain needs (Envoy, and the service it asks)
//! for each request, and ratios compare chains within the same round, so that what else the machine
//! does falls on both. Answers are checked: a wrong status ends the bench.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod chains;
mod load;
mod processor;
mod report;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use chains::Chain;
use load::{Load, Sample};
use world::{Running, World};

/// Compares chains of Envoy filters.
#[derive(Debug, Parser)]
struct Args {
    /// Short rounds: to see that everything works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Only chains whose name begins so, and what they are compared with.
    #[arg(long, value_delimiter = ',')]
    chains: Vec<String>,
    /// How often each chain gets its turn.
    #[arg(long)]
    rounds: Option<usize>,
    /// Connections that are kept busy.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// HTTP/2 instead of HTTP/1.1.
    #[arg(long)]
    http2: bool,
    /// Where to write `proxy.md` and `proxy.svg`; the table is printed in any case.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Internal: serve external processing on this socket.
    #[arg(long, hide = true)]
    processor: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if let Some(socket) = &args.processor {
        return processor::serve(socket);
    }
    let chains = chosen(chains::all(), &args.chains);
    assert!(!chains.is_empty(), "no chain's name begins so");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let samples = runtime.block_on(run(&args, &chains));
    let report = report::Report::new(&args_line(&args), chains, samples);
    println!("{}", report.markdown());
    if let Some(folder) = &args.out {
        report.write(folder).unwrap();
    }
}

/// Those asked for, and what their ratios are to.
fn chosen(all: Vec<Chain>, prefixes: &[String]) -> Vec<Chain> {
    let asked = |name: &str| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    };
    let needed: Vec<_> = all
        .iter()
        .filter(|chain| asked(chain.name))
        .flat_map(|chain| chain.against.iter().copied())
        .collect();
    all.into_iter()
        .filter(|chain| asked(chain.name) || needed.contains(&chain.name))
        .collect()
}

async fn run(args: &Args, chains: &[Chain]) -> Vec<Vec<Sample>> {
    let world = World::start();
    let mut running = Vec::new();
    for chain in chains {
        eprintln!("starting {}", chain.name);
        running.push(world.start_chain(chain).await);
    }
    let (turn, rounds) = match args.quick {
        true => (Duration::from_millis(700), 2),
        false => (Duration::from_secs(4), 7),
    };
    let rounds = args.rounds.unwrap_or(rounds);
    for envoy in &running {
        turn_of(args, envoy, turn / 2).await;
    }
    let mut samples: Vec<Vec<Sample>> = chains.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (index, envoy) in running.iter().enumerate() {
            samples[index].push(turn_of(args, envoy, turn).await);
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    for envoy in &running {
        envoy.check().await;
    }
    samples
}

async fn turn_of(args: &Args, running: &Running, length: Duration) -> Sample {
    let load = Load {
        to: running.listener(),
        connections: args.connections,
        http2: args.http2,
        length,
    };
    let before = running.cpu();
    let timed = load.run(&running.traffic).await;
    let spent = running.cpu() - before;
    timed.sample(spent)
}

fn args_line(args: &Args) -> String {
    let protocol = if args.http2 { "HTTP/2" } else { "HTTP/1.1" };
    format!("{protocol}, {} connections", args.connections)
}
