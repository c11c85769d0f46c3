//! The same requests for the real module.

use forecourt::cli::client::{self, Request};
use forecourt::cli::envoy::Envoy;
use forecourt::cli::serve::Service;
use serde_json::Value;

use crate::cases::{Case, cases};
use crate::support::envoy::start;
use crate::{policy, target};

/// What Envoy may come to take for bodies of a mebibyte, in bytes: the module's memory in each of its
/// threads, code that V8 compiles anew, and buffers.
const MOST: u64 = 160 << 20;

async fn ask(envoy: &Envoy, index: usize, case: &Case) -> Option<String> {
    let request = case.fields.iter().fold(
        Request::new("POST", &target(index, case)),
        |request, (name, value)| request.header(name, value),
    );
    let request = if case.body.is_empty() {
        request
    } else {
        request.body(&case.body)
    };
    let answer = client::send(envoy.listener(), &request).await;
    let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        200 => None,
        status => Some(
            problem["code"]
                .as_str()
                .map_or_else(|| status.to_string(), str::to_owned),
        ),
    }
}

/// Memory that a process holds, from `/proc`; 0 where there is none.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or_default()
        << 10
}

#[tokio::test]
async fn the_module_decides_on_them_in_bounded_memory() {
    let cases = cases();
    let service = Service::start().unwrap();
    let envoy = start(&service, &policy(&cases)).await;
    let before = resident(envoy.pid());
    for round in 0..2 {
        for (index, case) in cases.iter().enumerate() {
            service.forget();
            let code = ask(&envoy, index, case).await;
            assert_eq!(
                code.as_deref(),
                case.expected,
                "{}, round {round}",
                case.name
            );
            assert_eq!(
                service.count(),
                usize::from(case.expected.is_none()),
                "{}",
                case.name
            );
        }
    }
    let grown = resident(envoy.pid()).saturating_sub(before);
    eprintln!("Envoy took {} MiB more at the most", grown >> 20);
    assert!(grown < MOST, "{grown} bytes");
    let log = envoy.log().all().join("\n");
    assert!(!log.contains("Wasm VM failed"), "{log}");
}
