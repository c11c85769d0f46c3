//! The plot: a panel for each kind of request, a group of bars for each kind of work, a bar for each
//! chain. What Envoy costs without a filter is pale, what the filters add is not; a line at the end
//! of each bar goes from the least to the most of all rounds.

use std::fmt::Write;

use crate::chains::{
    BAD_BODY, COLD_ES256, COLD_RS256, FORGED, FULL, FULL_0K, FULL_16K, FULL_64K, FULL_HTTP2,
    PUBLIC, WARM,
};
use crate::report::{Report, Row};

/// What each panel shows; each has a scale of its own.
const PANELS: [(&str, &[&str]); 3] = [
    (
        "GET: who is asking?",
        &[PUBLIC, WARM, COLD_RS256, COLD_ES256, FORGED],
    ),
    (
        "POST: who, and with what?",
        &[FULL_0K, FULL, FULL_HTTP2, BAD_BODY],
    ),
    ("POST of larger bodies", &[FULL_16K, FULL_64K]),
];

const WIDTH: f64 = 860.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 270.0;
const LENGTH: f64 = 500.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.panel { font-size: 14px; font-weight: 600 }
.work { font-weight: 600 }
.small, .tick { font-size: 11px; fill: #59636e }
.card { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0 }
.ours { fill: #1a66d6 }
.peer { fill: #8a929b }
.spread { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .small, .tick { fill: #9198a1 }
  .card { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #3d444d }
  .ours { fill: #4c8ff0 }
  .peer { fill: #767e88 }
  .spread { stroke: #f0f6fc }
}
";

pub fn plot(report: &Report) -> String {
    let mut drawn = String::new();
    let mut y = 66.0;
    for (title, works) in PANELS {
        let groups: Vec<_> = works
            .iter()
            .map(|work| (*work, rows(report, work)))
            .filter(|(_, rows)| !rows.is_empty())
            .collect();
        if !groups.is_empty() {
            y = panel(&mut drawn, y, title, &groups);
        }
    }
    let height = y + 8.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>CPU time for each request, by what stands in Envoy</title>\n\
         <style>\n{STYLE}</style>\n\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"16\" y=\"28\">CPU time for each request, in microseconds; less is better</text>\n\
         <text class=\"small\" x=\"16\" y=\"48\">{}; pale: Envoy without a filter; \
         lines: least to most of all rounds</text>\n\
         {drawn}</svg>\n",
        WIDTH - 1.0,
        height - 1.0,
        report.date(),
    )
}

fn rows<'a>(report: &'a Report, work: &str) -> Vec<&'a Row> {
    let rows = report.rows.iter();
    let mut rows: Vec<_> = rows.filter(|row| row.chain.work == work).collect();
    rows.sort_by_key(|row| !row.chain.is_ours());
    rows
}

/// Draws a panel from `y` on; where the next one begins.
fn panel(drawn: &mut String, mut y: f64, title: &str, groups: &[(&str, Vec<&Row>)]) -> f64 {
    let most = groups.iter().flat_map(|(_, rows)| rows);
    let most = most.map(|row| row.cpu.most).fold(1.0, f64::max);
    let tick = tick(most);
    let scale = LENGTH / most;
    let bars: usize = groups.iter().map(|(_, rows)| rows.len()).sum();
    let bottom = y + 34.0 + STEP * (bars + groups.len()) as f64 + 6.0 * groups.len() as f64;
    let _ = writeln!(
        drawn,
        "<text class=\"panel\" x=\"16\" y=\"{}\">{title}</text>",
        y + 16.0
    );
    let mut at = 0.0;
    while at <= most {
        let x = LEFT + at * scale;
        let _ = writeln!(
            drawn,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{at}</text>",
            y + 24.0,
            y + 18.0,
        );
        at += tick;
    }
    y += 30.0;
    for (work, rows) in groups {
        let _ = writeln!(
            drawn,
            "<text class=\"work\" x=\"16\" y=\"{}\">{work}</text>",
            y + 16.0
        );
        y += STEP;
        for row in rows {
            bar(drawn, y, row, scale);
            y += STEP;
        }
        y += 6.0;
    }
    bottom + 16.0
}

fn bar(drawn: &mut String, y: f64, row: &Row, scale: f64) {
    let class = if row.chain.is_ours() { "ours" } else { "peer" };
    let whole = row.cpu.median * scale;
    let pale = row
        .added
        .map_or(0.0, |added| whole - added.median.max(0.0) * scale);
    let middle = y + BAR / 2.0;
    let (from, to) = (LEFT + row.cpu.least * scale, LEFT + row.cpu.most * scale);
    let _ = writeln!(
        drawn,
        "<text text-anchor=\"end\" x=\"{}\" y=\"{base}\">{}</text>\
         <rect class=\"{class}\" opacity=\"0.35\" x=\"{LEFT}\" y=\"{y}\" width=\"{pale:.1}\" height=\"{BAR}\"/>\
         <rect class=\"{class}\" x=\"{:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\"/>\
         <line class=\"spread\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
         <text x=\"{:.1}\" y=\"{base}\">{:.0}</text>",
        LEFT - 8.0,
        row.chain.who,
        LEFT + pale,
        whole - pale,
        to + 8.0,
        row.cpu.median,
        base = y + 14.0,
    );
}

/// A round number of which some five fit in.
fn tick(most: f64) -> f64 {
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| most / step <= 6.0)
        .unwrap_or(most)
}
