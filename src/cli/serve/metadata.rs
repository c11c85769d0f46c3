//! A metadata server as it stands beside every workload on Google Cloud, as strict as that one: it
//! answers only who says `Metadata-Flavor: Google`, and nobody who comes through a proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use serde_json::{Map, json};

use super::Reply;
use super::server::{Body, Server};
use crate::cli::clock;
use crate::cli::keys::IssuerKey;
use crate::token::mint::mint;

/// What the tokens say of their issuer.
pub const ISSUER: &str = "https://accounts.google.com";
const IDENTITY: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

/// A running metadata server; dropping it ends it.
pub struct Metadata {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    key: IssuerKey,
    email: String,
    lifetime: u64,
    /// The audiences that were asked for, in order.
    asked: Vec<String>,
    /// What it answers in place of a token.
    told: Option<Reply>,
}

impl Metadata {
    /// Starts on a free port of 127.0.0.1. Its tokens name the service account of that address and
    /// live for so many seconds.
    pub fn start(key: IssuerKey, email: &str, lifetime: u64) -> io::Result<Self> {
        Self::start_on(0, key, email, lifetime)
    }

    /// Starts on that port of 127.0.0.1.
    pub fn start_on(port: u16, key: IssuerKey, email: &str, lifetime: u64) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State {
            key,
            email: email.to_owned(),
            lifetime,
            asked: Vec::new(),
            told: None,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(port, move |request| {
            let (answer, delay) = answer(&request, &mut lock(&shared));
            async move {
                tokio::time::sleep(delay).await;
                answer
            }
        })?;
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL, for `metadataServer`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The audiences that were asked for, in order, whatever the answer was.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }

    /// Answers this in place of tokens from now on; `None` for tokens.
    pub fn answer(&self, reply: Option<Reply>) {
        lock(&self.state).told = reply;
    }

    /// How long its tokens live from now on, in seconds.
    pub fn tokens_live(&self, seconds: u64) {
        lock(&self.state).lifetime = seconds;
    }

    /// A token for that audience, as it would give one.
    pub fn token(&self, audience: &str) -> String {
        lock(&self.state).token(audience)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn token(&self, audience: &str) -> String {
        let now = clock::now().0;
        let claims = json!({
            "iss": ISSUER, "aud": audience, "azp": "112233445566778899000",
            "sub": "112233445566778899000", "email": self.email, "email_verified": true,
            "iat": now, "exp": now + self.lifetime,
        });
        mint(&self.key.key, &self.key.kid, &Map::new(), &claims)
    }
}

fn answer(request: &Request<Incoming>, state: &mut State) -> (Response<Body>, Duration) {
    let field = |name: &str| request.headers().get(name);
    let refuse = |status, text: &str| (plain(status, text), Duration::ZERO);
    if field("x-forwarded-for").is_some() {
        return refuse(403, "Requests with X-Forwarded-For are refused.");
    }
    if field("metadata-flavor") != Some(&HeaderValue::from_static("Google")) {
        return refuse(403, "Missing Metadata-Flavor: Google header.");
    }
    if request.method() != "GET" || request.uri().path() != IDENTITY {
        return refuse(404, "Not found.");
    }
    let query = request.uri().query().unwrap_or_default();
    let mut audiences = form_urlencoded(query).filter(|(name, _)| name == "audience");
    let (Some((_, audience)), None) = (audiences.next(), audiences.next()) else {
        return refuse(400, "non-empty audience parameter required");
    };
    state.asked.push(audience.clone());
    match &state.told {
        None => (plain(200, &state.token(&audience)), Duration::ZERO),
        Some(told) => {
            let mut response = plain(told.status, "");
            *response.body_mut() = Full::new(Bytes::from(told.body.clone())).boxed_unsync();
            (response, told.delay)
        }
    }
}

/// The pairs of a query.
fn form_urlencoded(query: &str) -> impl Iterator<Item = (String, String)> {
    let decoded = |text: &str| {
        let text = percent_encoding::percent_decode_str(text);
        text.decode_utf8_lossy().into_owned()
    };
    query.split('&').map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn plain(status: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert("metadata-flavor", HeaderValue::from_static("Google"));
    headers.insert("content-type", HeaderValue::from_static("text/html"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::{self, send};
    use crate::token::algorithm::Algorithm;
    use crate::token::identity::IdentityToken;

    #[tokio::test]
    async fn it_is_as_strict_as_the_real_one() {
        let folder = tempfile::tempdir().unwrap();
        let algorithm = Algorithm::named("RS256").unwrap();
        let key = IssuerKey::load_or_make(folder.path(), "metadata", algorithm).unwrap();
        let metadata = Metadata::start(key, "edge@shop.example", 300).unwrap();
        let good = format!("{IDENTITY}?audience=https%3A%2F%2Fa.run.app");
        let ask = |target: &str| client::Request::new("GET", target);
        let flavored = |target: &str| ask(target).header("metadata-flavor", "Google");
        for (request, status) in [
            (ask(&good), 403),
            (ask(&good).header("metadata-flavor", "google"), 403),
            (flavored(&good).header("x-forwarded-for", "10.0.0.1"), 403),
            (flavored(IDENTITY), 400),
            (flavored("/computeMetadata/v1/project/project-id"), 404),
            (flavored(&good), 200),
        ] {
            let answer = send(metadata.address(), &request).await.unwrap();
            assert_eq!(answer.status, status, "{request:?}");
        }
        assert_eq!(metadata.asked(), ["https://a.run.app"]);
        let answer = send(metadata.address(), &flavored(&good)).await.unwrap();
        assert_eq!(answer.header("metadata-flavor"), Some("Google"));
        let now = clock::now();
        let token = IdentityToken::parse(&answer.body, "https://a.run.app", now).unwrap();
        assert!((260..=270).contains(&token.usable_for(now)));
        metadata.answer(Some(Reply::status(429)));
        let answer = send(metadata.address(), &flavored(&good)).await.unwrap();
        assert_eq!(answer.status, 429);
    }
}
