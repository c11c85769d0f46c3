//! A route's `cache`: raw form and compilation.

use deserr::Deserr;
use serde::Serialize;

use super::problem::{Place, Problems};
use super::types::Span;
use crate::hints::{Keep, Rule, Wish, field};

/// The longest lifetime that a policy may ask for: 366 days, as long as Cloud CDN keeps anything.
pub const LONGEST: Span = Span(31_622_400);

/// What caches may do with the answers of a route. Without it only the safety rules apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Cache", deny_unknown_fields))]
pub struct RawCache {
    /// How long an answer stays fresh where the origin does not say, at most 366 days. Holds for
    /// GET and HEAD answered with 200, 203, 204, 206, 300, 301, 304 or 308.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// How long a stale answer may be used while a new one is fetched (RFC 5861 §3), at most 366
    /// days. Needs `ttl`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_while_revalidate: Option<Span>,
    /// Only the client's own cache may keep the answer (RFC 9111 §5.2.2.7).
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Nobody may keep the answer (RFC 9111 §5.2.2.5).
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_store: bool,
    /// Answers to verified requests may be kept by shared caches too: every caller may see what
    /// one caller was given. Without it they are `private`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Request fields that the answer depends on, added to the origin's `Vary`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vary: Vec<String>,
}

impl RawCache {
    /// Checks the form and compiles it; the result is harmless where there were problems.
    pub fn compile(&self, at: &Place, problems: &mut Problems) -> Rule {
        self.refuse_contradictions(at, problems);
        Rule {
            shared: self.shared,
            vary: vary(&self.vary, &at.key("vary"), problems),
            wish: Wish {
                keep: self.keep(),
                ttl: seconds(self.ttl, &at.key("ttl"), problems),
                stale_while_revalidate: seconds(
                    self.stale_while_revalidate,
                    &at.key("staleWhileRevalidate"),
                    problems,
                ),
            },
        }
    }

    fn keep(&self) -> Keep {
        match (self.no_store, self.private) {
            (true, _) => Keep::Nobody,
            (false, true) => Keep::Private,
            (false, false) => Keep::Any,
        }
    }

    fn refuse_contradictions(&self, at: &Place, problems: &mut Problems) {
        let beside_no_store = [
            ("ttl", self.ttl.is_some()),
            (
                "staleWhileRevalidate",
                self.stale_while_revalidate.is_some(),
            ),
            ("private", self.private),
            ("shared", self.shared),
        ];
        for (key, there) in beside_no_store {
            if self.no_store && there {
                problems.add(
                    &at.key(key),
                    "has no meaning beside `noStore: true`; drop one of the two",
                );
            }
        }
        if self.private && self.shared {
            problems.add(
                &at.key("shared"),
                "contradicts `private: true`; keep `shared` only if every caller may see the \
                 answers of all others",
            );
        }
        if self.stale_while_revalidate.is_some() && self.ttl.is_none() && !self.no_store {
            problems.add(
                &at.key("staleWhileRevalidate"),
                "needs `ttl` beside it: it begins when that time is over",
            );
        }
    }
}

fn seconds(span: Option<Span>, at: &Place, problems: &mut Problems) -> Option<u32> {
    let span = span?;
    if span > LONGEST {
        problems.add(
            at,
            format!("`{span}` is longer than a year; write `366d` or less"),
        );
    }
    Some(u32::try_from(span.0.min(LONGEST.0)).unwrap_or_default())
}

fn vary(names: &[String], at: &Place, problems: &mut Problems) -> Vec<String> {
    let mut compiled = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        if name == "*" {
            problems.add(
                &at.index(index),
                "`*` keeps every cache from using the answer again; write `noStore: true` if that \
                 is meant, or name the fields",
            );
        } else if !field::is_token(name.as_bytes()) {
            problems.add(
                &at.index(index),
                format!(
                    "`{name}` is no field name (RFC 9110 §5.1); write one such as `accept-encoding`"
                ),
            );
        } else if compiled.contains(&lower) {
            problems.add(
                &at.index(index),
                format!("`{name}` is named twice; drop one"),
            );
        } else {
            compiled.push(lower);
        }
    }
    compiled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(json: serde_json::Value) -> (Rule, Vec<String>) {
        let raw: RawCache = deserr::deserialize::<_, _, Problems>(json).unwrap();
        let mut problems = Problems::default();
        let rule = raw.compile(&Place::root().key("cache"), &mut problems);
        (rule, problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_full_rule_compiles_and_prints_back() {
        let json = serde_json::json!({
            "ttl": "5m", "staleWhileRevalidate": 60, "shared": true, "vary": ["Accept-Encoding"]
        });
        let (rule, problems) = compile(json.clone());
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            rule,
            Rule {
                shared: true,
                vary: vec!["accept-encoding".into()],
                wish: Wish {
                    keep: Keep::Any,
                    ttl: Some(300),
                    stale_while_revalidate: Some(60),
                },
            }
        );
        let raw: RawCache = deserr::deserialize::<_, _, Problems>(json).unwrap();
        assert_eq!(
            serde_json::to_value(&raw).unwrap(),
            serde_json::json!({
                "ttl": "5m", "staleWhileRevalidate": "1m", "shared": true, "vary": ["Accept-Encoding"]
            })
        );
    }

    #[test]
    fn contradictions_are_all_named_at_once() {
        let (_, problems) = compile(serde_json::json!({
            "noStore": true, "ttl": "400d", "private": true, "shared": true,
            "vary": ["*", "a b", "accept", "Accept"]
        }));
        let places: Vec<_> = problems
            .iter()
            .map(|problem| problem.split(": ").next().unwrap())
            .collect();
        assert_eq!(
            places,
            [
                "cache.ttl",
                "cache.private",
                "cache.shared",
                "cache.shared",
                "cache.vary[0]",
                "cache.vary[1]",
                "cache.vary[3]",
                "cache.ttl",
            ]
        );
    }

    #[test]
    fn staleness_without_a_lifetime_is_refused() {
        let (_, problems) = compile(serde_json::json!({ "staleWhileRevalidate": "1m" }));
        assert_eq!(
            problems,
            ["cache.staleWhileRevalidate: needs `ttl` beside it: it begins when that time is over"]
        );
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        let error = deserr::deserialize::<RawCache, _, Problems>(serde_json::json!({ "tll": 5 }))
            .unwrap_err();
        assert!(error.to_string().contains("did you mean `ttl`"), "{error}");
    }
}
