//! All that the demo starts, and ends again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::POLICY;
use super::offload::Offload;
use crate::cli::client;
use crate::cli::clock;
use crate::cli::envoy::{Bootstrap, Envoy, EnvoyBinary, Filter, backends};
use crate::cli::keys::{IssuerKey, demo_dir};
use crate::cli::output::{Failure, note};
use crate::cli::policy_file::PolicyFile;
use crate::cli::serve::{Gate, Issuer, Metadata, Reply, Seen, Service, issuer::JWKS_PATH};
use crate::cli::token;
use crate::token::algorithm::Algorithm;

/// The demo, running.
pub struct World {
    /// The service that anybody may call.
    pub catalog: Service,
    /// The private service.
    pub orders: Service,
    /// The metadata server, beside Envoy.
    pub metadata: Metadata,
    /// Envoy with the module.
    pub envoy: Envoy,
    /// The listeners with Envoy's own cache, and their service.
    pub offload: Offload,
    /// Where Envoy was found.
    pub envoy_found: String,
    /// The policy's file.
    pub policy: PathBuf,
    /// The issuer of customers' tokens.
    pub customers: Party,
    /// The issuer of staff's tokens.
    pub staff: Party,
    /// Somebody who signs in the customers' issuer's name, with a key of his own.
    pub forger: Party,
}

/// An issuer, and what its tokens say by default.
pub struct Party {
    /// The running issuer.
    pub issuer: Issuer,
    claims: Map<String, Value>,
}

impl World {
    /// Starts everything on loopback.
    pub async fn start(
        binary: &EnvoyBinary,
        module: PathBuf,
        listen: SocketAddr,
    ) -> Result<Self, Failure> {
        let folder = demo_dir();
        let customers = Party::start("customers", "customers", &folder)?;
        let staff = Party::start("staff", "staff", &folder)?;
        let forger = Party::start("customers", "forger", &folder)?;
        let path = write_policy(&folder, &[("customers", &customers), ("staff", &staff)]).await?;
        let policy = PolicyFile::load(&path).map_err(Failure::no)?;

        let (metadata, orders) = orders(&policy, &folder)?;
        let catalog = catalog()?;
        let filter = Filter {
            module: module.clone(),
            policy: policy.json().to_string(),
        };
        let here = [("catalog", &catalog), ("orders", &orders)]
            .map(|(name, service)| format!("{name}={}", service.url()).parse());
        let here: Result<Vec<_>, _> = here.into_iter().collect();
        let here = here.map_err(Failure::no)?;
        let backends = backends(&policy.policy(), &here).map_err(Failure::no)?;
        let mut bootstrap = Bootstrap::before(backends, Some(filter));
        for identity in &policy.policy().identities {
            let here = metadata.url().parse().map_err(Failure::no)?;
            bootstrap
                .servers
                .insert(identity.server.cluster.clone(), here);
        }
        bootstrap.listen = listen;
        bootstrap.fit(&policy.policy());
        let offload = Offload::prepare(&mut bootstrap, &module, &folder)?;
        note("Starting Envoy, which compiles the module (some seconds)");
        let envoy = Envoy::start(binary, &bootstrap)
            .await
            .map_err(Failure::no)?;
        Ok(Self {
            catalog,
            orders,
            metadata,
            envoy,
            offload,
            envoy_found: binary.found.clone(),
            policy: path,
            customers,
            staff,
            forger,
        })
    }

    /// What has reached the services.
    pub fn seen(&self) -> Vec<Seen> {
        [self.catalog.seen(), self.orders.seen()].concat()
    }

    /// Forgets it.
    pub fn forget(&self) {
        self.catalog.forget();
        self.orders.forget();
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.envoy.stop().await;
    }
}

impl Party {
    /// `name` is the issuer in the policy, `key` names the key it really signs with.
    fn start(name: &str, key: &str, folder: &Path) -> Result<Self, Failure> {
        let policy = super::policy_document().map_err(Failure::no)?;
        let issuer = token::Issuer::named(&policy, name)?;
        let key = IssuerKey::load_or_make(folder, key, issuer.algorithm).map_err(Failure::no)?;
        let key = IssuerKey {
            kid: format!("{name}-demo"),
            ..key
        };
        let claims = token::default_claims(&issuer, clock::now(), 3600);
        Ok(Self {
            issuer: Issuer::start(issuer.iss(), key)?,
            claims,
        })
    }

    /// A token with the default claims, some of them replaced by `claims`.
    pub fn token(&self, claims: &Value) -> String {
        let mut all = self.claims.clone();
        all.extend(claims.as_object().cloned().unwrap_or_default());
        self.issuer.mint(&all)
    }
}

/// Leaves the policy beside the keys that its issuers publish, for `forecourt up` and curious eyes.
async fn write_policy(folder: &Path, parties: &[(&str, &Party)]) -> Result<PathBuf, Failure> {
    for (name, party) in parties {
        let answer = client::get(party.issuer.address(), JWKS_PATH)
            .await
            .map_err(Failure::no)?;
        fs::write(folder.join(format!("{name}.jwks.json")), answer.body)?;
    }
    let path = folder.join("policy.yaml");
    fs::write(&path, POLICY)?;
    Ok(path)
}

/// The service account as which the gateway runs.
const GATEWAY: &str = "gateway@shop-prod.iam.gserviceaccount.com";
/// How long identity tokens live, in seconds: minutes instead of Google's hour, so that one can see
/// them being fetched anew.
const IDENTITY_LIFETIME: u64 = 180;

/// The private service, with what stands before it on Cloud Run, and the metadata server whose tokens
/// that accepts. The metadata server fails until it is told otherwise.
fn orders(policy: &PolicyFile, folder: &Path) -> Result<(Metadata, Service), Failure> {
    let key = IssuerKey::load_or_make(folder, "metadata", Algorithm::Rs256).map_err(Failure::no)?;
    let policy = policy.policy();
    let audience = policy.identities.first().map(|identity| &identity.audience);
    let audience = audience.ok_or_else(|| Failure::no("the policy has no private service"))?;
    let gate = Gate::new(audience, &key.jwks(), GATEWAY).map_err(Failure::no)?;
    let metadata = Metadata::start(key, GATEWAY, IDENTITY_LIFETIME)?;
    metadata.answer(Some(Reply::status(503)));
    let service = Service::start_behind(gate)?;
    for (what, reply) in [
        (
            "POST /orders",
            Reply::json(201, &json!({ "order": 1001, "status": "accepted" })),
        ),
        (
            "GET /orders",
            Reply::json(
                200,
                &json!([{ "order": 1000, "sku": "KET-0042", "quantity": 1 }]),
            ),
        ),
        (
            "GET /account",
            Reply::json(200, &json!({ "name": "Alice", "points": 120 })),
        ),
    ] {
        service.answer(what, reply);
    }
    Ok((metadata, service))
}

/// The public service: it takes whatever comes, and says nothing to caches.
fn catalog() -> Result<Service, Failure> {
    let service = Service::start()?;
    for (what, reply) in [
        (
            "GET /products/42",
            Reply::json(
                200,
                &json!({ "id": 42, "name": "Red kettle", "price": "24.90" }),
            ),
        ),
        ("DELETE /products/42", Reply::status(204)),
        (
            "GET /prices",
            Reply::json(200, &json!({ "KET-0042": "19.90" })),
        ),
        ("POST /feedback", Reply::status(204)),
    ] {
        service.answer(what, reply);
    }
    Ok(service)
}
