//! Whole requests natively and inside V8, by turns, so that what else the machine does falls on both.

use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use forecourt::cli::module::module;
use serde_json::json;

use crate::micros;
use crate::requests::{self, ANSWER, NOW};

const ROUNDS: usize = 5;

pub fn print(named: Option<&Path>) {
    let module = module(named, &mut |note| eprintln!("{note}"));
    let module = module.unwrap_or_else(|error| panic!("{error}"));
    let Some(mut node) = Node::start(&module) else {
        println!("requests inside V8: skipped, Node.js is not installed");
        return;
    };
    println!("| request | native µs | V8 µs | V8 / native |\n|---|--:|--:|--:|");
    // Not those that are new to the cache: inside V8 a token is new only once.
    let requests = requests::all().into_iter().filter(|request| request.caches);
    let mut unchecked = None;
    for (index, request) in requests.enumerate() {
        let name = request.name;
        let mut run = request.prepare();
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| (micros(&mut run), node.micros(index)))
            .collect();
        line(name, &rounds);
        match name {
            "POST of 1 kB, not checked" => unchecked = Some(rounds),
            "POST of 1 kB, checked" => {
                let without = unchecked.take().expect("comes first");
                let pairs = rounds.iter().zip(without);
                let alone: Vec<_> = pairs
                    .map(|(with, without)| (with.0 - without.0, with.1 - without.1))
                    .collect();
                line("only the check of 1 kB", &alone);
            }
            _ => (),
        }
    }
}

fn line(name: &str, rounds: &[(f64, f64)]) {
    let native = median(rounds.iter().map(|round| round.0));
    let v8 = median(rounds.iter().map(|round| round.1));
    let ratio = median(rounds.iter().map(|round| round.1 / round.0));
    println!("| {name} | {native:.2} | {v8:.2} | {ratio:.2} |");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A V8 with the module in it, flags as Envoy has them: all is compiled by the optimising compiler at
/// once.
struct Node {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Node {
    fn start(module: &Path) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/benches/v8/by_turns.mjs");
        let child = Command::new("node")
            .args(["--no-liftoff", "--no-wasm-lazy-compilation"])
            .args([&script, module])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            child => child.unwrap(),
        };
        let mut node = Self {
            to: child.stdin.take().unwrap(),
            from: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        let requests = requests::all().into_iter().filter(|request| request.caches);
        let requests: Vec<_> = requests
            .map(|request| {
                json!({ "head": request.head, "body": request.body, "status": request.status, "answer": ANSWER })
            })
            .collect();
        let world = json!({ "now": NOW, "policy": requests::policy(), "requests": requests });
        writeln!(node.to, "{world}").unwrap();
        Some(node)
    }

    /// Microseconds of CPU time for the request of that number.
    fn micros(&mut self, index: usize) -> f64 {
        writeln!(self.to, "{index}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim().parse().expect("a number from Node.js")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
