//! Project Wycheproof's vectors through our verifier: natively, and in real Envoy both through the
//! host's BoringSSL and in Wasm.
//!
//! Whatever we decide otherwise than Wycheproof is marked with its reason; a marked case that agrees
//! after all is a failure too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a broken assumption here is a failed test"
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

#[path = "wycheproof/jose.rs"]
mod jose;
#[path = "wycheproof/primitives.rs"]
mod primitives;
#[allow(dead_code, reason = "shared with other test binaries")]
mod support;

use std::collections::BTreeMap;

use forecourt::cli::client::{self, Request};
use forecourt::cli::envoy::{Bootstrap, Envoy, Filter, find};
use forecourt::cli::serve::Service;
use forecourt::token::InWasm;
use serde_json::{Value, json};
use support::envoy::module_with_hooks;

/// Cases about the same keys.
pub struct Group {
    /// The file that it is from.
    pub file: String,
    pub subject: Subject,
}

pub enum Subject {
    /// Tokens and the key set of their issuer.
    Tokens(jose::Tokens),
    /// Signatures and the key that should have made them.
    Signatures(primitives::Signatures),
}

/// What is wanted of a case.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub id: usize,
    pub accept: bool,
    /// Why Wycheproof says otherwise.
    pub deviation: Option<&'static str>,
}

impl Wanted {
    /// As Wycheproof says, or, for a reason, the opposite.
    pub fn new(id: usize, valid: bool, deviation: Option<&'static str>) -> Self {
        let accept = valid != deviation.is_some();
        Self {
            id,
            accept,
            deviation,
        }
    }
}

impl Group {
    fn cases(&self) -> &[Wanted] {
        match &self.subject {
            Subject::Tokens(tokens) => &tokens.wanted,
            Subject::Signatures(signatures) => &signatures.wanted,
        }
    }

    /// What the native code accepts.
    fn verdicts(&self) -> Vec<bool> {
        match &self.subject {
            Subject::Tokens(tokens) => tokens.verdicts(&InWasm),
            Subject::Signatures(signatures) => signatures.verdicts(&InWasm),
        }
    }

    /// The same questions, as the module's hook takes them, a few at a time.
    fn questions(&self) -> Vec<Value> {
        const AT_A_TIME: usize = 50;
        let (question, name, cases) = match &self.subject {
            Subject::Tokens(tokens) => (tokens.question(), "tokens", json!(tokens.tokens)),
            Subject::Signatures(signatures) => {
                (signatures.question(), "signatures", signatures.pairs())
            }
        };
        let ask = |cases: &[Value]| {
            let mut question = question.clone();
            question[name] = json!(cases);
            question
        };
        let cases = cases.as_array().unwrap();
        cases.chunks(AT_A_TIME).map(ask).collect()
    }
}

fn groups() -> Vec<Group> {
    let mut groups = primitives::groups();
    groups.extend(jose::groups());
    groups
}

/// How many cases of a file were accepted, refused, and decided otherwise than Wycheproof does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    accepted: usize,
    refused: usize,
    deviations: BTreeMap<&'static str, usize>,
}

type Tallies = BTreeMap<String, Tally>;

fn tally(tallies: &mut Tallies, group: &Group, verdicts: &[bool]) {
    assert_eq!(verdicts.len(), group.cases().len(), "{}", group.file);
    let tally = tallies.entry(group.file.clone()).or_default();
    for (wanted, accepted) in group.cases().iter().zip(verdicts) {
        assert_eq!(*accepted, wanted.accept, "{}: {wanted:?}", group.file);
        match accepted {
            true => tally.accepted += 1,
            false => tally.refused += 1,
        }
        if let Some(reason) = wanted.deviation {
            *tally.deviations.entry(reason).or_default() += 1;
        }
    }
}

#[test]
fn natively() {
    let mut tallies = Tallies::new();
    for group in groups() {
        tally(&mut tallies, &group, &group.verdicts());
    }
    eprintln!("{tallies:#?}");
    primitives::check(&tallies);
    jose::check(&tallies);
}

#[tokio::test]
async fn in_real_envoy_through_the_host_and_in_wasm() {
    let service = Service::start().unwrap();
    let envoy = start(&service).await;
    let [mut by_host, mut in_wasm, mut natively] = [(); 3].map(|()| Tallies::new());
    let mut asked = BTreeMap::<&str, [usize; 2]>::new();
    for group in groups() {
        let mut verdicts = Vec::new();
        for question in group.questions() {
            verdicts.extend(ask(&envoy, &question).await);
        }
        let column = |index: usize| verdicts.iter().map(|verdict| verdict[index]).collect();
        let (through_host, alone): (Vec<_>, Vec<_>) = (column(0), column(1));
        tally(&mut by_host, &group, &through_host);
        tally(&mut in_wasm, &group, &alone);
        tally(&mut natively, &group, &group.verdicts());
        if let Subject::Signatures(signatures) = &group.subject {
            let counts = asked.entry(signatures.algorithm.as_str()).or_default();
            for [accepted, _, asked] in verdicts {
                counts[usize::from(accepted)] += usize::from(asked);
                let by_host = host_knows(signatures.algorithm.as_str());
                assert!(asked || !accepted || !by_host, "the host was passed by");
            }
        }
    }
    assert_eq!(by_host, natively);
    assert_eq!(in_wasm, natively);
    eprintln!("verdicts by the host, refused and accepted: {asked:?}");
    for (algorithm, counts) in asked {
        let wanted = host_knows(algorithm);
        assert_eq!(counts.map(|count| count > 0), [wanted; 2], "{algorithm}");
    }
    assert_eq!(service.count(), 0);
}

/// What Envoy's `verify_signature` covers.
fn host_knows(algorithm: &str) -> bool {
    algorithm.starts_with("RS") || algorithm.starts_with("ES")
}

async fn start(service: &Service) -> Envoy {
    let policy = json!({ "version": "forecourt/v1", "routes": [] });
    let filter = Filter {
        module: module_with_hooks(),
        policy: policy.to_string(),
    };
    let mut bootstrap = Bootstrap::new(service.url().parse().unwrap(), Some(filter));
    bootstrap.largest_body = 1024 * 1024;
    let binary = find(None, &mut |note| eprintln!("{note}")).unwrap();
    Envoy::start(&binary, &bootstrap).await.unwrap()
}

/// Through the host, in Wasm, and whether the host was asked.
async fn ask(envoy: &Envoy, question: &Value) -> Vec<[bool; 3]> {
    let request = Request::new("POST", "/")
        .header("x-forecourt-test-verify", "1")
        .body(question.to_string());
    let answer = client::send(envoy.listener(), &request).await.unwrap();
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}
