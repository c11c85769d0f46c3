//! Every scenario, natively and in real Envoy, from one table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

#[allow(dead_code, reason = "shared with other test binaries")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use forecourt::cli::client::{self, Protocol};
use forecourt::cli::envoy::{Envoy, Options};
use forecourt::cli::keys::IssuerKey;
use forecourt::cli::serve::{Metadata, Reply, Service as Backend};
use forecourt::config;
use forecourt::exchange::{AnswerStep, Exchange, Step};
use forecourt::head::{Edit, Headers, RequestHead, ResponseHead};
use forecourt::policy::Policy;
use forecourt::reply::Code;
use forecourt::time::UnixTime;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::identity::StandIn;
use forecourt::token::mint::SigningKey;
use forecourt::token::{Env, InWasm, InlineOnly};
use forecourt::trace::Trace;
use serde_json::{Map, Value, json};
use support::envoy::{bootstrap, start_with};
use support::keys;
use support::scenario::{self, Case, Engine, Outcome, Request, Scenario, Service, values};

#[test]
fn natively() {
    let mut failures = Vec::new();
    for (path, scenario) in scenario::all() {
        let document = policy(&scenario);
        let policy = Rc::new(
            config::from_value(document.clone())
                .unwrap_or_else(|e| panic!("{}:\n{e}", path.display())),
        );
        for case in shown_by(&scenario, Engine::Native) {
            let head = head(&case.request, &document);
            let (outcome, trace) = run_natively(&policy, &head, case);
            let mut differences = scenario::differences(case, &outcome);
            if head.leaks_into(&told(&outcome)) {
                differences.push("the answer holds a part of the token".into());
            }
            if !differences.is_empty() {
                failures.push(format!(
                    "{}\n{trace}",
                    failure(&path, case, "native", &differences)
                ));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[tokio::test]
async fn in_real_envoy() {
    let mut failures = Vec::new();
    for (path, scenario) in scenario::all() {
        let mut document = policy(&scenario);
        let service = Backend::start().unwrap();
        let _metadata = metadata(&mut document);
        let options = Options {
            log_level: "info".into(),
            ..Options::default()
        };
        let envoy = start_with(&bootstrap(&service, &document), &options).await;
        let mut heads = Vec::new();
        let mut passed = 0;
        for case in shown_by(&scenario, Engine::Envoy) {
            for way in Way::for_body(case.request.body().len()) {
                let head = head(&case.request, &document);
                let outcome = run_in_envoy(&envoy, &service, &head, case, way).await;
                let mut differences = scenario::differences(case, &outcome);
                if head.leaks_into(&told(&outcome)) {
                    differences.push("the answer holds a part of the token".into());
                }
                heads.push((&case.name, head));
                if !differences.is_empty() {
                    failures.push(failure(
                        &path,
                        case,
                        &format!("envoy, {way:?}"),
                        &differences,
                    ));
                }
                passed += u64::from(case.expect.code.is_none());
            }
        }
        let log = envoy.log().all().join("\n");
        assert!(log.contains("refused "), "{log}");
        let leaks = heads.iter().filter(|(_, head)| head.leaks_into(&log));
        failures.extend(leaks.map(|(name, _)| format!("{name}: Envoy's log holds a part of it")));
        // What came late would have been missed above; Envoy has counted it.
        let stats = envoy.stats().await.unwrap();
        let asked = stats["cluster.upstream.upstream_rq_total"];
        assert_eq!(asked, passed, "{}: requests upstream", path.display());
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// The design's list of attacks is shown as a whole: each natively, beside the token's checks, and in
/// real Envoy, in several variants and beside a token that is good but for it.
#[test]
fn every_numbered_attack_is_shown_natively_and_in_envoy() {
    let source = |path: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(root.join(path)).unwrap()
    };
    let natively = [
        source("src/token/tests/attacks.rs"),
        source("src/token/tests/attacks_on_keys.rs"),
    ];
    let natively: Vec<usize> = natively.iter().flat_map(|text| shown(text)).collect();
    let with_an_issuer = shown(&source("tests/remote_keys.rs"));
    let (_, scenario) = scenario::all()
        .into_iter()
        .find(|(path, _)| path.ends_with("attacks.yaml"))
        .unwrap();
    for attack in 1..=25 {
        assert!(natively.contains(&attack), "{attack}");
        let cases = |start: String| {
            let cases = shown_by(&scenario, Engine::Envoy);
            cases.filter(|case| case.name.starts_with(&start)).count()
        };
        let hostile = cases(format!("{attack}: "));
        let good = cases(format!("{attack}, good: "));
        let in_envoy = hostile > 1 && good > 0 || with_an_issuer.contains(&attack);
        assert!(in_envoy, "{attack}: {hostile} hostile, {good} good");
    }
}

/// The numbers in the names of tests such as `attacks_11_and_12_weak_keys`.
fn shown(source: &str) -> Vec<usize> {
    let names = source.lines().filter_map(|line| {
        let (_, name) = line.split_once("fn attack")?;
        name.split('(').next()
    });
    names
        .flat_map(|name| name.split('_'))
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Codes that no scenario shows, and where they are shown instead.
const ELSEWHERE: &[(Code, &str)] = &[
    (
        Code::KeysUnavailable,
        "needs an issuer that is down: tests/remote_keys.rs",
    ),
    (
        Code::Internal,
        "needs a host that fails: src/driver/tests.rs",
    ),
    (
        Code::IdentityUnavailable,
        "needs a metadata server that is down: src/driver/tests/identity.rs",
    ),
    (
        Code::RequestMalformed,
        "Envoy answers such requests itself: src/config/request/tests.rs",
    ),
];

/// Whoever adds a reason code shows it natively and in real Envoy.
#[test]
fn every_reason_code_is_shown_in_both_engines() {
    let mut shown: BTreeMap<&str, BTreeSet<Engine>> = BTreeMap::new();
    let scenarios = scenario::all();
    for case in scenarios.iter().flat_map(|(_, scenario)| &scenario.cases) {
        let engines = [Engine::Native, Engine::Envoy];
        let engines = engines
            .into_iter()
            .filter(|engine| !case.skip.contains_key(engine));
        if let Some(code) = &case.expect.code {
            shown.entry(code).or_default().extend(engines);
        }
    }
    for code in Code::ALL {
        let engines = shown.get(code.as_str()).map_or(0, BTreeSet::len);
        let elsewhere = ELSEWHERE.iter().any(|(listed, _)| listed == code);
        assert_eq!(engines, if elsewhere { 0 } else { 2 }, "{}", code.as_str());
    }
}

/// A metadata server for a policy that needs one.
fn metadata(document: &mut Value) -> Option<Metadata> {
    let services = document.get("services")?.as_object()?;
    services
        .values()
        .find(|service| service["identity"] == "metadata")?;
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let kid = "metadata".to_owned();
    let metadata = Metadata::start(IssuerKey { kid, key }, "edge@shop.example", 3600).unwrap();
    document["metadataServer"] = json!({ "url": metadata.url() });
    Some(metadata)
}

fn policy(scenario: &Scenario) -> Value {
    let mut policy = scenario.policy.clone();
    keys::put_in(&mut policy);
    policy
}

fn shown_by(scenario: &Scenario, engine: Engine) -> impl Iterator<Item = &Case> {
    scenario
        .cases
        .iter()
        .filter(move |case| !case.skip.contains_key(&engine))
}

fn failure(path: &Path, case: &Case, engine: &str, differences: &[String]) -> String {
    let file = path.file_stem().unwrap_or_default().to_string_lossy();
    format!(
        "{file}: {} ({engine}):\n  {}",
        case.name,
        differences.join("\n  ")
    )
}

/// The head of a case's request.
struct Head {
    path: String,
    /// Without the pseudo-headers.
    fields: Vec<(String, String)>,
    /// The tokens among them.
    tokens: Vec<String>,
}

impl Head {
    /// Whether a text holds a part of a token, which is the service's alone to see. Parts that are
    /// not worth a secret are short, or the text of a test.
    fn leaks_into(&self, text: &str) -> bool {
        let parts = self
            .tokens
            .iter()
            .flat_map(|token| token.split('.').skip(1));
        let mut telling = parts.filter(|part| part.len() > 40);
        telling.any(|part| text.contains(part))
    }
}

fn head(request: &Request, document: &Value) -> Head {
    let mut tokens = Vec::new();
    let mut path = request.path.clone();
    let mut fields: Vec<_> = request
        .headers
        .iter()
        .flat_map(|(name, value)| {
            values(value)
                .into_iter()
                .map(move |value| (name.clone(), value))
        })
        .collect();
    for token in request.token.iter().chain(&request.second_token) {
        let text = keys::compact(token, document);
        keys::put(&text, &token.place, &mut path, &mut fields);
        tokens.push(text);
    }
    if !request.headers.contains_key("content-type")
        && (request.json.is_some() || request.body_size.is_some())
    {
        fields.push(("content-type".into(), "application/json".into()));
    }
    Head {
        path,
        fields,
        tokens,
    }
}

/// What the client gets, as one text.
fn told(outcome: &Outcome) -> String {
    let body = String::from_utf8_lossy(&outcome.body);
    format!("{:?} {body}", outcome.headers)
}

fn run_natively(policy: &Rc<Policy>, head: &Head, case: &Case) -> (Outcome, String) {
    let request = &case.request;
    let mut pairs = vec![
        (":method".to_owned(), request.method.clone()),
        (
            ":authority".into(),
            request.host.clone().unwrap_or_else(|| "localhost".into()),
        ),
        (":path".into(), head.path.clone()),
    ];
    pairs.extend(head.fields.clone());
    let body = request.body();
    let mut exchange = Exchange::new(Rc::clone(policy), Trace::on(true));
    let now = UnixTime::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let env = Env {
        now,
        keys: &InlineOnly,
        identities: &StandIn::default(),
        crypto: &InWasm,
        cache: None,
    };
    let mut seen = headers(&pairs);
    let step = exchange.request(
        RequestHead {
            headers: seen.clone(),
        },
        body.is_empty(),
        &env,
    );
    let step = match step {
        Step::AwaitBody { edits, .. } => {
            seen.apply(&edits);
            exchange.body(&body)
        }
        step => step,
    };
    let mut outcome = Outcome {
        monitored: Some(
            exchange
                .monitored()
                .iter()
                .map(|code| code.as_str().into())
                .collect(),
        ),
        ..Outcome::default()
    };
    match step {
        Step::Reply(reply) => {
            outcome.status = reply.status;
            outcome.headers = reply.headers;
            outcome.body = reply.body;
            if let Some((status, _)) = reply.grpc {
                outcome.status = 200;
                outcome
                    .headers
                    .push(("grpc-status".into(), status.to_string()));
            }
        }
        Step::Forward(edits) => {
            seen.apply(&edits);
            outcome.service = Some(Service {
                headers: texts(&seen),
                body,
            });
            let mut answer = headers(&answer_fields(case));
            if !case.answer.body.is_empty() {
                let length = case.answer.body.len().to_string();
                answer.apply(&[Edit::Set("content-length".into(), length.into())]);
            }
            answer.apply(&[Edit::Set(
                ":status".into(),
                case.answer.status.to_string().into(),
            )]);
            outcome.status = case.answer.status;
            let ends = case.answer.body.is_empty();
            let mut step = exchange.response(
                ResponseHead {
                    headers: answer.clone(),
                },
                ends,
                now,
            );
            if let AnswerStep::AwaitBody(edits) = step {
                answer.apply(&edits);
                step = exchange.response_body(Some(case.answer.body.as_bytes()));
            }
            match step {
                AnswerStep::NotModified(fields) => {
                    outcome.status = 304;
                    let pair = |(name, value): (String, Vec<u8>)| (name.into_bytes(), value);
                    answer = Headers::new(fields.into_iter().map(pair).collect());
                }
                AnswerStep::Forward(edits) | AnswerStep::AwaitBody(edits) => answer.apply(&edits),
            }
            outcome.headers = texts(&answer);
        }
        Step::AwaitBody { .. } => panic!("a whole body is not awaited again"),
        Step::AwaitKeys(_) | Step::AwaitIdentity(_) => panic!("nothing is fetched natively"),
    }
    let trace: Vec<_> = exchange
        .trace()
        .steps()
        .iter()
        .map(|step| format!("    {}: {}", step.part, step.note))
        .collect();
    (outcome, trace.join("\n"))
}

fn answer_fields(case: &Case) -> Vec<(String, String)> {
    let pairs = |map: &Map<String, Value>| {
        map.iter()
            .flat_map(|(name, value)| {
                values(value)
                    .into_iter()
                    .map(move |value| (name.clone(), value))
            })
            .collect()
    };
    pairs(&case.answer.headers)
}

fn headers(pairs: &[(String, String)]) -> Headers {
    Headers::new(
        pairs
            .iter()
            .map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()))
            .collect(),
    )
}

fn texts(headers: &Headers) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    headers
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// HTTP/1.1 with `Content-Length`.
    Whole,
    /// HTTP/1.1, chunked.
    Chunks(usize),
    /// HTTP/2, in pieces, trailers behind.
    Trailers(usize),
}

impl Way {
    /// Tiny pieces for what is small; a long body would only take long.
    fn for_body(size: usize) -> Vec<Self> {
        let piece = if size <= 256 { 5 } else { size / 4 };
        if size == 0 {
            vec![Self::Whole]
        } else {
            vec![Self::Whole, Self::Chunks(piece), Self::Trailers(piece)]
        }
    }
}

async fn run_in_envoy(
    envoy: &Envoy,
    service: &Backend,
    head: &Head,
    case: &Case,
    way: Way,
) -> Outcome {
    let request = &case.request;
    service.forget();
    let mut reply = Reply::status(case.answer.status).body(&case.answer.body);
    for (name, value) in answer_fields(case) {
        reply = reply.header(&name, value);
    }
    service.answer(request.path.split('?').next().unwrap_or_default(), reply);
    let mut sent = client::Request::new(&request.method, &head.path);
    sent.authority.clone_from(&request.host);
    for (name, value) in &head.fields {
        sent = sent.header(name, value);
    }
    let body = request.body();
    sent = match way {
        Way::Whole if body.is_empty() => sent,
        Way::Whole => sent.body(&body),
        Way::Chunks(size) => sent.body_in_chunks(&body, size),
        Way::Trailers(size) => sent
            .body_in_chunks(&body, size)
            .trailer("x-checksum", "1")
            .over(Protocol::Http2),
    };
    let answer = client::send(envoy.listener(), &sent)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let text = |fields: Vec<(String, Vec<u8>)>| -> Vec<(String, String)> {
        fields
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
            .collect()
    };
    let seen = service.seen();
    assert!(
        seen.len() <= 1,
        "{}: the service was asked {} times",
        case.name,
        seen.len()
    );
    Outcome {
        status: answer.status,
        headers: text(answer.headers),
        body: answer.body,
        service: seen.into_iter().next().map(|seen| {
            let mut headers = text(seen.headers);
            headers.push((":path".into(), seen.target));
            Service {
                headers,
                body: seen.body,
            }
        }),
        monitored: None,
    }
}
