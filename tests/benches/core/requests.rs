//! Whole requests, answers included, through the driver, in front of a host that does nothing.

use std::rc::Rc;
use std::time::Duration;

use forecourt::config;
use forecourt::driver::{Flow, Stream, Tools};
use forecourt::fetch::Store;
use forecourt::head::{Edit, Headers, to_wire};
use forecourt::host::{Counter, Host, HostError, Tally};
use forecourt::policy::Policy;
use forecourt::reply::Reply;
use forecourt::token::{Cache, InWasm};
use serde_json::{Value, json};

use crate::orders;

/// The time by which the tokens are good, in seconds.
pub const NOW: u64 = 1_800_000_001;

/// Tokens for a user of `shop`, signed once with keys that nobody has kept, and the public keys.
pub fn tokens() -> Value {
    serde_json::from_str(include_str!("tokens.json")).unwrap()
}

/// Routes of every kind.
pub fn policy() -> Value {
    let tokens = tokens();
    let access = json!({ "anyOf": ["shop"], "forward": { "claims": { "sub": "x-user-id" } } });
    let order = json!({ "maxBytes": 131_072, "schema": { "$ref": "#/schemas/Order" } });
    let hint = json!({ "when": [{ "methods": ["POST"], "noStore": true }] });
    json!({
        "version": "forecourt/v1",
        "issuers": { "shop": {
            "issuer": "https://issuer.example",
            "audiences": ["shop"],
            "algorithms": ["RS256", "ES256"],
            "jwks": { "inline": tokens["jwks"] },
        }},
        "schemas": { "Order": orders::schema() },
        "routes": [
            { "match": { "methods": ["GET"], "path": "/products/{id}" }, "access": "public", "cache": { "ttl": "5m" } },
            { "match": { "path": "/me" }, "access": access },
            { "match": { "methods": ["POST"], "path": "/notes" }, "access": "public" },
            { "match": { "methods": ["POST"], "path": "/orders" }, "access": "public", "request": { "body": order } },
            { "match": { "methods": ["POST"], "path": "/my/orders" }, "access": access, "request": { "body": order }, "cache": hint },
        ],
    })
}

pub fn compiled() -> Rc<Policy> {
    let policy = config::from_value(policy());
    Rc::new(policy.unwrap_or_else(|problems| panic!("{problems}")))
}

/// A request and what must become of it: 200 where it goes to the service.
pub struct Request {
    pub name: &'static str,
    pub head: Vec<(&'static str, String)>,
    pub body: String,
    pub status: u16,
    /// Whether tokens that have been verified are remembered.
    pub caches: bool,
}

pub const ANSWER: [(&str, &str); 4] = [
    (":status", "200"),
    ("content-type", "application/json"),
    ("content-length", "1000"),
    ("date", "Fri, 15 Jan 2027 08:00:01 GMT"),
];

/// The order of the tables.
pub fn all() -> Vec<Request> {
    let tokens = tokens();
    let token = |name: &str| tokens[name].as_str().map(|token| format!("Bearer {token}"));
    let kb = 1024;
    let request = |name, (method, path): (&str, &str), token, body, status| {
        request(name, method, path, token, body, status)
    };
    let orders = ("POST", "/orders");
    let mut all = vec![
        request("GET, public", ("GET", "/products/42"), None, "".into(), 200),
        request(
            "GET, token seen before",
            ("GET", "/me"),
            token("RS256"),
            "".into(),
            200,
        ),
        request(
            "GET, forged token",
            ("GET", "/me"),
            token("forged"),
            "".into(),
            401,
        ),
        request(
            "POST of 1 kB, not checked",
            ("POST", "/notes"),
            None,
            orders::of_size(kb),
            200,
        ),
        request(
            "POST of 1 kB, checked",
            orders,
            None,
            orders::of_size(kb),
            200,
        ),
        request(
            "POST of 16 kB, checked",
            orders,
            None,
            orders::of_size(16 * kb),
            200,
        ),
        request(
            "POST of 64 kB, checked",
            orders,
            None,
            orders::of_size(64 * kb),
            200,
        ),
        request("POST of a bad body", orders, None, orders::bad(), 400),
        request(
            "token seen before, 1 kB, hints",
            ("POST", "/my/orders"),
            token("RS256"),
            orders::of_size(kb),
            200,
        ),
    ];
    for (name, algorithm) in [
        ("GET, new token, RS256", "RS256"),
        ("GET, new token, ES256", "ES256"),
    ] {
        let cold = request(name, ("GET", "/me"), token(algorithm), "".into(), 200);
        all.push(Request {
            caches: false,
            ..cold
        });
    }
    all
}

fn request(
    name: &'static str,
    method: &str,
    path: &str,
    token: Option<String>,
    body: String,
    status: u16,
) -> Request {
    let mut head = vec![
        (":authority", "shop.example".to_owned()),
        (":path", path.to_owned()),
        (":method", method.to_owned()),
        (":scheme", "https".to_owned()),
        ("user-agent", "forecourt-bench".to_owned()),
        ("accept", "*/*".to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
        (
            "x-request-id",
            "5ab1d2f4-5f43-4bb1-8f7d-6b1f5d0f3c11".to_owned(),
        ),
    ];
    head.extend(token.map(|token| ("authorization", token)));
    if !body.is_empty() {
        head.push(("content-type", "application/json".to_owned()));
        head.push(("content-length", body.len().to_string()));
    }
    Request {
        name,
        head,
        body,
        status,
        caches: true,
    }
}

impl Request {
    pub fn wire(&self) -> Vec<u8> {
        let fields = self.head.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        to_wire(&fields)
    }

    /// Everything set up; each call is one exchange.
    pub fn prepare(self) -> Box<dyn FnMut()> {
        let policy = compiled();
        let keys = Store::new(&policy.issuers, &policy.identities);
        let cache = if self.caches {
            Cache::default()
        } else {
            Cache::new(0)
        };
        let (wire, answer, tally) = (self.wire(), answer(), Tally::default());
        Box::new(move || {
            let tools = Tools {
                keys: &keys,
                crypto: &InWasm,
                cache: &cache,
            };
            let mut host = Idle {
                request: &wire,
                body: self.body.as_bytes(),
                answer: &answer,
                tally: &tally,
                replied: None,
            };
            exchange(&policy, &mut host, &tools);
            assert_eq!(host.replied.unwrap_or(200), self.status, "{}", self.name);
        })
    }
}

fn answer() -> Vec<u8> {
    to_wire(&ANSWER.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn exchange(policy: &Rc<Policy>, host: &mut Idle<'_>, tools: &Tools<'_>) {
    let mut stream = Stream::new(Rc::clone(policy));
    let size = host.body.len();
    let mut flow = stream.request_headers(host, tools, size == 0);
    if size > 0 && host.replied.is_none() {
        flow = stream.request_body(host, size, true);
    }
    if flow == Flow::Continue {
        stream.response_headers(host, true);
    }
}

/// A host that has one request and one answer, and does nothing.
struct Idle<'a> {
    request: &'a [u8],
    body: &'a [u8],
    answer: &'a [u8],
    tally: &'a Tally,
    replied: Option<u16>,
}

impl Host for Idle<'_> {
    fn now(&mut self) -> Result<Duration, HostError> {
        Ok(Duration::from_secs(NOW))
    }

    fn request_headers(&mut self) -> Result<Headers, HostError> {
        Headers::from_wire(self.request.to_vec()).ok_or(HostError)
    }

    fn edit_request(&mut self, _: &[Edit]) -> Result<(), HostError> {
        Ok(())
    }

    fn request_body(&mut self, size: usize) -> Result<Vec<u8>, HostError> {
        Ok(self.body[..size].to_vec())
    }

    fn response_headers(&mut self) -> Result<Headers, HostError> {
        Headers::from_wire(self.answer.to_vec()).ok_or(HostError)
    }

    fn has_response_header(&mut self, name: &str) -> Result<bool, HostError> {
        Ok(ANSWER.iter().any(|(held, _)| *held == name))
    }

    fn edit_response(&mut self, _: &[Edit]) -> Result<(), HostError> {
        Ok(())
    }

    fn response_body(&mut self, _: usize) -> Result<Vec<u8>, HostError> {
        Ok(Vec::new())
    }

    fn answered_from_cache(&mut self) -> bool {
        false
    }

    fn not_modified(&mut self, _: &[(String, Vec<u8>)]) -> Result<(), HostError> {
        Ok(())
    }

    fn resume(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), HostError> {
        self.replied = Some(reply.status);
        Ok(())
    }

    fn publish(&mut self, _: &str, _: &str) {}

    fn clear_route_cache(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn tally(&self) -> &Tally {
        self.tally
    }

    fn count(&mut self, _: Counter, _: u32) {}
}
