//! An issuer of tokens: mints them, and publishes its keys as OpenID providers do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::server::{Body, Server};
use crate::cli::keys::IssuerKey;
use crate::token::mint::mint;

/// Where the key set is.
pub const JWKS_PATH: &str = "/jwks.json";

/// A running issuer; dropping it ends it.
pub struct Issuer {
    server: Server,
    key: IssuerKey,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    /// Starts on a free port of 127.0.0.1. `iss` is what its tokens say, wherever it listens.
    pub fn start(iss: &str, key: IssuerKey) -> io::Result<Self> {
        let fetches = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&fetches);
        let (iss, jwks) = (iss.to_owned(), key.jwks());
        let server = Server::start(0, move |request| {
            let authority = request.headers().get("host").cloned();
            let authority = authority.as_ref().and_then(|host| host.to_str().ok());
            let answer = match request.uri().path() {
                JWKS_PATH => {
                    counter.fetch_add(1, Ordering::Relaxed);
                    document(&jwks)
                }
                "/.well-known/openid-configuration" => document(&json!({
                    "issuer": iss,
                    "jwks_uri": format!("http://{}{JWKS_PATH}", authority.unwrap_or("localhost")),
                })),
                _ => not_found(),
            };
            std::future::ready(answer)
        })?;
        Ok(Self {
            server,
            key,
            fetches,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How often its keys were fetched.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// The key it signs with.
    pub fn key(&self) -> &IssuerKey {
        &self.key
    }

    /// A token with exactly these claims.
    pub fn mint(&self, claims: &Map<String, Value>) -> String {
        let claims = Value::Object(claims.clone());
        mint(&self.key.key, &self.key.kid, &Map::new(), &claims)
    }
}

fn document(value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        hyper::header::HeaderValue::from_static("application/json"),
    );
    headers.insert(
        "cache-control",
        hyper::header::HeaderValue::from_static("public, max-age=300"),
    );
    response
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::get;
    use crate::token::algorithm::Algorithm;

    #[tokio::test]
    async fn keys_are_published_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let algorithm = Algorithm::named("ES256").unwrap();
        let key = IssuerKey::load_or_make(folder.path(), "shop", algorithm).unwrap();
        let issuer = Issuer::start("https://shop.example/", key).unwrap();

        let found = get(issuer.address(), "/.well-known/openid-configuration")
            .await
            .unwrap();
        let found = found.json().unwrap();
        assert_eq!(found["issuer"], "https://shop.example/");
        let expected = format!("http://{}/jwks.json", issuer.address());
        assert_eq!(found["jwks_uri"], expected);

        let jwks = get(issuer.address(), JWKS_PATH).await.unwrap();
        assert_eq!(jwks.json().unwrap(), issuer.key().jwks());
        assert_eq!(issuer.fetches(), 1);
        assert_eq!(get(issuer.address(), "/x").await.unwrap().status, 404);
        assert_eq!(issuer.mint(&Map::new()).split('.').count(), 3);
    }
}
