//! Where keys are that are not in the policy, and how long they may be used once fetched.

use std::fmt;

use super::key::Secrets;
use super::keyset::{KeySet, KeySetFlaw};
use crate::time::UnixTime;

/// A source of keys that an issuer serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Remote {
    /// What is fetched first.
    pub start: Start,
    /// The form of the keys.
    pub format: KeyFormat,
    /// How long they may be used.
    pub bounds: Bounds,
}

/// How often keys are fetched and how long they may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Longest use of a key set before it is fetched anew, in seconds: where the policy names it,
    /// or `None` to go by the answer's `max-age`.
    pub cache_duration: Option<u64>,
    /// How much longer keys may be used while newer ones cannot be had, in seconds.
    pub max_stale: u64,
    /// Shortest time between two fetches that succeed, in seconds.
    pub min_refresh: u64,
    /// How long one fetch may take, and a request may wait for it, in seconds.
    pub timeout: u64,
}

/// What is fetched first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// The keys themselves.
    Keys(Endpoint),
    /// The issuer's metadata, which says where the keys are (OpenID Connect Discovery 1.0 §4).
    Discovery {
        /// Where the metadata is.
        document: Endpoint,
        /// What the metadata has to name as its `issuer`.
        issuer: String,
        /// The only authority, in lower case, at which the keys may be.
        keys_authority: String,
        /// The cluster that reaches it.
        keys_cluster: String,
    },
}

/// Something to fetch, and the proxy's cluster that reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Its address.
    pub url: Url,
    /// The cluster's name.
    pub cluster: String,
}

/// The form in which keys are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyFormat {
    /// A JWK set (RFC 7517 §5).
    #[default]
    JwkSet,
    /// An object from `kid` to an X.509 certificate in PEM.
    CertificateMap,
}

impl KeyFormat {
    /// Reads keys that an issuer serves in this form, at that time.
    ///
    /// # Errors
    /// The reason to refuse them as a whole.
    pub fn read(self, text: &[u8], now: UnixTime) -> Result<KeySet, KeySetFlaw> {
        match self {
            Self::JwkSet => KeySet::parse(text, Secrets::Refused),
            Self::CertificateMap => KeySet::parse_certificates(text, now),
        }
    }
}

/// An absolute `http` or `https` URL without user and fragment (RFC 9110 §4.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    secure: bool,
    authority: String,
    target: String,
}

/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 2048;

impl Url {
    /// Reads a URL; `None` where it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let graphic = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
        if text.len() > MAX_URL_BYTES || !graphic {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let authority = authority.to_ascii_lowercase();
        if !is_authority(&authority) {
            return None;
        }
        let target = match target {
            target if target.starts_with('/') => target.to_owned(),
            query => format!("/{query}"),
        };
        Some(Self {
            secure,
            authority,
            target,
        })
    }

    /// Whether it is an `https` URL.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Host and, where written, port, in lower case.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether it never leaves the machine.
    pub fn is_loopback(&self) -> bool {
        let host = match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => self.authority.split(':').next(),
        };
        let host = host.unwrap_or_default();
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.target)
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let port_fits = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
    };
    !host.is_empty() && host.bytes().all(name) && port_fits
}

impl Remote {
    /// One text for everything that decides which keys come: sources with the same one share what
    /// was fetched.
    pub fn identity(&self) -> String {
        let format = match self.format {
            KeyFormat::JwkSet => "jwks",
            KeyFormat::CertificateMap => "x509",
        };
        match &self.start {
            Start::Keys(keys) => format!("{format} {} {}", keys.cluster, keys.url),
            Start::Discovery {
                document,
                issuer,
                keys_authority,
                keys_cluster,
            } => format!(
                "{format} {} {} {keys_cluster} {keys_authority} {issuer}",
                document.cluster, document.url
            ),
        }
    }

    /// Every cluster that is asked, with the authority it is asked for and whether by TLS.
    pub fn clusters(&self) -> Vec<(&str, &str, bool)> {
        match &self.start {
            Start::Keys(keys) => vec![(&keys.cluster, &keys.url.authority, keys.url.secure)],
            Start::Discovery {
                document,
                keys_authority,
                keys_cluster,
                ..
            } => {
                let secure = document.url.secure;
                vec![
                    (&document.cluster, &document.url.authority, secure),
                    (keys_cluster, keys_authority, secure),
                ]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("HTTPS://Keys.Example:8443/a/b?c=d").unwrap();
        assert_eq!(url.authority(), "keys.example:8443");
        assert_eq!(url.target(), "/a/b?c=d");
        assert!(url.is_secure() && !url.is_loopback());
        assert_eq!(url.to_string(), "https://keys.example:8443/a/b?c=d");
        assert_eq!(Url::parse("https://a").unwrap().target(), "/");
        assert_eq!(Url::parse("https://a?b").unwrap().target(), "/?b");
        for loopback in [
            "http://localhost/",
            "http://127.0.0.1:80/",
            "http://127.1.2.3",
            "http://[::1]:9/x",
        ] {
            assert!(Url::parse(loopback).unwrap().is_loopback(), "{loopback}");
        }
        for elsewhere in ["http://127.0.0.1.example/", "http://[::2]/", "http://a/"] {
            assert!(!Url::parse(elsewhere).unwrap().is_loopback(), "{elsewhere}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        for text in [
            "",
            "https://",
            "https:///a",
            "ftp://a/",
            "//a/",
            "/a",
            "https://u:p@a/",
            "https://a@b/",
            "https://a/#f",
            "https://a b/",
            "https://a/\r\nx: y",
            "https://a:0/",
            "https://a:65536/",
            "https://a:+1/",
            "https://a:/",
            "https://[::1/",
            "https://[::1]x/",
            "https://é/",
            "https://a\\b/",
            "https://%61/",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
        assert_eq!(Url::parse(&format!("https://a/{}", "b".repeat(2048))), None);
    }
}
