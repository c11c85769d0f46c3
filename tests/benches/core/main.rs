//! What each part of the core costs by itself, without a proxy.
//!
//! ```console
//! $ cargo bench --bench core                          # natively, in CPU time
//! $ cargo bench --bench core -- --instructions        # natively, in instructions (needs Valgrind)
//! $ cargo bench --bench core -- --v8 [--module PATH]  # whole requests, natively and inside V8 (needs Node.js)
//! ```
//!
//! Instructions are the same on a busy machine, so CI prints them. Where the tool that is needed is
//! missing a line says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod instructions;
#[path = "../orders.rs"]
mod orders;
mod parts;
mod requests;
mod v8;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures the parts of the core.
#[derive(Debug, Parser)]
struct Args {
    /// Count instructions, by running every part in Valgrind's callgrind.
    #[arg(long)]
    instructions: bool,
    /// Run whole requests natively and inside V8 by turns.
    #[arg(long)]
    v8: bool,
    /// The module to run inside V8, instead of the one that the source tree builds.
    #[arg(long)]
    module: Option<PathBuf>,
    /// Internal: run one part so many times.
    #[arg(long, hide = true, num_args = 2, value_names = ["PART", "TIMES"])]
    run: Vec<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if let [name, times] = &args.run[..] {
        let mut run = parts::named(name).prepare();
        (0..times.parse::<u32>().unwrap()).for_each(|_| run());
    } else if args.instructions {
        instructions::print();
    } else if args.v8 {
        v8::print(args.module.as_deref());
    } else {
        print();
    }
}

fn print() {
    println!("| part | µs of CPU time |\n|---|--:|");
    for part in parts::all() {
        let name = part.name.clone();
        println!("| {name} | {:.2} |", micros(&mut part.prepare()));
    }
}

/// How long a part is run to be measured. The kernel's count of a thread's CPU time moves in steps of
/// up to four milliseconds.
const LONG: Duration = Duration::from_millis(250);

/// Microseconds of this thread's CPU time for each run: the least of a few trials, since whatever
/// disturbs makes it more.
fn micros(run: &mut dyn FnMut()) -> f64 {
    (0..20).for_each(|_| run());
    let trials = (0..4).map(|_| {
        let before = cpu();
        let mut runs = 0_u32;
        loop {
            let batch = runs.clamp(1, 1_000);
            (0..batch).for_each(|_| run());
            runs += batch;
            let spent = cpu() - before;
            if spent >= LONG {
                return spent.as_secs_f64() * 1e6 / f64::from(runs);
            }
        }
    });
    trials.fold(f64::INFINITY, f64::min)
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}
