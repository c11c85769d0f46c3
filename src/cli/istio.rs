//! Manifests that put the module into an Istio mesh or gateway.
//!
//! Only an `EnvoyFilter` can set `allow_on_headers_stop_iteration`, which keeps a request's head from
//! the service until its body has been checked; istiod builds the plugin's configuration of the other
//! two kinds without it (Istio 86c9f01, `pilot/pkg/model/extensions.go`, `buildWasmConfig`).

mod outside;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::outside::Callers;

use super::envoy::bootstrap::buffer_limit;
use super::envoy::extended;
use super::envoy::filter::{WASM, plugin};
use super::print;
use crate::policy::Policy;

/// The root context's name; the module answers to any.
const PLUGIN_NAME: &str = "forecourt";

/// The kinds of manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// EnvoyFilter: the full mode, a refused request never reaches the service
    #[default]
    Envoyfilter,
    /// WasmPlugin: simpler, but cannot hold a request back for its body
    Wasmplugin,
    /// TrafficExtension: WasmPlugin's successor, with the same limits
    Trafficextension,
}

/// Which proxies get the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// Ingress gateways
    #[default]
    Gateway,
    /// Sidecars, for the requests that come in
    Sidecar,
}

/// What a manifest is made of, beside the policy.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The kind.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
    /// The object's namespace.
    pub namespace: String,
    /// Where proxies fetch the module: `oci://`, `https://`, `http://` or `file://`.
    pub url: String,
    /// The module's SHA-256, in hexadecimal.
    pub sha256: Option<String>,
    /// Which proxies get it.
    pub place: Place,
    /// The Kubernetes `Gateway` to attach to, by name.
    pub gateway: Option<String>,
    /// The labels of the pods to select; all of the namespace if there are none and no gateway.
    pub labels: BTreeMap<String, String>,
    /// The largest body that is held, in bytes.
    pub largest_body: u64,
}

/// Why a manifest cannot carry a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The policy wants bodies checked before the service sees anything.
    #[error(
        "a {0} cannot hold a request back until its body has been checked: the service would see the head of a refused request, and the policy asks for more.\n\
         Take --kind envoyfilter; or, if the weaker check will do, write `bodyChecks: stream` in the policy or add --stream-bodies"
    )]
    HoldsBodies(&'static str),
    /// A number that would reach the module changed.
    #[error(
        "the number {0} is too large for a {1}, which carries the policy as a protobuf Struct (numbers up to 2^53); take --kind envoyfilter"
    )]
    Number(String, &'static str),
    /// A server that the mesh cannot know.
    #[error(
        "the policy names the server {0} by its address, and Istio knows servers by name; name its host, or name a cluster of the mesh in the form `outbound|PORT||HOST`"
    )]
    Address(String),
}

impl Manifest {
    /// The manifest for a policy, and what makes the servers outside that it names known to the mesh.
    pub fn render_all(
        &self,
        mut document: Value,
        policy: &Policy,
    ) -> Result<Vec<Value>, ManifestError> {
        let servers = outside::reach(&mut document, policy)?;
        let callers = Callers {
            name: &self.name,
            namespace: &self.namespace,
            labels: self.pods(),
        };
        let mut all = vec![self.render(&document)?];
        all.extend(callers.objects(&servers));
        Ok(all)
    }

    /// The labels of the pods that get the module; none where all of the namespace do.
    fn pods(&self) -> BTreeMap<&str, &str> {
        let gateway = self.gateway.as_deref();
        // Set on the pods of a gateway by whoever implements it (Gateway API, GEP-1762).
        gateway
            .map(|name| ("gateway.networking.k8s.io/gateway-name", name))
            .into_iter()
            .chain(
                self.labels
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            )
            .collect()
    }

    /// The manifest for a policy.
    pub fn render(&self, policy: &Value) -> Result<Value, ManifestError> {
        match self.kind {
            Kind::Envoyfilter => Ok(self.envoy_filter(policy)),
            Kind::Wasmplugin => {
                self.fits("WasmPlugin", policy)?;
                let spec = extended(self.attachment("selector"), self.wasm(policy));
                Ok(self.object("WasmPlugin", extended(spec, self.order())))
            }
            Kind::Trafficextension => {
                self.fits("TrafficExtension", policy)?;
                let spec = extended(
                    self.attachment("selector"),
                    json!({ "wasm": self.wasm(policy) }),
                );
                Ok(self.object("TrafficExtension", extended(spec, self.order())))
            }
        }
    }

    fn fits(&self, kind: &'static str, policy: &Value) -> Result<(), ManifestError> {
        let streams = policy
            .get("bodyChecks")
            .is_some_and(|mode| mode == "stream");
        if self.largest_body > 0 && !streams {
            return Err(ManifestError::HoldsBodies(kind));
        }
        match inexact_number(policy) {
            Some(number) => Err(ManifestError::Number(number, kind)),
            None => Ok(()),
        }
    }

    fn object(&self, kind: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "extensions.istio.io/v1alpha1",
            "kind": kind,
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": spec,
        })
    }

    /// The fields that a WasmPlugin and the `wasm` of a TrafficExtension share.
    fn wasm(&self, policy: &Value) -> Value {
        let wasm = json!({
            "url": self.url,
            "type": "HTTP",
            "pluginName": PLUGIN_NAME,
            "pluginConfig": policy,
            // A trap answers 503 and the VM is loaded anew.
            "failStrategy": "FAIL_RELOAD",
        });
        match &self.sha256 {
            Some(sha256) => extended(wasm, json!({ "sha256": sha256 })),
            None => wasm,
        }
    }

    /// Before every other check, and in sidecars only for what comes in.
    fn order(&self) -> Value {
        let mode = match self.place {
            Place::Gateway => "CLIENT",
            Place::Sidecar => "SERVER",
        };
        json!({ "phase": "AUTHN", "match": [{ "mode": mode }] })
    }

    fn attachment(&self, selector: &str) -> Value {
        if let Some(gateway) = &self.gateway {
            return json!({ "targetRefs": [{
                "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway,
            }]});
        }
        let labels = if selector == "workloadSelector" {
            "labels"
        } else {
            "matchLabels"
        };
        match self.labels.is_empty() {
            true => json!({}),
            false => json!({ selector: { labels: self.labels } }),
        }
    }

    /// Two or three patches: the filter's place in the chain, its configuration, which the proxy's
    /// agent reads to fetch the module, and room for the bodies that are held.
    fn envoy_filter(&self, policy: &Value) -> Value {
        let name = format!("{}.{}", self.namespace, self.name);
        let context = match self.place {
            Place::Gateway => "GATEWAY",
            Place::Sidecar => "SIDECAR_INBOUND",
        };
        let mut patches = vec![
            json!({
                "applyTo": "HTTP_FILTER",
                "match": {
                    "context": context,
                    "listener": { "filterChain": { "filter": {
                        "name": "envoy.filters.network.http_connection_manager",
                    }}},
                },
                "patch": { "operation": "INSERT_FIRST", "value": discovered(&name) },
            }),
            json!({
                "applyTo": "EXTENSION_CONFIG",
                "match": { "context": context },
                "patch": { "operation": "ADD", "value": {
                    "name": name,
                    "typed_config": {
                        "@type": WASM,
                        "config": extended(
                            plugin(PLUGIN_NAME, &print::json(policy), self.code()),
                            json!({ "name": name }),
                        ),
                    },
                }},
            }),
        ];
        if self.largest_body > 0 {
            patches.push(json!({
                "applyTo": "LISTENER",
                "match": { "context": context },
                "patch": { "operation": "MERGE", "value": {
                    "per_connection_buffer_limit_bytes": buffer_limit(self.largest_body),
                }},
            }));
        }
        let spec = extended(
            self.attachment("workloadSelector"),
            json!({ "configPatches": patches }),
        );
        extended(
            self.object("EnvoyFilter", spec),
            json!({ "apiVersion": "networking.istio.io/v1alpha3" }),
        )
    }

    fn code(&self) -> Value {
        if let Some(path) = self.url.strip_prefix("file://") {
            return json!({ "local": { "filename": path } });
        }
        json!({ "remote": {
            // The proxy's agent fetches the module and puts a local file in its place; the cluster
            // only has to have a name.
            "http_uri": { "uri": self.url, "timeout": "30s", "cluster": "_" },
            // The agent's word for "not given" (Istio 86c9f01, `pkg/wasm/convert.go`).
            "sha256": self.sha256.as_deref().unwrap_or("nil"),
        }})
    }
}

/// A filter whose configuration comes from istiod, and without which the listener does not start.
fn discovered(name: &str) -> Value {
    json!({
        "name": name,
        "config_discovery": {
            "config_source": { "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" },
            // Istio's agent denies everything with an RBAC filter where it cannot fetch the module.
            "type_urls": [WASM, "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"],
        },
    })
}

/// A number that a double cannot hold, if there is one.
fn inexact_number(value: &Value) -> Option<String> {
    const LARGEST: u64 = 1 << 53;
    match value {
        Value::Number(number) => {
            let inexact = number.as_u64().is_some_and(|n| n > LARGEST)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() > LARGEST);
            inexact.then(|| number.to_string())
        }
        Value::Array(items) => items.iter().find_map(inexact_number),
        Value::Object(members) => members.values().find_map(inexact_number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kind: Kind) -> Manifest {
        Manifest {
            kind,
            name: "shop".to_owned(),
            namespace: "edge".to_owned(),
            url: "oci://registry.example/forecourt:0.1.0".to_owned(),
            ..Manifest::default()
        }
    }

    #[test]
    fn bodies_that_are_held_need_an_envoy_filter() {
        let hold = json!({ "version": "forecourt/v1" });
        let stream = json!({ "version": "forecourt/v1", "bodyChecks": "stream" });
        for kind in [Kind::Wasmplugin, Kind::Trafficextension] {
            let mut manifest = manifest(kind);
            assert!(manifest.render(&hold).is_ok(), "no body is checked");
            manifest.largest_body = 1000;
            assert!(matches!(
                manifest.render(&hold),
                Err(ManifestError::HoldsBodies(_))
            ));
            assert!(manifest.render(&stream).is_ok());
        }
        let mut full = manifest(Kind::Envoyfilter);
        full.largest_body = 1000;
        let rendered = full.render(&hold).unwrap();
        let config =
            &rendered["spec"]["configPatches"][1]["patch"]["value"]["typed_config"]["config"];
        assert_eq!(config["allow_on_headers_stop_iteration"], true);
        assert_eq!(config["name"], "edge.shop");
        assert_eq!(config["root_id"], "forecourt");
        let room = &rendered["spec"]["configPatches"][2]["patch"]["value"];
        assert!(room["per_connection_buffer_limit_bytes"].as_u64() > Some(1000));
    }

    #[test]
    fn a_number_that_a_struct_would_change_is_refused() {
        let policy = json!({ "a": [{ "b": 9_007_199_254_740_993_u64 }] });
        let refused = manifest(Kind::Wasmplugin).render(&policy).unwrap_err();
        assert_eq!(
            refused,
            ManifestError::Number("9007199254740993".to_owned(), "WasmPlugin")
        );
        assert!(manifest(Kind::Envoyfilter).render(&policy).is_ok());
        let exact = json!({ "a": 9_007_199_254_740_992_u64, "b": -1, "c": 0.5 });
        assert!(manifest(Kind::Wasmplugin).render(&exact).is_ok());
    }

    #[test]
    fn a_gateway_goes_before_labels() {
        let mut manifest = manifest(Kind::Wasmplugin);
        assert_eq!(manifest.attachment("selector"), json!({}));
        manifest.labels.insert("app".to_owned(), "edge".to_owned());
        assert_eq!(
            manifest.attachment("workloadSelector"),
            json!({ "workloadSelector": { "labels": { "app": "edge" } } })
        );
        manifest.gateway = Some("public".to_owned());
        assert_eq!(
            manifest.attachment("selector")["targetRefs"][0]["name"],
            "public"
        );
    }
}
