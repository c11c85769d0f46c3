//! The harness that other tests stand on: real Envoy starts, serves, says why it does not, and ends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::net::{SocketAddr, TcpListener};

use forecourt::cli::client::{Protocol, Request, send};
use forecourt::cli::envoy::{Bootstrap, Envoy, EnvoyBinary, StartError, find};
use forecourt::cli::serve::Service;

fn binary() -> EnvoyBinary {
    find(None, &mut |note| eprintln!("{note}")).unwrap()
}

fn bootstrap(service: &Service) -> Bootstrap {
    Bootstrap::new(service.url().parse().unwrap(), None)
}

#[tokio::test]
async fn requests_pass_whole_over_both_protocols() {
    let service = Service::start().unwrap();
    let envoy = Envoy::start(&binary(), &bootstrap(&service)).await.unwrap();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        service.forget();
        let request = Request::new("POST", "/a//b/../c?q=1")
            .over(protocol)
            .header("x_user", "mallory")
            .body_in_chunks("0123456789", 3)
            .trailer("x-sum", "7");
        let answer = send(envoy.listener(), &request).await.unwrap();
        assert_eq!(answer.status, 200);
        let seen = service.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].target, "/a/c?q=1");
        assert_eq!(seen[0].body, b"0123456789");
        assert_eq!(seen[0].header("x_user"), None);
        assert_eq!(seen[0].trailers, [("x-sum".to_owned(), b"7".to_vec())]);
    }
    let stats = envoy.stats().await.unwrap();
    assert_eq!(stats["http.forecourt.downstream_rq_completed"], 2);
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy: SocketAddr = holder.local_addr().unwrap();
    let service = Service::start().unwrap();
    for listen in [true, false] {
        let mut bootstrap = bootstrap(&service);
        if listen {
            bootstrap.listen = busy;
        } else {
            bootstrap.admin = busy;
        }
        let error = Envoy::start(&binary(), &bootstrap).await.unwrap_err();
        assert!(
            matches!(&error, StartError::AddressInUse(at) if *at == busy.to_string()),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn it_ends_when_asked_and_when_dropped() {
    let service = Service::start().unwrap();
    for ask in [true, false] {
        let envoy = Envoy::start(&binary(), &bootstrap(&service)).await.unwrap();
        let (admin, listener) = (envoy.admin(), envoy.listener());
        if ask {
            envoy.stop().await;
        } else {
            drop(envoy);
        }
        for port in [admin, listener] {
            assert!(std::net::TcpStream::connect(port).is_err());
        }
    }
}
