//! The module around Envoy's own caches: what is for all is kept, and no answer to one user's request
//! is ever served to another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use forecourt::cli::client::{Answer, Request, send};
use forecourt::cli::envoy::{Cache, Envoy, Options};
use forecourt::cli::serve::{Reply, Seen, Service};
use forecourt::config;
use forecourt::exchange::{AnswerStep, Exchange, Step};
use forecourt::head::{Edit, Headers, RequestHead, ResponseHead};
use forecourt::hints::mark::MARK;
use forecourt::time::UnixTime;
use forecourt::token::identity::NoIdentities;
use forecourt::token::{Env, InWasm, InlineOnly};
use forecourt::trace::Trace;
use serde_json::{Value, json};
use support::scenario::Token;
use support::{envoy, keys};

/// Where a token may be.
const PLACES: [&str; 4] = ["bearer", "cookie", "query", "iap"];

fn policy() -> Value {
    let issuer = |name: &str, from: Value| {
        json!({
            "issuer": format!("https://{name}.example"), "audiences": ["shop"],
            "algorithms": ["ES256"], "from": from,
        })
    };
    let mut routes = vec![
        json!({ "match": { "path": "/public" }, "access": "public", "cache": { "ttl": "5m" } }),
        json!({ "match": { "path": "/unruled" }, "access": "public" }),
        json!({ "match": { "path": "/part" }, "access": "public" }),
        json!({
            "match": { "path": "/tagged/{id}" }, "access": "public",
            "cache": {
                "ttl": "5m", "cacheStatus": "edge", "validation": { "etag": "strong" },
                "tags": { "surrogateKey": ["item-{id}"] },
            },
        }),
        json!({
            "match": { "path": "/shared" },
            "access": { "anyOf": ["bearer"], "forward": { "token": "strip" } },
            "cache": { "ttl": "5m", "shared": true },
        }),
    ];
    for place in PLACES {
        for token in ["keep", "strip"] {
            for ruled in [true, false] {
                let mut route = json!({
                    "match": { "path": format!("/{place}-{token}-{ruled}") },
                    "access": {
                        "anyOf": [place],
                        "forward": { "token": token, "claims": { "sub": "x-user-id" } },
                    },
                });
                if ruled {
                    route["cache"] = json!({ "ttl": "5m", "mode": "override" });
                }
                routes.push(route);
            }
        }
    }
    for place in PLACES {
        for token in ["keep", "strip"] {
            routes.push(json!({
                "match": { "path": format!("/own-{place}-{token}") },
                "access": {
                    "anyOf": [place],
                    "forward": { "token": token, "claims": { "sub": "x-user-id" } },
                },
                "cache": { "ttl": "5m", "edge": "perUser" },
            }));
        }
    }
    routes.push(json!({
        "match": { "path": "/own-optional" },
        "access": { "anyOf": ["cookie"], "optional": true, "forward": { "token": "strip" } },
        "cache": { "ttl": "5m", "edge": "perUser" },
    }));
    let mut policy = json!({
        "version": "forecourt/v1",
        "unmatched": "allow",
        "issuers": {
            "bearer": issuer("bearer", json!([{ "header": "authorization", "scheme": "Bearer" }])),
            "cookie": issuer("cookie", json!([{ "cookie": "__session" }])),
            "query": issuer("query", json!([{ "query": "access_token" }])),
            "iap": issuer("iap", json!([{ "header": "x-goog-iap-jwt-assertion" }])),
        },
        "routes": routes,
    });
    keys::put_in(&mut policy);
    policy
}

/// The listener whose module knows nothing of the cache behind it.
const CARELESS: &str = "careless";

/// Takes from that listener what makes a cache safe: the role of its module, and the hints among its
/// cluster's filters.
fn without_roles(configuration: &mut Value, policy: &Value) {
    let resources = &mut configuration["static_resources"];
    let chain = &mut resources["listeners"][1]["filter_chains"][0];
    let filters = &mut chain["filters"][0]["typed_config"]["http_filters"];
    let held = filters[0]
        .pointer_mut("/typed_config/config/configuration/value")
        .unwrap();
    *held = policy.to_string().into();
    let options = resources["clusters"][1]["typed_extension_protocol_options"]
        .as_object_mut()
        .unwrap();
    for options in options.values_mut() {
        let behind = options.as_object_mut().unwrap().remove("http_filters");
        assert!(behind.is_some());
    }
}

struct World {
    policy: Value,
    service: Service,
    envoy: Envoy,
    _keys: Service,
}

impl World {
    /// The keys of one issuer are fetched, those of the others are in the policy.
    async fn start(cache: Cache, workers: u32) -> Self {
        let (mut policy, service) = (policy(), Service::start().unwrap());
        let keys = Service::start().unwrap();
        let remote = json!({ "uri": format!("{}/keys", keys.url()), "cluster": "keys" });
        let held = &mut policy["issuers"]["iap"]["jwks"];
        keys.answer("/keys", Reply::json(200, &held["inline"]));
        *held = remote;
        let mut bootstrap = envoy::bootstrap(&service, &policy);
        bootstrap.cache = Some(cache);
        let other = bootstrap.clone();
        bootstrap.beside.insert(CARELESS.to_owned(), other);
        let mut configuration = bootstrap.to_value();
        without_roles(&mut configuration, &policy);
        let options = Options {
            workers: Some(workers),
            ..Options::default()
        };
        let envoy = envoy::start_configured(&configuration, &options).await;
        Self {
            policy,
            service,
            envoy,
            _keys: keys,
        }
    }

    /// A request of that user with a token in that place.
    fn ask(&self, path: &str, place: &str, user: &str) -> Request {
        let token = Token {
            issuer: place.to_owned(),
            alg: "ES256".to_owned(),
            claims: [("sub".to_owned(), user.into())].into_iter().collect(),
            ..Token::default()
        };
        let bearer = keys::bearer(&token, &self.policy);
        let token = bearer.strip_prefix("Bearer ").unwrap();
        let get = |target: &str| Request::new("GET", target);
        match place {
            "bearer" => get(path).header("authorization", &bearer),
            "cookie" => get(path).header("cookie", format!("a=1; __session={token}")),
            "query" => get(&format!("{path}?access_token={token}")),
            "iap" => get(path).header("x-goog-iap-jwt-assertion", token),
            other => panic!("{other}"),
        }
    }

    /// Sends it while the service answers with that body, and tells every cache to keep it.
    async fn send(&self, request: &Request, body: &str) -> (Answer, Vec<Seen>) {
        self.send_while(
            request,
            Reply::status(200)
                .header("cache-control", "public, max-age=600, s-maxage=600")
                .body(body),
        )
        .await
    }

    /// The same to another listener.
    async fn send_to(
        &self,
        listener: SocketAddr,
        request: &Request,
        body: &str,
    ) -> (Answer, Vec<Seen>) {
        self.service.forget();
        let path = request.target.split('?').next().unwrap();
        let reply = Reply::status(200)
            .header("cache-control", "public, max-age=600")
            .body(body);
        self.service.answer(path, reply);
        let answer = send(listener, request).await.unwrap();
        (answer, self.service.seen())
    }

    async fn send_while(&self, request: &Request, reply: Reply) -> (Answer, Vec<Seen>) {
        self.service.forget();
        let path = request.target.split('?').next().unwrap();
        self.service.answer(path, reply);
        let answer = send(self.envoy.listener(), request).await.unwrap();
        let seen = self.service.seen();
        for seen in &seen {
            assert_eq!(seen.header("x-forecourt-asked"), None, "{request:?}");
            assert_eq!(seen.header("x-forecourt-authorization"), None);
            let authorization = seen.header("authorization").unwrap_or_default();
            assert!(!authorization.contains("Forecourt"), "{request:?}");
        }
        (answer, seen)
    }

    async fn public_answers_are_kept(&self) {
        for path in ["/public", "/unruled", "/nowhere"] {
            let request = Request::new("GET", path);
            let (answer, seen) = self.send(&request, "first").await;
            assert_eq!((answer.text().as_str(), seen.len()), ("first", 1), "{path}");
            for _ in 0..2 {
                let (answer, seen) = self.send(&request, "second").await;
                assert_eq!((answer.text().as_str(), seen.len()), ("first", 0), "{path}");
            }
        }
    }

    async fn no_user_gets_what_another_got(&self) {
        for place in PLACES {
            for token in ["keep", "strip"] {
                for ruled in [true, false] {
                    self.users_apart(&format!("/{place}-{token}-{ruled}"), place, token)
                        .await;
                }
            }
        }
    }

    async fn users_apart(&self, path: &str, place: &str, token: &str) {
        for (index, user) in ["alice", "bob", "alice", "bob"].iter().enumerate() {
            let body = format!("{user} {index}");
            let request = self.ask(path, place, user);
            let (answer, seen) = self.send(&request, &body).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(answer.text(), body, "{path} for {user}");
            assert_eq!(seen.len(), 1, "{path} for {user}");
            assert_eq!(seen[0].header("x-user-id"), Some(*user));
            assert_eq!(
                seen[0].header("authorization").is_some(),
                place == "bearer" && token == "keep"
            );
            let said = answer.header("cache-control").unwrap();
            assert!(said.contains("private"), "{path}: {said}");
        }
        let (answer, seen) = self.send(&Request::new("GET", path), "nobody").await;
        assert_eq!((answer.status, seen.len()), (401, 0), "{path}");
    }

    /// Public routes: what came with credentials is neither kept nor answered from what is kept.
    async fn credentials_pass_a_kept_answer_by(&self) {
        for place in PLACES {
            for path in ["/public", "/unruled", "/nowhere"] {
                let path = format!("{path}?{place}");
                let path = path.as_str();
                for (index, user) in ["alice", "", "bob", "", "alice"].iter().enumerate() {
                    let mut request = Request::new("GET", path);
                    if !user.is_empty() {
                        let asked = self.ask("", place, user);
                        request.headers = asked.headers;
                        request.target += &asked.target.replace('?', "&");
                    }
                    let body = format!("{user} {index}");
                    let (answer, seen) = self.send(&request, &body).await;
                    let kept = user.is_empty() && index > 1;
                    let expected = if kept { " 1" } else { &body };
                    assert_eq!(answer.text(), expected, "{path} {place}");
                    assert_eq!(seen.len(), usize::from(!kept), "{path} {place}");
                }
            }
        }
    }

    async fn a_client_cannot_speak_for_the_module(&self) {
        let path = "/bearer-strip-true";
        for (index, user) in ["alice", "bob"].iter().enumerate() {
            for name in [
                "x-forecourt-asked",
                "X-Forecourt-Asked",
                "x_forecourt_asked",
            ] {
                let body = format!("{user} {index} {name}");
                let request = self.ask(path, "bearer", user).header(name, ";0;GET");
                let (answer, _) = self.send(&request, &body).await;
                assert_eq!(answer.text(), body);
            }
        }
        // An authorization of ours from outside is no credential, and does not get in.
        let request =
            Request::new("GET", "/public?forged").header("authorization", "Forecourt-Bypass");
        for body in ["one", "two"] {
            let (answer, seen) = self.send(&request, body).await;
            assert_eq!((answer.text().as_str(), seen.len()), (body, 1));
        }
    }

    async fn a_shared_route_is_for_whoever_may_call(&self) {
        for (user, reached) in [("alice", 1), ("bob", 0)] {
            let request = self.ask("/shared", "bearer", user);
            let (answer, seen) = self.send(&request, user).await;
            assert_eq!((answer.text().as_str(), seen.len()), ("alice", reached));
        }
        let (answer, seen) = self.send(&Request::new("GET", "/shared"), "nobody").await;
        assert_eq!((answer.status, seen.len()), (401, 0));
        // What the rule does not cover stays private.
        let path = "/shared?gone";
        for user in ["alice", "bob"] {
            let reply = Reply::status(410)
                .header("cache-control", "public, max-age=600")
                .body(user);
            let request = self.ask(path, "bearer", user);
            let (answer, seen) = self.send_while(&request, reply).await;
            assert_eq!((answer.text().as_str(), seen.len()), (user, 1));
        }
    }

    /// Routes with `edge: perUser`: each user's answers are kept, for that user alone.
    async fn each_user_has_answers_of_their_own(&self) {
        for place in PLACES {
            for token in ["keep", "strip"] {
                self.kept_apart(place, token).await;
            }
        }
    }

    async fn kept_apart(&self, place: &str, token: &str) {
        let path = format!("/own-{place}-{token}?q=1");
        let (route, _) = path.split_once('?').unwrap();
        let ask = |user: &str| {
            let mut request = self.ask(route, place, user);
            let separator = if request.target.contains('?') {
                '&'
            } else {
                '?'
            };
            request.target.push_str(&format!("{separator}q=1"));
            request
        };
        // One token each: where it is kept, another one is another key.
        let (alice, bob) = (ask("alice"), ask("bob"));
        let mut keys = Vec::new();
        for (user, request, reached) in [
            ("alice", &alice, 1),
            ("bob", &bob, 1),
            ("alice", &alice, 0),
            ("bob", &bob, 0),
        ] {
            // The service means its answer for one caller, and says so.
            let reply = Reply::status(200)
                .header("cache-control", "private, max-age=600, s-maxage=900")
                .body(user);
            let (answer, seen) = self.send_while(request, reply).await;
            assert_eq!(answer.text(), user, "{path}");
            assert_eq!(seen.len(), reached, "{path} for {user}");
            assert_eq!(
                answer.header("cache-control"),
                Some("private, max-age=600"),
                "{path}"
            );
            for seen in seen {
                let kept = place == "query" && token == "keep";
                let asked = if kept { &request.target } else { &path };
                assert_eq!(&seen.target, asked);
                assert_eq!(seen.header("x-user-id"), Some(user));
                assert_eq!(
                    seen.header("authorization").is_some(),
                    place == "bearer" && token == "keep"
                );
                assert_eq!(seen.header("x-forecourt-authorization"), None);
                keys.push(seen.target);
            }
        }
        assert_eq!(keys.len(), 2);
        let (answer, seen) = self.send(&Request::new("GET", &path), "nobody").await;
        assert_eq!((answer.status, seen.len()), (401, 0), "{path}");
    }

    /// Whoever knows a user's key, and writes it into a path, gets nothing for it.
    async fn a_key_in_a_path_opens_nothing(&self) {
        let path = "/own-optional";
        let alice = self.ask(path, "cookie", "alice");
        for body in ["alice's", "kept"] {
            let (answer, _) = self.send(&alice, body).await;
            assert_eq!(answer.text(), "alice's");
        }
        let forged = self.under_its_key(&alice);
        assert!(forged.contains("forecourt-key="), "{forged}");
        for body in ["one", "two"] {
            let request = Request::new("GET", &forged);
            let request = request.header("x-forecourt-authorization", "Basic Zm9yZ2Vk");
            let (answer, seen) = self.send(&request, body).await;
            assert_eq!((answer.text().as_str(), seen.len()), (body, 1));
            assert_eq!(seen[0].target, forged);
            assert_eq!(seen[0].header("authorization"), None);
        }
        // Another user's own key goes behind it.
        for body in ["bob's", "kept"] {
            let mut request = self.ask(path, "cookie", "bob");
            request.target.clone_from(&forged);
            let (answer, _) = self.send(&request, body).await;
            assert_eq!(answer.text(), "bob's");
        }
    }

    /// The path under which the cache sees a request, as the instance before it writes it.
    fn under_its_key(&self, request: &Request) -> String {
        let mut policy = self.policy.clone();
        policy["role"] = json!("request");
        let policy = Rc::new(config::from_value(policy).unwrap());
        let pseudo = [(":method", &request.method), (":path", &request.target)];
        let pseudo = pseudo.map(|(name, value)| (name.into(), value.as_bytes().to_vec()));
        let named = request.headers.iter();
        let named = named.map(|(name, value)| (name.as_bytes().to_vec(), value.clone()));
        let headers = Headers::new(pseudo.into_iter().chain(named).collect());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let env = Env {
            now: UnixTime::from(now),
            keys: &InlineOnly,
            identities: &NoIdentities,
            crypto: &InWasm,
            cache: None,
        };
        let mut exchange = Exchange::new(policy, Trace::off());
        let step = exchange.request(RequestHead { headers }, true, &env);
        let Step::Forward(edits) = step else {
            panic!("{step:?}");
        };
        let last = edits.iter().rev().find_map(|edit| match edit {
            Edit::Set(name, value) if name == ":path" => Some(value.clone()),
            _ => None,
        });
        String::from_utf8(last.unwrap()).unwrap()
    }

    /// A cookie is not kept even so, and what may not be kept at all is not.
    async fn what_is_nobodys_to_keep_is_not_kept_for_one_user(&self) {
        for (path, field) in [
            ("/own-iap-strip?cookie", ("set-cookie", "a=b")),
            ("/own-iap-strip?no-store", ("cache-control", "no-store")),
        ] {
            for body in ["one", "two"] {
                let request = self.ask(path, "iap", "alice");
                let reply = Reply::status(200).header(field.0, field.1).body(body);
                let (answer, seen) = self.send_while(&request, reply).await;
                assert_eq!((answer.text().as_str(), seen.len()), (body, 1), "{path}");
            }
        }
    }

    async fn cookies_parts_and_variants_are_not_kept(&self) {
        for index in ["0", "1"] {
            let reply = Reply::status(200)
                .header("cache-control", "public, max-age=600")
                .header("set-cookie", format!("session={index}"));
            let request = Request::new("GET", "/unruled?sets-cookie");
            let (answer, seen) = self.send_while(&request, reply.clone()).await;
            assert_eq!(seen.len(), 1);
            let cookie = format!("session={index}");
            assert_eq!(answer.header("set-cookie"), Some(cookie.as_str()));

            let part = Reply::status(206)
                .header("cache-control", "public, max-age=600")
                .header("content-range", "bytes 0-0/2")
                .body(index);
            let (answer, seen) = self.send_while(&Request::new("GET", "/part"), part).await;
            assert_eq!((answer.text().as_str(), seen.len()), (index, 1));

            let varying = Reply::status(200)
                .header("cache-control", "public, max-age=600")
                .header("vary", "accept-language")
                .body(index);
            let request = Request::new("GET", "/unruled?varies").header("accept-language", index);
            let (answer, seen) = self.send_while(&request, varying).await;
            assert_eq!((answer.text().as_str(), seen.len()), (index, 1));
        }
    }

    async fn hits_are_told_from_misses_and_validated(&self) {
        let request = Request::new("GET", "/tagged/a%2Db");
        let silent = || Reply::status(200).body("hello");
        let (miss, seen) = self.send_while(&request, silent()).await;
        assert_eq!(seen.len(), 1);
        assert_eq!(miss.header("surrogate-key"), Some("item-a-b"));
        let tag = miss.header("etag").expect("an entity tag").to_owned();
        assert_eq!(
            miss.header("cache-control"),
            Some("public, max-age=300"),
            "{miss:?}"
        );
        let (hit, seen) = self.send_while(&request, silent()).await;
        assert_eq!(seen.len(), 0);
        let status = |answer: &Answer| answer.header("cache-status").unwrap().to_owned();
        assert!(status(&hit).contains("hit"), "{}", status(&hit));
        assert!(!status(&miss).contains("hit"), "{}", status(&miss));
        let request = request.header("if-none-match", &tag);
        let (validated, seen) = self.send_while(&request, silent()).await;
        assert_eq!((validated.status, seen.len()), (304, 0));
    }

    /// The control: behind the same checks, and with the token stripped as the routes say, but without
    /// the two roles and the hints behind the cache, Envoy's cache does give one user's answer to
    /// another. So the tests above can fail.
    async fn without_the_arrangement_users_do_get_what_others_got(&self) {
        let careless = self.envoy.listener_named(CARELESS).await.unwrap();
        for place in PLACES {
            let path = format!("/{place}-strip-false");
            for (user, reached) in [("alice", 1), ("bob", 0)] {
                let request = self.ask(&path, place, user);
                let (answer, seen) = self.send_to(careless, &request, user).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                assert_eq!(answer.text(), "alice", "{path} for {user}");
                assert_eq!(seen.len(), reached, "{path} for {user}");
            }
        }
    }

    async fn everything(&self) {
        self.public_answers_are_kept().await;
        self.no_user_gets_what_another_got().await;
        self.credentials_pass_a_kept_answer_by().await;
        self.a_client_cannot_speak_for_the_module().await;
        self.a_shared_route_is_for_whoever_may_call().await;
        self.each_user_has_answers_of_their_own().await;
        self.a_key_in_a_path_opens_nothing().await;
        self.what_is_nobodys_to_keep_is_not_kept_for_one_user()
            .await;
        self.without_the_arrangement_users_do_get_what_others_got()
            .await;
        self.cookies_parts_and_variants_are_not_kept().await;
        self.hits_are_told_from_misses_and_validated().await;
    }
}

#[tokio::test]
async fn around_the_simple_cache() {
    World::start(Cache::Simple, 2).await.everything().await;
}

#[tokio::test]
async fn around_the_second_cache() {
    World::start(Cache::V2, 1).await.everything().await;
}

/// What the instance behind the cache makes of a `public` answer to a request with these fields.
fn behind_the_cache(fields: &[(&str, &str)]) -> (Step, String) {
    let mut policy = policy();
    policy["role"] = json!("response");
    let policy = Rc::new(config::from_value(policy).unwrap());
    let mut exchange = Exchange::new(policy, Trace::off());
    let env = Env {
        now: UnixTime::default(),
        keys: &InlineOnly,
        identities: &NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    let head = |fields: &[(&str, &str)]| {
        let pair =
            |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Headers::new(fields.iter().map(pair).collect())
    };
    let asked = [&[(":method", "GET"), (":path", "/shared")], fields].concat();
    let headers = head(&asked);
    let step = exchange.request(RequestHead { headers }, true, &env);
    let mut headers = head(&[(":status", "200"), ("cache-control", "public, max-age=60")]);
    let answer = ResponseHead {
        headers: headers.clone(),
    };
    let AnswerStep::Forward(edits) = exchange.response(answer, true, UnixTime::default()) else {
        panic!("nothing to wait for");
    };
    headers.apply(&edits);
    let said = headers.single("cache-control").unwrap().unwrap();
    (step, String::from_utf8(said.to_vec()).unwrap())
}

#[test]
fn without_a_mark_that_fits_nobody_shares() {
    let index = policy()["routes"]
        .as_array()
        .unwrap()
        .iter()
        .position(|route| route["match"]["path"] == "/shared");
    let mark = |flags: &str, name: &str| format!("{flags};{};{name}", index.unwrap());
    let name = "%2A%20%2Fshared";
    for (mark, shared) in [
        (mark("", name), true),
        (mark("vc", name), true),
        // The two instances disagree: before the cache the route was not shared.
        (mark("vcp", name), false),
        (mark("", "other"), false),
        (";99;x".to_owned(), false),
        ("nonsense".to_owned(), false),
        (String::new(), true),
    ] {
        let (step, said) =
            behind_the_cache(&[(MARK, &mark), ("authorization", "Forecourt-Bypass")]);
        let gone = ["x-forecourt-asked", "authorization"].map(|name| Edit::Remove(name.into()));
        assert_eq!(step, Step::Forward(gone.to_vec()));
        assert_eq!(!said.contains("private"), shared, "{mark}: {said}");
    }
    let twice = [(MARK, ""), (MARK, "")];
    for fields in [&[][..], &twice, &[("authorization", "Bearer x")]] {
        let (step, said) = behind_the_cache(fields);
        assert_eq!(step, Step::Forward(vec![Edit::Remove(MARK.into())]));
        assert!(said.contains("private"), "{fields:?}: {said}");
    }
}
