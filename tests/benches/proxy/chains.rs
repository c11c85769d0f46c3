//! The chains that are compared: what stands in Envoy before the router, and what is sent.

use serde_json::{Value, json};

use crate::world::ISSUER;

/// One chain of filters and the load it gets.
#[derive(Clone, Debug)]
pub struct Chain {
    pub name: &'static str,
    pub about: &'static str,
    pub filters: Filters,
    pub sent: Sent,
    /// What every answer must be.
    pub status: u16,
    /// The chains that its cost is divided by.
    pub against: &'static [&'static str],
}

/// What stands before the router.
#[derive(Clone, Copy, Debug)]
pub enum Filters {
    None,
    /// This module with a policy.
    Ours(Policy),
    /// Envoy's jwt_authn, with the token cache or without, and what follows it.
    Native {
        cached: bool,
        then: Then,
    },
}

/// What follows jwt_authn.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    Nothing,
    ExternalProcessor,
    Lua,
}

/// A policy of this module.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    /// So many public routes.
    Public(usize),
    /// A token.
    Token,
    /// A token, a JSON body, and what caches may do with the answer.
    Full,
    /// So many routes, each with a body schema of its own.
    Schemas(usize),
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub enum Sent {
    /// GET to the last of so many routes.
    Get(usize),
    /// GET with a token.
    Token(Tokens),
    /// POST of so many bytes of JSON with one token.
    Order(usize),
    /// POST of a body that breaks the schema, with one token.
    BadOrder,
    /// POST of a small body to the middle one of so many routes.
    Small(usize),
}

/// Which tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// More than any cache holds, one after the other: each is new to it.
    ColdRs256,
    ColdEs256,
    /// A few, again and again.
    Warm,
    /// Signed by somebody else.
    Forged,
}

const NATIVE_COLD: Filters = native(false, Then::Nothing);
const NATIVE_WARM: Filters = native(true, Then::Nothing);
const PROCESSOR: Filters = native(true, Then::ExternalProcessor);
const LUA: Filters = native(true, Then::Lua);

const fn native(cached: bool, then: Then) -> Filters {
    Filters::Native { cached, then }
}

const fn ours(policy: Policy) -> Filters {
    Filters::Ours(policy)
}

/// Every chain, in the order of the table.
pub fn all() -> Vec<Chain> {
    use Policy::{Full, Public, Schemas, Token};
    use Sent::{BadOrder, Get, Order, Small};
    use Tokens::{ColdEs256, ColdRs256, Forged, Warm};
    let token = Sent::Token;
    let chain = |name, about, filters, sent, status, against| Chain {
        name,
        about,
        filters,
        sent,
        status,
        against,
    };
    #[rustfmt::skip]
    let all = vec![
        chain("none", "no filter", Filters::None, Get(1), 200, &[]),
        chain("public", "Forecourt, a public route", ours(Public(1)), Get(1), 200, &["none"]),
        chain("native-cold-rs256", "jwt_authn, no token cache, RS256", NATIVE_COLD, token(ColdRs256), 200, &[]),
        chain("cold-rs256", "Forecourt, tokens never seen before, RS256", ours(Token), token(ColdRs256), 200, &["native-cold-rs256"]),
        chain("native-cold-es256", "jwt_authn, no token cache, ES256", NATIVE_COLD, token(ColdEs256), 200, &[]),
        chain("cold-es256", "Forecourt, tokens never seen before, ES256", ours(Token), token(ColdEs256), 200, &["native-cold-es256"]),
        chain("native-warm", "jwt_authn with its token cache", NATIVE_WARM, token(Warm), 200, &[]),
        chain("warm", "Forecourt, tokens seen before", ours(Token), token(Warm), 200, &["native-warm"]),
        chain("full-ext-proc", "jwt_authn, then a body check and hints in a native ext_proc service", PROCESSOR, Order(KB), 200, &[]),
        chain("full-lua", "jwt_authn, then a hand-written body check in Lua", LUA, Order(KB), 200, &[]),
        chain("full", "Forecourt: token, 1 kB JSON body, hints", ours(Full), Order(KB), 200, &["full-ext-proc", "full-lua"]),
        chain("native-refused-token", "jwt_authn refusing a forged token", NATIVE_WARM, token(Forged), 401, &[]),
        chain("refused-token", "Forecourt refusing a forged token", ours(Token), token(Forged), 401, &["native-refused-token"]),
        chain("refused-body-ext-proc", "ext_proc refusing a body", PROCESSOR, BadOrder, 400, &[]),
        chain("refused-body", "Forecourt refusing a body", ours(Full), BadOrder, 400, &["refused-body-ext-proc"]),
        chain("body-16k-ext-proc", "ext_proc, 16 kB body", PROCESSOR, Order(16 * KB), 200, &[]),
        chain("body-16k", "Forecourt, 16 kB body", ours(Full), Order(16 * KB), 200, &["body-16k-ext-proc"]),
        chain("body-64k-ext-proc", "ext_proc, 64 kB body", PROCESSOR, Order(64 * KB), 200, &[]),
        chain("body-64k", "Forecourt, 64 kB body", ours(Full), Order(64 * KB), 200, &["body-64k-ext-proc"]),
        chain("routes-10", "Forecourt, 10 public routes", ours(Public(10)), Get(10), 200, &[]),
        chain("routes-100", "Forecourt, 100 public routes", ours(Public(100)), Get(100), 200, &["routes-10"]),
        chain("routes-1000", "Forecourt, 1,000 public routes", ours(Public(1_000)), Get(1_000), 200, &["routes-10"]),
        chain("routes-10000", "Forecourt, 10,000 public routes", ours(Public(10_000)), Get(10_000), 200, &["routes-10"]),
        chain("schemas-1", "Forecourt, one route with a body schema", ours(Schemas(1)), Small(1), 200, &[]),
        chain("schemas-10", "Forecourt, 10 routes, each with its schema", ours(Schemas(10)), Small(10), 200, &["schemas-1"]),
        chain("schemas-1000", "Forecourt, 1,000 routes, each with its schema", ours(Schemas(1_000)), Small(1_000), 200, &["schemas-1"]),
    ];
    all
}

const KB: usize = 1024;

impl Policy {
    /// The policy's document.
    pub fn document(self, jwks: &Value) -> Value {
        match self {
            Self::Public(routes) => json!({
                "version": "forecourt/v1",
                "routes": (0..routes).map(|index| json!({
                    "match": { "methods": ["GET"], "path": route_path(index) },
                    "access": "public",
                })).collect::<Vec<_>>(),
            }),
            Self::Token => json!({
                "version": "forecourt/v1",
                "issuers": issuers(jwks),
                "routes": [{ "match": { "path": "/me" }, "access": access() }],
            }),
            Self::Full => json!({
                "version": "forecourt/v1",
                "issuers": issuers(jwks),
                "schemas": { "Order": order_schema() },
                "routes": [{
                    "match": { "methods": ["POST"], "path": "/orders" },
                    "access": access(),
                    "request": { "body": order_body() },
                }],
            }),
            Self::Schemas(routes) => json!({
                "version": "forecourt/v1",
                "routes": (0..routes).map(|index| json!({
                    "match": { "methods": ["POST"], "path": format!("/small/{index}") },
                    "access": "public",
                    "request": { "body": { "schema": small_schema(index) } },
                })).collect::<Vec<_>>(),
            }),
        }
    }
}

/// The same body rule without anything else, for the external processor.
pub fn body_policy() -> Value {
    json!({
        "version": "forecourt/v1",
        "schemas": { "Order": order_schema() },
        "routes": [{
            "match": { "methods": ["POST"], "path": "/orders" },
            "access": "public",
            "request": { "body": order_body() },
        }],
    })
}

/// The path that the route of that number takes, as an API with many resources has them.
pub fn route_path(index: usize) -> String {
    format!("/api/v{}/things{}/{{id}}/parts", index % 3, index / 3)
}

fn issuers(jwks: &Value) -> Value {
    json!({ "shop": {
        "issuer": ISSUER,
        "audiences": ["shop"],
        "algorithms": ["RS256", "ES256"],
        "jwks": { "inline": jwks },
    }})
}

fn access() -> Value {
    json!({ "anyOf": ["shop"], "forward": { "claims": { "sub": "x-user-id" } } })
}

fn order_body() -> Value {
    json!({ "maxBytes": 128 * KB, "schema": { "$ref": "#/schemas/Order" } })
}

fn order_schema() -> Value {
    json!({
        "type": "object",
        "required": ["customer", "currency", "address", "items"],
        "additionalProperties": false,
        "properties": {
            "customer": { "type": "string", "pattern": "^c-[0-9]{6}$" },
            "currency": { "enum": ["EUR", "USD", "GBP"] },
            "address": {
                "type": "object",
                "required": ["street", "city", "country"],
                "properties": {
                    "street": { "type": "string", "maxLength": 100 },
                    "city": { "type": "string", "maxLength": 100 },
                    "country": { "type": "string", "minLength": 2, "maxLength": 2 },
                },
            },
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": 2_000,
                "items": {
                    "type": "object",
                    "required": ["sku", "quantity", "price"],
                    "additionalProperties": false,
                    "properties": {
                        "sku": { "type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$" },
                        "quantity": { "type": "integer", "minimum": 1, "maximum": 100 },
                        "price": { "type": "number", "minimum": 0 },
                        "gift": { "type": "boolean" },
                    },
                },
            },
        },
    })
}

fn small_schema(index: usize) -> Value {
    json!({
        "type": "object",
        "required": ["name", format!("field{index}")],
        "additionalProperties": false,
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 100 },
            format!("field{index}"): { "type": "integer", "minimum": index },
            "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 10 },
        },
    })
}

/// A body that fits [`small_schema`].
pub fn small(index: usize) -> Value {
    json!({ "name": "thing", format!("field{index}"): index + 1, "tags": ["a", "b"] })
}

/// An order of about that many bytes.
pub fn order(bytes: usize) -> String {
    let mut items = Vec::new();
    loop {
        let index = items.len();
        items.push(json!({
            "sku": format!("ABC-{:04}", index % 10_000),
            "quantity": 1 + index % 100,
            "price": 19.99,
            "gift": index % 2 == 0,
        }));
        let order = json!({
            "customer": "c-000042",
            "currency": "EUR",
            "address": { "street": "1 Long Street", "city": "Dublin", "country": "IE" },
            "items": items,
        })
        .to_string();
        if order.len() >= bytes {
            return order;
        }
    }
}

/// One that breaks the schema in its last item.
pub fn bad_order() -> String {
    order(KB).replacen("\"quantity\":1,", "\"quantity\":0,", 1)
}
