//! The result as tables; the plot is made of the same figures.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::chains::{Chain, Sent};
use crate::load::Sample;
use crate::svg;

/// What was measured, when and how.
pub struct Measured {
    pub when: SystemTime,
    /// Versions.
    pub what: String,
    pub rounds: usize,
    pub turn: Duration,
    pub connections: usize,
    pub quick: bool,
}

pub struct Report {
    measured: Measured,
    pub rows: Vec<Row>,
}

/// What one chain cost.
pub struct Row {
    pub chain: Chain,
    /// Microseconds of CPU time for each request.
    pub cpu: Spread,
    /// The part of it that the filters added.
    pub added: Option<Spread>,
    per_second: f64,
    p50: f64,
    p99: Spread,
    requests: usize,
    ratios: Vec<Ratio>,
}

/// One chain's cost divided by another's, round by round.
struct Ratio {
    to: &'static str,
    cpu: Spread,
    /// What each added to the 99th percentile of latency.
    added_p99: Option<Spread>,
}

/// The median of all rounds, the least and the most.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// The comparisons of the short table: what is compared, and with what.
const SHORT: [(&str, &str); 12] = [
    ("cold-rs256", "native-cold-rs256"),
    ("cold-es256", "native-cold-es256"),
    ("warm", "native-warm"),
    ("full", "full-ext-proc"),
    ("full", "full-lua"),
    ("full-http2", "full-http2-ext-proc"),
    ("full-16k", "full-16k-ext-proc"),
    ("full-64k", "full-64k-ext-proc"),
    ("refused-token", "native-refused-token"),
    ("refused-body", "refused-body-ext-proc"),
    ("routes-10000", "routes-10"),
    ("schemas-1000", "schemas-1"),
];

impl Report {
    pub fn new(measured: Measured, chains: Vec<Chain>, samples: Vec<Vec<Sample>>) -> Self {
        let of = |name: &str| {
            let index = chains.iter().position(|chain| chain.name == name)?;
            samples.get(index).map(Vec::as_slice)
        };
        let rows = chains.iter().zip(&samples);
        let rows = rows.map(|(chain, own)| Row::new(chain, own, of)).collect();
        Self { measured, rows }
    }

    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("proxy.md"), self.markdown())?;
        std::fs::write(folder.join("proxy.svg"), svg::plot(self))
    }

    pub fn markdown(&self) -> String {
        format!(
            "# What a request costs in real Envoy\n\n{}\n{}\n## Every chain\n\n{}",
            self.setting(),
            self.short(),
            self.long()
        )
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.chain.name == name)
    }

    fn setting(&self) -> String {
        let Measured {
            what,
            rounds,
            turn,
            connections,
            quick,
            ..
        } = &self.measured;
        let warning = match quick {
            true => {
                "**A quick run on a busy machine, to see that everything works: not to be quoted.** "
            }
            false => "",
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        format!(
            "{warning}Measured on {}: {what}, one worker, {cores} cores ({}, {}) that Envoy shares with \
             the load and the service; {connections} connections kept alive; {rounds} rounds of {:.1} s \
             for each chain, interleaved.\n",
            self.date(),
            std::env::consts::OS,
            std::env::consts::ARCH,
            turn.as_secs_f64(),
        )
    }

    /// As `2026-11-23`.
    pub fn date(&self) -> String {
        let when = humantime::format_rfc3339_seconds(self.measured.when).to_string();
        when.split('T').next().unwrap_or_default().to_owned()
    }

    fn short(&self) -> String {
        let mut text = String::from(
            "CPU time of Envoy, and of the service that it asks, in µs for each request; with + what the \
             filters add to an Envoy without them. Ratios are taken within each round: median (least to \
             most).\n\n\
             | for each request | Forecourt, CPU µs | in its place | its CPU µs | CPU, Forecourt / that | added p99 latency, \
             Forecourt / that |\n\
             |---|--:|---|--:|---|---|\n",
        );
        for (name, peer) in SHORT {
            let (Some(own), Some(other)) = (self.row(name), self.row(peer)) else {
                continue;
            };
            let ratio = own.ratios.iter().find(|ratio| ratio.to == peer);
            let ratio = ratio.expect("is compared with it");
            let work = own.chain.work.trim_end_matches(", Forecourt");
            // Where both are this module, what differs is how much there is of something.
            let work = match other.chain.is_ours() {
                true => format!("{work}: {}", own.chain.who),
                false => work.to_owned(),
            };
            let _ = writeln!(
                text,
                "| {work} | {} | {} | {} | **{:.2}** ({:.2} to {:.2}) | {} |",
                own.cost(),
                other.chain.who,
                other.cost(),
                ratio.cpu.median,
                ratio.cpu.least,
                ratio.cpu.most,
                ratio.added_p99.map_or(String::new(), Spread::ratio),
            );
        }
        text
    }

    fn long(&self) -> String {
        let mut text = String::from(
            "| chain | work | filters | CPU µs | added | requests/s | p50 µs | p99 µs | requests | CPU, \
             divided by that of |\n\
             |---|---|---|--:|--:|--:|--:|--:|--:|---|\n",
        );
        for row in &self.rows {
            let ratios = row.ratios.iter();
            let ratios: Vec<_> = ratios
                .map(|ratio| format!("{}: {}", ratio.to, ratio.cpu.ratio()))
                .collect();
            let Chain {
                name, work, who, ..
            } = row.chain;
            let _ = writeln!(
                text,
                "| {name} | {work} | {who} | {} | {} | {:.0} | {:.0} | {} | {} | {} |",
                row.cpu.micros(),
                row.added.map_or(String::new(), Spread::micros),
                row.per_second,
                row.p50,
                row.p99.micros(),
                row.requests,
                ratios.join("; ")
            );
        }
        text
    }
}

impl Row {
    fn new<'a>(
        chain: &Chain,
        own: &'a [Sample],
        of: impl Fn(&str) -> Option<&'a [Sample]>,
    ) -> Self {
        let spread = |value: fn(&Sample) -> f64| Spread::of(own.iter().map(value));
        let base = chain.base().and_then(&of);
        let ratio = |to: &&'static str| {
            let other = of(to)?;
            let base = base.filter(|_| matches!(chain.sent, Sent::Order(_)));
            Some(Ratio {
                to,
                cpu: paired(own, other, |own, other| own.cpu / other.cpu),
                added_p99: base.map(|base| added_p99(own, other, base)),
            })
        };
        Self {
            chain: chain.clone(),
            cpu: spread(|sample| sample.cpu),
            added: base.map(|base| paired(own, base, |own, base| own.cpu - base.cpu)),
            per_second: spread(|sample| sample.per_second).median,
            p50: spread(|sample| sample.p50).median,
            p99: spread(|sample| sample.p99),
            requests: own.iter().map(|sample| sample.requests).sum(),
            ratios: chain.against.iter().filter_map(ratio).collect(),
        }
    }

    /// In all, and what was added.
    fn cost(&self) -> String {
        match self.added {
            Some(added) => format!("{:.0} (+{:.0})", self.cpu.median, added.median.max(0.0)),
            None => format!("{:.0}", self.cpu.median),
        }
    }
}

fn paired(own: &[Sample], other: &[Sample], value: fn(&Sample, &Sample) -> f64) -> Spread {
    let pairs = own.iter().zip(other);
    Spread::of(pairs.map(|(own, other)| value(own, other)))
}

fn added_p99(own: &[Sample], other: &[Sample], base: &[Sample]) -> Spread {
    let rounds = own.iter().zip(other).zip(base);
    Spread::of(rounds.map(|((own, other), base)| (own.p99 - base.p99) / (other.p99 - base.p99)))
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        Self {
            median: f64::midpoint(values[last / 2], values[last.div_ceil(2)]),
            least: values[0],
            most: values[last],
        }
    }

    fn ratio(self) -> String {
        let Self {
            median,
            least,
            most,
        } = self;
        format!("{median:.2} ({least:.2} to {most:.2})")
    }

    fn micros(self) -> String {
        let Self {
            median,
            least,
            most,
        } = self;
        format!("{median:.0} ({least:.0} to {most:.0})")
    }
}
