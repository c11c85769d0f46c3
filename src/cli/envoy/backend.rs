//! The services behind an Envoy: which there are by policy and command line, and the routes to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde_json::{Value, json};

use super::bootstrap::UPSTREAM;
use super::extended;
use super::upstream::{Upstream, UpstreamError};
use crate::policy::Policy;
use crate::service::{SERVICE, Service};

/// A service behind, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The policy's name for it; `None` where the policy names no services.
    pub name: Option<String>,
    /// Its cluster.
    pub cluster: String,
    /// Where it is.
    pub upstream: Upstream,
}

impl From<Upstream> for Backend {
    /// The only service there is.
    fn from(upstream: Upstream) -> Self {
        Self {
            name: None,
            cluster: UPSTREAM.to_owned(),
            upstream,
        }
    }
}

/// `[NAME=]URL`, as the command line says where a service is; without a name, where all are that it
/// does not name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUpstream {
    name: Option<String>,
    upstream: Upstream,
}

impl FromStr for NamedUpstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').filter(|(name, _)| !name.contains(':'));
        let (name, url) = match named {
            Some((name, url)) => (Some(name.to_owned()), url),
            None => (None, text),
        };
        Ok(Self {
            name,
            upstream: url.parse()?,
        })
    }
}

/// Why it is not clear where a service is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// Nobody says where the service is.
    #[error("where is the service? Add --upstream URL, or `services` to the policy")]
    Nowhere,
    /// The policy has no such service.
    #[error("--upstream {0}=…: the policy has no service of that name")]
    Unknown(String),
    /// A service twice.
    #[error("--upstream is given twice for the same service")]
    Twice,
    /// A service with neither URL.
    #[error("service `{0}` has no `url` in the policy; add --upstream {0}=URL")]
    NoUrl(String),
}

/// The services of a policy, at their own URLs or where the command line says that they are.
pub fn backends(policy: &Policy, targets: &[NamedUpstream]) -> Result<Vec<Backend>, Unclear> {
    if policy.services.is_empty() {
        return match targets {
            [] => Err(Unclear::Nowhere),
            [
                NamedUpstream {
                    name: None,
                    upstream,
                },
            ] => Ok(vec![upstream.clone().into()]),
            [
                NamedUpstream {
                    name: Some(name), ..
                },
            ] => Err(Unclear::Unknown(name.clone())),
            _ => Err(Unclear::Twice),
        };
    }
    let mut told: BTreeMap<Option<&str>, &Upstream> = BTreeMap::new();
    for NamedUpstream { name, upstream } in targets {
        let known = |name: &String| policy.services.iter().any(|service| service.name == *name);
        if let Some(name) = name.as_ref().filter(|name| !known(name)) {
            return Err(Unclear::Unknown(name.clone()));
        }
        if told.insert(name.as_deref(), upstream).is_some() {
            return Err(Unclear::Twice);
        }
    }
    let place = |service: &Service| {
        let told = told
            .get(&Some(service.name.as_str()))
            .or_else(|| told.get(&None));
        let own = || service.url.as_ref()?.to_string().parse().ok();
        let upstream = told.map(|upstream| (*upstream).clone()).or_else(own);
        Ok(Backend {
            name: Some(service.name.clone()),
            cluster: service.cluster.clone(),
            upstream: upstream.ok_or_else(|| Unclear::NoUrl(service.name.clone()))?,
        })
    };
    policy.services.iter().map(place).collect()
}

/// The routes to these services. Where there are several the module names one in a header; a request
/// without it goes nowhere.
pub(super) fn routes(backends: &[Backend]) -> Vec<Value> {
    let everything = json!({ "prefix": "/" });
    if let [only] = backends {
        return vec![json!({ "match": everything, "route": only.action() })];
    }
    let by_name = backends.iter().map(|backend| {
        let named = json!({ "headers": [{
            "name": SERVICE, "string_match": { "exact": backend.name },
        }]});
        json!({
            "match": extended(everything.clone(), named),
            "route": backend.action(),
            "request_headers_to_remove": [SERVICE],
        })
    });
    let none = json!({ "match": everything, "direct_response": { "status": 503 } });
    by_name.chain([none]).collect()
}

impl Backend {
    pub(super) fn cluster(&self, buffer_limit: u64, roots: Option<&Path>) -> Value {
        self.upstream.cluster(&self.cluster, buffer_limit, roots)
    }

    fn action(&self) -> Value {
        let route = json!({
            "cluster": self.cluster,
            // What Cloud Run allows a request by default.
            "timeout": "300s",
            // Only a request that never reached the service may be sent again.
            "retry_policy": { "retry_on": "connect-failure", "num_retries": 2 },
        });
        match self.upstream.host_rewrite() {
            None => route,
            Some(host) => {
                let rewrite =
                    json!({ "host_rewrite_literal": host, "append_x_forwarded_host": true });
                extended(route, rewrite)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(services: Value) -> Policy {
        crate::config::from_value(json!({
            "version": "forecourt/v1", "services": services, "routes": [],
        }))
        .unwrap()
    }

    fn places(policy: &Policy, targets: &[&str]) -> Result<Vec<String>, Unclear> {
        let targets: Vec<NamedUpstream> =
            targets.iter().map(|text| text.parse().unwrap()).collect();
        let found = backends(policy, &targets)?;
        Ok(found
            .iter()
            .map(|backend| format!("{} {}", backend.cluster, backend.upstream))
            .collect())
    }

    #[test]
    fn services_are_where_the_policy_says_unless_the_command_line_knows_better() {
        let none = policy(json!({}));
        assert_eq!(
            places(&none, &["http://a"]).unwrap(),
            ["upstream http://a:80"]
        );
        assert_eq!(places(&none, &[]), Err(Unclear::Nowhere));
        assert_eq!(
            places(&none, &["http://a", "http://b"]),
            Err(Unclear::Twice)
        );
        assert_eq!(
            places(&none, &["x=http://a"]),
            Err(Unclear::Unknown("x".into()))
        );
        let one = policy(json!({ "shop": { "url": "https://shop-a-ew.a.run.app" } }));
        assert_eq!(
            places(&one, &[]).unwrap(),
            ["shop https://shop-a-ew.a.run.app:443"]
        );
        assert_eq!(places(&one, &["http://a"]).unwrap(), ["shop http://a:80"]);
        let two = policy(json!({
            "orders": { "url": "https://orders-a-ew.a.run.app", "cluster": "x" },
            "shop": { "cluster": "y" },
        }));
        assert_eq!(places(&two, &[]), Err(Unclear::NoUrl("shop".into())));
        assert_eq!(
            places(&two, &["shop=http://[::1]:1"]).unwrap(),
            ["x https://orders-a-ew.a.run.app:443", "y http://[::1]:1"]
        );
        assert_eq!(
            places(&two, &["http://a", "orders=http://b"]).unwrap(),
            ["x http://b:80", "y http://a:80"],
            "a URL alone is for all others"
        );
        assert_eq!(
            places(&two, &["shop=http://a", "shop=http://b"]),
            Err(Unclear::Twice)
        );
    }

    #[test]
    fn a_request_for_no_service_goes_nowhere() {
        let two = policy(json!({
            "orders": { "url": "https://orders-a-ew.a.run.app" },
            "shop": { "url": "https://shop-a-ew.a.run.app" },
        }));
        let routes = routes(&backends(&two, &[]).unwrap());
        assert_eq!(routes.len(), 3);
        for (route, name) in routes.iter().zip(["orders", "shop"]) {
            let header = &route["match"]["headers"][0];
            assert_eq!(header["name"], "x-forecourt-service");
            assert_eq!(header["string_match"]["exact"], name);
            assert_eq!(route["route"]["cluster"], name);
            let host = format!("{name}-a-ew.a.run.app");
            assert_eq!(route["route"]["host_rewrite_literal"], host);
        }
        assert_eq!(routes[2]["direct_response"]["status"], 503);
    }
}
