//! The result as a table and as a plot.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::chains::Chain;
use crate::load::Sample;

pub struct Report {
    how: String,
    rows: Vec<Row>,
}

struct Row {
    chain: Chain,
    requests: usize,
    cpu: f64,
    per_second: f64,
    p50: f64,
    p99: f64,
    ratios: Vec<Ratio>,
}

/// One chain's cost divided by another's, round by round.
struct Ratio {
    to: &'static str,
    median: f64,
    least: f64,
    most: f64,
}

impl Report {
    pub fn new(how: &str, chains: Vec<Chain>, samples: Vec<Vec<Sample>>) -> Self {
        let names: Vec<_> = chains.iter().map(|chain| chain.name).collect();
        let rows = chains.into_iter().zip(&samples).map(|(chain, own)| {
            let other = |to: &&'static str| {
                let index = names.iter().position(|name| name == to)?;
                Some(Ratio::new(to, own, &samples[index]))
            };
            Row {
                ratios: chain.against.iter().filter_map(other).collect(),
                chain,
                requests: own.iter().map(|sample| sample.requests).sum(),
                cpu: median(own.iter().map(|sample| sample.cpu)),
                per_second: median(own.iter().map(|sample| sample.per_second)),
                p50: median(own.iter().map(|sample| sample.p50)),
                p99: median(own.iter().map(|sample| sample.p99)),
            }
        });
        Self {
            how: how.to_owned(),
            rows: rows.collect(),
        }
    }

    pub fn markdown(&self) -> String {
        let mut text = format!(
            "{}. Medians of the rounds; ratios are of CPU per request within a round: median (least to most).\n\n\
             | chain | what | CPU µs a request | requests/s | p50 µs | p99 µs | requests | ratio |\n\
             |---|---|--:|--:|--:|--:|--:|---|\n",
            self.how
        );
        for row in &self.rows {
            let ratios: Vec<_> = row.ratios.iter().map(Ratio::text).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {:.0} | {:.0} | {:.0} | {} | {} |",
                row.chain.name,
                row.chain.about,
                row.cpu,
                row.per_second,
                row.p50,
                row.p99,
                row.requests,
                ratios.join("; ")
            );
        }
        text
    }

    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("proxy.md"), self.markdown())?;
        std::fs::write(folder.join("proxy.svg"), self.svg())
    }

    /// A bar for each chain's CPU time, ours in another colour.
    fn svg(&self) -> String {
        const LINE: usize = 24;
        const LEFT: usize = 420;
        const WIDTH: f64 = 420.0;
        let most = self.rows.iter().map(|row| row.cpu).fold(1.0, f64::max);
        let height = LINE * self.rows.len() + 50;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"920\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"22\" font-weight=\"bold\">CPU time for each request, in microseconds ({})</text>\n",
            self.how
        );
        for (index, row) in self.rows.iter().enumerate() {
            let top = 36 + index * LINE;
            let base = top + 14;
            let width = WIDTH * row.cpu / most;
            let ours = row.chain.about.starts_with("Forecourt");
            let colour = if ours { "#1a73e8" } else { "#9aa0a6" };
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{base}\">{:.0}</text>",
                LEFT - 8,
                row.chain.about,
                LEFT as f64 + width + 6.0,
                row.cpu
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Ratio {
    fn new(to: &'static str, own: &[Sample], other: &[Sample]) -> Self {
        let pairs = || {
            own.iter()
                .zip(other)
                .map(|(own, other)| own.cpu / other.cpu)
        };
        Self {
            to,
            median: median(pairs()),
            least: pairs().fold(f64::INFINITY, f64::min),
            most: pairs().fold(0.0, f64::max),
        }
    }

    fn text(&self) -> String {
        let Self {
            to,
            median,
            least,
            most,
        } = self;
        format!("{median:.2} ({least:.2} to {most:.2}) of {to}")
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}
