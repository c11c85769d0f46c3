//! `access.forward`: what a verified token hands on to the service.

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;

use super::claim_rules::RawClaimPath;
use super::problem::{Place, Problems};
use crate::token::forward::{Forward, PayloadHeader, TokenHandling};

/// What is handed on to the service.
#[derive(Clone, Debug, Default, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Forward", deny_unknown_fields))]
pub struct RawForward {
    /// Claims and the request header that each is written to: strings, numbers and booleans as
    /// they are, lists with commas between. Clients cannot set these headers themselves, on any
    /// route. A claim that a header cannot carry unambiguously is refused with 403.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// The request header that the token's payload is written to, as base64url.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<RawPayload>,
    /// A request header that the token is written to, without a scheme.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_header: Option<String>,
    /// Whether the service sees the token where the client put it. Where not given, a token in the
    /// query is taken out and others stay.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<RawTokenHandling>,
    /// Claims that access logs and later filters see, under the names given here, beside
    /// `forecourt_issuer` and `forecourt_subject`; `[]` for these two alone. Where not given, they learn
    /// nothing of the caller, which costs less.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<RawClaimPath>>,
    /// Whether Envoy chooses its route again once the headers are written, so that its routes can
    /// go by claims.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clear_route_cache: bool,
}

/// Where the payload goes.
#[derive(Clone, Debug, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "PayloadHeader", deny_unknown_fields)
)]
pub struct RawPayload {
    /// The request header; `X-Endpoint-API-UserInfo` is the one of ESPv2.
    pub header: String,
    /// Whether `=` pads it.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub padded: bool,
}

/// Whether the service sees the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "TokenHandling"))]
pub enum RawTokenHandling {
    /// It stays in the request.
    Keep,
    /// It is taken out.
    Strip,
}

impl RawForward {
    pub(super) fn compile(&self, at: &Place, problems: &mut Problems) -> Forward {
        let mut headers = Vec::new();
        let mut claims = Vec::new();
        for (claim, header) in &self.claims {
            let at = at.key("claims").key(claim);
            let name = fresh_header(header, &mut headers, &at, problems);
            let path = RawClaimPath::Text(claim.clone()).compile(&at, problems);
            claims.extend(path.map(|path| (path, name)));
        }
        let payload = self.payload.as_ref().map(|payload| {
            let at = at.key("payload").key("header");
            PayloadHeader {
                name: fresh_header(&payload.header, &mut headers, &at, problems),
                padded: payload.padded,
            }
        });
        let token_header = self
            .token_header
            .as_ref()
            .map(|header| fresh_header(header, &mut headers, &at.key("tokenHeader"), problems));
        let log = self.log.as_ref().map(|paths| {
            let named = |(index, path): (usize, &RawClaimPath)| {
                let path = path.compile(&at.key("log").index(index), problems)?;
                let name = path.to_string();
                Some((path, name))
            };
            paths.iter().enumerate().filter_map(named).collect()
        });
        Forward {
            log,
            claims,
            payload,
            token_header,
            token: self.token.map(|token| match token {
                RawTokenHandling::Strip => TokenHandling::Strip,
                RawTokenHandling::Keep => TokenHandling::Keep,
            }),
            clear_route_cache: self.clear_route_cache,
        }
    }
}

/// A header that nothing else of this mapping writes.
fn fresh_header(
    name: &str,
    taken: &mut Vec<String>,
    at: &Place,
    problems: &mut Problems,
) -> String {
    let name = header_name(name, at, problems);
    if taken.contains(&name) {
        problems.add(at, format!("something else is written to `{name}` already"));
    }
    taken.push(name.clone());
    name
}

/// Headers that mean something to the proxy or to HTTP itself.
const RESERVED: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-serverless-authorization",
];

/// A header that the policy may set: a token of RFC 9110 §5.6.2 in lower case, of no meaning to
/// HTTP or the proxy.
pub(super) fn header_name(name: &str, at: &Place, problems: &mut Problems) -> String {
    let lower = name.to_ascii_lowercase();
    if !is_field_name(&lower) {
        problems.add(
            at,
            format!("`{name}` is not the name of a header; write one such as `x-user-id`"),
        );
    } else if RESERVED.contains(&lower.as_str())
        || lower.starts_with("x-envoy-")
        || lower.starts_with("x-forecourt-")
    {
        problems.add(
            at,
            format!("`{lower}` has a meaning of its own; write another, such as `x-user-id`"),
        );
    }
    lower
}

/// Whether a text is a token of RFC 9110 §5.6.2.
pub(super) fn is_field_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}
