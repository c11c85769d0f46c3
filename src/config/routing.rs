//! `routing`: what requests are that no route names as they come, by a slash or by a method.

use deserr::Deserr;
use serde::Serialize;

use super::problem::Problems;
use crate::policy::Options;
use crate::route::Slashes;

/// How requests that differ from the routes in a slash, or in the method `OPTIONS`, are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Routing", deny_unknown_fields))]
#[deserr(error = Problems, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub struct RawRouting {
    /// Whether `/a/` is `/a`: `strict` by default, so that they are two paths, or `ignore`. The
    /// service gets the path as it came. A route's own `match.trailingSlash` goes before.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailing_slash: Option<RawTrailingSlash>,
    /// What `%2F` is in a path: `refuse` by default (400), or `keep`, a slash inside a path
    /// parameter that separates nothing; for services that read it so too. A route's own
    /// `match.encodedSlash` goes before.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoded_slash: Option<RawEncodedSlash>,
    /// What becomes of `OPTIONS` for a path whose routes do not take it: `refuse` by default (405
    /// with `Allow`), or `forward`: it passes as nobody's and unchecked, for services that answer
    /// CORS preflight requests themselves.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<RawOptions>,
}

/// Whether a slash at a path's end makes another path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "TrailingSlash"))]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub enum RawTrailingSlash {
    /// It does.
    #[default]
    Strict,
    /// It does not, unless a route is written so.
    Ignore,
}

/// What `%2F` is in a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "EncodedSlash"))]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub enum RawEncodedSlash {
    /// Ambiguous, so such requests are refused.
    #[default]
    Refuse,
    /// A character of a path parameter.
    Keep,
}

/// What becomes of `OPTIONS` where no route takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "OptionsRequests"))]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub enum RawOptions {
    /// 405 with `Allow`.
    #[default]
    Refuse,
    /// It goes to the service.
    Forward,
}

impl RawRouting {
    /// How a route takes slashes; what it says itself goes before what `routing` says.
    pub fn slashes(
        self,
        trailing: Option<RawTrailingSlash>,
        encoded: Option<RawEncodedSlash>,
    ) -> Slashes {
        let trailing = trailing.or(self.trailing_slash).unwrap_or_default();
        let encoded = encoded.or(self.encoded_slash).unwrap_or_default();
        Slashes {
            trailing_ignored: trailing == RawTrailingSlash::Ignore,
            encoded_kept: encoded == RawEncodedSlash::Keep,
        }
    }

    /// What becomes of `OPTIONS` where no route takes it.
    pub fn options(self) -> Options {
        match self.options.unwrap_or_default() {
            RawOptions::Refuse => Options::Refuse,
            RawOptions::Forward => Options::Forward,
        }
    }
}
