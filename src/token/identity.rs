//! Tokens by which this proxy shows a private service who is calling, fetched from the metadata
//! server of Google Cloud.
//!
//! A token is taken apart before it is used: it has to be a token at all, for the audience that was
//! asked for, and not expired, or a mistaken answer would be sent on to the service. Its signature is
//! not verified: the service does that, with keys that this proxy would have to fetch first, and
//! whoever could forge the metadata server's answers could take the proxy's identity anyway.

use std::fmt;

use super::claims::{Claims, ClaimsFlaw, TimeFlaw};
use super::jws::{Compact, JwsFlaw};
use super::remote::{Endpoint, Url};
use crate::time::UnixTime;

/// Longest token that is used, in bytes; with other headers it has to fit into what a service takes.
pub const MAX_IDENTITY_BYTES: usize = 8 * 1024;
/// The longest time before `exp` at which a token is not used any more, in seconds: a request needs
/// time to arrive, and clocks differ.
const LONGEST_MARGIN: u64 = 30;

/// A token to be had: for whom, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The `aud` of the token.
    pub audience: String,
    /// The metadata server.
    pub server: Endpoint,
    /// How long one fetch may take, and a request may wait for it, in seconds.
    pub timeout: u64,
}

impl Identity {
    /// The path and query that are asked for.
    pub fn target(&self) -> String {
        const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";
        let audience = percent_encoding::utf8_percent_encode(
            &self.audience,
            percent_encoding::NON_ALPHANUMERIC,
        );
        format!("{PATH}?audience={audience}")
    }

    /// One text for everything that decides which token comes.
    pub fn identity(&self) -> String {
        let Endpoint { url, cluster } = &self.server;
        format!("{cluster} {url} {}", self.audience)
    }
}

/// The URL of the metadata server inside Google Cloud.
pub fn metadata_server() -> Option<Url> {
    Url::parse("http://metadata.google.internal")
}

/// A token that may be shown to its audience.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityToken {
    text: String,
    expires: UnixTime,
}

impl fmt::Debug for IdentityToken {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why an answer is no token that may be used; nothing of the answer is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityFlaw {
    /// More than [`MAX_IDENTITY_BYTES`].
    TooLarge,
    /// Not a compact JWS.
    Malformed(JwsFlaw),
    /// Its payload is no set of claims.
    Claims(ClaimsFlaw),
    /// Its `aud` is not exactly the audience that was asked for.
    OtherAudience,
    /// It has no usable `exp`.
    NoExpiry,
    /// It has expired, or is about to.
    Expired,
    /// Its `nbf` or `iat` is in the future.
    NotYet,
}

impl fmt::Display for IdentityFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "is larger than a token may be",
            Self::Malformed(JwsFlaw::SignatureRemoved) => "is a token without its signature",
            Self::Malformed(_) => "is not a token",
            Self::Claims(_) => "is a token with no readable claims",
            Self::OtherAudience => "is a token for another audience",
            Self::NoExpiry => "is a token without a usable `exp`",
            Self::Expired => "is a token that has expired or is about to",
            Self::NotYet => "is a token from the future",
        })
    }
}

impl IdentityToken {
    /// Takes an answer's body as a token for that audience.
    ///
    /// # Errors
    /// The first flaw met.
    pub fn parse(body: &[u8], audience: &str, now: UnixTime) -> Result<Self, IdentityFlaw> {
        /// Tolerance for the clock of whoever issued it, in seconds.
        const SKEW: u64 = 60;
        let text = body.trim_ascii();
        if text.len() > MAX_IDENTITY_BYTES {
            return Err(IdentityFlaw::TooLarge);
        }
        let token = Compact::parse(text).map_err(IdentityFlaw::Malformed)?;
        let claims = Claims::parse(&token.payload).map_err(IdentityFlaw::Claims)?;
        if claims.text("aud") != Some(audience) {
            return Err(IdentityFlaw::OtherAudience);
        }
        claims.check_times(now, SKEW).map_err(|flaw| match flaw {
            TimeFlaw::NoExpiry => IdentityFlaw::NoExpiry,
            TimeFlaw::Expired => IdentityFlaw::Expired,
            TimeFlaw::NotYet(_) => IdentityFlaw::NotYet,
        })?;
        let expires = claims.date("exp").ok_or(IdentityFlaw::NoExpiry)?;
        let token = Self {
            // A token that was taken apart is ASCII.
            text: String::from_utf8_lossy(text).into_owned(),
            expires,
        };
        match token.usable_for(now) {
            0 => Err(IdentityFlaw::Expired),
            _ => Ok(token),
        }
    }

    /// For how many more seconds it may be used: until a tenth of its time before `exp`, or half a
    /// minute if that is less.
    pub fn usable_for(&self, now: UnixTime) -> u64 {
        let left = self.expires.0.saturating_sub(now.0);
        left.saturating_sub((left / 10).min(LONGEST_MARGIN))
    }

    /// Whether it has not expired.
    pub fn is_alive(&self, now: UnixTime) -> bool {
        now < self.expires
    }

    /// The token itself. It goes to its service and nowhere else.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What is known of a token at this moment.
#[derive(Clone, Copy, Debug)]
pub enum IdentityState<'a> {
    /// This is it.
    Ready(&'a IdentityToken),
    /// It is on its way.
    Pending,
    /// It could not be had.
    Unavailable,
}

/// The tokens of this proxy.
pub trait Identities {
    /// What is known of the token at that index of the policy.
    fn token(&self, identity: usize) -> IdentityState<'_>;
}

/// No token.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIdentities;

impl Identities for NoIdentities {
    fn token(&self, _: usize) -> IdentityState<'_> {
        IdentityState::Unavailable
    }
}

/// A text in the place of every token, where there is no metadata server to ask and a token would be
/// shown.
#[cfg(any(test, feature = "cli"))]
#[derive(Clone, Debug)]
pub struct StandIn(IdentityToken);

#[cfg(any(test, feature = "cli"))]
impl Default for StandIn {
    fn default() -> Self {
        Self(IdentityToken {
            text: "(identity token)".to_owned(),
            expires: UnixTime(u64::MAX),
        })
    }
}

#[cfg(any(test, feature = "cli"))]
impl Identities for StandIn {
    fn token(&self, _: usize) -> IdentityState<'_> {
        IdentityState::Ready(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::token::algorithm::Algorithm;
    use crate::token::mint::{SigningKey, mint};

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const AUDIENCE: &str = "https://orders-abc123-ew.a.run.app";

    fn token(claims: &Value) -> String {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        mint(&key, "k", &Map::new(), claims)
    }

    fn parse(body: impl AsRef<[u8]>) -> Result<IdentityToken, IdentityFlaw> {
        IdentityToken::parse(body.as_ref(), AUDIENCE, NOW)
    }

    #[test]
    fn a_token_for_its_audience_is_used_until_a_while_before_it_expires() {
        for (left, usable) in [(3600, 3570), (300, 270), (60, 54), (5, 5), (1, 1)] {
            let exp = NOW.0 + left;
            let text = token(&json!({ "aud": AUDIENCE, "exp": exp, "iat": NOW.0 }));
            let read = parse(&text).unwrap();
            assert_eq!(read.as_str(), text);
            assert_eq!(read.usable_for(NOW), usable, "{left}");
            assert_eq!(parse(format!("{text}\n")).as_ref(), Ok(&read));
            assert!(!format!("{read:?}").contains(&text[..20]), "never printed");
            assert!(read.is_alive(NOW) && !read.is_alive(UnixTime(exp)));
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        let exp = NOW.0 + 3600;
        let good = token(&json!({ "aud": AUDIENCE, "exp": exp }));
        let (head, rest) = good.split_once('.').unwrap();
        let (payload, _) = rest.split_once('.').unwrap();
        for (body, flaw) in [
            (String::new(), IdentityFlaw::Malformed(JwsFlaw::Parts)),
            ("<html>".into(), IdentityFlaw::Malformed(JwsFlaw::Parts)),
            (
                format!("{head}.{payload}."),
                IdentityFlaw::Malformed(JwsFlaw::Parts),
            ),
            (
                format!("{head}.{payload}.SIGNATURE_REMOVED_BY_GOOGLE"),
                IdentityFlaw::Malformed(JwsFlaw::SignatureRemoved),
            ),
            (
                format!("{good}\r\nx: y"),
                IdentityFlaw::Malformed(JwsFlaw::Base64),
            ),
            ("a".repeat(MAX_IDENTITY_BYTES + 1), IdentityFlaw::TooLarge),
            (token(&json!({ "exp": exp })), IdentityFlaw::OtherAudience),
            (
                token(&json!({ "aud": format!("{AUDIENCE}/"), "exp": exp })),
                IdentityFlaw::OtherAudience,
            ),
            (
                token(&json!({ "aud": [AUDIENCE, "other"], "exp": exp })),
                IdentityFlaw::OtherAudience,
            ),
            (token(&json!({ "aud": AUDIENCE })), IdentityFlaw::NoExpiry),
            (
                token(&json!({ "aud": AUDIENCE, "exp": "soon" })),
                IdentityFlaw::NoExpiry,
            ),
            (
                token(&json!({ "aud": AUDIENCE, "exp": NOW.0 })),
                IdentityFlaw::Expired,
            ),
            (
                token(&json!({ "aud": AUDIENCE, "exp": NOW.0 - 3600 })),
                IdentityFlaw::Expired,
            ),
            (
                token(&json!({ "aud": AUDIENCE, "exp": exp, "iat": NOW.0 + 600 })),
                IdentityFlaw::NotYet,
            ),
        ] {
            assert_eq!(parse(&body), Err(flaw), "{body}");
        }
    }

    #[test]
    fn the_audience_is_asked_for_without_a_second_meaning() {
        let identity = Identity {
            audience: "https://a.run.app/?x=1&audience=b#c d".into(),
            server: Endpoint {
                url: metadata_server().unwrap(),
                cluster: "metadata".into(),
            },
            timeout: 5,
        };
        let target = identity.target();
        let (_, query) = target.split_once('?').unwrap();
        assert!(query.starts_with("audience=https%3A%2F%2Fa%2Erun%2Eapp"));
        assert!(!query.contains(['&', '#', ' ']), "{query}");
    }
}
