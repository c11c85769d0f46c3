//! Private services behind real Envoy with two workers, and a metadata server beside it that is as
//! strict as the real one: whatever that does, nothing goes to a private service without an identity,
//! and it is not asked often.
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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use forecourt::cli::client::{self, Answer, Protocol, Request};
use forecourt::cli::envoy::{Bootstrap, Cache, Envoy, Filter, Options, backends};
use forecourt::cli::keys::IssuerKey;
use forecourt::cli::module::module;
use forecourt::cli::serve::{Gate, Metadata, Reply, Seen, Service};
use forecourt::config;
use forecourt::token::algorithm::Algorithm;
use serde_json::{Value, json};
use support::envoy::start_with;
use support::keys;
use support::scenario::Token;

const ORDERS: &str = "https://orders-abc123-ew.a.run.app";
const STOCK: &str = "stock.shop.example";
/// The proxy's service account.
const EMAIL: &str = "edge@shop.example";
/// What a private service's gate leaves of a signature.
const REMOVED: &str = "SIGNATURE_REMOVED_BY_GOOGLE";
/// How long anything may take that has to happen in the end.
const PATIENCE: Duration = Duration::from_secs(90);

/// Envoy before a private service in each of the two ways and a public one.
struct World {
    policy: Value,
    orders: Service,
    stock: Service,
    shop: Service,
    metadata: Option<Metadata>,
    key: IssuerKey,
    envoy: Envoy,
}

fn policy(world: &[(&str, &Service)], metadata: &str) -> Value {
    let url = |name: &str| {
        let (_, service) = world.iter().find(|(held, _)| *held == name).unwrap();
        service.url()
    };
    let mut policy = json!({
        "version": "forecourt/v1",
        "metadataServer": { "url": metadata, "timeout": "2s" },
        "services": {
            "orders": { "url": url("orders"), "audience": ORDERS, "identity": "metadata" },
            "stock": { "url": url("stock"), "audience": STOCK, "identity": "metadata",
                       "header": "authorization", "keepOriginalAs": "x-original-authorization" },
            "shop": { "url": url("shop") },
        },
        "defaultService": "shop",
        "issuers": { "customers": { "issuer": "https://login.example", "audiences": ["shop"], "algorithms": ["ES256"] } },
        "routes": [
            { "match": { "path": "/orders" }, "access": "public", "to": "orders", "cache": { "ttl": "5m" } },
            { "match": { "path": "/mine" }, "access": { "anyOf": ["customers"] }, "to": "orders" },
            { "match": { "path": "/stripped" }, "access": { "anyOf": ["customers"], "forward": { "token": "strip" } }, "to": "orders" },
            { "match": { "path": "/stock" }, "access": "public", "to": "stock", "cache": { "ttl": "5m" } },
            { "match": { "path": "/moved" }, "access": { "anyOf": ["customers"] }, "to": "stock" },
            { "match": { "path": "/watched" }, "access": { "anyOf": ["customers"] }, "to": "orders", "mode": "monitor" },
            { "match": { "path": "/body" }, "access": "public", "to": "orders",
              "request": { "body": { "contentTypes": ["application/json"], "maxBytes": 1024, "schema": { "type": "object" } } } },
            { "match": { "path": "/products" }, "access": "public" },
        ],
    });
    keys::put_in(&mut policy);
    policy
}

impl World {
    /// The metadata server's tokens live for so many seconds, and at first it answers with `first`.
    async fn start(lifetime: u64, first: Option<Reply>, cache: Option<Cache>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let algorithm = Algorithm::named("RS256").unwrap();
        let key = IssuerKey::load_or_make(folder.path(), "metadata", algorithm).unwrap();
        let metadata = Metadata::start(key.clone(), EMAIL, lifetime).unwrap();
        metadata.answer(first);
        let private = |audience: &str| {
            let gate = Gate::new(audience, &key.jwks(), EMAIL).unwrap();
            Service::start_behind(gate).unwrap()
        };
        let (orders, stock, shop) = (private(ORDERS), private(STOCK), Service::start().unwrap());
        let services = [("orders", &orders), ("stock", &stock), ("shop", &shop)];
        let policy = policy(&services, &metadata.url());
        let compiled = config::from_value(policy.clone()).unwrap();
        let filter = Filter {
            module: module(None, &mut |note| eprintln!("{note}")).unwrap(),
            policy: policy.to_string(),
        };
        let backends = backends(&compiled, &[]).unwrap();
        let mut bootstrap = Bootstrap::before(backends, Some(filter));
        bootstrap.fit(&compiled);
        bootstrap.cache = cache;
        let options = Options {
            workers: Some(2),
            ..Options::default()
        };
        let envoy = start_with(&bootstrap, &options).await;
        Self {
            policy,
            orders,
            stock,
            shop,
            metadata: Some(metadata),
            key,
            envoy,
        }
    }

    fn metadata(&self) -> &Metadata {
        self.metadata.as_ref().unwrap()
    }

    async fn send(&self, request: &Request) -> Answer {
        client::send(self.envoy.listener(), request).await.unwrap()
    }

    async fn code(&self, path: &str) -> String {
        code(&self.send(&Request::new("GET", path)).await)
    }

    /// Asks until the answer is that one.
    async fn becomes(&self, path: &str, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let code = self.code(path).await;
            if code == wanted {
                return;
            }
            assert!(Instant::now() < until, "still {code} instead of {wanted}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A customer's token, as a header's value.
    fn customer(&self) -> String {
        let token = Token {
            issuer: "customers".into(),
            alg: "ES256".into(),
            ..Token::default()
        };
        keys::bearer(&token, &self.policy)
    }

    fn vm_lives(&self) {
        let log = self.envoy.log().all().join("\n");
        for word in ["panicked", "Function: proxy_on", "Wasm VM failed"] {
            assert!(!log.contains(word), "{log}");
        }
    }

    /// Nothing that anybody can read holds a token of this proxy.
    fn keeps_tokens_to_itself(&self) {
        let written = [self.envoy.log().all(), self.envoy.access_log().all()].concat();
        // Every JWS begins with a JSON object.
        assert!(
            !written.iter().any(|line| line.contains("eyJ")),
            "{written:?}"
        );
    }
}

fn code(answer: &Answer) -> String {
    match answer.status {
        200 => "forwarded".into(),
        status => match answer.json() {
            Some(problem) => problem["code"].as_str().unwrap().to_owned(),
            None => status.to_string(),
        },
    }
}

/// The service's gate has found the identity of a request good, and left its mark.
fn shows_identity(seen: &Seen, header: &str) {
    let fields = seen.headers.iter().filter(|(name, _)| name == header);
    assert_eq!(fields.count(), 1, "{seen:?}");
    assert!(seen.header(header).unwrap().ends_with(REMOVED), "{seen:?}");
}

#[tokio::test]
async fn every_request_carries_the_right_identity_and_few_are_fetched() {
    let world = World::start(300, None, None).await;
    world.becomes("/orders", "forwarded").await;
    world.becomes("/stock", "forwarded").await;
    for service in [&world.orders, &world.stock, &world.shop] {
        service.forget();
    }
    let spoof = |path: &str| {
        Request::new("GET", path)
            .header("X-Serverless-Authorization", "Bearer spoof")
            .header("x-serverless-authorization", "Bearer spoof")
            .header("x_serverless_authorization", "Bearer spoof")
            .header("x-original-authorization", "Bearer spoof")
            .header("x-forecourt-service", "orders")
    };
    let customer = world.customer();
    for round in 0..40 {
        let protocol = [Protocol::Http1, Protocol::Http2][round % 2];
        for path in ["/orders", "/stock", "/products", "/watched"] {
            let answer = world.send(&spoof(path).over(protocol)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        for path in ["/mine", "/stripped", "/moved"] {
            let request = spoof(path)
                .over(protocol)
                .header("authorization", &customer);
            assert_eq!(world.send(&request).await.status, 200, "{path}");
        }
    }
    for (service, header) in [
        (&world.orders, "x-serverless-authorization"),
        (&world.stock, "authorization"),
    ] {
        assert!(service.count() >= 80);
        assert_eq!(service.turned_away(), 0);
        for seen in service.seen() {
            shows_identity(&seen, header);
        }
    }
    for seen in world.orders.seen() {
        let kept = seen.target == "/mine";
        let expected = kept.then_some(customer.as_str());
        assert_eq!(seen.header("authorization"), expected, "{}", seen.target);
    }
    for seen in world.stock.seen() {
        assert_eq!(seen.header("x-serverless-authorization"), None);
        let moved = (seen.target == "/moved").then_some(customer.as_str());
        assert_eq!(seen.header("x-original-authorization"), moved);
    }
    assert_eq!(world.shop.count(), 40);
    for seen in [world.orders.seen(), world.stock.seen(), world.shop.seen()].concat() {
        assert_eq!(seen.header("x-forecourt-service"), None);
        assert_eq!(seen.header("x_serverless_authorization"), None);
        assert!(!format!("{:?}", seen.headers).contains("spoof"));
    }
    for seen in world.shop.seen() {
        let shown = ["authorization", "x-serverless-authorization"].map(|name| seen.header(name));
        assert_eq!(shown, [None, None], "a public service is shown nobody");
    }
    // A body that is refused does not reach the private service, and one that is not goes whole.
    world.orders.forget();
    let order = |body: &str| {
        Request::new("POST", "/body")
            .header("content-type", "application/json")
            .body_in_chunks(body, 4)
    };
    assert_eq!(world.send(&order("[1, 2, 3]")).await.status, 400);
    assert_eq!(world.orders.count(), 0);
    assert_eq!(world.send(&order("{\"a\": 1}")).await.status, 200);
    let seen = world.orders.seen();
    assert_eq!(seen[0].body, b"{\"a\": 1}");
    shows_identity(&seen[0], "x-serverless-authorization");

    let mut asked = world.metadata().asked();
    asked.sort();
    assert_eq!(
        asked,
        [ORDERS, STOCK],
        "once for each audience, for all workers"
    );
    let stats = world.envoy.stats().await.unwrap();
    assert_eq!(stats["wasmcustom.forecourt.identity_fetch.success"], 2);
    world.keeps_tokens_to_itself();
    world.vm_lives();
}

/// Requests that never stop, and what came of them.
struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<BTreeMap<String, usize>>>,
}

impl Traffic {
    fn start(world: &Arc<tokio::sync::RwLock<World>>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let clients = (0..3).map(|_| {
            let (world, stop) = (Arc::clone(world), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answers = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    for path in ["/orders", "/products"] {
                        let code = world.read().await.code(path).await;
                        *answers.entry(format!("{path} {code}")).or_default() += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answers
            })
        });
        Self {
            clients: clients.collect(),
            stop,
        }
    }

    async fn end(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for client in self.clients {
            for (label, count) in client.await.unwrap() {
                *all.entry(label).or_default() += count;
            }
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_metadata_server_does_nothing_goes_on_without_an_identity() {
    // Slow at first: requests wait, and then go on.
    let slow = Reply::status(503).after(Duration::from_millis(300));
    let world = World::start(4, Some(slow), None).await;
    assert_ne!(world.code("/orders").await, "forwarded");
    assert_eq!(
        world.code("/products").await,
        "forwarded",
        "nobody else waits"
    );
    assert_eq!(world.orders.count(), 0);
    world.metadata().answer(None);
    world.becomes("/orders", "forwarded").await;

    // Tokens that live for four seconds are fetched anew all the time, and nobody notices.
    let world = Arc::new(tokio::sync::RwLock::new(world));
    let traffic = Traffic::start(&world);
    let (began, before) = (Instant::now(), world.read().await.metadata().asked().len());
    while world.read().await.metadata().asked().len() < before + 8 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answers = traffic.end().await;
    let expected: Vec<_> = ["/orders forwarded", "/products forwarded"].into();
    assert_eq!(answers.keys().collect::<Vec<_>>(), expected, "{answers:?}");

    // Every kind of failure under traffic.
    let other = world
        .read()
        .await
        .metadata()
        .token("https://other.a.run.app");
    let expired = {
        let world = world.read().await;
        world.metadata().tokens_live(0);
        let token = world.metadata().token(ORDERS);
        world.metadata().tokens_live(4);
        token
    };
    let traffic = Traffic::start(&world);
    for (kind, reply) in [
        ("403", Reply::status(403)),
        ("429", Reply::status(429)),
        ("garbage", Reply::status(200).body("<html>sign in</html>")),
        ("other audience", Reply::status(200).body(&other)),
        ("expired", Reply::status(200).body(&expired)),
        ("slow", Reply::status(200).after(Duration::from_secs(60))),
    ] {
        let (began, asked) = {
            let world = world.read().await;
            world.metadata().answer(Some(reply));
            (Instant::now(), world.metadata().asked().len())
        };
        world
            .read()
            .await
            .becomes("/orders", "identity_unavailable")
            .await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let world = world.read().await;
        let answer = world.send(&Request::new("GET", "/orders")).await;
        assert_eq!(answer.status, 503, "{kind}");
        assert_eq!(answer.header("retry-after"), Some("5"), "{kind}");
        // Two audiences; each failure doubles the wait, from half a second less a share.
        let fetches = world.metadata().asked().len() - asked;
        let most = 2 * (8 + began.elapsed().as_secs() as usize);
        assert!(
            fetches <= most,
            "{kind}: {fetches} in {:?}",
            began.elapsed()
        );
        world.metadata().answer(None);
        world.becomes("/orders", "forwarded").await;
    }
    // Gone altogether, and back.
    let (port, key) = {
        let mut world = world.write().await;
        let port = world.metadata().address().port();
        world.metadata = None;
        (port, world.key.clone())
    };
    world
        .read()
        .await
        .becomes("/orders", "identity_unavailable")
        .await;
    let back = Metadata::start_on(port, key, EMAIL, 300).unwrap();
    world.write().await.metadata = Some(back);
    world.read().await.becomes("/orders", "forwarded").await;
    let answers = traffic.end().await;
    let codes: Vec<_> = answers.keys().map(String::as_str).collect();
    assert_eq!(
        codes,
        [
            "/orders forwarded",
            "/orders identity_unavailable",
            "/products forwarded"
        ],
        "{answers:?}"
    );

    let world = world.read().await;
    assert!(world.orders.count() > 20);
    assert_eq!(
        world.orders.turned_away(),
        0,
        "none without a good identity"
    );
    world.keeps_tokens_to_itself();
    world.vm_lives();
}

#[tokio::test]
async fn behind_a_cache_the_identity_keeps_no_answer_from_being_kept() {
    let world = World::start(300, None, Some(Cache::V2)).await;
    for (path, service, header) in [
        ("/orders", &world.orders, "x-serverless-authorization"),
        ("/stock", &world.stock, "authorization"),
    ] {
        service.answer(
            path,
            Reply::status(200).header("date", httpdate()).body("kept"),
        );
        world.becomes(path, "forwarded").await;
        service.forget();
        for _ in 0..5 {
            let answer = world.send(&Request::new("GET", path)).await;
            assert_eq!((answer.status, answer.text()), (200, "kept".into()));
        }
        assert_eq!(service.count(), 0, "{path}: answered from the cache");
        // A request with credentials passes the cache by, and is shown with the identity too.
        let customer = world.customer();
        let personal = Request::new("GET", path).header("authorization", &customer);
        world.send(&personal).await;
        let seen = service.seen();
        assert_eq!(seen.len(), 1, "{path}");
        shows_identity(&seen[0], header);
        let own = seen[0].header(if header == "authorization" {
            "x-original-authorization"
        } else {
            "authorization"
        });
        assert_eq!(own, Some(customer.as_str()));
    }
    // A cluster's filters start in all threads at once, before the first of them could tell the others,
    // so each of the three may ask once.
    let asked = world.metadata().asked().len();
    assert!((2..=6).contains(&asked), "{asked}");
    world.keeps_tokens_to_itself();
    world.vm_lives();
}

fn httpdate() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}
