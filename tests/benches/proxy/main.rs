//! What a request costs in real Envoy: this module beside what one would use in its place.
//!
//! ```console
//! $ cargo bench --bench proxy                        # every chain, a quarter of an hour
//! $ cargo bench --bench proxy -- --quick             # short rounds, to see that it works
//! $ cargo bench --bench proxy -- --chains warm,full  # those whose name begins so
//! $ cargo bench --bench proxy -- --out tests/benches/results
//! ```
//!
//! Chains with the same filters share an Envoy with one worker. They are loaded in turn, round after
//! round, every other round backwards; the figure is the CPU time of all processes that a chain needs
//! (Envoy, and the service it asks) for each request, and ratios compare chains within the same round,
//! so that what else the machine does falls on both. The first answer is looked at: every chain that
//! is to check a token must have told the service who asks, and every chain that is to give hints the
//! client the same. A wrong status ends the bench.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod chains;
mod idle;
mod load;
#[path = "../orders.rs"]
mod orders;
mod processor;
mod report;
mod svg;
mod world;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use clap::Parser;

use chains::{Chain, Filters, ORDER_HINT, Sent, Tokens};
use load::{Load, Sample, Traffic};
use report::Report;
use world::{SEEN, Server, World};

/// Compares chains of Envoy filters: some 13 minutes on two cores for all of them.
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
    /// The module to measure, instead of the one that the source tree builds.
    #[arg(long)]
    module: Option<PathBuf>,
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
    let report = runtime.block_on(run(&args, chains));
    println!("{}", report.markdown());
    if let Some(folder) = &args.out {
        report.write(folder).unwrap();
    }
}

/// Those asked for, and what they are compared with.
fn chosen(all: Vec<Chain>, prefixes: &[String]) -> Vec<Chain> {
    let asked = |name: &str| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    };
    let mut needed: Vec<_> = all
        .iter()
        .filter(|chain| asked(chain.name))
        .flat_map(|chain| chain.against.iter().copied().chain([chain.name]))
        .collect();
    let compared = all.iter().filter(|chain| needed.contains(&chain.name));
    needed.extend(compared.filter_map(Chain::base).collect::<Vec<_>>());
    all.into_iter()
        .filter(|chain| needed.contains(&chain.name))
        .collect()
}

/// A chain and what it runs on.
struct Lane {
    chain: Chain,
    server: Rc<Server>,
    traffic: Traffic,
}

async fn run(args: &Args, chains: Vec<Chain>) -> Report {
    let world = World::start(args.module.as_deref());
    let (turn, rounds) = match args.quick {
        true => (Duration::from_millis(700), 3),
        false => (Duration::from_millis(2_200), 7),
    };
    let rounds = args.rounds.unwrap_or(rounds);
    let measured = report::Measured {
        when: SystemTime::now(),
        what: world.about(),
        rounds,
        turn,
        connections: args.connections,
        quick: args.quick,
    };
    eprintln!("{}", measured.what);
    let lanes = lanes(&world, chains).await;
    for lane in &lanes {
        lane.look().await;
        lane.turn(args.connections, turn / 2).await;
    }
    let mut samples: Vec<Vec<Sample>> = lanes.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<_> = (0..lanes.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            samples[index].push(lanes[index].turn(args.connections, turn).await);
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    for lane in &lanes {
        lane.check_cache().await;
    }
    let chains = lanes.into_iter().map(|lane| lane.chain).collect();
    Report::new(measured, chains, samples)
}

/// A lane for each chain. Those with the same filters share an Envoy, but for a cache that is not to
/// have met the tokens that come.
async fn lanes(world: &World, chains: Vec<Chain>) -> Vec<Lane> {
    let mut servers: Vec<((Filters, bool), Rc<Server>)> = Vec::new();
    let mut lanes = Vec::new();
    for chain in chains {
        let key = (chain.filters, chain.is_cold());
        let running = servers.iter().find(|(held, _)| *held == key);
        let server = match running {
            Some((_, server)) => Rc::clone(server),
            None => {
                eprintln!("starting {}", chain.name);
                let server = Rc::new(world.start_server(chain.filters).await);
                servers.push((key, Rc::clone(&server)));
                server
            }
        };
        let traffic = world.traffic(&chain);
        lanes.push(Lane {
            chain,
            server,
            traffic,
        });
    }
    lanes
}

impl Lane {
    async fn turn(&self, connections: usize, length: Duration) -> Sample {
        let load = Load {
            to: self.server.listener(),
            connections,
            length,
        };
        let before = self.server.cpu();
        let timed = load.run(&self.traffic).await;
        let spent = self.server.cpu() - before;
        timed.sample(spent)
    }

    /// That the chain does what the others do that it is compared with.
    async fn look(&self) {
        let name = self.chain.name;
        let answer = self.traffic.once(self.server.listener()).await;
        assert_eq!(answer.status.as_u16(), self.traffic.status, "{name}");
        let field = |name| {
            answer
                .headers
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        let checks = self.chain.filters != Filters::None && answer.status == 200;
        if checks && matches!(self.chain.sent, Sent::Token(_) | Sent::Order(_)) {
            let user = field(SEEN).expect("the service is told who asks");
            assert!(user.starts_with("user-"), "{name}: {user}");
        }
        if checks && matches!(self.chain.sent, Sent::Order(_)) {
            assert_eq!(field("cache-control"), Some(ORDER_HINT), "{name}");
        }
    }

    /// That tokens were new to the cache, or were not.
    async fn check_cache(&self) {
        let name = self.chain.name;
        match self.chain.sent {
            _ if !self.chain.is_ours() => (),
            Sent::Token(tokens) if tokens.are_cold() => {
                assert_eq!(self.server.tokens_met().await, 0, "{name}: met before");
            }
            Sent::Token(Tokens::Warm) | Sent::Order(_) => {
                assert!(self.server.tokens_met().await > 0, "{name}: never met");
            }
            _ => (),
        }
    }
}
