//! The parts that are measured one by one.

use std::hint::black_box;

use forecourt::config;
use forecourt::head::{Headers, ResponseHead};
use forecourt::hints::Asked;
use forecourt::route::host::HostPattern;
use forecourt::route::template::Template;
use forecourt::route::{Router, Slashes, path};
use forecourt::schema::BodyPlan;
use forecourt::time::UnixTime;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::claims::Claims;
use forecourt::token::jws::Compact;
use forecourt::token::keyset::KeySet;
use forecourt::token::{Crypto, InWasm};
use forecourt::trace::Trace;
use serde_json::{Value, json};

use crate::orders;
use crate::requests::{self, ANSWER, NOW};

/// Something that can be done over and over.
pub struct Part {
    pub name: String,
    /// How often it is run to have its instructions counted.
    pub times: u32,
    prepare: Box<dyn FnOnce() -> Box<dyn FnMut()>>,
}

impl Part {
    fn new(
        name: impl Into<String>,
        times: u32,
        prepare: impl FnOnce() -> Box<dyn FnMut()> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            times,
            prepare: Box::new(prepare),
        }
    }

    /// Everything that is needed for it, made; each call does it once.
    pub fn prepare(self) -> Box<dyn FnMut()> {
        (self.prepare)()
    }
}

pub fn named(name: &str) -> Part {
    let found = all().into_iter().find(|part| part.name == name);
    found.expect("a part has that name")
}

pub fn all() -> Vec<Part> {
    const KB: usize = 1024;
    let mut parts = vec![
        Part::new("head read from the wire", 2_000, head),
        Part::new("route among 10", 2_000, || route(10, false)),
        Part::new("route among 10,000", 2_000, || route(10_000, false)),
        Part::new("route among 10,000 hosts", 2_000, || route(10_000, true)),
        Part::new("token taken apart", 1_000, compact),
        Part::new("claims read", 1_000, claims),
        Part::new("signature, RS256", 20, || signature("RS256")),
        Part::new("signature, ES256", 20, || signature("ES256")),
        Part::new("JSON checked, 1 kB", 500, || json_body(KB)),
        Part::new("JSON checked, 16 kB", 50, || json_body(16 * KB)),
        Part::new("JSON checked, 64 kB", 20, || json_body(64 * KB)),
        Part::new("hints for an answer", 2_000, hints),
        Part::new("policy of 1,000 routes, 100 schemas", 1, large_policy),
    ];
    parts.extend(requests::all().into_iter().map(|request| {
        let name = format!("request: {}", request.name);
        // Callgrind is some fifty times slower, so what is dear runs less often.
        let dear = !request.caches || request.status == 401 || request.body.len() > 8 * KB;
        let times = if dear { 20 } else { 200 };
        Part::new(name, times, || request.prepare())
    }));
    parts
}

fn head() -> Box<dyn FnMut()> {
    let request = requests::all().remove(1);
    let wire = request.wire();
    Box::new(move || assert!(Headers::from_wire(black_box(wire.clone())).is_some()))
}

/// A route found, over all routes by turns.
fn route(count: usize, per_host: bool) -> Box<dyn FnMut()> {
    let mut router = Router::default();
    let mut targets = Vec::new();
    for n in 0..count {
        let host = format!("h{n}.example.com");
        let hosts: Vec<_> = per_host
            .then(|| HostPattern::parse(&host).unwrap())
            .into_iter()
            .collect();
        let template = Template::parse(&format!("/v1/resource{n}/{{id}}/items/{{item}}")).unwrap();
        let methods = ["GET".to_owned()];
        router
            .insert(&hosts, &methods, &template, Slashes::default(), n)
            .unwrap();
        targets.push((host, format!("/v1/resource{n}/4711/items/a%40b")));
    }
    let mut next = 0;
    Box::new(move || {
        let (host, target) = &targets[next];
        // Far from the last one, as the targets of requests are from each other.
        next = (next + 7_919) % targets.len();
        let path = path::parse(target.as_bytes()).unwrap();
        assert!(black_box(router.find(host.as_bytes(), "GET", &path)).is_ok());
    })
}

fn token(algorithm: &str) -> String {
    requests::tokens()[algorithm].as_str().unwrap().to_owned()
}

fn compact() -> Box<dyn FnMut()> {
    let token = token("RS256");
    Box::new(move || assert!(black_box(Compact::parse(black_box(token.as_bytes()))).is_ok()))
}

fn claims() -> Box<dyn FnMut()> {
    let token = token("RS256");
    let payload = Compact::parse(token.as_bytes()).unwrap().payload;
    Box::new(move || assert!(black_box(Claims::parse(black_box(&payload))).is_ok()))
}

fn signature(algorithm: &str) -> Box<dyn FnMut()> {
    let keys = requests::tokens()["jwks"].to_string();
    let keys = KeySet::parse(keys.as_bytes(), forecourt::token::key::Secrets::Refused).unwrap();
    let token = token(algorithm);
    let named = Algorithm::named(algorithm).unwrap();
    let key = keys.find(Some(algorithm), named).unwrap().clone();
    let parsed = Compact::parse(token.as_bytes()).unwrap();
    let (text, signature) = (parsed.signing_input.to_vec(), parsed.signature);
    Box::new(move || assert!(InWasm.verify(&key, named, black_box(&text), &signature)))
}

fn json_body(bytes: usize) -> Box<dyn FnMut()> {
    let policy = requests::compiled();
    let rule = policy.routes.iter().find_map(|route| route.body.clone());
    let rule = rule.unwrap();
    let body = orders::of_size(bytes);
    let plan = BodyPlan::Check {
        content: 0,
        coding: None,
        boundary: String::new(),
    };
    Box::new(move || {
        let checked = rule.check(&plan, black_box(body.as_bytes()), &mut Trace::off());
        assert!(checked.is_ok());
    })
}

fn hints() -> Box<dyn FnMut()> {
    let policy = requests::compiled();
    let fields = |fields: &[(&str, &str)]| {
        let fields = fields.iter();
        let owned =
            fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Headers::new(owned.collect())
    };
    let asked = Asked {
        method: b"GET".to_vec(),
        ..Asked::default()
    };
    let answer = ResponseHead {
        headers: fields(&ANSWER),
    };
    Box::new(move || {
        let rule = &policy.routes[0].hints;
        let edits = rule.decide(&asked, black_box(&answer), UnixTime(NOW), &mut Trace::off());
        assert!(!black_box(edits).is_empty());
    })
}

fn large_policy() -> Box<dyn FnMut()> {
    let schemas: serde_json::Map<String, Value> = (0..100)
        .map(|n| {
            let mut schema = orders::schema();
            schema["properties"][format!("extra{n}")] = json!({ "type": "string" });
            (format!("Order{n}"), schema)
        })
        .collect();
    let route = |n| {
        let schema = format!("#/schemas/Order{}", n % 100);
        json!({
            "match": { "methods": ["POST"], "path": format!("/api/v{}/things{n}/{{id}}/parts", n % 3) },
            "access": "public",
            "request": { "body": { "schema": { "$ref": schema } } },
        })
    };
    let routes: Vec<_> = (0..1_000).map(route).collect();
    let policy = json!({ "version": "forecourt/v1", "schemas": schemas, "routes": routes });
    let text = policy.to_string();
    Box::new(move || assert!(black_box(config::from_json(text.as_bytes())).is_ok()))
}
