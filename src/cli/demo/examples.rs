//! The example requests: what is sent, and what has to come of it.

mod services;

use serde::Serialize;
use serde_json::{Value, json};

use super::world::World;
use crate::cli::client::{self, Answer, Request};
use crate::cli::output::Failure;
use crate::cli::serve::Seen;
use crate::reply::Code;

/// One example request.
struct Example {
    part: Part,
    what: &'static str,
    request: Request,
    status: u16,
    code: Option<Code>,
    cache_control: &'static str,
    /// What must be true of the request as the service got it.
    service: fn(&Seen) -> bool,
}

/// The job that an example is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Token validation.
    Tokens,
    /// Request checks.
    Requests,
    /// Caching hints.
    Hints,
    /// Public and private services.
    Services,
}

/// What came of an example.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The job it is about.
    pub part: Part,
    /// In words.
    pub what: &'static str,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status the client got.
    pub status: u16,
    /// The reason code of a refusal.
    pub code: Option<String>,
    /// Whether the service saw anything of it, if only its head.
    pub reached_service: bool,
    /// What caches are told.
    pub cache_control: Option<String>,
    /// Whether all of this is as it should be.
    pub expected: bool,
}

/// Sends every example in turn.
pub async fn run(world: &World) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    // While the metadata server fails; the rest needs it.
    for example in services::without_identity(world) {
        outcomes.push(send(world, example).await?);
    }
    services::heal(world).await?;
    for example in examples(world) {
        outcomes.push(send(world, example).await?);
    }
    Ok(outcomes)
}

async fn send(world: &World, example: Example) -> Result<Outcome, Failure> {
    world.forget();
    let answer = client::send(world.envoy.listener(), &example.request)
        .await
        .map_err(Failure::no)?;
    Ok(example.outcome(&answer, &world.seen()))
}

impl Example {
    fn outcome(self, answer: &Answer, seen: &[Seen]) -> Outcome {
        let code = answer.json().as_ref().and_then(code);
        let cache_control = answer.header("cache-control").map(str::to_owned);
        let service = match seen {
            [] => self.code.is_some(),
            [one] => self.code.is_none() && (self.service)(one),
            _ => false,
        };
        let expected = service
            && answer.status == self.status
            && code.as_deref() == self.code.map(Code::as_str)
            && cache_control.as_deref().unwrap_or_default() == self.cache_control;
        Outcome {
            part: self.part,
            what: self.what,
            method: self.request.method,
            path: self.request.target,
            status: answer.status,
            code,
            reached_service: !seen.is_empty(),
            cache_control,
            expected,
        }
    }
}

fn code(problem: &Value) -> Option<String> {
    Some(problem.get("code")?.as_str()?.to_owned())
}

/// An example that must pass.
fn passes(
    part: Part,
    what: &'static str,
    request: Request,
    status: u16,
    cache_control: &'static str,
) -> Example {
    Example {
        part,
        what,
        request,
        status,
        code: None,
        cache_control,
        service: |_| true,
    }
}

/// An example that must be refused, before the service hears of it.
fn refused(part: Part, what: &'static str, request: Request, code: Code) -> Example {
    Example {
        part,
        what,
        request,
        status: code.status(),
        code: Some(code),
        cache_control: "no-store",
        service: |_| false,
    }
}

impl Example {
    fn and_the_service_sees(mut self, check: fn(&Seen) -> bool) -> Self {
        self.service = check;
        self
    }
}

fn examples(world: &World) -> Vec<Example> {
    let mut examples = tokens(world);
    examples.extend(requests(world));
    examples.extend(hints(world));
    examples.extend(services::with_identity(world));
    examples
}

fn get(path: &str) -> Request {
    Request::new("GET", path)
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

/// The claims that the route for placing orders asks for.
fn buyer() -> Value {
    json!({ "email_verified": true, "scope": "orders.read orders.write" })
}

fn tokens(world: &World) -> Vec<Example> {
    use Part::Tokens;
    let customer = world.customers.token(&json!({}));
    let with = |claims: Value| bearer(get("/orders"), &world.customers.token(&claims));
    let delete = |claims: Value| {
        bearer(
            Request::new("DELETE", "/products/42"),
            &world.staff.token(&claims),
        )
    };
    let unsigned = {
        let claims = customer.split('.').nth(1).unwrap_or_default();
        format!("eyJhbGciOiJub25lIn0.{claims}.")
    };
    vec![
        passes(
            Tokens,
            "public route, no token",
            get("/products/42"),
            200,
            FRESH,
        ),
        passes(
            Tokens,
            "good token",
            bearer(get("/orders"), &customer),
            200,
            OWN,
        )
        .and_the_service_sees(|seen| {
            seen.header("x-user-id") == Some("alice") && seen.header("authorization").is_none()
        }),
        passes(
            Tokens,
            "made-up x-user-id header",
            get("/products/42").header("x-user-id", "alice"),
            200,
            FRESH,
        )
        .and_the_service_sees(|seen| seen.header("x-user-id").is_none()),
        refused(Tokens, "no token", get("/orders"), Code::TokenMissing),
        refused(
            Tokens,
            "expired",
            with(json!({ "exp": 1_700_000_000 })),
            Code::TokenExpired,
        ),
        refused(
            Tokens,
            "wrong audience",
            with(json!({ "aud": "bank" })),
            Code::AudienceMismatch,
        ),
        refused(
            Tokens,
            "signed with another key",
            bearer(get("/orders"), &world.forger.token(&json!({}))),
            Code::SignatureInvalid,
        ),
        refused(
            Tokens,
            "not signed at all",
            bearer(get("/orders"), &unsigned),
            Code::TokenMalformed,
        ),
        refused(
            Tokens,
            "good token of another issuer",
            bearer(get("/orders"), &world.staff.token(&json!({}))),
            Code::IssuerUnknown,
        ),
        refused(
            Tokens,
            "staff without the role",
            delete(json!({})),
            Code::ClaimMismatch,
        ),
        passes(
            Tokens,
            "staff with the role",
            delete(json!({ "roles": ["catalogue", "support"] })),
            204,
            "private",
        ),
    ]
}

fn requests(world: &World) -> Vec<Example> {
    use Part::Requests;
    let token = world.customers.token(&buyer());
    let order = |body: &str| {
        bearer(Request::new("POST", "/orders"), &token)
            .header("content-type", "application/json")
            .body(body)
    };
    let large = format!("{{\"sku\":\"{}\"}}", "A".repeat(5000));
    vec![
        passes(
            Requests,
            "good order",
            order(r#"{"sku":"KET-0042","quantity":2}"#),
            201,
            "private",
        )
        .and_the_service_sees(|seen| {
            seen.body == br#"{"sku":"KET-0042","quantity":2}"#
                && seen.header("x-user-id") == Some("alice")
        }),
        refused(
            Requests,
            "quantity out of range",
            order(r#"{"sku":"KET-0042","quantity":0}"#),
            Code::SchemaMismatch,
        ),
        refused(
            Requests,
            "a member twice",
            order(r#"{"sku":"KET-0042","quantity":2,"quantity":99}"#),
            Code::JsonDuplicateMember,
        ),
        refused(
            Requests,
            "not JSON",
            order("sku=KET-0042"),
            Code::JsonInvalid,
        ),
        refused(
            Requests,
            "body too large",
            order(&large),
            Code::BodyTooLarge,
        ),
        refused(
            Requests,
            "wrong content type",
            bearer(Request::new("POST", "/orders"), &token)
                .header("content-type", "text/plain")
                .body("two kettles, please"),
            Code::ContentTypeUnsupported,
        ),
        refused(
            Requests,
            "unknown path",
            get("/backup.sql"),
            Code::RouteNotFound,
        ),
        refused(
            Requests,
            "wrong method",
            Request::new("PUT", "/orders"),
            Code::MethodNotAllowed,
        ),
        refused(
            Requests,
            "encoded slash in path",
            get("/products/a%2fb"),
            Code::PathInvalid,
        ),
        passes(
            Requests,
            "bad body, rule on trial",
            Request::new("POST", "/feedback")
                .header("content-type", "text/plain")
                .body("nice shop"),
            204,
            "",
        ),
    ]
}

/// What a public product may be kept for.
const FRESH: &str = "public, max-age=300";

/// What a customer's own browser may keep.
const OWN: &str = "private, max-age=30";

fn hints(world: &World) -> Vec<Example> {
    use Part::Hints;
    let customer = world.customers.token(&json!({}));
    vec![
        passes(
            Hints,
            "public, five minutes",
            get("/products/42"),
            200,
            FRESH,
        ),
        passes(
            Hints,
            "one customer's, private",
            bearer(get("/orders"), &customer),
            200,
            OWN,
        ),
        passes(
            Hints,
            "every customer's, shared",
            bearer(get("/prices"), &customer),
            200,
            "public, max-age=600",
        ),
        passes(
            Hints,
            "nobody's to keep",
            bearer(get("/account"), &customer),
            200,
            "no-store",
        ),
        refused(
            Hints,
            "a refusal is never kept",
            get("/prices"),
            Code::TokenMissing,
        ),
    ]
}
