//! The meta-schemas, for values that are schemas themselves. Each is one document here, though that
//! of 2020-12 is published in parts; no policy can tell, because it cannot make dialects of its own.

use serde_json::Value;

const V2020: &str = include_str!("meta/draft2020-12.json");
const V7: &str = include_str!("meta/draft7.json");

/// Those of draft 2020-12 and of draft 7.
pub fn schemas() -> Vec<Value> {
    [V2020, V7]
        .into_iter()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect()
}
