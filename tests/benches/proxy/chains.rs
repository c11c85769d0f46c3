//! The chains that are compared: what stands in Envoy before the router, and what is sent.

use serde_json::{Value, json};

use crate::orders;
use crate::world::ISSUER;

/// One chain of filters and the load it gets.
#[derive(Clone, Debug)]
pub struct Chain {
    pub name: &'static str,
    /// What is to be done for each request; chains that do the same are compared.
    pub work: &'static str,
    /// Who does it.
    pub who: &'static str,
    pub filters: Filters,
    pub sent: Sent,
    pub http2: bool,
    /// The chains that its cost is divided by.
    pub against: &'static [&'static str],
}

/// What stands before the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    None,
    /// A Wasm module that lets everything pass and reads nothing.
    Idle,
    /// This module with a policy.
    Ours(Policy),
    /// Envoy's jwt_authn, with the token cache or without, and what follows it.
    Native {
        cached: bool,
        then: Then,
    },
}

/// What follows jwt_authn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Nothing,
    ExternalProcessor,
    Lua,
}

/// A policy of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// POST of so many bytes of JSON, or of none at all, with one token.
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

impl Tokens {
    pub fn are_cold(self) -> bool {
        matches!(self, Self::ColdRs256 | Self::ColdEs256)
    }
}

impl Chain {
    fn over_http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Whether it must not have met any of its tokens before.
    pub fn is_cold(&self) -> bool {
        matches!(self.sent, Sent::Token(tokens) if tokens.are_cold())
    }

    /// What every answer must be.
    pub fn status(&self) -> u16 {
        match self.sent {
            Sent::Token(Tokens::Forged) => 401,
            Sent::BadOrder => 400,
            _ => 200,
        }
    }

    /// The chain without any filter that gets the same load: what is more than its cost was added.
    pub fn base(&self) -> Option<&'static str> {
        let base = match self.sent {
            Sent::Get(_) => "none",
            Sent::Token(Tokens::Forged) | Sent::BadOrder | Sent::Small(_) => return None,
            Sent::Token(_) => "none-token",
            Sent::Order(0) => "none-0k",
            Sent::Order(KB) if self.http2 => "none-1k-http2",
            Sent::Order(KB) => "none-1k",
            Sent::Order(bytes) if bytes == 16 * KB => "none-16k",
            Sent::Order(_) => "none-64k",
        };
        (self.filters != Filters::None).then_some(base)
    }

    pub fn is_ours(&self) -> bool {
        matches!(self.filters, Filters::Ours(_))
    }
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
    use Filters::{Idle, None};
    use Policy::{Full, Public, Schemas, Token};
    use Sent::{BadOrder, Get, Order, Small};
    use Tokens::{ColdEs256, ColdRs256, Forged, Warm};
    let token = Sent::Token;
    let chain = |name, work, who, filters, sent, against| Chain {
        name,
        work,
        who,
        filters,
        sent,
        http2: false,
        against,
    };
    #[rustfmt::skip]
    let all = vec![
        chain("none", PUBLIC, "no filter", None, Get(1), &[]),
        chain("wasm-noop", PUBLIC, "a Wasm filter that does nothing", Idle, Get(1), &["none"]),
        chain("public", PUBLIC, OURS, ours(Public(1)), Get(1), &["none", "wasm-noop"]),

        chain("none-token", NO_FILTER, "GET with a token", None, token(Warm), &[]),
        chain("none-0k", NO_FILTER, "POST without a body", None, Order(0), &[]),
        chain("none-1k", NO_FILTER, "POST of 1 kB", None, Order(KB), &[]),
        chain("none-16k", NO_FILTER, "POST of 16 kB", None, Order(16 * KB), &[]),
        chain("none-64k", NO_FILTER, "POST of 64 kB", None, Order(64 * KB), &[]),
        chain("none-1k-http2", NO_FILTER, "POST of 1 kB, HTTP/2", None, Order(KB), &[]).over_http2(),

        chain("native-cold-rs256", COLD_RS256, "jwt_authn", NATIVE_COLD, token(ColdRs256), &[]),
        chain("cold-rs256", COLD_RS256, OURS, ours(Token), token(ColdRs256), &["native-cold-rs256"]),
        chain("native-cold-es256", COLD_ES256, "jwt_authn", NATIVE_COLD, token(ColdEs256), &[]),
        chain("cold-es256", COLD_ES256, OURS, ours(Token), token(ColdEs256), &["native-cold-es256"]),
        chain("native-warm", WARM, "jwt_authn with its token cache", NATIVE_WARM, token(Warm), &[]),
        chain("warm", WARM, OURS, ours(Token), token(Warm), &["native-warm"]),
        chain("native-refused-token", FORGED, "jwt_authn", NATIVE_WARM, token(Forged), &[]),
        chain("refused-token", FORGED, OURS, ours(Token), token(Forged), &["native-refused-token"]),

        chain("full-ext-proc", FULL, EXT_PROC, PROCESSOR, Order(KB), &[]),
        chain("full-lua", FULL, WITH_LUA, LUA, Order(KB), &[]),
        chain("full", FULL, OURS, ours(Full), Order(KB), &["full-ext-proc", "full-lua"]),
        chain("full-http2-ext-proc", FULL_HTTP2, EXT_PROC, PROCESSOR, Order(KB), &[]).over_http2(),
        chain("full-http2", FULL_HTTP2, OURS, ours(Full), Order(KB), &["full-http2-ext-proc"]).over_http2(),
        chain("full-0k-ext-proc", FULL_0K, EXT_PROC, PROCESSOR, Order(0), &[]),
        chain("full-0k-lua", FULL_0K, WITH_LUA, LUA, Order(0), &[]),
        chain("full-0k", FULL_0K, OURS, ours(Full), Order(0), &["full-0k-ext-proc", "full-0k-lua"]),
        chain("full-16k-ext-proc", FULL_16K, EXT_PROC, PROCESSOR, Order(16 * KB), &[]),
        chain("full-16k-lua", FULL_16K, WITH_LUA, LUA, Order(16 * KB), &[]),
        chain("full-16k", FULL_16K, OURS, ours(Full), Order(16 * KB), &["full-16k-ext-proc", "full-16k-lua"]),
        chain("full-64k-ext-proc", FULL_64K, EXT_PROC, PROCESSOR, Order(64 * KB), &[]),
        chain("full-64k-lua", FULL_64K, WITH_LUA, LUA, Order(64 * KB), &[]),
        chain("full-64k", FULL_64K, OURS, ours(Full), Order(64 * KB), &["full-64k-ext-proc", "full-64k-lua"]),
        chain("refused-body-ext-proc", BAD_BODY, EXT_PROC, PROCESSOR, BadOrder, &[]),
        chain("refused-body-lua", BAD_BODY, WITH_LUA, LUA, BadOrder, &[]),
        chain("refused-body", BAD_BODY, OURS, ours(Full), BadOrder, &["refused-body-ext-proc", "refused-body-lua"]),

        chain("routes-10", ROUTES, "10 routes", ours(Public(10)), Get(10), &[]),
        chain("routes-100", ROUTES, "100 routes", ours(Public(100)), Get(100), &["routes-10"]),
        chain("routes-1000", ROUTES, "1,000 routes", ours(Public(1_000)), Get(1_000), &["routes-10"]),
        chain("routes-10000", ROUTES, "10,000 routes", ours(Public(10_000)), Get(10_000), &["routes-10"]),
        chain("schemas-1", SCHEMAS, "1 schema", ours(Schemas(1)), Small(1), &[]),
        chain("schemas-10", SCHEMAS, "10 schemas", ours(Schemas(10)), Small(10), &["schemas-1"]),
        chain("schemas-1000", SCHEMAS, "1,000 schemas", ours(Schemas(1_000)), Small(1_000), &["schemas-1"]),
    ];
    all
}

const OURS: &str = "Forecourt";
const EXT_PROC: &str = "jwt_authn + ext_proc in native Rust";
const WITH_LUA: &str = "jwt_authn + Lua";

pub const NO_FILTER: &str = "No filter, with the load that others get";
pub const PUBLIC: &str = "Public route";
pub const COLD_RS256: &str = "Token never seen before, RS256";
pub const COLD_ES256: &str = "Token never seen before, ES256";
pub const WARM: &str = "Token seen before";
pub const FORGED: &str = "Forged token, refused";
pub const FULL: &str = "Token, 1 kB JSON body, hints";
pub const FULL_HTTP2: &str = "Token, 1 kB JSON body, hints; HTTP/2";
pub const FULL_0K: &str = "Token, no body, hints";
pub const FULL_16K: &str = "Token, 16 kB JSON body, hints";
pub const FULL_64K: &str = "Token, 64 kB JSON body, hints";
pub const BAD_BODY: &str = "Bad body, refused";
pub const ROUTES: &str = "Public route among many, Forecourt";
pub const SCHEMAS: &str = "Small JSON body, a schema for each route, Forecourt";

/// What caches are told of the answer to an order, by every chain that gives hints.
pub const ORDER_HINT: &str = "no-store";

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
                "schemas": { "Order": orders::schema() },
                "routes": [{
                    "match": { "methods": ["POST"], "path": "/orders" },
                    "access": access(),
                    "request": { "body": order_body() },
                    "cache": { "when": [{ "methods": ["POST"], "noStore": true }] },
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
        "schemas": { "Order": orders::schema() },
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
    json!({ "required": false, "maxBytes": 128 * KB, "schema": { "$ref": "#/schemas/Order" } })
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
