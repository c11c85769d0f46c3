//! A server on a loopback port, on a thread of its own: it outlives any one test's runtime and ends
//! with its owner.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A body of any kind.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A running server; dropping it ends it and all its connections.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    _alive: oneshot::Sender<Infallible>,
}

impl Server {
    /// Serves HTTP/1.1 and HTTP/2 without TLS at that port of 127.0.0.1; port 0 lets the system
    /// choose.
    pub(super) fn start<H, F>(port: u16, handle: H) -> io::Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (alive, dropped) = oneshot::channel();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = accept(listener, handle) => (),
                    _ = dropped => (),
                }
            });
        });
        Ok(Self {
            address,
            _alive: alive,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept<H, F>(listener: std::net::TcpListener, handle: H) -> io::Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    loop {
        // A connection that was gone before it was taken is no reason to end.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let handle = handle.clone();
        let service = service_fn(move |request| {
            let answer = handle(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().keep_alive(true);
            // A client that breaks off is the client's business.
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
