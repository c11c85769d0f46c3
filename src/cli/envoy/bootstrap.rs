//! A whole Envoy configuration: one listener, the filter, the services behind it, the admin
//! interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::backend::{self, Backend};
use super::cache::{self, Cache};
use super::extended;
use super::filter::Filter;
use super::upstream::Upstream;
use crate::policy::Policy;
use crate::token::KeySource;
use crate::token::remote::Endpoint;

/// The smallest buffer a connection gets, in bytes. Envoy's guide for edges says 32 KiB; a little
/// more lets a body of 64 KiB wait for its check without asking twice.
const SMALLEST_BUFFER: u64 = 128 * 1024;

/// What is left for the rest beside the largest body that is held, in bytes.
const BUFFER_SLACK: u64 = 64 * 1024;

/// How many clients may be connected at once.
const MAX_CONNECTIONS: u64 = 10_000;

/// An Envoy to be: what listens where, with which filter, in front of what.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Where clients connect; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The admin interface; port 0 lets the system choose. It can stop Envoy and shows its whole
    /// configuration, so it belongs on loopback.
    pub admin: SocketAddr,
    /// The filter; without one, requests pass as they are.
    pub filter: Option<Filter>,
    /// Envoy's own cache behind the filter; without one it goes by what the service says alone.
    pub cache: Option<Cache>,
    /// The services behind.
    pub backends: Vec<Backend>,
    /// Authorities to trust for `https` upstreams; the system's own if `None`.
    pub trusted_ca: Option<PathBuf>,
    /// The largest body that a filter holds back, in bytes.
    pub largest_body: u64,
    /// The largest head of a request that a route takes, in bytes; 0 leaves it to Envoy.
    pub largest_headers: u64,
    /// Servers that the module calls itself, by the cluster names that the policy gives them.
    pub servers: BTreeMap<String, Upstream>,
    /// More listeners by name, to compare ways of doing it in one Envoy: of each of these its
    /// listener, and its service as a cluster of that name.
    pub beside: BTreeMap<String, Self>,
}

impl Bootstrap {
    /// Loopback only, on ports the system chooses.
    pub fn new(upstream: Upstream, filter: Option<Filter>) -> Self {
        Self::before(vec![upstream.into()], filter)
    }

    /// The same before services that the policy names.
    pub fn before(backends: Vec<Backend>, filter: Option<Filter>) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: loopback,
            admin: loopback,
            filter,
            cache: None,
            backends,
            trusted_ca: None,
            largest_body: 0,
            largest_headers: 0,
            servers: BTreeMap::new(),
            beside: BTreeMap::new(),
        }
    }

    /// Makes room for what the policy lets through, and clusters for the servers that it names.
    pub fn fit(&mut self, policy: &Policy) {
        self.largest_body = policy.largest_body();
        self.largest_headers = policy.largest_headers();
        self.reach_servers(policy);
    }

    /// Has a cluster made for every server that the policy fetches keys or tokens from.
    pub fn reach_servers(&mut self, policy: &Policy) {
        for identity in &policy.identities {
            let Endpoint { url, cluster } = &identity.server;
            self.reach(cluster, url.authority(), url.is_secure());
        }
        for issuer in &policy.issuers {
            let KeySource::Remote(remote) = &issuer.keys else {
                continue;
            };
            for (cluster, authority, secure) in remote.clusters() {
                self.reach(cluster, authority, secure);
            }
        }
    }

    fn reach(&mut self, cluster: &str, authority: &str, secure: bool) {
        let scheme = if secure { "https" } else { "http" };
        // Host and port have been checked with the policy.
        if let Ok(server) = format!("{scheme}://{authority}").parse() {
            self.servers.entry(cluster.to_owned()).or_insert(server);
        }
    }

    /// The configuration as Envoy reads it.
    pub fn to_value(&self) -> Value {
        json!({
            "admin": { "address": socket_address(self.admin) },
            "overload_manager": { "resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MAX_CONNECTIONS,
                },
            }]},
            "static_resources": {
                "listeners": self.listeners(),
                "clusters": self.clusters(),
            },
        })
    }

    fn listeners(&self) -> Vec<Value> {
        let beside = self.beside.iter();
        std::iter::once(self.listener(LISTENER, &self.backends))
            .chain(beside.map(|(name, other)| other.listener(name, &other.called(name))))
            .collect()
    }

    /// Its services, each as a cluster of that name.
    fn called(&self, name: &str) -> Vec<Backend> {
        let cluster = || name.to_owned();
        let backends = self.backends.iter().cloned();
        backends
            .map(|backend| Backend {
                cluster: cluster(),
                ..backend
            })
            .collect()
    }

    fn clusters(&self) -> Vec<Value> {
        let own = self.backends.iter().map(|backend| (self, backend.clone()));
        let beside = self.beside.iter();
        let beside = beside.flat_map(|(name, other)| {
            let backends = other.called(name).into_iter();
            backends.map(move |backend| (other, backend))
        });
        let mut made = BTreeSet::new();
        let mut clusters = Vec::new();
        // Two services may share a cluster, and keys may come from a service.
        for (whose, backend) in own.chain(beside) {
            if made.insert(backend.cluster.clone()) {
                clusters.push(whose.service(&backend));
            }
        }
        let servers = self.servers.iter();
        let servers = servers.filter(|(name, _)| !made.contains(name.as_str()));
        clusters.extend(servers.map(|(name, server)| {
            let cluster = server.cluster(name, SMALLEST_BUFFER, self.trusted_ca.as_deref());
            // An issuer whose name is not found for now is no reason not to start.
            extended(cluster, json!({ "wait_for_warm_on_init": false }))
        }));
        clusters
    }

    fn service(&self, backend: &Backend) -> Value {
        let service = backend.cluster(self.buffer_limit(), self.trusted_ca.as_deref());
        match (&self.filter, self.cache) {
            (Some(filter), Some(_)) => cache::behind(filter, service),
            _ => service,
        }
    }

    fn listener(&self, name: &str, backends: &[Backend]) -> Value {
        json!({
            "name": name,
            "address": socket_address(self.listen),
            "per_connection_buffer_limit_bytes": self.buffer_limit(),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": self.connection_manager(backends),
            }]}],
        })
    }

    fn connection_manager(&self, backends: &[Backend]) -> Value {
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                // How long the service took is nobody's business outside.
                "suppress_envoy_headers": true,
            },
        });
        let mut filters = match (&self.filter, self.cache) {
            (None, None) => Vec::new(),
            (None, Some(cache)) => vec![cache.to_value()],
            (Some(filter), None) => vec![filter.to_value()],
            (Some(filter), Some(cache)) => cache::before(filter, cache),
        };
        filters.push(router);
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "forecourt",
            "codec_type": "AUTO",
            "use_remote_address": true,
            // One meaning per path: Envoy resolves what has a normal form, the filter refuses what
            // has none (an encoded slash is left for it to see).
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "common_http_protocol_options": {
                "idle_timeout": "300s",
                // `x_user` and `x-user` are one name to many services, so the first could pose as
                // a header that only the filter may set.
                "headers_with_underscores_action": "DROP_HEADER",
            },
            "http_protocol_options": { "enable_trailers": true },
            "http2_protocol_options": {
                "max_concurrent_streams": 100,
                "initial_stream_window_size": self.buffer_limit(),
                "initial_connection_window_size": self.buffer_limit().saturating_mul(4).min(i32::MAX as u64),
            },
            "request_headers_timeout": "10s",
            "stream_idle_timeout": "300s",
            "access_log": [access_log()],
            "route_config": { "name": "forecourt", "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": backend::routes(backends),
            }]},
            "http_filters": filters,
        });
        match self.header_limit() {
            None => manager,
            Some(limit) => extended(manager, json!({ "max_request_headers_kb": limit })),
        }
    }

    /// The limit on a request's head, in KiB, where Envoy's own would answer 431 before the filter can
    /// say why.
    fn header_limit(&self) -> Option<u64> {
        /// What Envoy takes if it is not told, and at most.
        const ENVOYS: std::ops::Range<u64> = 60..8193;
        // Some more for the sizes and punctuation that Envoy counts and the filter does not.
        let wanted = self.largest_headers / 1024 + 4;
        (wanted > ENVOYS.start).then_some(wanted.min(ENVOYS.end - 1))
    }

    fn buffer_limit(&self) -> u64 {
        buffer_limit(self.largest_body)
    }
}

/// Room for the largest body that waits for its check, in bytes. Envoy would answer 413 by itself
/// when it runs out, before the filter can say why.
pub(crate) fn buffer_limit(largest_body: u64) -> u64 {
    largest_body
        .saturating_add(BUFFER_SLACK)
        .clamp(SMALLEST_BUFFER, i32::MAX as u64)
}

/// The listener's name in Envoy.
pub(super) const LISTENER: &str = "forecourt";

/// The cluster's name of a service that the policy does not name.
pub(super) const UPSTREAM: &str = "upstream";

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": {
        "address": address.ip().to_string(),
        "port_value": address.port(),
    }})
}

/// One JSON object a request. No header, no query, no body: a token may be in any of them.
fn access_log() -> Value {
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": { "json_format": {
                "time": "%START_TIME%",
                "method": "%REQ(:METHOD)%",
                "path": "%PATH(NQ)%",
                "protocol": "%PROTOCOL%",
                "status": "%RESPONSE_CODE%",
                "decision": "%FILTER_STATE(wasm.forecourt_decision:PLAIN)%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "flags": "%RESPONSE_FLAGS%",
                "millis": "%DURATION%",
                "upstream": "%UPSTREAM_HOST%",
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap() -> Bootstrap {
        Bootstrap::new("http://127.0.0.1:1".parse().unwrap(), None)
    }

    fn manager(bootstrap: &Bootstrap) -> Value {
        let value = bootstrap.to_value();
        let chain = &value["static_resources"]["listeners"][0]["filter_chains"][0];
        chain["filters"][0]["typed_config"].clone()
    }

    #[test]
    fn everything_is_on_loopback_unless_asked() {
        let value = bootstrap().to_value();
        for address in [
            &value["admin"]["address"],
            &value["static_resources"]["listeners"][0]["address"],
        ] {
            assert_eq!(address["socket_address"]["address"], "127.0.0.1");
            assert_eq!(address["socket_address"]["port_value"], 0);
        }
    }

    #[test]
    fn the_filter_comes_before_the_router_and_holds_headers() {
        let mut bootstrap = bootstrap();
        assert_eq!(
            manager(&bootstrap)["http_filters"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        bootstrap.filter = Some(Filter {
            module: "forecourt.wasm".into(),
            policy: "{\"n\": 12345678901234567}".to_owned(),
        });
        let manager = manager(&bootstrap);
        let config = &manager["http_filters"][0]["typed_config"]["config"];
        assert_eq!(config["allow_on_headers_stop_iteration"], true);
        assert_eq!(config["failure_policy"], "FAIL_RELOAD");
        assert_eq!(
            config["configuration"]["value"],
            "{\"n\": 12345678901234567}"
        );
        assert_eq!(
            manager["http_filters"][1]["name"],
            "envoy.filters.http.router"
        );
    }

    #[test]
    fn the_module_is_before_the_cache_and_behind_it() {
        let mut bootstrap = bootstrap();
        bootstrap.cache = Some(Cache::V2);
        bootstrap.filter = Some(Filter {
            module: "forecourt.wasm".into(),
            policy: "{}".to_owned(),
        });
        let names = |filters: &Value| -> Vec<String> {
            let filters = filters.as_array().unwrap().iter();
            filters
                .map(|filter| filter["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let before = manager(&bootstrap)["http_filters"].clone();
        let expected = [
            "forecourt",
            "envoy.filters.http.cache_v2",
            "envoy.filters.http.router",
        ];
        assert_eq!(names(&before), expected);
        let cluster = bootstrap.to_value()["static_resources"]["clusters"][0].clone();
        let options = &cluster["typed_extension_protocol_options"][cache::PROTOCOL_OPTIONS];
        let behind = &options["http_filters"];
        assert_eq!(
            names(behind),
            ["forecourt", "envoy.filters.http.upstream_codec"]
        );
        for (filter, role) in [(&before[0], "request"), (&behind[0], "response")] {
            let policy = &filter["typed_config"]["config"]["configuration"]["value"];
            let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
            assert_eq!(policy["role"], role);
        }
    }

    #[test]
    fn another_listener_has_its_own_way_to_its_service() {
        let mut bootstrap = bootstrap();
        let mut other = bootstrap.clone();
        other.cache = Some(Cache::Simple);
        bootstrap.beside.insert("other".to_owned(), other);
        let value = bootstrap.to_value();
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().unwrap().iter();
            list.map(|one| one["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let resources = &value["static_resources"];
        assert_eq!(names(&resources["listeners"]), ["forecourt", "other"]);
        assert_eq!(names(&resources["clusters"]), ["upstream", "other"]);
        let chain = &resources["listeners"][1]["filter_chains"][0];
        let manager = &chain["filters"][0]["typed_config"];
        let cached = ["envoy.filters.http.cache", "envoy.filters.http.router"];
        assert_eq!(names(&manager["http_filters"]), cached);
        let routes = &manager["route_config"]["virtual_hosts"][0]["routes"];
        assert_eq!(routes[0]["route"]["cluster"], "other");
        let assigned = &resources["clusters"][1]["load_assignment"];
        assert_eq!(assigned["cluster_name"], "other");
    }

    #[test]
    fn buffers_hold_the_largest_body() {
        let mut bootstrap = bootstrap();
        for (largest, least) in [(0, 0), (65_536, 65_537), (10 << 20, (10 << 20) + 1)] {
            bootstrap.largest_body = largest;
            let value = bootstrap.to_value();
            let limit =
                &value["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"];
            assert!(limit.as_u64().unwrap() >= least);
        }
        bootstrap.largest_body = u64::MAX;
        let window = &manager(&bootstrap)["http2_protocol_options"]["initial_stream_window_size"];
        assert_eq!(window.as_u64(), Some(i32::MAX as u64));
    }

    #[test]
    fn a_tls_service_is_called_by_its_own_name() {
        let mut bootstrap = bootstrap();
        let route = |b: &Bootstrap| {
            manager(b)["route_config"]["virtual_hosts"][0]["routes"][0]["route"].clone()
        };
        assert_eq!(route(&bootstrap).get("host_rewrite_literal"), None);
        let upstream: Upstream = "https://a.run.app".parse().unwrap();
        bootstrap.backends = vec![upstream.into()];
        assert_eq!(route(&bootstrap)["host_rewrite_literal"], "a.run.app");
    }

    #[test]
    fn issuers_get_the_clusters_that_the_policy_names() {
        let policy = crate::config::from_value(json!({
            "version": "forecourt/v1",
            "issuers": {
                "a": { "issuer": "https://a.example", "audiences": "x",
                       "jwks": { "uri": "https://keys.a.example:8443/k", "cluster": "a-keys" } },
                "b": { "issuer": "https://b.example", "audiences": "x",
                       "jwks": { "cluster": "b", "keysHost": "keys.b.example",
                                 "discovery": { "cluster": "b-meta" } } },
                "c": { "issuer": "https://c.example", "audiences": "x",
                       "jwks": { "uri": "http://localhost:1/k", "cluster": "upstream" } },
            },
            "services": { "orders": { "url": "https://orders.a.run.app", "identity": "metadata" } },
            "routes": [],
        }));
        let mut bootstrap = bootstrap();
        bootstrap.fit(&policy.unwrap());
        let clusters = bootstrap.to_value()["static_resources"]["clusters"].clone();
        let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
        let shown: Vec<_> = clusters
            .as_array()
            .unwrap()
            .iter()
            .map(|cluster| {
                let name = cluster["name"].as_str().unwrap();
                let tls = cluster.get("transport_socket").is_some();
                (
                    name,
                    cluster.pointer(address).unwrap()["address"]
                        .as_str()
                        .unwrap(),
                    tls,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("upstream", "127.0.0.1", false),
                ("a-keys", "keys.a.example", true),
                ("b", "keys.b.example", true),
                ("b-meta", "b.example", true),
                (
                    "metadata.google.internal",
                    "metadata.google.internal",
                    false
                ),
            ]
        );
    }

    #[test]
    fn heads_may_be_as_large_as_the_policy_lets_them() {
        let mut bootstrap = bootstrap();
        for (largest, limit) in [(0, None), (60 << 10, Some(64)), (1 << 30, Some(8192))] {
            bootstrap.largest_headers = largest;
            let held = manager(&bootstrap)
                .get("max_request_headers_kb")
                .and_then(Value::as_u64);
            assert_eq!(held, limit);
        }
    }

    #[test]
    fn the_access_log_holds_no_query_and_no_header() {
        let log = access_log().to_string();
        assert!(log.contains("%PATH(NQ)%"), "{log}");
        assert_eq!(log.matches("%REQ(").count(), 1, "{log}");
    }
}
