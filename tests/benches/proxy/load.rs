//! A bounded load: so many connections, each with one request on its way at any time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::http::response::Parts;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// What is sent to a chain, over and over.
#[derive(Clone, Debug)]
pub struct Traffic {
    pub method: &'static str,
    pub path: String,
    /// Sent one after the other as `Authorization: Bearer …`, from the first again after the last.
    pub tokens: Arc<[String]>,
    pub next: Arc<AtomicUsize>,
    /// A JSON body, or none.
    pub body: Bytes,
    /// What every answer must be.
    pub status: u16,
    pub http2: bool,
}

impl Traffic {
    /// The head of one answer.
    pub async fn once(&self, to: SocketAddr) -> Parts {
        let mut sender = Sender::connect(to, self.http2).await;
        let answer = sender.send(self.request(&to.to_string())).await;
        answer.into_parts().0
    }

    fn request(&self, authority: &str) -> Request<Full<Bytes>> {
        let target = match self.http2 {
            true => format!("http://{authority}{}", self.path),
            false => self.path.clone(),
        };
        let mut request = Request::builder()
            .method(self.method)
            .uri(target)
            .header("user-agent", "forecourt-bench")
            .header("accept", "*/*");
        if !self.http2 {
            request = request.header("host", authority);
        }
        if !self.tokens.is_empty() {
            let index = self.next.fetch_add(1, Ordering::Relaxed) % self.tokens.len();
            let value = format!("Bearer {}", self.tokens[index]);
            request = request.header("authorization", value);
        }
        if !self.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        request.body(Full::new(self.body.clone())).unwrap()
    }
}

/// A turn to be.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub to: SocketAddr,
    pub connections: usize,
    pub length: Duration,
}

/// A turn as it was, but for what it cost.
#[derive(Debug)]
pub struct Timed {
    took: Duration,
    latencies: Vec<u32>,
}

/// What one chain did in one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub requests: usize,
    /// CPU time of every process of the chain, in microseconds for each request.
    pub cpu: f64,
    pub per_second: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
}

impl Timed {
    pub fn sample(mut self, spent: Duration) -> Sample {
        self.latencies.sort_unstable();
        let requests = self.latencies.len();
        let at = |share: f64| {
            let index = (requests as f64 * share) as usize;
            f64::from(self.latencies[index.min(requests - 1)])
        };
        Sample {
            requests,
            cpu: spent.as_secs_f64() * 1e6 / requests as f64,
            per_second: requests as f64 / self.took.as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

impl Load {
    pub async fn run(self, traffic: &Traffic) -> Timed {
        let started = Instant::now();
        let tasks: Vec<_> = (0..self.connections)
            .map(|_| tokio::spawn(self.connection(traffic.clone(), started)))
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.expect("a connection failed"));
        }
        Timed {
            took: started.elapsed(),
            latencies,
        }
    }

    async fn connection(self, traffic: Traffic, started: Instant) -> Vec<u32> {
        let authority = self.to.to_string();
        let mut sender = Sender::connect(self.to, traffic.http2).await;
        let mut latencies = Vec::new();
        while started.elapsed() < self.length {
            let request = traffic.request(&authority);
            // Envoy closes a connection whose body it has refused before all of it was there.
            if !sender.is_ready().await {
                sender = Sender::connect(self.to, traffic.http2).await;
            }
            let sent = Instant::now();
            let answer = sender.send(request).await;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(
                status,
                traffic.status,
                "{} {}: {}",
                traffic.method,
                traffic.path,
                String::from_utf8_lossy(&body)
            );
            latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
        }
        latencies
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn connect(to: SocketAddr, http2: bool) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::Http1(sender)
        }
    }

    async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await.unwrap(),
            Self::Http2(sender) => sender.send_request(request).await.unwrap(),
        }
    }
}
