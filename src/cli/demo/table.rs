//! What the demo prints.

use std::fmt::Write;

use super::examples::{Outcome, Part};
use super::world::World;
use crate::cli::output::Paint;

/// What is about to be seen.
pub fn introduction(world: &World, paint: Paint) -> String {
    let mut text = format!(
        "\n{}\n\n  client  →  Envoy + forecourt.wasm  →  service\n\n",
        paint.bold("Forecourt in a real Envoy")
    );
    for (name, value) in [
        (
            "Envoy",
            format!("http://{}   {}", world.envoy.listener(), world.envoy_found),
        ),
        (
            "service",
            format!("{}   accepts whatever reaches it", world.service.url()),
        ),
        (
            "issuers",
            format!(
                "http://{}, http://{}",
                world.customers.issuer.address(),
                world.staff.issuer.address()
            ),
        ),
        ("policy", world.policy.display().to_string()),
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
    format!(
        "\n{title}\n\n  TOKEN={token}\n\n  \
         curl -i {url}/products/42\n  \
         curl -i {url}/orders\n  \
         curl -i {url}/orders -H \"Authorization: Bearer $TOKEN\"\n  \
         curl -i {url}/orders -H \"Authorization: Bearer $TOKEN\" \\\n      -H 'content-type: application/json' -d '{{\"sku\":\"KET-0042\",\"quantity\":2}}'\n  \
         curl -i {url}/orders -H \"Authorization: Bearer $TOKEN\" \\\n      -H 'content-type: application/json' -d '{{\"sku\":\"kettle\"}}'\n\n  \
         forecourt token --issuer staff --claim 'roles=[\"catalogue\"]'    another token\n  \
         forecourt explain {policy} --path /orders    why it decides so\n  \
         http://{admin}/stats?filter=forecourt    what was counted\n\n\
         Ctrl-C ends everything.\n",
        title = paint.bold("Your turn (in another terminal)"),
        policy = world.policy.display(),
        admin = world.envoy.admin(),
    )
}
