//! What `forecourt render` prints: the files in the tree are it, Kubernetes takes it, Envoy runs it.
//!
//! Manifests are booted in real Envoy after the translation that istiod and the proxy's agent make of
//! them (Istio 86c9f01: `pilot/pkg/config/kube/extensions/translate.go`, `pilot/pkg/model/extensions.go`,
//! `pilot/pkg/networking/core/envoyfilter/listener_patch.go`, `pkg/wasm/convert.go`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forecourt::cli::client::{self, Request};
use forecourt::cli::envoy::{Bootstrap, Envoy, Options, find};
use forecourt::cli::module::module;
use forecourt::cli::serve::Service;
use serde_json::{Value, json};

const ISTIO: &[&str] = &[
    "render",
    "istio",
    "envoy/demo-policy.yaml",
    "--url",
    "oci://registry.example/forecourt:0.1.0",
    "--namespace",
    "istio-ingress",
    "--gateway",
    "public",
];

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the command prints.
fn forecourt(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_forecourt"))
        .args(arguments)
        .current_dir(tree())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn istio(more: &[&str]) -> String {
    forecourt(&[ISTIO, more].concat())
}

fn file(path: &str) -> String {
    fs::read_to_string(tree().join(path)).unwrap()
}

/// The first document; what comes with a manifest follows it.
fn yaml(text: &str) -> Value {
    let first = text.split("\n---\n").next().unwrap();
    serde_yaml_ng::from_str(first).unwrap()
}

#[test]
fn the_files_in_the_tree_are_what_render_prints() {
    let envoy = [
        "render",
        "envoy",
        "envoy/demo-policy.yaml",
        "--upstream",
        "http://127.0.0.1:8080",
    ];
    let weak = |kind| istio(&["--kind", kind, "--stream-bodies"]);
    for (path, rendered) in [
        ("envoy/bootstrap.yaml", forecourt(&envoy)),
        ("istio/envoyfilter.yaml", istio(&[])),
        ("istio/wasmplugin.yaml", weak("wasmplugin")),
        ("istio/trafficextension.yaml", weak("trafficextension")),
    ] {
        if std::env::var_os("FORECOURT_BLESS").is_some() {
            fs::write(tree().join(path), &rendered).unwrap();
        }
        assert!(
            file(path) == rendered,
            "{path} is old; run this test with FORECOURT_BLESS=1"
        );
    }
}

#[test]
fn the_filter_that_the_readme_shows_is_the_one_that_is_rendered() {
    let readme = file("envoy/README.md");
    let (_, block) = readme.split_once("```yaml\nhttp_filters:").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let shown = &mut yaml(&format!("http_filters:{block}"))["http_filters"][0];
    let bootstrap = yaml(&file("envoy/bootstrap.yaml"));
    let listener = &bootstrap["static_resources"]["listeners"][0];
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    let mut rendered = manager["http_filters"][0].clone();
    let config = &mut rendered["typed_config"]["config"];
    config.as_object_mut().unwrap().remove("reload_config");
    config["configuration"]["value"] =
        shown["typed_config"]["config"]["configuration"]["value"].clone();
    assert_eq!(*shown, rendered);
}

// What Kubernetes says.

/// The schema of a kind, out of the custom resource definitions that Istio ships.
fn schema(kind: &str, version: &str) -> Option<Value> {
    let conformance = std::env::var_os("FORECOURT_CONFORMANCE")
        .map_or_else(|| tree().join("../shared/conformance"), PathBuf::from);
    let path = conformance.join("istio/crds.yaml");
    if !path.is_file() {
        let required = std::env::var_os("FORECOURT_REQUIRE_CONFORMANCE").is_some();
        assert!(!required, "{} is missing", path.display());
        eprintln!("skipped: {} is missing", path.display());
        return None;
    }
    let text = fs::read_to_string(path).unwrap();
    let definition = text
        .split("\n---\n")
        .map(yaml)
        .find(|definition| definition["spec"]["names"]["kind"] == kind)
        .unwrap_or_else(|| panic!("no definition of {kind}"));
    let versions = definition["spec"]["versions"].as_array().unwrap();
    let found = versions.iter().find(|entry| entry["name"] == version);
    Some(found.unwrap()["schema"]["openAPIV3Schema"].clone())
}

fn schema_of(manifest: &Value) -> Option<Value> {
    let (_, version) = manifest["apiVersion"]
        .as_str()
        .unwrap()
        .split_once('/')
        .unwrap();
    schema(manifest["kind"].as_str().unwrap(), version)
}

/// Members that the API server would drop, because the schema does not know them.
fn unknown(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                let any = &schema["additionalProperties"];
                match schema["properties"].get(name) {
                    Some(known) => unknown(member, known, &path, found),
                    None if any.is_object() => unknown(member, any, &path, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                unknown(item, &schema["items"], path, found);
            }
        }
        _ => (),
    }
}

fn every_manifest() -> Vec<Value> {
    let weak = ["--stream-bodies", "--kind"];
    let sha256 = "ab".repeat(32);
    let sidecar = [
        "render",
        "istio",
        "envoy/demo-policy.yaml",
        "--url",
        "https://h.example/f.wasm",
        "--sha256",
        &sha256,
        "--place",
        "sidecar",
        "--label",
        "app=orders",
        "--label",
        "tier=web",
    ];
    let mut all = vec![istio(&[]), forecourt(&sidecar)];
    for kind in ["wasmplugin", "trafficextension"] {
        all.push(istio(&[&weak[..], &[kind]].concat()));
        all.push(forecourt(&[&sidecar[..], &weak, &[kind]].concat()));
    }
    let mut all: Vec<_> = all.iter().map(|text| yaml(text)).collect();
    all.extend(outside(&["--gateway", "public"]));
    all
}

/// A policy that names servers outside the mesh.
const OUTSIDE: &str = r#"
version: forecourt/v1
issuers:
  customers: { preset: identity-platform, project: shop-prod }
  partners:
    issuer: https://partners.example/
    audiences: [orders-api]
    algorithms: [ES256]
    jwks: { discovery: true, keysHost: "keys.partners.example:8443" }
services:
  orders: { url: https://orders-abc123-ew.a.run.app, identity: metadata }
routes:
  - match: { methods: [GET], path: /orders }
    access: { anyOf: [customers, partners] }
"#;

fn outside(more: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    fs::write(&path, OUTSIDE).unwrap();
    let arguments = [
        "render",
        "istio",
        path.to_str().unwrap(),
        "--url",
        "oci://r.example/f",
    ];
    forecourt(&[&arguments, more].concat())
        .split("\n---\n")
        .map(yaml)
        .collect()
}

#[test]
fn every_server_outside_the_mesh_gets_a_cluster_that_speaks_tls() {
    let objects = outside(&["--gateway", "public"]);
    let named = |kind: &str| -> Vec<&Value> {
        let of_kind = objects.iter().filter(|object| object["kind"] == kind);
        of_kind.map(|object| &object["spec"]).collect()
    };
    let hosts = [
        "keys.partners.example",
        "orders-abc123-ew.a.run.app",
        "partners.example",
        "www.googleapis.com",
    ];
    let entries = named("ServiceEntry");
    let (metadata, secure): (Vec<&Value>, Vec<&Value>) = entries
        .into_iter()
        .partition(|spec| spec["hosts"][0] == "metadata.google.internal");
    let ports: Vec<&Value> = metadata.iter().map(|spec| &spec["ports"]).collect();
    let plain = json!([{ "number": 80, "name": "http-80", "protocol": "HTTP" }]);
    assert_eq!(ports, [&plain]);
    let secure: Vec<&Value> = secure.iter().map(|spec| &spec["hosts"][0]).collect();
    assert_eq!(secure, hosts);
    for (rule, host) in named("DestinationRule").iter().zip(hosts) {
        assert_eq!(rule["host"], host);
        let tls = &rule["trafficPolicy"]["portLevelSettings"][0]["tls"];
        let expected = json!({
            "mode": "SIMPLE", "sni": host, "caCertificates": "system", "subjectAltNames": [host],
        });
        assert_eq!(*tls, expected);
        assert_eq!(
            rule["workloadSelector"]["matchLabels"],
            json!({ "gateway.networking.k8s.io/gateway-name": "public" })
        );
    }
    assert_eq!(named("DestinationRule").len(), hosts.len());
    // The module calls the clusters that istiod makes of the entries.
    let config = &named("EnvoyFilter")[0]["configPatches"][1]["patch"]["value"]["typed_config"];
    let policy = config["config"]["configuration"]["value"].as_str().unwrap();
    let policy: Value = serde_json::from_str(policy).unwrap();
    let partners = &policy["issuers"]["partners"]["jwks"];
    assert_eq!(partners["cluster"], "outbound|8443||keys.partners.example");
    assert_eq!(
        partners["discovery"]["cluster"],
        "outbound|443||partners.example"
    );
    let list = outside(&["--format", "json"]);
    assert_eq!(list[0]["kind"], "List");
    assert_eq!(list[0]["items"].as_array().unwrap().len(), objects.len());
}

#[test]
fn kubernetes_takes_every_manifest_whole() {
    for manifest in every_manifest() {
        let Some(schema) = schema_of(&manifest) else {
            return;
        };
        let errors: Vec<_> = jsonschema::validator_for(&schema)
            .unwrap()
            .iter_errors(&manifest)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, [""; 0], "{}", manifest["kind"]);

        let mut dropped = Vec::new();
        unknown(
            &manifest["spec"],
            &schema["properties"]["spec"],
            "spec",
            &mut dropped,
        );
        assert_eq!(dropped, [""; 0], "{}", manifest["kind"]);
    }
}

#[test]
fn kubernetes_refuses_what_is_wrong() {
    let manifest = yaml(&istio(&["--kind", "wasmplugin", "--stream-bodies"]));
    let Some(schema) = schema_of(&manifest) else {
        return;
    };
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&manifest));
    for (member, wrong) in [
        ("failStrategy", json!("FAIL_SOMETIMES")),
        ("url", json!("")),
        ("sha256", json!("xyz")),
        ("match", json!([{ "mode": "INBOUND" }])),
    ] {
        let mut broken = manifest.clone();
        broken["spec"][member] = wrong;
        assert!(!validator.is_valid(&broken), "{member}");
    }
    let mut dropped = Vec::new();
    let spec = json!({ "allowOnHeadersStopIteration": true });
    unknown(&spec, &schema["properties"]["spec"], "spec", &mut dropped);
    assert_eq!(dropped, ["spec.allowOnHeadersStopIteration"]);
}

// What istiod makes of it.

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// `translateWasmPlugin`: a WasmPlugin is turned into a TrafficExtension under a name of its own.
fn to_traffic_extension(wasm_plugin: &Value) -> Value {
    let mut spec = wasm_plugin["spec"].clone();
    let mut wasm = json!({});
    for name in [
        "url",
        "sha256",
        "pluginConfig",
        "pluginName",
        "failStrategy",
        "type",
    ] {
        if let Some(value) = spec.as_object_mut().unwrap().remove(name) {
            wasm[name] = value;
        }
    }
    spec["wasm"] = wasm;
    let mut metadata = wasm_plugin["metadata"].clone();
    let name = metadata["name"].as_str().unwrap();
    metadata["name"] = json!(format!("{name}~istio-translated-wasmplugin"));
    json!({ "kind": "TrafficExtension", "metadata": metadata, "spec": spec })
}

/// `buildWasmConfig`: the extension's resource name and its configuration.
fn to_extension_config(extension: &Value) -> (String, Value) {
    let (metadata, wasm) = (&extension["metadata"], &extension["spec"]["wasm"]);
    let name = format!(
        "{}.{}",
        metadata["namespace"].as_str().unwrap(),
        metadata["name"].as_str().unwrap()
    );
    let failure_policy = match wasm["failStrategy"].as_str() {
        Some("FAIL_OPEN") => "FAIL_OPEN",
        Some("FAIL_RELOAD") => "FAIL_RELOAD",
        _ => "FAIL_CLOSED",
    };
    let config = json!({
        "name": name,
        "root_id": wasm["pluginName"],
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": through_a_struct(&wasm["pluginConfig"]).to_string(),
        },
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "remote": {
                "http_uri": { "uri": wasm["url"], "timeout": "30s", "cluster": "_" },
                "sha256": wasm["sha256"].as_str().unwrap_or_default(),
            }},
            "environment_variables": { "key_values": {
                "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1",
            }},
        },
        "failure_policy": failure_policy,
    });
    let resource = format!("extensions.istio.io/trafficextension/{name}");
    (resource, json!({ "@type": WASM, "config": config }))
}

/// A `google.protobuf.Struct` knows one kind of number, the double; printed, a whole one has no point.
fn through_a_struct(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            let double = number.as_f64().unwrap();
            let whole = double as i64;
            if whole as f64 == double {
                json!(whole)
            } else {
                json!(double)
            }
        }
        Value::Array(items) => items.iter().map(through_a_struct).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), through_a_struct(value)))
            .collect(),
        other => other.clone(),
    }
}

/// `rewriteVMConfig`: the agent fetches the module and puts a local file in its place.
fn fetched_by_the_agent(mut config: Value) -> Value {
    let module = module(None, &mut |note| eprintln!("{note}")).unwrap();
    let vm = &mut config["config"]["vm_config"];
    let uri = vm["code"]["remote"]["http_uri"]["uri"].as_str().unwrap();
    assert!(uri.contains("://"), "{uri}");
    vm["code"] = json!({ "local": { "filename": module } });
    vm.as_object_mut().unwrap().remove("environment_variables");
    config
}

/// A gateway's Envoy as istiod configures it: `filter` first in the chain, its configuration `config`
/// discovered by name, here from a file instead of from istiod.
fn gateway(service: &Service, mut filter: Value, config: &Value, folder: &Path) -> Value {
    let response = json!({
        "version_info": "1",
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": filter["name"],
            "typed_config": fetched_by_the_agent(config.clone()),
        }],
    });
    let path = folder.join("ecds.json");
    fs::write(&path, response.to_string()).unwrap();
    let source = &mut filter["config_discovery"]["config_source"];
    assert_eq!(source["ads"], json!({}));
    source.as_object_mut().unwrap().remove("ads");
    source["path_config_source"] = json!({ "path": path });

    let mut bootstrap = Bootstrap::new(service.url().parse().unwrap(), None).to_value();
    bootstrap["node"] = json!({ "id": "router~10.0.0.1~edge.istio-ingress", "cluster": "edge" });
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    // What istiod gives a gateway (`pilot/pkg/networking/core/connection_settings.go`).
    listener["per_connection_buffer_limit_bytes"] = json!(32768);
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"]
        .as_array_mut()
        .unwrap()
        .insert(0, filter);
    bootstrap
}

/// The HTTP filter of an extension, as `toEnvoyHTTPTrafficExtension` builds it.
fn discovered(name: &str) -> Value {
    json!({ "name": name, "config_discovery": {
        "config_source": { "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" },
        "type_urls": [WASM, "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"],
    }})
}

async fn start(configuration: &Value) -> Envoy {
    let binary = find(None, &mut |note| eprintln!("{note}")).unwrap();
    Envoy::start_with(&binary, configuration, &Options::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// What holds in either mode.
async fn heads_are_checked(envoy: &Envoy, service: &Service) {
    service.forget();
    let passed = client::get(envoy.listener(), "/products/7").await.unwrap();
    assert_eq!(passed.status, 200);
    assert_eq!(passed.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(service.count(), 1);
    let refused = client::get(envoy.listener(), "/orders").await.unwrap();
    assert_eq!(refused.json().unwrap()["code"], "token_missing");
    assert_eq!(service.count(), 1);
}

/// Anybody may post feedback here, so that a body is checked without a token.
fn open_for_bodies(policy: &mut Value) {
    let routes = policy["routes"].as_array_mut().unwrap();
    let feedback = routes
        .iter_mut()
        .find(|route| route["name"] == "send-feedback");
    feedback.unwrap()["mode"] = json!("enforce");
}

fn bad_body() -> Request {
    Request::new("POST", "/feedback")
        .header("content-type", "application/json")
        .body_in_chunks("{\"text\": not JSON}", 4)
}

#[tokio::test]
async fn an_envoy_filter_keeps_refused_bodies_from_the_service() {
    let mut manifest = yaml(&istio(&[]));
    let patches = manifest["spec"]["configPatches"].as_array_mut().unwrap();
    let [filter, config, buffers] = patches.as_mut_slice() else {
        panic!("{patches:?}")
    };
    assert_eq!(filter["applyTo"], "HTTP_FILTER");
    assert_eq!(config["applyTo"], "EXTENSION_CONFIG");
    assert_eq!(buffers["applyTo"], "LISTENER");
    let config = &mut config["patch"]["value"];
    let filter = &filter["patch"]["value"];
    assert_eq!(filter["name"], config["name"]);
    let text = &mut config["typed_config"]["config"]["configuration"]["value"];
    let mut policy: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    open_for_bodies(&mut policy);
    *text = json!(policy.to_string());

    let (service, folder) = (Service::start().unwrap(), tempfile::tempdir().unwrap());
    let mut bootstrap = gateway(
        &service,
        filter.clone(),
        &config["typed_config"],
        folder.path(),
    );
    let listener = bootstrap["static_resources"]["listeners"][0]
        .as_object_mut()
        .unwrap();
    listener.extend(buffers["patch"]["value"].as_object().unwrap().clone());
    let envoy = start(&bootstrap).await;

    heads_are_checked(&envoy, &service).await;
    service.forget();
    let refused = client::send(envoy.listener(), &bad_body()).await.unwrap();
    assert_eq!(refused.json().unwrap()["code"], "json_invalid");
    assert_eq!(service.count(), 0, "not even its head");
}

#[tokio::test]
async fn a_wasm_plugin_refuses_bodies_behind_their_heads() {
    let manifest = yaml(&istio(&["--kind", "wasmplugin", "--stream-bodies"]));
    let translated = to_traffic_extension(&manifest);
    let written = yaml(&istio(&["--kind", "trafficextension", "--stream-bodies"]));
    let wasm =
        |extension: &Value| to_extension_config(extension).1["config"]["configuration"].clone();
    assert_eq!(
        wasm(&translated),
        wasm(&written),
        "both kinds carry the same policy"
    );
    assert_eq!(translated["spec"], written["spec"]);

    for mut extension in [translated, written] {
        open_for_bodies(&mut extension["spec"]["wasm"]["pluginConfig"]);
        let (name, config) = to_extension_config(&extension);
        let (service, folder) = (Service::start().unwrap(), tempfile::tempdir().unwrap());
        let bootstrap = gateway(&service, discovered(&name), &config, folder.path());
        let envoy = start(&bootstrap).await;

        heads_are_checked(&envoy, &service).await;
        service.forget();
        let refused = client::send(envoy.listener(), &bad_body()).await.unwrap();
        assert_eq!(refused.json().unwrap()["code"], "json_invalid");
        let seen = service.seen();
        assert!(
            seen.iter()
                .all(|seen| !seen.complete && seen.body.is_empty()),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn the_bootstrap_in_the_tree_runs() {
    let service = Service::start().unwrap();
    let mut bootstrap = yaml(&file("envoy/bootstrap.yaml"));
    // Only what depends on the machine: ports, and where the module is.
    bootstrap["admin"]["address"]["socket_address"]["port_value"] = json!(0);
    let resources = &mut bootstrap["static_resources"];
    let endpoint =
        &mut resources["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    endpoint["endpoint"]["address"]["socket_address"]["port_value"] =
        json!(service.address().port());
    let listener = &mut resources["listeners"][0];
    listener["address"]["socket_address"]["port_value"] = json!(0);
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let vm = &mut manager["http_filters"][0]["typed_config"]["config"]["vm_config"];
    vm["code"]["local"]["filename"] = json!(module(None, &mut |note| eprintln!("{note}")).unwrap());
    let envoy = start(&bootstrap).await;
    heads_are_checked(&envoy, &service).await;
}
