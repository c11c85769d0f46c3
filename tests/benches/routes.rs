//! What a look-up costs in policies of ten routes and of ten thousand: `cargo bench --bench routes`.
//!
//! That the number of steps does not grow is a test of the router's own; this shows what is left,
//! which is memory that the processor's caches no longer hold.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench reads the clock, and says what it could not do by panicking"
)]

use std::hint::black_box;
use std::time::Instant;

use forecourt::route::host::HostPattern;
use forecourt::route::template::Template;
use forecourt::route::{Router, Slashes, path};

const LOOK_UPS: u32 = 200_000;

fn main() {
    println!("routes   per host   ns per look-up   times that of ten");
    for per_host in [false, true] {
        let mut ten = None;
        for count in [10, 100, 1_000, 10_000] {
            let cost = look_up(&router(count, per_host), count);
            let ratio = cost / *ten.get_or_insert(cost);
            let hosts = if per_host { "one" } else { "all" };
            println!("{count:>6}   {hosts:>8}   {cost:>14.0}   {ratio:>17.2}");
        }
    }
}

fn router(count: usize, per_host: bool) -> Router {
    let mut router = Router::default();
    for n in 0..count {
        let hosts = if per_host {
            vec![HostPattern::parse(&format!("h{n}.example.com")).unwrap()]
        } else {
            Vec::new()
        };
        let template = Template::parse(&format!("/v1/resource{n}/{{id}}/items/{{item}}")).unwrap();
        let methods = ["GET".to_owned()];
        router
            .insert(&hosts, &methods, &template, Slashes::default(), n)
            .unwrap();
    }
    router
}

/// Nanoseconds for a route found, over all routes by turns.
fn look_up(router: &Router, count: usize) -> f64 {
    let targets: Vec<_> = (0..count)
        .map(|n| {
            let host = format!("h{n}.example.com");
            (host, format!("/v1/resource{n}/4711/items/a%40b"))
        })
        .collect();
    let start = Instant::now();
    for (host, target) in targets.iter().cycle().take(LOOK_UPS as usize) {
        let path = path::parse(target.as_bytes()).unwrap();
        let taken = router.find(host.as_bytes(), "GET", &path);
        assert!(black_box(taken).is_ok());
    }
    start.elapsed().as_nanos() as f64 / f64::from(LOOK_UPS)
}
