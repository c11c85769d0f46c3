//! Envoy's own caches: the filter, and what goes before and behind it.
//!
//! Nothing in the listener's chain behind the cache is called for what the cache fetches, so the
//! module runs twice: before the cache, where every request passes, and among the cluster's filters,
//! where every answer does before it is kept.

use serde_json::{Value, json};

use super::extended;
use super::filter::{EXTENSIONS, Filter, http_filter, plugin};
use crate::cli::print;

/// The name of a cluster's protocol options.
pub(super) const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A cache of Envoy; both keep what they have in memory, without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cache {
    /// The cache filter with its simple cache
    Simple,
    /// The second cache filter with its simple cache: parallel misses are fetched once
    V2,
}

impl Cache {
    /// The filter.
    pub(super) fn to_value(self) -> Value {
        let (name, filter, store) = match self {
            Self::Simple => (
                "envoy.filters.http.cache",
                "filters.http.cache.v3.CacheConfig",
                "http.cache.simple_http_cache.v3.SimpleHttpCacheConfig",
            ),
            Self::V2 => (
                "envoy.filters.http.cache_v2",
                "filters.http.cache_v2.v3.CacheV2Config",
                "http.cache_v2.simple_http_cache.v3.SimpleHttpCacheV2Config",
            ),
        };
        json!({ "name": name, "typed_config": {
            "@type": format!("{EXTENSIONS}{filter}"),
            "typed_config": { "@type": format!("{EXTENSIONS}{store}") },
        }})
    }
}

/// The module before the cache, then the cache.
pub(super) fn before(filter: &Filter, cache: Cache) -> Vec<Value> {
    vec![instance(filter, "request"), cache.to_value()]
}

/// The cluster, with the module between the cache and the service.
pub(super) fn behind(filter: &Filter, mut cluster: Value) -> Value {
    let codec = json!({ "name": "envoy.filters.http.upstream_codec", "typed_config": {
        "@type": format!("{EXTENSIONS}filters.http.upstream_codec.v3.UpstreamCodec"),
    }});
    let filters = json!({ "http_filters": [instance(filter, "response"), codec] });
    let options = cluster
        .get_mut("typed_extension_protocol_options")
        .and_then(|options| options.get_mut(PROTOCOL_OPTIONS));
    if let Some(options) = options {
        *options = extended(options.take(), filters);
    }
    cluster
}

fn instance(filter: &Filter, role: &str) -> Value {
    let code = json!({ "local": { "filename": filter.module } });
    http_filter(
        "forecourt",
        plugin("forecourt", &in_role(&filter.policy, role), code),
    )
}

/// The policy for one part of the work. What is no policy is left for the module to refuse.
fn in_role(policy: &str, role: &str) -> String {
    match serde_json::from_str(policy) {
        Ok(document) => print::json(&extended(document, json!({ "role": role }))),
        Err(_) => policy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_given_a_role_and_nothing_else() {
        let policy = r#"{"version":"forecourt/v1","n":12345678901234567}"#;
        let given: Value = serde_json::from_str(&in_role(policy, "request")).unwrap();
        let mut expected: Value = serde_json::from_str(policy).unwrap();
        expected["role"] = "request".into();
        assert_eq!(given, expected);
        assert_eq!(in_role("{", "request"), "{");
    }
}
