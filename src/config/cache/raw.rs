//! The keys of `cache` as they are written.

use std::collections::BTreeMap;
use std::fmt;

use deserr::{Deserr, IntoValue, Sequence, Value, ValuePointerRef};
use serde::{Serialize, Serializer};
use sfv::{DictSerializer, Key, KeyRef, StringRef};

use crate::config::problem::{Problems, refuse};
use crate::config::types::{Span, wrong_kind};
use crate::hints::{Edge, Mode, Profile, Strength};

/// Declares a form that says what is wanted of answers, with keys of its own before those that all
/// such forms share: the policy's forms know no inclusion of one in another.
macro_rules! wishing {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
        #[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
        #[serde(rename_all = "camelCase")]
        #[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
        $(#[$meta])*
        pub struct $name {
            $($own)*
            /// What becomes of the origin's own lifetimes: `respect` lets them stand, `default`
            /// gives an answer without any the route's, `cap` limits them to the route's,
            /// `override` puts the route's in their place, `off` leaves the answer to the safety
            /// rules. Without it: `default` beside a `ttl` or `browserTtl`, else `respect`.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub mode: Option<RawMode>,
            /// How long the answer is fresh, counted from when the origin made it; at most 366
            /// days.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub ttl: Option<Span>,
            /// The same for the client's own cache only.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub browser_ttl: Option<Span>,
            /// The same for shared caches only (`s-maxage`, RFC 9111 §5.2.2.10). A cache must not
            /// use such an answer when it is stale.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub shared_ttl: Option<Span>,
            /// How long a stale answer may be used while a new one is fetched (RFC 5861 §3), at
            /// most 366 days. Goes with a lifetime of the route's own; under `mode: cap` it limits
            /// the origin's.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub stale_while_revalidate: Option<Span>,
            /// How long a stale answer may be used when the origin fails (RFC 5861 §4), as above.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub stale_if_error: Option<Span>,
            /// The answer never changes while it is fresh, so that a browser need not ask when the
            /// page is reloaded (RFC 8246). Goes with a lifetime of the route's own.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub immutable: bool,
            /// A stale answer must not be used at all (RFC 9111 §5.2.2.2).
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub must_revalidate: bool,
            /// Only the client's own cache may keep the answer (RFC 9111 §5.2.2.7).
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub private: bool,
            /// Nobody may keep the answer (RFC 9111 §5.2.2.5).
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub no_store: bool,
            /// `mode: override` goes over the origin's `private`, `no-store` and `no-cache` too.
            /// Answers to verified requests and answers with cookies stay private all the same.
            #[deserr(default)]
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub force: bool,
        }

        impl $name {
            /// The keys that all such forms share.
            pub(super) fn wish(&self) -> WishKeys {
                WishKeys {
                    mode: self.mode,
                    ttl: self.ttl,
                    browser_ttl: self.browser_ttl,
                    shared_ttl: self.shared_ttl,
                    stale_while_revalidate: self.stale_while_revalidate,
                    stale_if_error: self.stale_if_error,
                    immutable: self.immutable,
                    must_revalidate: self.must_revalidate,
                    private: self.private,
                    no_store: self.no_store,
                    force: self.force,
                }
            }
        }
    };
}

wishing! {
    /// What caches may do with the answers of a route. Without it only the safety rules apply.
    ///
    /// Its lifetimes hold for GET and HEAD answered with 200, 203, 204, 206, 300, 301, 304 or 308;
    /// `statusTtl` and `when` name others.
    #[cfg_attr(feature = "cli", schemars(rename = "Cache", deny_unknown_fields))]
    pub struct RawCache {
        /// The cache in front of the route, whose ways the hints are made for.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "RawProfile::is_generic")]
        pub profile: RawProfile,
        /// What Envoy's own cache (`--cache`) does with answers to verified requests: `bypass`, the
        /// default, passes them by, `perUser` keeps them for the caller alone, under a key of what
        /// the service sees of the caller. Every other cache is told `private` either way.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "RawEdge::is_bypass")]
        pub edge: RawEdge,
        /// Answers to verified requests may be kept by shared caches too: every caller may see
        /// what one caller was given, and where such a cache stands before the token check, so may
        /// anybody. Without it they are `private`.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub shared: bool,
        /// Request fields that the answer depends on, added to the origin's `Vary`.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub vary: Vec<String>,
        /// Lifetimes by status or class of statuses: `{404: 30s, 5xx: 0s}`. A status goes before
        /// its class.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub status_ttl: BTreeMap<String, Span>,
        /// What is wanted of some answers instead; the first case that fits is taken, before
        /// `statusTtl`.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub when: Vec<RawCase>,
        /// The targeted field (RFC 9213), such as `CDN-Cache-Control`, that tells shared caches
        /// their lifetime in the place of `s-maxage`.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub targeted: Option<String>,
        /// Drop `Set-Cookie` from an answer that a shared cache may keep. Without it such an
        /// answer becomes `private`.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub strip_set_cookie: bool,
        /// Query parameters that make no difference to the answer, told as `No-Vary-Search` where
        /// the origin does not.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub no_vary_search: Option<RawNoVarySearch>,
        /// Names under which caches can be told to drop the answers.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tags: Option<RawTags>,
        /// Content codings of the service, best first, such as `[br, gzip]`: `Accept-Encoding` of
        /// a GET or HEAD goes on with those that the client accepts, else as `identity`, so that a
        /// cache keeps few variants.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub accept_encoding: Vec<String>,
        /// Answer 304 to clients that have the answer already (RFC 9110 §13).
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub validation: Option<RawValidation>,
        /// Add `Cache-Status` (RFC 9211) under this name, a token such as `edge`.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub cache_status: Option<String>,
    }
}

wishing! {
    /// What is wanted of the answers that fit all of its conditions. It stands in the place of the
    /// route's own keys, of which it takes none over.
    #[cfg_attr(feature = "cli", schemars(rename = "CacheCase", deny_unknown_fields))]
    pub struct RawCase {
        /// Statuses such as 404, or classes such as `5xx`. Without it those of the route.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub statuses: Vec<RawStatuses>,
        /// Media ranges such as `text/html`, `image/*` or `application/*+json`. Without it any.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub content_types: Vec<String>,
        /// Methods. Without it GET and HEAD.
        #[deserr(default)]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub methods: Vec<String>,
    }
}

/// The shared keys, wherever they stand.
pub(super) struct WishKeys {
    pub mode: Option<RawMode>,
    pub ttl: Option<Span>,
    pub browser_ttl: Option<Span>,
    pub shared_ttl: Option<Span>,
    pub stale_while_revalidate: Option<Span>,
    pub stale_if_error: Option<Span>,
    pub immutable: bool,
    pub must_revalidate: bool,
    pub private: bool,
    pub no_store: bool,
    pub force: bool,
}

/// What becomes of the origin's own lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "CacheMode"))]
pub enum RawMode {
    /// They stand; what is doubtful is written anew in its strictest meaning.
    Respect,
    /// They stand; an answer without any gets the route's.
    Default,
    /// They stand up to the route's.
    Cap,
    /// The route's replace them.
    Override,
    /// Nothing but the safety rules.
    Off,
}

impl From<RawMode> for Mode {
    fn from(raw: RawMode) -> Self {
        match raw {
            RawMode::Respect => Self::Respect,
            RawMode::Default => Self::Default,
            RawMode::Cap => Self::Cap,
            RawMode::Override => Self::Override,
            RawMode::Off => Self::Off,
        }
    }
}

/// The cache in front of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "CacheProfile"))]
pub enum RawProfile {
    /// Any cache that keeps to RFC 9111.
    #[default]
    #[deserr(rename = "generic")]
    #[serde(rename = "generic")]
    Generic,
    /// Browsers only; no shared cache is to keep anything.
    #[deserr(rename = "browser")]
    #[serde(rename = "browser")]
    Browser,
    /// Google Cloud CDN.
    #[deserr(rename = "cloud-cdn")]
    #[serde(rename = "cloud-cdn")]
    CloudCdn,
    /// Envoy's cache filters.
    #[deserr(rename = "envoy-cache")]
    #[serde(rename = "envoy-cache")]
    EnvoyCache,
}

impl RawProfile {
    fn is_generic(&self) -> bool {
        *self == Self::Generic
    }
}

impl From<RawProfile> for Profile {
    fn from(raw: RawProfile) -> Self {
        match raw {
            RawProfile::Generic => Self::Generic,
            RawProfile::Browser => Self::Browser,
            RawProfile::CloudCdn => Self::CloudCdn,
            RawProfile::EnvoyCache => Self::EnvoyCache,
        }
    }
}

/// What Envoy's own cache does with answers to verified requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "CacheEdge"))]
pub enum RawEdge {
    /// It passes them by.
    #[default]
    Bypass,
    /// It keeps them for the caller alone.
    PerUser,
}

impl RawEdge {
    fn is_bypass(&self) -> bool {
        *self == Self::Bypass
    }
}

impl From<RawEdge> for Edge {
    fn from(raw: RawEdge) -> Self {
        match raw {
            RawEdge::Bypass => Self::Bypass,
            RawEdge::PerUser => Self::PerUser,
        }
    }
}

/// A status as a number, or as text that may be a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawStatuses {
    /// `404`
    Number(u64),
    /// `404` or `4xx`
    Text(String),
}

impl fmt::Display for RawStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for RawStatuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Deserr<Problems> for RawStatuses {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Value::Integer(number) => Ok(Self::Number(number)),
            Value::String(text) => Ok(Self::Text(text)),
            other => Err(wrong_kind(
                &other,
                "a status such as 404 or `4xx`",
                location,
            )),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for RawStatuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A status such as 404, or a class of statuses such as `4xx`.",
            "oneOf": [
                { "type": "integer", "minimum": 200, "maximum": 599 },
                { "type": "string", "pattern": "^([2-5][0-9][0-9]|[2-5]xx)$" }
            ]
        })
    }
}

/// Names under which caches can be told to drop answers: texts in printable ASCII without space,
/// comma, quote or backslash, with path parameters in braces: `product-{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "CacheTags", deny_unknown_fields))]
pub struct RawTags {
    /// For `Surrogate-Key`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surrogate_key: Vec<String>,
    /// For `Cache-Tag`, which Cloud CDN reads.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_tag: Vec<String>,
    /// For `Cache-Groups` (RFC 9875).
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_groups: Vec<String>,
}

/// How answers are validated at the edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "CacheValidation", deny_unknown_fields)
)]
pub struct RawValidation {
    /// Give an answer without `ETag` one: `strong` where it reaches the client byte for byte,
    /// `weak` where it may be compressed on the way. Such an answer is held until it is whole.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<RawStrength>,
    /// The largest answer in bytes that is held for that, 262144 by default, 4194304 at most. A
    /// larger one, or one without Content-Length, goes on at once and gets no `ETag`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// The strength of an entity tag (RFC 9110 §8.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "EtagStrength"))]
pub enum RawStrength {
    /// The answer may be changed on its way.
    Weak,
    /// The answer reaches the client byte for byte.
    Strong,
}

impl From<RawStrength> for Strength {
    fn from(raw: RawStrength) -> Self {
        match raw {
            RawStrength::Weak => Self::Weak,
            RawStrength::Strong => Self::Strong,
        }
    }
}

/// Query parameters that make no difference to the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "NoVarySearch", deny_unknown_fields)
)]
pub struct RawNoVarySearch {
    /// The order of the parameters makes no difference.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_order: bool,
    /// The parameters that make none: names, or `true` for all.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<RawSearchParams>,
    /// With `params: true`, those that do make one.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

impl RawNoVarySearch {
    /// The field's value; `None` where nothing, or nothing that can be written, is said.
    pub(super) fn print(&self) -> Option<String> {
        let mut members = DictSerializer::new();
        if self.key_order {
            members.bare_item(KeyRef::from_str("key-order").ok()?, true);
        }
        match &self.params {
            Some(RawSearchParams::All) => {
                members.bare_item(KeyRef::from_str("params").ok()?, true);
            }
            Some(RawSearchParams::Named(names)) if !names.is_empty() => {
                inner_list(&mut members, "params", names)?;
            }
            _ => {}
        }
        match (&self.params, &*self.except) {
            (_, []) => {}
            (Some(RawSearchParams::All), names) => inner_list(&mut members, "except", names)?,
            _ => return None,
        }
        members.finish()
    }
}

fn inner_list(members: &mut DictSerializer<String>, key: &str, names: &[String]) -> Option<()> {
    let key = Key::from_string(key.to_owned()).ok()?;
    let mut list = members.inner_list(&key);
    for name in names {
        list.bare_item(StringRef::from_str(name).ok()?);
    }
    // The list has no parameters to add.
    let _ = list.finish();
    Some(())
}

/// All query parameters, or some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawSearchParams {
    /// `true`
    All,
    /// A list of names.
    Named(Vec<String>),
}

impl Serialize for RawSearchParams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_bool(true),
            Self::Named(names) => names.serialize(serializer),
        }
    }
}

impl Deserr<Problems> for RawSearchParams {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Problems> {
        match value {
            Value::Boolean(true) => Ok(Self::All),
            Value::Boolean(false) => Err(refuse(
                location,
                "`false` says nothing; write `true`, a list of names, or drop it".to_owned(),
            )),
            Value::Sequence(names) => names
                .into_iter()
                .enumerate()
                .map(|(index, name)| {
                    String::deserialize_from_value(name.into_value(), location.push_index(index))
                })
                .collect::<Result<_, _>>()
                .map(Self::Named),
            other => Err(wrong_kind(&other, "`true` or a list of names", location)),
        }
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for RawSearchParams {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SearchParams".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`true` for all query parameters, or a list of names.",
            "oneOf": [
                { "const": true },
                { "type": "array", "items": { "type": "string" } }
            ]
        })
    }
}
