//! Whatever comes over the wire, the VM lives: bad input of every kind, then a good question.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

#[allow(dead_code, reason = "shared with other test binaries")]
mod support;

use std::time::Duration;

use forecourt::cli::client::{self, Protocol, Request};
use forecourt::cli::envoy::Envoy;
use forecourt::cli::serve::Service;
use serde_json::{Value, json};
use support::envoy::start;
use support::keys;

fn policy() -> Value {
    let mut policy = json!({
        "version": "forecourt/v1",
        "issuers": { "users": { "issuer": "https://users.example", "audiences": ["shop"], "algorithms": ["ES256"] } },
        "routes": [
            { "match": { "methods": ["GET"], "path": "/open" }, "access": "public", "cache": { "ttl": "5m" } },
            { "match": { "methods": ["GET"], "path": "/me" },
              "access": { "anyOf": ["users"], "forward": { "claims": { "sub": "x-user-id" } } } },
            { "match": { "methods": ["POST"], "path": "/orders" }, "access": "public",
              "request": { "body": { "contentTypes": ["application/json"], "maxBytes": 65536, "schema": { "type": "object" } } } }
        ]
    });
    keys::put_in(&mut policy);
    policy
}

/// The question that must be answered after every attack, and what must not have happened.
async fn still_alive(envoy: &Envoy, service: &Service, after: &str) {
    service.forget();
    let answer = client::get(envoy.listener(), "/open")
        .await
        .unwrap_or_else(|error| panic!("after {after}: {error}"));
    assert_eq!(answer.status, 200, "after {after}");
    assert_eq!(service.count(), 1, "after {after}");
    let log = envoy.log().all().join("\n");
    for word in ["panicked", "Function: proxy_on", "Wasm VM failed"] {
        assert!(!log.contains(word), "after {after}: {log}");
    }
}

#[tokio::test]
async fn raw_bytes_of_every_kind() {
    let service = Service::start().unwrap();
    let envoy = start(&service, &policy()).await;
    let huge = "a".repeat(50_000);
    let many: String = (0..90).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let attacks: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("a value that is not UTF-8", vec![b"GET /me HTTP/1.1\r\nhost: a\r\nauthorization: Bearer \xff\xfe\x80\r\n\r\n".to_vec()]),
        ("other values that are not UTF-8", vec![b"GET /open HTTP/1.1\r\nhost: \xff\r\nx-user-id: \xff\r\ncookie: \xc3\x28\r\n\r\n".to_vec()]),
        ("a name that is not UTF-8", vec![b"GET /open HTTP/1.1\r\nhost: a\r\nx-\xff\xfe: 1\r\n\r\n".to_vec()]),
        ("a path that is not UTF-8", vec![b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()]),
        ("a method of its own", vec![b"M\x01 /open HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()]),
        ("an empty token", vec![b"GET /me HTTP/1.1\r\nhost: a\r\nauthorization: Bearer \r\n\r\n".to_vec()]),
        ("an empty Authorization", vec![b"GET /me HTTP/1.1\r\nhost: a\r\nauthorization:\r\n\r\n".to_vec()]),
        ("a huge token", vec![format!("GET /me HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {huge}\r\n\r\n").into_bytes()]),
        ("dots for a token", vec![b"GET /me HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ..\r\n\r\n".to_vec()]),
        ("many headers", vec![format!("GET /me HTTP/1.1\r\nhost: a\r\n{many}\r\n").into_bytes()]),
        ("a long path", vec![format!("GET /{huge} HTTP/1.1\r\nhost: a\r\n\r\n").into_bytes()]),
        ("absolute form", vec![b"GET http://b/open HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()]),
        ("asterisk form", vec![b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()]),
        ("CONNECT", vec![b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()]),
        ("HTTP/1.0 without a host", vec![b"GET /open HTTP/1.0\r\n\r\n".to_vec()]),
        ("no HTTP at all", vec![b"\x00\x01\x02\x03\r\n\r\n".to_vec()]),
        ("a chunk size that is none", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec()]),
        ("a chunk that is too short", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{}\r\n0\r\n\r\n".to_vec()]),
        ("length and chunks at once", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec()]),
        ("two lengths", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_vec()]),
        ("a length of its own", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99999999999999999999999\r\n\r\n{}".to_vec()]),
        ("a body that ends early", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n".to_vec(), b"{\"a\":".to_vec()]),
        ("a body that is not UTF-8", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n{\"\xff}".to_vec()]),
        ("a content type that is not UTF-8", vec![b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: \xff\r\ncontent-length: 2\r\n\r\n{}".to_vec()]),
        ("two requests at once", vec![b"GET /me HTTP/1.1\r\nhost: a\r\n\r\nGET /open HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()]),
        ("HTTP/2 of garbage", vec![b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![0xff; 200]]),
    ];
    for (name, pieces) in &attacks {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let _ = client::raw(envoy.listener(), &pieces, Duration::from_millis(150)).await;
        still_alive(&envoy, &service, name).await;
    }
}

#[tokio::test]
async fn bodies_that_never_end_do_not_reach_the_service() {
    let service = Service::start().unwrap();
    let envoy = start(&service, &policy()).await;
    let head = b"POST /orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let _ = client::raw(
        envoy.listener(),
        &[head, b"5\r\n{\"a\":\r\n"],
        Duration::from_millis(200),
    )
    .await;
    assert_eq!(
        service.count(),
        0,
        "not even the headers of a request whose body broke off"
    );
    still_alive(&envoy, &service, "a broken chunked body").await;
}

#[tokio::test]
async fn values_of_every_size_over_both_protocols() {
    let service = Service::start().unwrap();
    let envoy = start(&service, &policy()).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        service.forget();
        for value in [
            &b""[..],
            b"\xff\xfe\xfd",
            b"\xc3\xa9",
            &[b'a'; 40_000][..],
            b"Bearer",
            b"Bearer a.b.c",
            b"Bearer \xff.\xff.\xff",
        ] {
            for name in [
                "authorization",
                "x-user-id",
                "cookie",
                "content-type",
                "x-any",
            ] {
                let request = Request::new("GET", "/me")
                    .header(name, value)
                    .over(protocol);
                if let Ok(answer) = client::send(envoy.listener(), &request).await {
                    assert!(
                        matches!(answer.status, 400 | 401 | 431),
                        "{name}: {}",
                        answer.status
                    );
                }
            }
        }
        let body = Request::new("POST", "/orders")
            .header("content-type", "application/json")
            .body_in_chunks(vec![0xff; 70_000], 9_000)
            .over(protocol);
        let answer = client::send(envoy.listener(), &body).await.unwrap();
        assert_eq!(answer.status, 413);
        assert_eq!(service.count(), 0);
        still_alive(&envoy, &service, &format!("{protocol:?}")).await;
    }
}
