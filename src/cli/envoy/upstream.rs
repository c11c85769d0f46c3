//! A service behind Envoy: its URL, and the cluster that reaches it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hyper::Uri;
use serde_json::{Value, json};

use super::cache::PROTOCOL_OPTIONS;
use super::extended;

/// Where the certificates of public authorities are kept, by system.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A service to put Envoy in front of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    /// HTTP/2 without TLS, as a Cloud Run container with end-to-end HTTP/2 speaks it.
    H2c,
    Https,
}

/// Why a text is not an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Not a URL with scheme and host.
    #[error("`{0}` is not a URL such as http://127.0.0.1:8080 or https://shop-abc123-ew.a.run.app")]
    NotAUrl(String),
    /// A scheme that Envoy is not asked to speak.
    #[error(
        "`{0}` is not a scheme for a service; known are http, https and h2c (HTTP/2 without TLS)"
    )]
    Scheme(String),
    /// More than scheme, host and port.
    #[error("`{0}` has a path, query or user; an upstream is scheme, host and port only")]
    MoreThanOrigin(String),
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_a_url = || UpstreamError::NotAUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| not_a_url())?;
        let authority = uri.authority().ok_or_else(not_a_url)?;
        let scheme = match uri.scheme_str().ok_or_else(not_a_url)? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "h2c" => Scheme::H2c,
            other => return Err(UpstreamError::Scheme(other.to_owned())),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if !matches!(path, "" | "/") || authority.as_str().contains('@') {
            return Err(UpstreamError::MoreThanOrigin(text.to_owned()));
        }
        let host = authority.host();
        let default = if scheme == Scheme::Https { 443 } else { 80 };
        let named = authority.as_str().strip_prefix(host).unwrap_or_default();
        let port = match named.strip_prefix(':') {
            None => default,
            Some(port) => port.parse().map_err(|_| not_a_url())?,
        };
        Ok(Self {
            scheme,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
        };
        let host = &self.host;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{}", self.port)
        } else {
            write!(f, "{scheme}://{host}:{}", self.port)
        }
    }
}

impl Upstream {
    /// Host and port, to see whether anybody listens there.
    pub fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The name a TLS service goes by, which replaces the client's `Host`: Cloud Run's front end
    /// serves a run.app name and nothing else. A plain service sees the `Host` the client sent.
    pub(super) fn host_rewrite(&self) -> Option<&str> {
        (self.scheme == Scheme::Https).then_some(self.host.as_str())
    }

    /// The cluster under that name. `roots` is the file of authorities to trust; the system's own if
    /// `None`.
    pub(super) fn cluster(&self, name: &str, buffer_limit: u64, roots: Option<&Path>) -> Value {
        let mut cluster = json!({
            "name": name,
            "type": if self.is_address() { "STATIC" } else { "STRICT_DNS" },
            "connect_timeout": "5s",
            "per_connection_buffer_limit_bytes": buffer_limit,
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "socket_address": {
                    "address": self.host,
                    "port_value": self.port,
                }}}}]}],
            },
            "typed_extension_protocol_options": {
                PROTOCOL_OPTIONS: self.protocol(),
            },
        });
        if !self.is_address() {
            // A name of Cloud Run answers with several addresses of both families.
            cluster = extended(cluster, json!({ "dns_lookup_family": "V4_PREFERRED" }));
        }
        if self.scheme == Scheme::Https {
            cluster = extended(cluster, json!({ "transport_socket": self.tls(roots) }));
        }
        cluster
    }

    fn is_address(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok()
    }

    fn protocol(&self) -> Value {
        let http1 = json!({ "enable_trailers": true });
        let choice = match self.scheme {
            Scheme::Http => json!({ "explicit_http_config": { "http_protocol_options": http1 } }),
            Scheme::H2c => json!({ "explicit_http_config": { "http2_protocol_options": {} } }),
            Scheme::Https => json!({ "auto_config": {
                "http_protocol_options": http1,
                "http2_protocol_options": {},
            }}),
        };
        let options = json!({
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": { "idle_timeout": "300s" },
        });
        extended(options, choice)
    }

    fn tls(&self, roots: Option<&Path>) -> Value {
        let san_type = if self.is_address() {
            "IP_ADDRESS"
        } else {
            "DNS"
        };
        let context = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_params": { "tls_minimum_protocol_version": "TLSv1_2" },
                "validation_context": {
                    "trusted_ca": { "filename": roots.map_or_else(system_roots, Path::to_owned) },
                    "match_typed_subject_alt_names": [
                        { "san_type": san_type, "matcher": { "exact": self.host } },
                    ],
                },
            },
        });
        // RFC 6066 §3: addresses are not permitted as server names.
        let sni = if self.is_address() {
            json!({})
        } else {
            json!({ "sni": self.host })
        };
        json!({ "name": "envoy.transport_sockets.tls", "typed_config": extended(context, sni) })
    }
}

/// The system's file of authorities; where none is found, the commonest place, so that Envoy's own
/// error names it.
fn system_roots() -> PathBuf {
    let found = SYSTEM_ROOTS.iter().find(|path| Path::new(path).is_file());
    PathBuf::from(found.or(SYSTEM_ROOTS.first()).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(text: &str) -> Upstream {
        text.parse().unwrap()
    }

    #[test]
    fn urls_of_services_are_read() {
        for (text, shown) in [
            ("http://localhost", "http://localhost:80"),
            ("https://a.run.app/", "https://a.run.app:443"),
            ("h2c://127.0.0.1:9000", "h2c://127.0.0.1:9000"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(upstream(text).to_string(), shown);
        }
        assert_eq!(upstream("http://[::1]:8080").host_and_port(), ("::1", 8080));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "",
            "localhost:8080",
            "/x",
            "http://",
            "http://h:99999",
            "http://h:x",
        ] {
            let error = text.parse::<Upstream>().unwrap_err();
            assert!(
                matches!(error, UpstreamError::NotAUrl(_)),
                "{text}: {error}"
            );
        }
        for text in ["http://h/path", "http://h?q", "http://user@h"] {
            let error = text.parse::<Upstream>().unwrap_err();
            assert!(
                matches!(error, UpstreamError::MoreThanOrigin(_)),
                "{text}: {error}"
            );
        }
        let error = "ftp://h".parse::<Upstream>().unwrap_err();
        assert_eq!(error, UpstreamError::Scheme("ftp".to_owned()));
    }

    #[test]
    fn a_run_app_name_is_checked_by_name_and_authority() {
        let cluster = upstream("https://shop-abc123-ew.a.run.app").cluster("shop", 65536, None);
        let tls = &cluster["transport_socket"]["typed_config"];
        assert_eq!(tls["sni"], "shop-abc123-ew.a.run.app");
        let validation = &tls["common_tls_context"]["validation_context"];
        assert!(validation["trusted_ca"]["filename"].is_string());
        let san = &validation["match_typed_subject_alt_names"][0];
        assert_eq!(san["matcher"]["exact"], "shop-abc123-ew.a.run.app");
        assert_eq!(cluster["type"], "STRICT_DNS");
    }

    #[test]
    fn an_address_has_no_server_name() {
        let cluster = upstream("https://127.0.0.1:8443").cluster("x", 65536, None);
        let tls = &cluster["transport_socket"]["typed_config"];
        assert_eq!(tls.get("sni"), None);
        assert_eq!(cluster["type"], "STATIC");
        let plain = upstream("http://127.0.0.1:80").cluster("x", 65536, None);
        assert_eq!(plain.get("transport_socket"), None);
    }
}
