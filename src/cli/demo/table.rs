//! What the demo prints.

use std::fmt::Write;
use std::path::Path;

use super::examples::{Outcome, Part};
use super::world::World;
use crate::cli::output::Paint;

/// What is about to be seen.
pub fn introduction(world: &World, paint: Paint) -> String {
    let mut text = format!(
        "\n{}\n\n  client  →  Envoy + forecourt.wasm  →  services\n\n",
        paint.bold("Forecourt in a real Envoy")
    );
    for (name, value) in [
        (
            "Envoy",
            format!("http://{}   {}", world.envoy.listener(), world.envoy_found),
        ),
        (
            "catalog",
            format!("{}   accepts whatever reaches it", world.catalog.url()),
        ),
        (
            "orders",
            format!("{}   private, as on Cloud Run", world.orders.url()),
        ),
        (
            "metadata",
            format!(
                "{}   gives the gateway's identity tokens",
                world.metadata.url()
            ),
        ),
        (
            "issuers",
            format!(
                "http://{}, http://{}",
                world.customers.issuer.address(),
                world.staff.issuer.address()
            ),
        ),
        ("policy", shown(&world.policy)),
    ] {
        let _ = writeln!(text, "  {name:<8} {value}");
    }
    text
}

/// The outcomes, a table for each job.
pub fn outcomes(outcomes: &[Outcome], paint: Paint) -> String {
    let request = |outcome: &Outcome| format!("{} {}", outcome.method, outcome.path);
    let width = |cell: &dyn Fn(&Outcome) -> usize| outcomes.iter().map(cell).max().unwrap_or(0);
    let what = width(&|outcome| outcome.what.len());
    let path = width(&|outcome| request(outcome).len());
    let reason = width(&|outcome| outcome.code.as_deref().map_or(0, str::len)).max("reason".len());

    let mut text = String::new();
    for (part, title) in [
        (Part::Tokens, "1. Tokens: who is calling, and may they?"),
        (
            Part::Requests,
            "2. Request checks: is this a request that the API describes?",
        ),
        (
            Part::Hints,
            "3. Caching hints: who may keep the answer, and how long?",
        ),
        (
            Part::Services,
            "4. Private services: is the gateway known, and the caller too?",
        ),
    ] {
        let _ = write!(text, "\n{}\n\n", paint.bold(title));
        let header = format!(
            "    {:<what$}  {:<path$}  status  {:<reason$}  service  cache-control",
            "", "request", "reason",
        );
        let _ = writeln!(text, "{}", paint.dim(&header));
        for outcome in outcomes.iter().filter(|outcome| outcome.part == part) {
            let mark = if outcome.expected {
                paint.green("✓")
            } else {
                paint.red("✗")
            };
            let status = format!("{:<6}", outcome.status);
            let status = if outcome.status < 400 {
                paint.green(&status)
            } else {
                paint.red(&status)
            };
            let _ = writeln!(
                text,
                "  {mark} {:<what$}  {:<path$}  {status}  {:<reason$}  {:<7}  {}",
                outcome.what,
                request(outcome),
                outcome.code.as_deref().unwrap_or("-"),
                if outcome.reached_service {
                    "reached"
                } else {
                    "-"
                },
                outcome.cache_control.as_deref().unwrap_or("-"),
            );
        }
    }
    text + &verdict(outcomes, paint)
}

fn verdict(outcomes: &[Outcome], paint: Paint) -> String {
    let good = outcomes.iter().filter(|outcome| outcome.expected).count();
    let refused = outcomes
        .iter()
        .filter(|outcome| outcome.code.is_some())
        .count();
    let reached = outcomes
        .iter()
        .filter(|outcome| outcome.code.is_some() && outcome.reached_service)
        .count();
    let line = format!("{good} of {} outcomes as expected", outcomes.len());
    let line = if good == outcomes.len() {
        paint.green(&line)
    } else {
        paint.red(&line)
    };
    let service = match reached {
        0 => "and the service saw nothing of any of them".to_owned(),
        _ => format!("but the service saw something of {reached}"),
    };
    format!("\n{line}. {refused} requests were refused, {service}.\n")
}

/// How to go on by hand.
pub fn invitation(world: &World, paint: Paint) -> String {
    let url = format!("http://{}", world.envoy.listener());
    let token = world.customers.token(&serde_json::json!({
        "email_verified": true, "scope": "orders.write",
    }));
    let bearer = "-H \"Authorization: Bearer $TOKEN\"";
    let json = "-H 'content-type: application/json'";
    let me = std::env::args()
        .next()
        .unwrap_or_else(|| "forecourt".to_owned());
    let mut text = format!("\n{}\n\n", paint.bold("Your turn, in another terminal"));
    for (why, commands) in [
        ("a token, good for an hour", vec![format!("TOKEN={token}")]),
        (
            "with it and without",
            vec![
                format!("curl -i {url}/products/42"),
                format!("curl -i {url}/orders"),
                format!("curl -i {url}/orders {bearer}"),
            ],
        ),
        (
            "a good order and a bad one",
            vec![
                format!(
                    "curl -i {url}/orders {bearer} {json} -d '{{\"sku\":\"KET-0042\",\"quantity\":2}}'"
                ),
                format!("curl -i {url}/orders {bearer} {json} -d '{{\"sku\":\"kettle\"}}'"),
            ],
        ),
        (
            "another token, for staff",
            vec![format!(
                "{me} token --issuer staff --claim 'roles=[\"catalogue\"]'"
            )],
        ),
        (
            "why it decides as it does",
            vec![format!(
                "{me} explain {} --path /orders",
                shown(&world.policy)
            )],
        ),
        (
            "what was counted",
            vec![format!(
                "curl -s 'http://{}/stats?filter=wasmcustom'",
                world.envoy.admin()
            )],
        ),
    ] {
        let _ = writeln!(text, "  {}", paint.dim(&format!("# {why}")));
        for command in commands {
            let _ = writeln!(text, "  {command}");
        }
        text.push('\n');
    }
    text + "Ctrl-C ends everything.\n"
}

/// A path as it can be typed from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}
