//! An HTTP client for the demo and the tests: HTTP/1.1 and HTTP/2 without TLS, bodies in chunks,
//! trailers, and raw bytes for what no proper client would send.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri, http};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a request is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// A request to send.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `Host` or `:authority`; the server's address if `None`.
    pub authority: Option<String>,
    /// Further fields, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, piece by piece; none if empty. One piece is sent with `Content-Length`, several
    /// without (chunked in HTTP/1.1).
    pub chunks: Vec<Vec<u8>>,
    /// How long to wait between two pieces, so that the proxy reads them one by one.
    pub pause: Duration,
    /// Fields after the body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// How it is sent.
    pub protocol: Protocol,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Takes the body as one piece.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.chunks = vec![body.as_ref().to_vec()];
        self
    }

    /// Takes the body in pieces of `size` bytes, a little apart in time.
    #[must_use]
    pub fn body_in_chunks(mut self, body: impl AsRef<[u8]>, size: usize) -> Self {
        self.chunks = body
            .as_ref()
            .chunks(size.max(1))
            .map(<[u8]>::to_vec)
            .collect();
        self.pause = Duration::from_millis(1);
        self
    }

    /// Adds a field after the body.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Chooses the protocol.
    #[must_use]
    pub fn over(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The fields, names in lower case, repeated names kept apart.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The fields after the body.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Answer {
    /// The first field of that name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(held, _)| held == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The body as JSON, if it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or the connection broke.
    #[error("{0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// The request cannot be written by a proper client.
    #[error("not a request: {0}")]
    Request(#[from] http::Error),
    /// The exchange broke off.
    #[error("the exchange broke off: {0}")]
    Exchange(#[from] hyper::Error),
    /// The answer did not come in time.
    #[error("no answer within {} seconds", PATIENCE.as_secs())]
    TooLate,
}

/// Sends a request on a connection of its own and reads the whole answer.
pub async fn send(to: SocketAddr, request: &Request) -> Result<Answer, ClientError> {
    timeout(PATIENCE, exchange(to, request))
        .await
        .map_err(|_| ClientError::TooLate)?
}

/// `GET target`, for the admin interface and the like.
pub async fn get(to: SocketAddr, target: &str) -> Result<Answer, ClientError> {
    send(to, &Request::new("GET", target)).await
}

/// Writes `pieces` to a connection, a little apart, and returns all that comes back until the other
/// side closes or says nothing for `quiet`.
pub async fn raw(to: SocketAddr, pieces: &[&[u8]], quiet: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    for piece in pieces {
        // The other side may refuse and close before it has read everything.
        if stream.write_all(piece).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(2)).await;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout(quiet, stream.read(&mut buffer)).await {
        answer.extend(buffer.iter().take(read));
    }
    Ok(answer)
}

async fn exchange(to: SocketAddr, request: &Request) -> Result<Answer, ClientError> {
    let stream = TcpStream::connect(to)
        .await
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|error| ClientError::Connect(to, error))?;
    let message = message(to, request)?;
    let io = TokioIo::new(stream);
    let answer = match request.protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
                .preserve_header_case(true)
                .handshake(io)
                .await?;
            let driver = tokio::spawn(connection);
            let answer = read(sender.send_request(message).await?).await;
            driver.abort();
            answer
        }
        Protocol::Http2 => {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            let driver = tokio::spawn(connection);
            let answer = read(sender.send_request(message).await?).await;
            driver.abort();
            answer
        }
    };
    Ok(answer?)
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

fn message(to: SocketAddr, request: &Request) -> Result<http::Request<Body>, ClientError> {
    let authority = request.authority.clone().unwrap_or_else(|| to.to_string());
    let target: Uri = match request.protocol {
        Protocol::Http1 => request.target.parse().map_err(http::Error::from)?,
        Protocol::Http2 => Uri::builder()
            .scheme("http")
            .authority(authority.as_str())
            .path_and_query(request.target.as_str())
            .build()?,
    };
    let mut message = http::Request::builder()
        .method(request.method.as_str())
        .uri(target);
    if request.protocol == Protocol::Http1 && !has(request, "host") {
        message = message.header("host", authority);
    }
    for (name, value) in &request.headers {
        message = message.header(
            HeaderName::try_from(name.as_str()).map_err(http::Error::from)?,
            HeaderValue::from_bytes(value).map_err(http::Error::from)?,
        );
    }
    if let ([whole], true) = (request.chunks.as_slice(), request.trailers.is_empty())
        && !has(request, "content-length")
        && !has(request, "transfer-encoding")
    {
        message = message.header("content-length", whole.len());
    }
    if !request.trailers.is_empty() && request.protocol == Protocol::Http1 {
        // RFC 9110 §6.6.2; hyper sends only the fields announced here.
        let names: Vec<_> = request
            .trailers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        message = message.header("trailer", names.join(", "));
    }
    Ok(message.body(body(request)?)?)
}

fn has(request: &Request, name: &str) -> bool {
    request
        .headers
        .iter()
        .any(|(held, _)| held.eq_ignore_ascii_case(name))
}

/// A body fed from a task of its own: its length is unknown to hyper, so that each piece goes out
/// when it comes.
fn body(request: &Request) -> Result<Body, ClientError> {
    if request.chunks.is_empty() && request.trailers.is_empty() {
        return Ok(http_body_util::Empty::new().boxed_unsync());
    }
    let mut frames: Vec<_> = request
        .chunks
        .iter()
        .map(|chunk| Frame::data(Bytes::from(chunk.clone())))
        .collect();
    if !request.trailers.is_empty() {
        frames.push(Frame::trailers(fields(&request.trailers)?));
    }
    let pause = request.pause;
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(async move {
        for frame in frames {
            // An error means that the other side wants no more of it.
            if sender.send(frame).await.is_err() {
                break;
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    });
    Ok(body.boxed_unsync())
}

fn fields(fields: &[(String, Vec<u8>)]) -> Result<HeaderMap, http::Error> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(
            HeaderName::try_from(name.as_str())?,
            HeaderValue::from_bytes(value)?,
        );
    }
    Ok(map)
}

async fn read(answer: http::Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, body) = answer.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().map(pairs).unwrap_or_default();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: pairs(&head.headers),
        trailers,
        body: collected.to_bytes().to_vec(),
    })
}

/// The fields in order, repeated names kept apart.
pub(super) fn pairs(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}
