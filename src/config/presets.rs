//! `preset`: issuers whose names, keys, algorithms and peculiarities are known.

use deserr::Deserr;
use serde::Serialize;
use serde_json::json;

use super::issuers::RawIssuer;
use super::jwks::RawJwks;
use super::problem::{Place, Problems};
use super::remote::{RawDiscovery, RawKeyFormat};
use crate::token::algorithm::Algorithm;
use crate::token::claims::ClaimPath;
use crate::token::rule::{ClaimRule, Test};
use crate::token::source::{Lead, Source};

/// A kind of issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Preset"))]
pub enum RawPreset {
    /// ID tokens of Google Accounts and of Google Cloud's service accounts. Anybody can get one, so
    /// routes have to say who may call.
    #[deserr(rename = "google-id-token")]
    #[serde(rename = "google-id-token")]
    GoogleIdToken,
    /// ID tokens of Identity Platform or Firebase Authentication; needs `project`.
    #[deserr(rename = "identity-platform")]
    #[serde(rename = "identity-platform")]
    IdentityPlatform,
    /// Firebase's session cookies, in the cookie `__session` unless `from` says otherwise; needs
    /// `project`.
    #[deserr(rename = "firebase-session")]
    #[serde(rename = "firebase-session")]
    FirebaseSession,
    /// What Identity-Aware Proxy asserts in `x-goog-iap-jwt-assertion`; needs `audience`.
    #[deserr(rename = "iap")]
    #[serde(rename = "iap")]
    Iap,
    /// Any OpenID Provider; needs `issuer`, finds the keys by discovery and expects RS256.
    #[deserr(rename = "oidc")]
    #[serde(rename = "oidc")]
    Oidc,
}

/// What is known without being said.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub iss: Vec<String>,
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    /// What is to be filled in under `jwks`.
    pub keys: Option<RawJwks>,
    pub clock_skew: Option<u64>,
    pub max_lifetime: Option<u64>,
    pub requires_kid: bool,
    pub requires_auth_time: bool,
    pub open_to_anyone: bool,
    pub claims: Vec<ClaimRule>,
    pub sources: Vec<Source>,
}

const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";
const FIREBASE_KEYS: &str =
    "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";
const SESSION_KEYS: &str = "https://www.googleapis.com/identitytoolkit/v3/relyingparty/publicKeys";
const IAP_KEYS: &str = "https://www.gstatic.com/iap/verify/public_key-jwk";

/// IAP's own lifetime of an assertion, and its tolerance for clocks, in seconds.
const IAP_LIFETIME: u64 = 600;
const IAP_SKEW: u64 = 30;

impl RawPreset {
    /// What the preset knows of an issuer.
    pub(super) fn known(self, raw: &RawIssuer, at: &Place, problems: &mut Problems) -> Known {
        let project = self.project(raw, at, problems);
        match self {
            Self::GoogleIdToken => Known {
                iss: ["https://accounts.google.com", "accounts.google.com"]
                    .map(str::to_owned)
                    .to_vec(),
                algorithms: vec![Algorithm::Rs256],
                keys: remote(GOOGLE_KEYS, RawKeyFormat::Jwks),
                requires_kid: true,
                open_to_anyone: true,
                ..Known::default()
            },
            Self::IdentityPlatform => Known {
                iss: vec![format!("https://securetoken.google.com/{project}")],
                keys: remote(FIREBASE_KEYS, RawKeyFormat::Jwks),
                ..firebase(project, raw)
            },
            Self::FirebaseSession => Known {
                iss: vec![format!("https://session.firebase.google.com/{project}")],
                keys: remote(SESSION_KEYS, RawKeyFormat::X509),
                sources: vec![Source::Cookie("__session".to_owned())],
                ..firebase(project, raw)
            },
            Self::Iap => Known {
                iss: vec!["https://cloud.google.com/iap".to_owned()],
                algorithms: vec![Algorithm::Es256],
                keys: remote(IAP_KEYS, RawKeyFormat::Jwks),
                clock_skew: Some(IAP_SKEW),
                max_lifetime: Some(IAP_LIFETIME + 2 * IAP_SKEW),
                requires_kid: true,
                sources: vec![Source::Header {
                    name: "x-goog-iap-jwt-assertion".to_owned(),
                    lead: Lead::Nothing,
                }],
                ..Known::default()
            },
            Self::Oidc => Known {
                algorithms: vec![Algorithm::Rs256],
                keys: raw.issuer.as_deref().map(discovered),
                ..Known::default()
            },
        }
    }

    /// Whether the preset knows the `iss` by itself.
    pub(super) fn knows_issuer(self) -> bool {
        self != Self::Oidc
    }

    /// Whether the preset knows the audience by itself.
    pub(super) fn knows_audience(self) -> bool {
        self.needs_project()
    }

    fn needs_project(self) -> bool {
        matches!(self, Self::IdentityPlatform | Self::FirebaseSession)
    }

    fn project(self, raw: &RawIssuer, at: &Place, problems: &mut Problems) -> String {
        let project = raw.project.clone().unwrap_or_default();
        if self.needs_project() && project.is_empty() {
            problems.add(
                &at.key("project"),
                "is missing; write the ID of the Google Cloud project whose users these are",
            );
        }
        project
    }

    /// The forms of IAP's audience, for those who have to look one up.
    pub(super) fn check_audience(self, audience: &str, at: &Place, problems: &mut Problems) {
        let parts: Vec<_> = audience.split('/').collect();
        let known = matches!(
            parts.as_slice(),
            ["", "projects", _, "locations", _, "services", _]
                | ["", "projects", _, "global", "backendServices", _]
                | ["", "projects", _, "apps", _]
        );
        if self == Self::Iap && !(known && parts.iter().skip(1).all(|part| !part.is_empty())) {
            problems.add(
                at,
                "is not an audience of IAP; it is one of \
                 `/projects/NUMBER/locations/REGION/services/NAME` (Cloud Run), \
                 `/projects/NUMBER/global/backendServices/ID` (GCE and GKE) and \
                 `/projects/NUMBER/apps/ID` (App Engine)",
            );
        }
    }
}

fn firebase(project: String, raw: &RawIssuer) -> Known {
    let user = rule(&["sub"], non_empty_up_to_128());
    let tenants = raw.tenants.as_ref().and_then(|tenants| {
        let tenants = tenants.0.iter().map(|tenant| json!(tenant)).collect();
        rule(&["firebase", "tenant"], Test::OneOf(tenants))
    });
    Known {
        audiences: vec![project],
        algorithms: vec![Algorithm::Rs256],
        requires_kid: true,
        requires_auth_time: true,
        claims: user.into_iter().chain(tenants).collect(),
        ..Known::default()
    }
}

fn non_empty_up_to_128() -> Test {
    match regex_lite::Regex::new(r"\A(?s:.{1,128})\z") {
        Ok(regex) => Test::Matches(regex),
        // Cannot happen; were it to, no token would pass.
        Err(_) => Test::OneOf(Vec::new()),
    }
}

fn rule(names: &[&str], test: Test) -> Option<ClaimRule> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Some(ClaimRule {
        claim: ClaimPath::of_names(names)?,
        tests: vec![test],
        space_delimited: false,
        issuer: None,
    })
}

/// Keys at that address, through the cluster that is called as its host.
fn remote(uri: &str, format: RawKeyFormat) -> Option<RawJwks> {
    Some(RawJwks {
        uri: Some(uri.to_owned()),
        cluster: Some(host_of(uri)),
        format,
        ..RawJwks::default()
    })
}

fn discovered(issuer: &str) -> RawJwks {
    RawJwks {
        discovery: Some(RawDiscovery::Plain(true)),
        cluster: Some(host_of(issuer)),
        ..RawJwks::default()
    }
}

/// The host of a URL, without a port.
fn host_of(url: &str) -> String {
    let authority = url.split("://").nth(1).unwrap_or(url);
    let host = authority.split(['/', ':', '?']).next();
    host.unwrap_or_default().to_owned()
}
