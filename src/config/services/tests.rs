use serde_json::{Value, json};

use crate::config;
use crate::policy::Policy;
use crate::service::CallerHeader;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const URL: &str = "https://orders-abc123-ew.a.run.app";

fn document(more: Value) -> Value {
    let mut document = json!({ "version": "forecourt/v1", "routes": [
        { "match": { "path": "/orders" }, "access": "public" },
    ]});
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn compile(more: Value) -> (Policy, Vec<String>) {
    let raw = config::raw(document(more)).unwrap();
    let (policy, warnings) = raw
        .compile()
        .unwrap_or_else(|problems| panic!("{problems}"));
    let warnings = warnings.0.iter().map(ToString::to_string).collect();
    (policy, warnings)
}

fn problems(more: Value) -> Vec<String> {
    let refused = config::from_value(document(more)).unwrap_err();
    refused.0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_private_service_needs_its_url_and_one_word() {
    let (policy, warnings) =
        compile(json!({ "services": { "orders": { "url": URL, "identity": "metadata" } } }));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(policy.identities.len(), 1);
    let identity = &policy.identities[0];
    assert_eq!(identity.audience, URL);
    assert_eq!(
        identity.server.url.to_string(),
        "http://metadata.google.internal/"
    );
    assert_eq!(identity.server.cluster, "metadata.google.internal");
    assert_eq!(identity.timeout, 5);
    let service = &policy.services[0];
    assert_eq!(service.cluster, "orders");
    let caller = service.caller.as_ref().unwrap();
    assert_eq!(caller.header, CallerHeader::Serverless);
    assert_eq!(
        policy.routes[0].service,
        Some(0),
        "the only one is the default"
    );
}

#[test]
fn a_public_service_is_shown_nobody() {
    let (policy, warnings) = compile(json!({ "services": { "shop": { "url": URL } } }));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(policy.services[0].caller, None);
    assert!(policy.identities.is_empty(), "nothing is fetched");
}

#[test]
fn services_with_one_audience_share_a_token() {
    let private = json!({ "url": URL, "identity": "metadata", "audience": "shop" });
    let (policy, _) = compile(json!({
        "services": { "a": private, "b": private }, "defaultService": "b",
    }));
    assert_eq!(policy.identities.len(), 1);
    assert_eq!(policy.routes[0].service, Some(1));
}

#[test]
fn the_headers_that_only_the_proxy_sets_are_removed_from_requests() {
    let (policy, _) = compile(json!({}));
    assert_eq!(policy.identity_headers, ["x-serverless-authorization"]);
    let (policy, _) = compile(json!({ "services": { "orders": {
        "url": URL, "identity": "metadata", "header": "authorization", "keepOriginalAs": "X-User_Auth",
    }}}));
    let expected = [
        "x-forecourt-service",
        "x-serverless-authorization",
        "x-user-auth",
    ];
    assert_eq!(policy.identity_headers, expected);
}

#[test]
fn what_may_not_be_meant_is_said() {
    let (_, warnings) = compile(json!({ "services": {
        "a": { "url": "https://orders.shop.example", "identity": "metadata" },
        "b": { "url": URL },
    }, "defaultService": "a" }));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("services.a.url: is no run.app URL"));
    assert_eq!(warnings[1], "services.b: no route goes to it");
}

#[test]
fn every_mistake_is_named_with_its_mend() {
    let private = |more: Value| {
        let mut service = json!({ "url": URL, "identity": "metadata" });
        for (name, value) in more.as_object().unwrap() {
            service[name] = value.clone();
        }
        json!({ "services": { "orders": service } })
    };
    let two = json!({ "orders": { "url": URL }, "shop": { "url": URL } });
    for (policy, expected) in [
        (
            json!({ "services": { "orders": {} } }),
            "services.orders: does not say where it is; write `url: https://",
        ),
        (
            json!({ "services": { "a b": { "url": URL } } }),
            "services[\"a b\"]: is no name for a service",
        ),
        (
            private(json!({ "url": "https://a.run.app/orders" })),
            "services.orders.url: `https://a.run.app/orders` is not a URL without a path",
        ),
        (
            private(json!({ "url": "http://a.run.app", "audience": URL })),
            "services.orders.url: is not https: the identity token could be read",
        ),
        (
            private(json!({ "url": "http://127.0.0.1:8080" })),
            "services.orders: has an identity and no audience",
        ),
        (
            private(json!({ "audience": "a b" })),
            "services.orders.audience: is no audience",
        ),
        (
            private(json!({ "audience": "" })),
            "services.orders.audience: is no audience",
        ),
        (
            private(json!({ "cluster": "" })),
            "services.orders.cluster: is empty",
        ),
        (
            private(json!({ "keepOriginalAs": "x-user-auth" })),
            "services.orders.keepOriginalAs: goes with `header: authorization`",
        ),
        (
            private(
                json!({ "header": "authorization", "keepOriginalAs": "x-serverless-authorization" }),
            ),
            "services.orders.keepOriginalAs: `x-serverless-authorization` has a meaning of its own",
        ),
        (
            private(json!({ "header": "x-identity" })),
            "services.orders.header: ",
        ),
        (
            json!({ "services": { "orders": { "url": URL, "audience": URL } } }),
            "services.orders.audience: goes with `identity: metadata`",
        ),
        (
            json!({ "services": two }),
            "routes[0]: goes to no service; write `to: NAME` here",
        ),
        (
            json!({ "services": two, "defaultService": "order" }),
            "defaultService: no service is called `order`, did you mean `orders`?",
        ),
        (
            json!({ "metadataServer": { "url": "http://metadata.example" } }),
            "metadataServer.url: `http://metadata.example` is not https and not on this machine",
        ),
        (
            json!({ "metadataServer": { "timeout": "2m" } }),
            "metadataServer.timeout: is 2m; write something from 1s to 1m",
        ),
        (
            json!({ "routes": [{ "match": { "path": "/a" }, "access": "public", "to": "orders" }] }),
            "routes[0].to: no service is called `orders`",
        ),
        (
            json!({ "services": two, "unmatched": "allow", "routes": [
                { "match": { "path": "/a" }, "access": "public", "to": "orders" },
                { "match": { "path": "/b" }, "access": "public", "to": "shop" },
            ] }),
            "unmatched: lets requests pass that no route takes, to no service",
        ),
    ] {
        let found = problems(policy.clone());
        let told = found.iter().any(|problem| problem.starts_with(expected));
        assert!(told, "{policy}: {found:?}");
        assert!(found.len() <= 2, "{policy}: {found:?}");
    }
}

#[test]
fn a_header_is_written_by_one_alone() {
    let found = problems(json!({
        "issuers": { "idp": { "issuer": "https://idp.example", "audiences": ["x"],
                              "jwks": { "uri": "https://idp.example/k" }, "algorithms": ["ES256"] } },
        "services": { "orders": { "url": URL, "identity": "metadata",
                                  "header": "authorization", "keepOriginalAs": "x-user" } },
        "routes": [{ "match": { "path": "/a" },
                     "access": { "anyOf": ["idp"], "forward": { "claims": { "sub": "x-user" } } } }],
    }));
    assert_eq!(
        found,
        ["services.orders.keepOriginalAs: a route writes a claim to `x-user` already"]
    );
}
