use serde_json::json;

use super::*;
use crate::cli::envoy::{Bootstrap, Cache, Filter, backends, extended};

const POLICY: &str = r#"{
    "version": "forecourt/v1",
    "routes": [{ "match": { "path": "/a" }, "access": "public" }]
}"#;

fn rendered(cache: Option<Cache>) -> Value {
    let filter = Filter {
        module: "forecourt.wasm".into(),
        policy: POLICY.to_owned(),
    };
    let mut bootstrap = Bootstrap::new("http://127.0.0.1:1".parse().unwrap(), Some(filter));
    bootstrap.cache = cache;
    bootstrap.to_value()
}

const MANAGER_AT: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const OPTIONS_AT: &str = "/static_resources/clusters/0/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn manager(document: &mut Value) -> &mut Value {
    document.pointer_mut(MANAGER_AT).unwrap()
}

fn plugin(document: &mut Value) -> &mut Value {
    let at = format!("{MANAGER_AT}/http_filters/0/typed_config/config");
    document.pointer_mut(&at).unwrap()
}

fn problems(document: &Value) -> Vec<String> {
    let (problems, _) = check(document);
    problems.0.iter().map(ToString::to_string).collect()
}

/// Whether there is exactly this to complain about.
fn only(document: &Value, words: &str) {
    let found = problems(document);
    assert_eq!(found.len(), 1, "{words}: {found:#?}");
    assert!(found[0].contains(words), "{found:#?}");
}

#[test]
fn what_is_rendered_is_right() {
    for cache in [None, Some(Cache::Simple), Some(Cache::V2)] {
        let (problems, warnings) = check(&rendered(cache));
        assert!(problems.is_empty(), "{cache:?}: {:?}", problems.0);
        assert!(warnings.0.is_empty(), "{cache:?}: {:?}", warnings.0);
    }
}

#[test]
fn the_cache_stands_between_the_two() {
    for cache in [Cache::Simple, Cache::V2] {
        let mut swapped = rendered(Some(cache));
        let filters = manager(&mut swapped)["http_filters"]
            .as_array_mut()
            .unwrap();
        filters.swap(0, 1);
        only(&swapped, "stands behind the cache");

        let mut bare = rendered(Some(cache));
        let options = bare.pointer_mut(OPTIONS_AT).unwrap();
        options["http_filters"].as_array_mut().unwrap().remove(0);
        only(&bare, "cluster `upstream` has no Forecourt");

        let mut whole = rendered(Some(cache));
        plugin(&mut whole)["configuration"]["value"] = POLICY.into();
        only(&whole, "without `role: request`");

        let mut turned = rendered(Some(cache));
        let request = plugin(&mut turned)["configuration"].take();
        let at = format!("{OPTIONS_AT}/http_filters/0/typed_config/config/configuration");
        let response = turned.pointer_mut(&at).unwrap().take();
        *turned.pointer_mut(&at).unwrap() = request;
        plugin(&mut turned)["configuration"] = response;
        let found = problems(&turned);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("no token and no request is checked"));
        assert!(found[1].contains("checks belong into the listener's"));

        let mut uncached = rendered(Some(cache));
        let filters = manager(&mut uncached)["http_filters"]
            .as_array_mut()
            .unwrap();
        filters.remove(1);
        only(&uncached, "no cache behind it");
    }
}

#[test]
fn the_plugin_is_in_full_force() {
    for (field, value, words) in [
        ("allow_on_headers_stop_iteration", json!(false), "hangs"),
        ("failure_policy", json!("FAIL_OPEN"), "fails open"),
        ("fail_open", json!(true), "fails open"),
        ("configuration", json!({}), "holds no policy"),
        (
            "configuration",
            json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": r#"{"version":"forecourt/v1"}"# }),
            "policy refused",
        ),
    ] {
        let mut document = rendered(None);
        plugin(&mut document)[field] = value;
        only(&document, words);
    }
    let mut document = rendered(None);
    let policy: Value = serde_json::from_str(POLICY).unwrap();
    let kind = "type.googleapis.com/google.protobuf.Struct";
    plugin(&mut document)["configuration"] = json!({ "@type": kind, "value": policy });
    assert!(problems(&document).is_empty());
    plugin(&mut document)["failure_policy"] = "FAIL_CLOSED".into();
    let (problems, warnings) = check(&document);
    assert!(problems.is_empty());
    assert!(warnings.0[0].message.contains("FAIL_RELOAD"));
}

#[test]
fn nothing_goes_round_the_filter() {
    let mut document = rendered(None);
    manager(&mut document)["normalize_path"] = false.into();
    only(&document, "`normalize_path` is not true");

    let mut document = rendered(None);
    manager(&mut document)["http_filters"][0]["disabled"] = true.into();
    only(&document, "is disabled");

    let mut document = rendered(None);
    let route = "/route_config/virtual_hosts/0/routes/0";
    let route = manager(&mut document).pointer_mut(route).unwrap();
    route["typed_per_filter_config"] = json!({ "forecourt": { "disabled": true } });
    only(&document, "switches Forecourt off");

    let mut document = rendered(None);
    manager(&mut document)["http_filters"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    only(&document, "no listener runs Forecourt");
    only(&json!({}), "no listener runs Forecourt");
}

#[test]
fn dumps_and_discovered_filters_are_read_too() {
    let mut document = rendered(Some(Cache::V2));
    let cluster = document
        .pointer_mut("/static_resources/clusters/0")
        .unwrap()
        .take();
    let listener = document
        .pointer_mut("/static_resources/listeners/0")
        .unwrap()
        .take();
    let mut dump = json!({ "configs": [
        { "static_clusters": [{ "cluster": cluster }] },
        { "dynamic_listeners": [{ "name": "l", "active_state": { "listener": listener } }] },
        { "ecds_filters": [] },
    ]});
    assert!(problems(&dump).is_empty(), "{:?}", problems(&dump));

    let at = "/configs/1/dynamic_listeners/0/active_state/listener/filter_chains/0/filters/0/typed_config/http_filters/0";
    let filter = dump.pointer_mut(at).unwrap();
    let own = filter.take();
    *filter = json!({ "name": "forecourt", "config_discovery": {} });
    assert!(problems(&dump)[0].contains("no listener runs Forecourt"));
    let kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
    let own = extended(own, json!({ "@type": kind }));
    dump["configs"][2]["ecds_filters"] = json!([{ "ecds_filter": own }]);
    assert!(problems(&dump).is_empty(), "{:?}", problems(&dump));
}

/// Two services, one of them private.
fn with_services(cache: Option<Cache>) -> Value {
    let policy = json!({
        "version": "forecourt/v1",
        "services": {
            "orders": { "url": "https://orders-abc123-ew.a.run.app", "identity": "metadata" },
            "shop": { "url": "https://shop-abc123-ew.a.run.app" },
        },
        "defaultService": "shop",
        "routes": [{ "match": { "path": "/orders" }, "access": "public", "to": "orders" }],
    });
    let compiled = config::from_value(policy.clone()).unwrap();
    let filter = Filter {
        module: "forecourt.wasm".into(),
        policy: policy.to_string(),
    };
    let mut bootstrap = Bootstrap::before(backends(&compiled, &[]).unwrap(), Some(filter));
    bootstrap.fit(&compiled);
    bootstrap.cache = cache;
    bootstrap.to_value()
}

fn routes(document: &mut Value) -> &mut Vec<Value> {
    let routes = manager(document).pointer_mut("/route_config/virtual_hosts/0/routes");
    routes.unwrap().as_array_mut().unwrap()
}

#[test]
fn every_service_has_its_route() {
    for cache in [None, Some(Cache::Simple), Some(Cache::V2)] {
        let (problems, warnings) = check(&with_services(cache));
        assert!(problems.is_empty(), "{cache:?}: {:?}", problems.0);
        assert!(warnings.0.is_empty(), "{cache:?}: {:?}", warnings.0);
    }
    let mut document = with_services(None);
    routes(&mut document).remove(0);
    only(&document, "`x-forecourt-service: orders` only");
    let mut document = with_services(None);
    routes(&mut document)[0]["match"]["headers"][0]["string_match"] = json!({ "prefix": "orders" });
    only(&document, "`x-forecourt-service: orders` only");
    let mut document = with_services(None);
    routes(&mut document)[1]["match"]["headers"][0]["name"] = json!("x-service");
    only(&document, "`x-forecourt-service: shop` only");
}

#[test]
fn an_identity_goes_to_its_service_alone() {
    let mut document = with_services(None);
    routes(&mut document)[0]["route"]["request_mirror_policies"] = json!([{ "cluster": "shop" }]);
    only(&document, "mirrors requests, identity token and all");
    let mut document = with_services(None);
    routes(&mut document)[0]["route"]["internal_redirect_policy"] = json!({});
    let (problems, warnings) = check(&document);
    assert!(problems.is_empty(), "{:?}", problems.0);
    assert_eq!(warnings.0.len(), 1);
    assert!(warnings.0[0].message.contains("internal_redirect_policy"));
}
