//! A VM that dies takes no request with it into the open: traffic is refused while it is gone, and
//! served once it is back.
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

use forecourt::cli::client::{self, Request};
use forecourt::cli::envoy::{Bootstrap, Envoy, Filter, find};
use forecourt::cli::serve::Service;
use support::envoy::module_with_hooks;

#[tokio::test]
async fn a_dead_vm_refuses_and_comes_back() {
    let service = Service::start().unwrap();
    let policy =
        r#"{"version":"forecourt/v1","routes":[{"match":{"path":"/open"},"access":"public"}]}"#;
    let filter = Filter {
        module: module_with_hooks(),
        policy: policy.into(),
    };
    let bootstrap = Bootstrap::new(service.url().parse().unwrap(), Some(filter));
    let binary = find(None, &mut |note| eprintln!("{note}")).unwrap();
    let envoy = Envoy::start(&binary, &bootstrap).await.unwrap();
    let ask = || async { client::get(envoy.listener(), "/open").await.unwrap().status };
    assert_eq!(ask().await, 200);

    service.forget();
    let kill = Request::new("GET", "/open").header("x-forecourt-test-trap", "1");
    let answer = client::send(envoy.listener(), &kill).await.unwrap();
    assert_eq!(answer.status, 503, "the request in hand is refused");
    assert_eq!(service.count(), 0, "and did not pass");

    // Until it is back every answer is a refusal; how long that takes is Envoy's to choose.
    let mut refused = 0;
    loop {
        let before = service.count();
        match ask().await {
            200 => break,
            status => assert_eq!((status, service.count()), (503, before)),
        }
        refused += 1;
        assert!(refused < 600, "it did not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ask().await, 200);
}
