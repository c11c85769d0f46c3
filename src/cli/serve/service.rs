//! A small service as one runs it on Cloud Run: it answers what it is told to, and remembers all
//! that reaches it, if only by its head.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode, http};
use serde_json::{Value, json};

use super::gate::Gate;
use super::server::{Body, Server};
use crate::cli::client::pairs;

/// A running service; dropping it ends it.
#[derive(Debug)]
pub struct Service {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    turned_away: usize,
    replies: BTreeMap<String, Reply>,
}

/// A request that reached the service.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `Host` or `:authority`.
    pub authority: String,
    /// The fields, names in lower case, repeated names kept apart.
    pub headers: Vec<(String, Vec<u8>)>,
    /// As much of the body as came.
    pub body: Vec<u8>,
    /// The fields after the body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Whether the request came to its proper end. A request whose head came and whose body was
    /// broken off stays `false`.
    pub complete: bool,
}

impl Seen {
    /// The first field of that name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(held, _)| held == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// What the service is to answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The fields, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The fields after the body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// How long the answer takes.
    pub delay: Duration,
}

impl Default for Reply {
    fn default() -> Self {
        Self::status(200)
    }
}

impl Reply {
    /// An answer without headers and body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Adds a field after the body.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Makes the answer take that long.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl Service {
    /// Starts on a free port of 127.0.0.1.
    pub fn start() -> io::Result<Self> {
        Self::start_on(0)
    }

    /// Starts on that port of 127.0.0.1.
    pub fn start_on(port: u16) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = Server::start(port, move |request| serve(request, Arc::clone(&shared)))?;
        Ok(Self { server, state })
    }

    /// Starts a private service on a free port of 127.0.0.1: only what the gate lets through reaches
    /// it.
    pub fn start_behind(gate: Gate) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = Server::start(0, move |mut request: hyper::Request<Incoming>| {
            let (gate, state) = (gate.clone(), Arc::clone(&shared));
            async move {
                match gate.admit(request.headers_mut()) {
                    Ok(()) => serve(request, state).await,
                    Err(status) => {
                        lock(&state).turned_away += 1;
                        response(Reply::status(status))
                    }
                }
            }
        })?;
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL, as an upstream.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Answers every request to that path (without query) in this way from now on; `POST /orders`
    /// speaks of one method only, and goes before `/orders`. What nobody spoke of is echoed.
    pub fn answer(&self, what: &str, reply: Reply) {
        lock(&self.state).replies.insert(what.to_owned(), reply);
    }

    /// How many requests have reached it, if only by their head.
    pub fn count(&self) -> usize {
        lock(&self.state).seen.len()
    }

    /// How many requests its gate has turned away.
    pub fn turned_away(&self) -> usize {
        lock(&self.state).turned_away
    }

    /// All that has reached it, in the order of the heads.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// Forgets what it has seen; the answers stay.
    pub fn forget(&self) {
        lock(&self.state).seen.clear();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(request: hyper::Request<Incoming>, state: Arc<Mutex<State>>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let index = {
        let mut state = lock(&state);
        state.seen.push(seen(&head));
        state.seen.len() - 1
    };
    // `forget` may have come in between: then this request is no longer of interest.
    let update = |change: &dyn Fn(&mut Seen)| {
        if let Some(seen) = lock(&state).seen.get_mut(index) {
            change(seen);
        }
    };
    let mut whole = Vec::new();
    loop {
        match body.frame().await {
            None => {
                update(&|seen| seen.complete = true);
                break;
            }
            Some(Err(_)) => break,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    whole.extend_from_slice(data);
                    update(&|seen| seen.body.extend_from_slice(data));
                } else if let Some(trailers) = frame.trailers_ref() {
                    update(&|seen| seen.trailers = pairs(trailers));
                }
            }
        }
    }
    let told = told(&lock(&state), &head);
    let reply = told.unwrap_or_else(|| echo(&head, &whole));
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    response(reply)
}

fn told(state: &State, head: &http::request::Parts) -> Option<Reply> {
    let path = head.uri.path();
    let exact = state.replies.get(&format!("{} {path}", head.method));
    exact.or_else(|| state.replies.get(path)).cloned()
}

fn seen(head: &http::request::Parts) -> Seen {
    let host = head.headers.get("host").and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(|authority| authority.as_str());
    Seen {
        method: head.method.to_string(),
        target: head
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string),
        authority: authority.or(host).unwrap_or_default().to_owned(),
        headers: pairs(&head.headers),
        ..Seen::default()
    }
}

/// Tells the caller what came, so that one can see with curl what the filter did to it.
fn echo(head: &http::request::Parts, body: &[u8]) -> Reply {
    let headers: serde_json::Map<String, Value> = head
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), Value::from(value))
        })
        .collect();
    Reply::json(
        200,
        &json!({
            "method": head.method.as_str(),
            "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
            "headers": headers,
            "body": String::from_utf8_lossy(body),
        }),
    )
}

fn response(reply: Reply) -> Response<Body> {
    let mut response = Response::new(body(reply.body, &reply.trailers));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in reply.headers {
        append(response.headers_mut(), &name, &value);
    }
    response
}

fn body(body: Vec<u8>, trailers: &[(String, Vec<u8>)]) -> Body {
    let body = Full::new(Bytes::from(body));
    if trailers.is_empty() {
        return body.boxed_unsync();
    }
    let mut map = http::HeaderMap::new();
    for (name, value) in trailers {
        append(&mut map, name, value);
    }
    body.with_trailers(std::future::ready(Some(Ok(map))))
        .boxed_unsync()
}

/// Adds a field; one that HTTP cannot carry is left out.
fn append(map: &mut http::HeaderMap, name: &str, value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
        map.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::{Protocol, Request, raw, send};

    #[tokio::test]
    async fn all_that_comes_is_remembered_over_both_protocols() {
        let service = Service::start().unwrap();
        for protocol in [Protocol::Http1, Protocol::Http2] {
            service.forget();
            let request = Request::new("POST", "/orders?x=1")
                .over(protocol)
                .header("x-mark", b"caf\xe9")
                .header("x-mark", "two")
                .body_in_chunks("hello world", 3)
                .trailer("x-sum", "7");
            let answer = send(service.address(), &request).await.unwrap();
            assert_eq!(answer.status, 200, "{protocol:?}");
            assert_eq!(answer.json().unwrap()["body"], "hello world");

            let seen = service.seen();
            let [seen] = seen.as_slice() else {
                panic!("{seen:?}")
            };
            assert_eq!(
                (seen.method.as_str(), seen.target.as_str()),
                ("POST", "/orders?x=1")
            );
            assert_eq!(seen.authority, service.address().to_string());
            assert_eq!(seen.body, b"hello world");
            assert!(seen.complete);
            let marks: Vec<_> = seen.headers.iter().filter(|(n, _)| n == "x-mark").collect();
            assert_eq!(marks.len(), 2);
            assert_eq!(marks[0].1, b"caf\xe9");
            assert_eq!(seen.trailers, [("x-sum".to_owned(), b"7".to_vec())]);
        }
    }

    #[tokio::test]
    async fn answers_are_as_told() {
        let service = Service::start().unwrap();
        let told = Reply::json(201, &json!({"id": 7}))
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .trailer("x-end", "yes");
        service.answer("GET /orders", told);
        service.answer("/orders", Reply::status(503));
        let request = Request::new("GET", "/orders?page=2").over(Protocol::Http2);
        let answer = send(service.address(), &request).await.unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.text(), "{\"id\":7}");
        let cookies = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        assert_eq!(cookies.count(), 2);
        assert_eq!(answer.trailers, [("x-end".to_owned(), b"yes".to_vec())]);
    }

    #[tokio::test]
    async fn a_head_counts_even_if_the_body_never_comes() {
        let service = Service::start().unwrap();
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab";
        raw(service.address(), &[head], Duration::from_millis(200))
            .await
            .unwrap();
        assert_eq!(service.count(), 1);
        assert!(!service.seen()[0].complete);
    }
}
