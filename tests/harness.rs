//! The harness that other tests stand on: real Envoy starts, serves, says why it does not, and ends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::net::{SocketAddr, TcpListener};

use forecourt::cli::client::{Protocol, Request, send};
use forecourt::cli::envoy::{Bootstrap, Envoy, EnvoyBinary, Filter, StartError, find};
use forecourt::cli::module::module;
use forecourt::cli::serve::Service;

fn binary() -> EnvoyBinary {
    find(None, &mut |note| eprintln!("{note}")).unwrap()
}

fn bootstrap(service: &Service) -> Bootstrap {
    Bootstrap::new(service.url().parse().unwrap(), None)
}

fn filtered(service: &Service, policy: &str) -> Bootstrap {
    let filter = Filter {
        module: module(None, &mut |note| eprintln!("{note}")).unwrap(),
        policy: policy.to_owned(),
    };
    Bootstrap::new(service.url().parse().unwrap(), Some(filter))
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

#[tokio::test]
async fn a_policy_that_the_module_refuses_is_told_in_its_words() {
    let service = Service::start().unwrap();
    let policy =
        r#"{"version":"forecourt/v1","routes":[{"match":{"path":"/a"},"acess":"public"}]}"#;
    let bootstrap = filtered(&service, policy);
    let error = Envoy::start(&binary(), &bootstrap).await.unwrap_err();
    let StartError::PolicyRefused(said) = error else {
        panic!("{error}")
    };
    let told = |words: &str| said.iter().any(|line| line.contains(words));
    assert!(
        told("routes[0].acess: unknown key `acess`, did you mean `access`?"),
        "{said:?}"
    );
    assert!(!told("policy refused"), "{said:?}");
}

#[tokio::test]
async fn the_largest_body_passes_and_one_byte_more_is_refused_by_the_filter() {
    const LARGEST: usize = 300_000;
    let policy = serde_json::json!({
        "version": "forecourt/v1",
        "routes": [{
            "match": { "methods": ["POST"], "path": "/upload" },
            "access": "public",
            "request": { "body": {
                "contentTypes": ["application/json"], "maxBytes": LARGEST, "schema": { "type": "string" },
            }},
        }],
    });
    let service = Service::start().unwrap();
    let mut bootstrap = filtered(&service, &policy.to_string());
    bootstrap.largest_body = LARGEST as u64;
    let envoy = Envoy::start(&binary(), &bootstrap).await.unwrap();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for chunk in [LARGEST * 2, 50_000] {
            for (size, status) in [(LARGEST, 200), (LARGEST + 1, 413)] {
                service.forget();
                let body = format!("\"{}\"", "a".repeat(size - 2));
                let request = Request::new("POST", "/upload")
                    .over(protocol)
                    .header("content-type", "application/json")
                    .body_in_chunks(&body, chunk);
                let answer = send(envoy.listener(), &request).await.unwrap();
                let case = format!("{protocol:?}, {size} bytes in pieces of {chunk}");
                assert_eq!(answer.status, status, "{case}");
                if status == 200 {
                    assert_eq!(service.seen()[0].body, body.as_bytes(), "{case}");
                } else {
                    assert_eq!(answer.json().unwrap()["code"], "body_too_large", "{case}");
                    assert_eq!(service.count(), 0, "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn envoy_takes_an_upstream_with_tls() {
    let authorities = tempfile::NamedTempFile::new().unwrap();
    // Any certificate will do: nothing is sent.
    std::fs::write(authorities.path(), include_str!("data/authority.pem")).unwrap();
    for url in [
        "https://localhost:1",
        "https://127.0.0.1:1",
        "h2c://localhost:1",
    ] {
        let mut bootstrap = Bootstrap::new(url.parse().unwrap(), None);
        bootstrap.trusted_ca = Some(authorities.path().to_owned());
        let envoy = Envoy::start(&binary(), &bootstrap).await.unwrap();
        let answer = send(envoy.listener(), &Request::new("GET", "/"))
            .await
            .unwrap();
        assert_eq!(answer.status, 503, "{url}: nobody is there");
    }
}
