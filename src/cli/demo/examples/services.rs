//! Public and private services: with the gateway's identity, and while there is none.

use std::time::Duration;

use serde_json::json;

use super::{Example, FRESH, OWN, Part, bearer, get, passes, refused};
use crate::cli::client;
use crate::cli::demo::world::World;
use crate::cli::output::Failure;
use crate::cli::serve::Seen;
use crate::reply::Code;
use crate::service::SERVERLESS_AUTHORIZATION;

/// How often, and how long apart, the way to the private service is tried.
const TRIES: usize = 300;
const APART: Duration = Duration::from_millis(100);

/// While the metadata server fails.
pub(super) fn without_identity(world: &World) -> Vec<Example> {
    let customer = world.customers.token(&json!({}));
    vec![
        refused(
            Part::Services,
            "private, metadata server down",
            bearer(get("/orders"), &customer),
            Code::IdentityUnavailable,
        ),
        passes(
            Part::Services,
            "public, metadata server down",
            get("/products/42"),
            200,
            FRESH,
        ),
    ]
}

/// Ends the failure, and waits until the private service can be called.
pub(super) async fn heal(world: &World) -> Result<(), Failure> {
    world.metadata.answer(None);
    let request = bearer(get("/orders"), &world.customers.token(&json!({})));
    for _ in 0..TRIES {
        let answer = client::send(world.envoy.listener(), &request).await;
        if answer.map_err(Failure::no)?.status == 200 {
            return Ok(());
        }
        tokio::time::sleep(APART).await;
    }
    Err(Failure::no("the private service cannot be called"))
}

/// With the metadata server at work.
pub(super) fn with_identity(world: &World) -> Vec<Example> {
    let customer = world.customers.token(&json!({}));
    vec![
        passes(
            Part::Services,
            "public, no identity shown",
            get("/products/42"),
            200,
            FRESH,
        )
        .and_the_service_sees(|seen| seen.header(SERVERLESS_AUTHORIZATION).is_none()),
        passes(
            Part::Services,
            "private, as gateway for alice",
            bearer(get("/orders"), &customer),
            200,
            OWN,
        )
        .and_the_service_sees(|seen| {
            shows_gateway(seen) && seen.header("x-user-id") == Some("alice")
        }),
        passes(
            Part::Services,
            "private, made-up identity",
            bearer(get("/orders"), &customer).header(SERVERLESS_AUTHORIZATION, "Bearer x.y.z"),
            200,
            OWN,
        )
        .and_the_service_sees(shows_gateway),
        passes(
            Part::Services,
            "private, caller's token kept",
            bearer(get("/account"), &customer),
            200,
            "no-store",
        )
        .and_the_service_sees(|seen| shows_gateway(seen) && seen.header("authorization").is_some()),
    ]
}

/// What stands before the service has checked the token and taken its signature away.
fn shows_gateway(seen: &Seen) -> bool {
    let shown = seen.header(SERVERLESS_AUTHORIZATION);
    shown.is_some_and(|token| token.ends_with(".SIGNATURE_REMOVED_BY_GOOGLE"))
}
