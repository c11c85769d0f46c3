//! How many requests Envoy's own cache keeps from the service: with the hints, and without them.
//!
//! Two more listeners of the demo's Envoy have the same checks and the same cache; the policy of one
//! of them has no `cache`. Both get the same requests, and the service counts what reaches it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::world::Party;
use crate::cli::client::{self, Request};
use crate::cli::envoy::{Bootstrap, Cache, Envoy, Filter};
use crate::cli::output::{Failure, Paint};
use crate::cli::policy_file::PolicyFile;
use crate::cli::serve::{Reply, Service};

/// The policy with the hints.
const POLICY: &str = include_str!("../../../envoy/demo-cache-policy.yaml");
const WITH: &str = "cache-with-hints";
const WITHOUT: &str = "cache-without-hints";

/// What the listeners stand in front of.
pub struct Offload {
    service: Service,
}

/// What came of some requests of one kind.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// In words.
    pub what: &'static str,
    /// How many were sent.
    pub requests: usize,
    /// How many of them reached the service without the hints.
    pub reached_without_hints: usize,
    /// How many did with them.
    pub reached_with_hints: usize,
    /// How many answers, of either kind, were meant for another customer.
    pub misdelivered: usize,
    /// Whether all of this is as it should be.
    pub expected: bool,
}

/// Some requests of one kind.
struct Lot {
    what: &'static str,
    paths: &'static [&'static str],
    /// Who asks in turn; nobody in particular if empty.
    callers: &'static [&'static str],
    times: usize,
    /// What the service says to caches.
    said: Option<&'static str>,
    /// Whether the answer is that caller's alone.
    personal: bool,
    /// How many must reach the service, without the hints and with them.
    reach: (usize, usize),
}

const LOTS: &[Lot] = &[
    Lot {
        what: "products, service silent",
        paths: &["/products/1", "/products/2", "/products/3", "/products/4"],
        callers: &[],
        times: 20,
        said: None,
        personal: false,
        reach: (20, 4),
    },
    Lot {
        what: "product, service says max-age",
        paths: &["/products/5"],
        callers: &[],
        times: 10,
        said: Some("max-age=600"),
        personal: false,
        reach: (1, 1),
    },
    Lot {
        what: "prices, every customer's",
        paths: &["/prices"],
        callers: &["alice", "bob"],
        times: 10,
        said: None,
        personal: false,
        reach: (10, 1),
    },
    Lot {
        what: "orders, each customer's own",
        paths: &["/orders"],
        callers: &["alice", "bob"],
        times: 10,
        said: None,
        personal: true,
        reach: (10, 2),
    },
    Lot {
        what: "account, nobody's to keep",
        paths: &["/account"],
        callers: &["alice", "bob"],
        times: 4,
        said: None,
        personal: true,
        reach: (4, 4),
    },
];

impl Offload {
    /// Starts the service, and has the listeners in front of it made. Key files are in `folder`.
    pub fn prepare(
        bootstrap: &mut Bootstrap,
        module: &Path,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let policy = PolicyFile::parse(POLICY, "demo-cache-policy.yaml", folder);
        let policy = policy.map_err(Failure::no)?.json().clone();
        let service = Service::start()?;
        for (name, policy) in [(WITHOUT, without_hints(policy.clone())), (WITH, policy)] {
            let filter = Filter {
                module: module.to_owned(),
                policy: policy.to_string(),
            };
            let upstream = service.url().parse().map_err(Failure::no)?;
            let mut listener = Bootstrap::new(upstream, Some(filter));
            listener.cache = Some(Cache::Simple);
            bootstrap.beside.insert(name.to_owned(), listener);
        }
        Ok(Self { service })
    }

    /// Sends the requests to one listener, then to the other.
    pub async fn measure(&self, envoy: &Envoy, customers: &Party) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        let tokens = tokens(customers);
        for lot in LOTS {
            let without = self
                .send(lot, listener(envoy, WITHOUT).await?, &tokens)
                .await?;
            let with = self
                .send(lot, listener(envoy, WITH).await?, &tokens)
                .await?;
            rows.push(Row {
                what: lot.what,
                requests: lot.times,
                reached_without_hints: without.reached,
                reached_with_hints: with.reached,
                misdelivered: without.misdelivered + with.misdelivered,
                expected: (without.reached, with.reached) == lot.reach
                    && without.misdelivered + with.misdelivered == 0,
            });
        }
        Ok(rows)
    }

    /// Sends a lot; each answer of the service names whom it is for.
    async fn send(
        &self,
        lot: &Lot,
        listener: SocketAddr,
        tokens: &BTreeMap<&str, String>,
    ) -> Result<Sent, Failure> {
        let before = self.service.count();
        let mut misdelivered = 0;
        let callers = lot.callers.iter().cycle().map(Some);
        let callers = callers.chain(std::iter::repeat(None));
        for (path, caller) in lot.paths.iter().cycle().zip(callers).take(lot.times) {
            let owner = caller.filter(|_| lot.personal).copied().unwrap_or("all");
            let mut reply = Reply::json(200, &json!({ "for": owner }));
            if let Some(said) = lot.said {
                reply = reply.header("cache-control", said);
            }
            self.service.answer(path, reply);
            let mut request = Request::new("GET", path);
            if let Some(token) = caller.and_then(|caller| tokens.get(caller)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = client::send(listener, &request)
                .await
                .map_err(Failure::no)?;
            if answer.status != 200 {
                return Err(Failure::no(format!(
                    "{path} was answered {}",
                    answer.status
                )));
            }
            let meant_for = answer
                .json()
                .and_then(|body| Some(body.get("for")?.clone()));
            misdelivered += usize::from(meant_for != Some(Value::from(owner)));
        }
        Ok(Sent {
            reached: self.service.count() - before,
            misdelivered,
        })
    }
}

struct Sent {
    reached: usize,
    misdelivered: usize,
}

fn tokens(customers: &Party) -> BTreeMap<&'static str, String> {
    let names = LOTS.iter().flat_map(|lot| lot.callers);
    names
        .map(|name| (*name, customers.token(&json!({ "sub": name }))))
        .collect()
}

async fn listener(envoy: &Envoy, name: &str) -> Result<SocketAddr, Failure> {
    let found = envoy.listener_named(name).await;
    found.ok_or_else(|| Failure::no(format!("Envoy has no listener `{name}`")))
}

/// The same policy without a word to caches.
fn without_hints(mut policy: Value) -> Value {
    let routes = policy.get_mut("routes").and_then(Value::as_array_mut);
    for route in routes.into_iter().flatten() {
        if let Some(route) = route.as_object_mut() {
            route.remove("cache");
        }
    }
    policy
}

/// The rows as a table, with their sum.
pub fn table(rows: &[Row], paint: Paint) -> String {
    let title = "5. Envoy's own cache: how many requests does the service still see?";
    let mut text = format!("\n{}\n\n", paint.bold(title));
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
    let header = format!(
        "    {:<width$}  requests  without hints  with hints",
        "counted by the service"
    );
    let _ = writeln!(text, "{}", paint.dim(&header));
    for row in rows {
        let mark = if row.expected {
            paint.green("✓")
        } else {
            paint.red("✗")
        };
        let _ = writeln!(text, "  {mark} {}", line(row, width));
    }
    let sum = sum(rows);
    let _ = writeln!(text, "    {}", paint.bold(&line(&sum, width)));
    let verdict = match sum.misdelivered {
        0 => "No answer for one customer reached another.".to_owned(),
        count => paint.red(&format!(
            "{count} answers for one customer reached another."
        )),
    };
    text + &format!("\n{verdict}\n")
}

fn line(row: &Row, width: usize) -> String {
    let share = |reached: usize| {
        let percent = (reached * 100).checked_div(row.requests).unwrap_or(0);
        format!("{reached:>2}  {percent:>3} %")
    };
    format!(
        "{:<width$}  {:>8}  {:>13}  {:>10}",
        row.what,
        row.requests,
        share(row.reached_without_hints),
        share(row.reached_with_hints),
    )
}

fn sum(rows: &[Row]) -> Row {
    rows.iter().fold(Row::default(), |sum, row| Row {
        what: "all",
        requests: sum.requests + row.requests,
        reached_without_hints: sum.reached_without_hints + row.reached_without_hints,
        reached_with_hints: sum.reached_with_hints + row.reached_with_hints,
        misdelivered: sum.misdelivered + row.misdelivered,
        expected: sum.expected && row.expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_sums_up() {
        let row = |reached_with_hints, misdelivered| Row {
            what: "x",
            requests: 20,
            reached_without_hints: 20,
            reached_with_hints,
            misdelivered,
            expected: true,
        };
        let shown = table(&[row(4, 0), row(1, 0)], Paint::plain());
        let last = shown.lines().rev().nth(2).unwrap_or_default();
        let words: Vec<_> = last.split_whitespace().collect();
        assert_eq!(words, ["all", "40", "40", "100", "%", "5", "12", "%"]);
        assert!(shown.contains("No answer"), "{shown}");
        assert!(table(&[row(1, 2)], Paint::plain()).contains("2 answers"));
        assert!(!table(&[], Paint::plain()).is_empty());
    }

    #[test]
    fn without_hints_the_policy_says_nothing_to_caches() {
        let policy = json!({ "routes": [{ "match": {}, "cache": { "ttl": 5 } }, {}] });
        let wanted = json!({ "routes": [{ "match": {} }, {}] });
        assert_eq!(without_hints(policy), wanted);
    }
}
