//! What a mesh has to know of the servers outside it that a policy names, and the clusters in which it
//! then offers them.
//!
//! For each a `ServiceEntry`, without which the mesh has no cluster for it, and, where it speaks TLS, a
//! `DestinationRule` by which the proxy itself speaks TLS and checks the certificate: the module hands
//! plain requests to a cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::ManifestError;
use crate::cli::envoy::extended;
use crate::policy::Policy;
use crate::token::KeySource;
use crate::token::remote::{Endpoint, Remote, Start, Url};

/// A server that the proxy calls by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Outside {
    host: String,
    port: u16,
    /// Whether it speaks TLS.
    secure: bool,
}

impl Outside {
    /// The server of that authority.
    fn new(authority: &str, secure: bool) -> Result<Self, ManifestError> {
        let default = if secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(default)),
            None => (authority, default),
        };
        // Istio knows hosts by name; an address has no ServiceEntry of its own.
        if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
            return Err(ManifestError::Address(authority.to_owned()));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            secure,
        })
    }

    /// Its cluster, as istiod calls it (Istio 86c9f01, `pilot/pkg/model/service.go`,
    /// `BuildSubsetKey`).
    fn cluster(&self) -> String {
        format!("outbound|{}||{}", self.port, self.host)
    }

    /// Whether the mesh knows it by itself, as it knows every Kubernetes service.
    fn is_in_cluster(&self) -> bool {
        self.host.ends_with(".svc.cluster.local") || !self.host.contains('.')
    }
}

/// The proxies that call them.
pub(super) struct Callers<'a> {
    /// What the objects' names begin with.
    pub name: &'a str,
    /// Their namespace.
    pub namespace: &'a str,
    /// The labels of the pods; all of the namespace if there are none.
    pub labels: BTreeMap<&'a str, &'a str>,
}

impl Callers<'_> {
    /// The objects for these servers.
    pub fn objects(&self, servers: &BTreeSet<Outside>) -> Vec<Value> {
        // Two ports of one host are one entry: a second for the same host would hide the first.
        let mut hosts: BTreeMap<&str, Vec<&Outside>> = BTreeMap::new();
        for server in servers {
            hosts.entry(&server.host).or_default().push(server);
        }
        let mut objects = Vec::new();
        for (host, ports) in hosts {
            if !ports.iter().all(|server| server.is_in_cluster()) {
                objects.push(self.service_entry(host, &ports));
            }
            let secure: Vec<_> = ports.iter().filter(|server| server.secure).collect();
            if !secure.is_empty() {
                let ports = secure.iter().map(|server| server.port);
                objects.push(self.destination_rule(host, ports));
            }
        }
        objects
    }

    fn service_entry(&self, host: &str, ports: &[&Outside]) -> Value {
        let ports: Vec<_> = ports
            .iter()
            .map(|server| {
                let protocol = if server.secure { "HTTPS" } else { "HTTP" };
                let name = format!("{}-{}", protocol.to_ascii_lowercase(), server.port);
                json!({ "number": server.port, "name": name, "protocol": protocol })
            })
            .collect();
        self.object(
            "ServiceEntry",
            host,
            json!({
                "hosts": [host],
                "location": "MESH_EXTERNAL",
                "resolution": "DNS",
                "exportTo": ["."],
                "ports": ports,
            }),
        )
    }

    fn destination_rule(&self, host: &str, ports: impl Iterator<Item = u16>) -> Value {
        let ports: Vec<_> = ports
            .map(|port| {
                json!({
                    "port": { "number": port },
                    "tls": {
                        "mode": "SIMPLE",
                        "sni": host,
                        // The authorities of the proxy's own system, and the name beside them:
                        // either alone would let another server pose as this one.
                        "caCertificates": "system",
                        "subjectAltNames": [host],
                    },
                })
            })
            .collect();
        let spec = json!({
            "host": host,
            "exportTo": ["."],
            "trafficPolicy": { "portLevelSettings": ports },
        });
        // Other pods may speak TLS to this host themselves, and must not speak it twice.
        let selector = match self.labels.is_empty() {
            true => json!({}),
            false => json!({ "workloadSelector": { "matchLabels": self.labels } }),
        };
        self.object("DestinationRule", host, extended(spec, selector))
    }

    fn object(&self, kind: &str, host: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": kind,
            "metadata": {
                "name": format!("{}-{}", self.name, host.replace('_', "-")),
                "namespace": self.namespace,
            },
            "spec": spec,
        })
    }
}

/// Names the mesh's own clusters in the policy's document, and tells which servers they reach. A
/// cluster that is in Istio's form already is somebody's decision and stays.
pub(super) fn reach(
    document: &mut Value,
    policy: &Policy,
) -> Result<BTreeSet<Outside>, ManifestError> {
    let mut servers = BTreeSet::new();
    for issuer in &policy.issuers {
        let KeySource::Remote(remote) = &issuer.keys else {
            continue;
        };
        let settings = reach_issuer(remote, &mut servers)?;
        let raw = document
            .get_mut("issuers")
            .and_then(|issuers| issuers.get_mut(&issuer.name))
            .and_then(Value::as_object_mut);
        if let Some(raw) = raw {
            let jwks = raw.entry("jwks").or_insert_with(|| json!({}));
            *jwks = extended(jwks.take(), Value::Object(settings));
        }
    }
    for service in &policy.services {
        let Some(url) = &service.url else {
            continue;
        };
        let cluster = find(&service.cluster, url, &mut servers)?;
        let raw = document
            .get_mut("services")
            .and_then(|services| services.get_mut(&service.name));
        set_cluster(raw, &cluster);
    }
    // All tokens come from one server.
    if let Some(identity) = policy.identities.first() {
        let Endpoint { url, cluster } = &identity.server;
        let cluster = find(cluster, url, &mut servers)?;
        let document = document.as_object_mut();
        let raw = document.map(|members| members.entry("metadataServer").or_insert(json!({})));
        set_cluster(raw, &cluster);
    }
    Ok(servers)
}

fn set_cluster(raw: Option<&mut Value>, cluster: &str) {
    if let Some(raw) = raw {
        *raw = extended(raw.take(), json!({ "cluster": cluster }));
    }
}

/// The mesh's name for a cluster that reaches that URL.
fn find(
    cluster: &str,
    url: &Url,
    servers: &mut BTreeSet<Outside>,
) -> Result<String, ManifestError> {
    find_authority(cluster, url.authority(), url.is_secure(), servers)
}

fn find_authority(
    cluster: &str,
    authority: &str,
    secure: bool,
    servers: &mut BTreeSet<Outside>,
) -> Result<String, ManifestError> {
    if cluster.starts_with("outbound|") {
        return Ok(cluster.to_owned());
    }
    let server = Outside::new(authority, secure)?;
    let name = server.cluster();
    servers.insert(server);
    Ok(name)
}

/// What has to change in `jwks`.
fn reach_issuer(
    remote: &Remote,
    servers: &mut BTreeSet<Outside>,
) -> Result<Map<String, Value>, ManifestError> {
    let mut settings = Map::new();
    match &remote.start {
        Start::Keys(Endpoint { url, cluster }) => {
            let cluster = find(cluster, url, servers)?;
            settings.insert("cluster".into(), cluster.into());
        }
        Start::Discovery {
            document: Endpoint { url, cluster },
            keys_authority,
            keys_cluster,
            ..
        } => {
            let metadata = find(cluster, url, servers)?;
            let keys = find_authority(keys_cluster, keys_authority, url.is_secure(), servers)?;
            if metadata != keys {
                let uri = url.to_string();
                let document = json!({ "uri": uri, "cluster": metadata });
                settings.insert("discovery".into(), document);
                settings.insert("keysHost".into(), keys_authority.as_str().into());
            }
            settings.insert("cluster".into(), keys.into());
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn reached(document: &Value) -> Result<(Value, BTreeSet<Outside>), ManifestError> {
        let policy = config::from_value(document.clone()).unwrap();
        let mut rendered = document.clone();
        let servers = reach(&mut rendered, &policy)?;
        config::from_value(rendered.clone()).expect("still a policy");
        Ok((rendered, servers))
    }

    fn issuer(jwks: Value) -> Value {
        json!({ "version": "forecourt/v1", "routes": [], "issuers": { "a": {
            "issuer": "https://idp.example", "audiences": ["x"], "algorithms": ["ES256"], "jwks": jwks,
        }}})
    }

    #[test]
    fn clusters_get_the_meshs_names() {
        for (jwks, cluster, names) in [
            (
                json!({ "uri": "https://keys.example/k" }),
                "outbound|443||keys.example",
                &["keys.example"][..],
            ),
            (
                json!({ "uri": "https://keys.example:8443/k", "cluster": "mine" }),
                "outbound|8443||keys.example",
                &["keys.example"],
            ),
            (
                json!({ "discovery": true }),
                "outbound|443||idp.example",
                &["idp.example"],
            ),
            (
                json!({ "discovery": true, "keysHost": "keys.example" }),
                "outbound|443||keys.example",
                &["idp.example", "keys.example"],
            ),
            (
                json!({ "uri": "https://keys.example/k", "cluster": "outbound|443|v2|keys.example" }),
                "outbound|443|v2|keys.example",
                &[],
            ),
        ] {
            let (rendered, servers) = reached(&issuer(jwks.clone())).unwrap();
            assert_eq!(
                rendered["issuers"]["a"]["jwks"]["cluster"], cluster,
                "{jwks}"
            );
            let hosts: Vec<_> = servers.iter().map(|server| server.host.as_str()).collect();
            assert_eq!(hosts, names, "{jwks}");
        }
    }

    #[test]
    fn a_presets_keys_are_reached_too() {
        let document = json!({ "version": "forecourt/v1", "routes": [], "issuers": {
            "customers": { "preset": "identity-platform", "project": "shop-prod" },
        }});
        let (rendered, servers) = reached(&document).unwrap();
        let jwks = &rendered["issuers"]["customers"]["jwks"];
        assert_eq!(
            *jwks,
            json!({ "cluster": "outbound|443||www.googleapis.com" })
        );
        assert_eq!(servers.len(), 1);
    }

    #[test]
    fn services_and_the_metadata_server_are_reached_too() {
        let url = "https://orders-abc123-ew.a.run.app";
        let document = json!({ "version": "forecourt/v1", "routes": [], "services": {
            "orders": { "url": url, "identity": "metadata" },
            "near": { "url": "http://near.shop.svc.cluster.local:8080" },
            "elsewhere": { "cluster": "outbound|80||elsewhere.shop.svc.cluster.local" },
        }});
        let (rendered, servers) = reached(&document).unwrap();
        let cluster = |name: &str| rendered["services"][name]["cluster"].clone();
        assert_eq!(
            cluster("orders"),
            "outbound|443||orders-abc123-ew.a.run.app"
        );
        assert_eq!(
            cluster("near"),
            "outbound|8080||near.shop.svc.cluster.local"
        );
        assert_eq!(
            cluster("elsewhere"),
            "outbound|80||elsewhere.shop.svc.cluster.local"
        );
        assert_eq!(
            rendered["metadataServer"]["cluster"],
            "outbound|80||metadata.google.internal"
        );
        let identity = config::from_value(rendered).unwrap().identities.remove(0);
        assert_eq!(identity.audience, url);
        assert_eq!(servers.len(), 3);
    }

    #[test]
    fn an_address_has_no_place_in_a_mesh() {
        let document = issuer(json!({ "uri": "http://127.0.0.1:8080/k" }));
        let refused = reached(&document).unwrap_err();
        assert_eq!(refused, ManifestError::Address("127.0.0.1:8080".to_owned()));
    }

    #[test]
    fn one_entry_for_a_host_and_none_for_what_the_mesh_knows() {
        let servers = ["a.example", "a.example:8443", "keys.shop.svc.cluster.local"];
        let servers: BTreeSet<_> = servers
            .iter()
            .map(|authority| Outside::new(authority, true).unwrap())
            .chain([Outside::new("metadata.google.internal", false).unwrap()])
            .collect();
        let callers = Callers {
            name: "forecourt",
            namespace: "edge",
            labels: BTreeMap::from([("app", "edge")]),
        };
        let objects = callers.objects(&servers);
        let shown: Vec<_> = objects
            .iter()
            .map(|object| {
                let name = object["metadata"]["name"].as_str().unwrap();
                (object["kind"].as_str().unwrap(), name)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("ServiceEntry", "forecourt-a.example"),
                ("DestinationRule", "forecourt-a.example"),
                ("DestinationRule", "forecourt-keys.shop.svc.cluster.local"),
                ("ServiceEntry", "forecourt-metadata.google.internal"),
            ]
        );
        assert_eq!(objects[0]["spec"]["ports"].as_array().unwrap().len(), 2);
        let labels = &objects[1]["spec"]["workloadSelector"]["matchLabels"];
        assert_eq!(*labels, json!({ "app": "edge" }));
    }
}
