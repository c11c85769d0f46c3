//! Requests that are made to cost much are answered, each with its code, and the memory that they
//! leave taken is bounded: natively, inside Wasm under Node.js (`.ci/run`), where linear memory can
//! be read to the byte, and by the real module in real Envoy.
//!
//! No time is measured. What these bodies would cost an engine that keeps every error, backtracks or
//! copies is not seconds more but more than anyone waits for, or than there is memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

mod cases;
#[cfg(not(target_arch = "wasm32"))]
mod in_envoy;
#[cfg(not(target_arch = "wasm32"))]
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod support;

use std::rc::Rc;

use cases::{Case, cases, schemas};
use forecourt::config;
use forecourt::exchange::{Exchange, Step};
use forecourt::head::{Headers, RequestHead};
use forecourt::policy::Policy;
use forecourt::time::UnixTime;
use forecourt::token::identity::NoIdentities;
use forecourt::token::{Env, InWasm, InlineOnly};
use forecourt::trace::Trace;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A policy with one route a case.
fn policy(cases: &[Case]) -> Value {
    let routes = cases.iter().enumerate().map(|(index, case)| {
        json!({"match": {"methods": ["POST"], "path": format!("/c{index}")}, "access": "public",
            "request": case.rule})
    });
    json!({"version": "forecourt/v1", "schemas": schemas(), "routes": routes.collect::<Vec<_>>()})
}

fn target(index: usize, case: &Case) -> String {
    let mark = if case.query.is_empty() { "" } else { "?" };
    format!("/c{index}{mark}{}", case.query)
}

/// The code of the refusal, if the request is refused.
fn decide(policy: &Rc<Policy>, index: usize, case: &Case) -> Option<&'static str> {
    let target = target(index, case);
    let pseudo = [(":method", "POST"), (":path", &target), (":authority", "a")];
    let fields = pseudo.iter().chain(&case.fields);
    let fields = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let head = RequestHead {
        headers: Headers::new(fields.collect()),
    };
    let env = Env {
        now: UnixTime::default(),
        keys: &InlineOnly,
        identities: &NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    let mut exchange = Exchange::new(Rc::clone(policy), Trace::off());
    let mut step = exchange.request(head, case.body.is_empty(), &env);
    if let Step::AwaitBody { .. } = step {
        step = exchange.body(&case.body);
    }
    match step {
        Step::Reply(reply) => {
            assert!(reply.body.len() < 16 << 10, "{}: a long answer", case.name);
            Some(reply.code.as_str())
        }
        Step::Forward(_) => None,
        other => panic!("{}: {other:?}", case.name),
    }
}

#[test]
fn every_costly_request_is_decided_on() {
    let cases = cases();
    let policy =
        Rc::new(config::from_value(policy(&cases)).unwrap_or_else(|told| panic!("{told}")));
    let decided = cases.iter().enumerate();
    let decided = decided.map(|(index, case)| (case, decide(&policy, index, case)));
    let failures: Vec<_> = decided
        .filter(|(case, code)| *code != case.expected)
        .map(|(case, code)| format!("{}: {code:?}", case.name))
        .collect();
    assert_eq!(failures, Vec::<String>::new());
}

/// Wasm never gives memory back, so what counts is the most that was ever taken.
#[cfg(target_arch = "wasm32")]
#[test]
fn linear_memory_stays_bounded_and_does_not_grow_with_requests() {
    const PAGE: usize = 64 << 10;
    let taken = || core::arch::wasm32::memory_size(0) * PAGE;
    let cases = cases();
    let policy =
        Rc::new(config::from_value(policy(&cases)).unwrap_or_else(|told| panic!("{told}")));
    let before = taken();
    let round = || {
        for (index, case) in cases.iter().enumerate() {
            decide(&policy, index, case);
        }
        taken()
    };
    let (first, second) = (round(), round());
    let last = (0..3).map(|_| round()).max().unwrap_or(second);
    wasm_bindgen_test::console_log!(
        "{before} bytes taken before, {first} after a round, {last} at last"
    );
    // The requests themselves are a part of it.
    let sent: usize = cases.iter().map(|case| case.body.len()).sum();
    let taken = first - sent;
    assert!(taken < 64 << 20, "{taken} bytes for bodies of a mebibyte");
    assert_eq!(last, second, "{before}, {first}, {second}, {last}: a leak");
}
