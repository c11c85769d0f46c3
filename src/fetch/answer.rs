//! What an issuer or a metadata server answered, and whether to believe it.

use std::fmt;

use crate::head::ResponseHead;
use crate::hints::directives;
use crate::time::UnixTime;
use crate::token::identity::{IdentityFlaw, IdentityToken};
use crate::token::json::{self, JsonFlaw};
use crate::token::keyset::{KeySet, KeySetFlaw, MAX_SET_BYTES};
use crate::token::remote::{KeyFormat, Url};

/// Longest entity tag that is sent back, in bytes.
const MAX_ETAG_BYTES: usize = 256;

/// An answer to a fetch.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its head; without `:status` where there was no answer at all.
    pub head: ResponseHead,
    /// As much of its body as may be read: at most one byte more than [`MAX_SET_BYTES`].
    pub body: Vec<u8>,
}

/// Keys that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// They; `None` when those that are here are still good.
    pub keys: Option<KeySet>,
    /// The answer's entity tag, or nothing.
    pub etag: Vec<u8>,
    /// For how many more seconds the answer says that they are fresh.
    pub max_age: Option<u64>,
}

/// Why an answer brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The proxy could not send the request.
    NotSent,
    /// No answer, or not in time.
    NoAnswer,
    /// A redirect (3xx), which is never followed: it could lead anywhere.
    Redirected,
    /// Another status than 200.
    Status(u16),
    /// Larger than [`MAX_SET_BYTES`].
    TooLarge,
    /// Keys that are not used.
    Keys(KeySetFlaw),
    /// Metadata that is not JSON.
    Metadata(JsonFlaw),
    /// Metadata of another issuer (OpenID Connect Discovery 1.0 §4.3).
    OtherIssuer,
    /// Metadata without a usable `jwks_uri`.
    NoKeysUri,
    /// Metadata whose `jwks_uri` is at a host, or of a scheme, that the policy does not name.
    KeysElsewhere,
    /// An answer that does not say `Metadata-Flavor: Google`, as only metadata servers do.
    NotMetadata,
    /// An identity token that is not used.
    Identity(IdentityFlaw),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent => f.write_str("the proxy knows no such cluster or could not send"),
            Self::NoAnswer => f.write_str("there was no answer in time"),
            Self::Redirected => f.write_str("the answer is a redirect, which is never followed"),
            Self::Status(status) => write!(f, "the answer's status is {status}"),
            Self::TooLarge => write!(f, "the answer is larger than {MAX_SET_BYTES} bytes"),
            Self::Keys(flaw) => write!(f, "the answer {flaw}"),
            Self::Metadata(flaw) => write!(f, "the metadata {flaw}"),
            Self::OtherIssuer => f.write_str("the metadata names another issuer"),
            Self::NoKeysUri => f.write_str("the metadata has no usable jwks_uri"),
            Self::KeysElsewhere => f.write_str(
                "the metadata's jwks_uri is at another host than the policy names, or not https",
            ),
            Self::NotMetadata => {
                f.write_str("the answer does not say that it is a metadata server's")
            }
            Self::Identity(flaw) => write!(f, "the answer {flaw}"),
        }
    }
}

impl Answer {
    /// Takes it as keys, at that time. `conditional`: the request carried an entity tag.
    pub fn keys(
        &self,
        format: KeyFormat,
        conditional: bool,
        now: UnixTime,
    ) -> Result<Fetched, Flaw> {
        if conditional && self.status() == Some(304) {
            return Ok(Fetched {
                keys: None,
                etag: self.etag(),
                max_age: self.max_age(),
            });
        }
        let keys = format.read(self.content()?, now).map_err(Flaw::Keys)?;
        Ok(Fetched {
            keys: Some(keys),
            etag: self.etag(),
            max_age: self.max_age(),
        })
    }

    /// Takes it as an issuer's metadata: where the keys are.
    pub fn keys_url(&self, issuer: &str, document: &Url, authority: &str) -> Result<Url, Flaw> {
        let metadata = json::object(self.content()?).map_err(Flaw::Metadata)?;
        if metadata.get("issuer").and_then(|named| named.as_str()) != Some(issuer) {
            return Err(Flaw::OtherIssuer);
        }
        let url = metadata.get("jwks_uri").and_then(|uri| uri.as_str());
        let url = url.and_then(Url::parse).ok_or(Flaw::NoKeysUri)?;
        if url.authority() != authority || url.is_secure() != document.is_secure() {
            return Err(Flaw::KeysElsewhere);
        }
        Ok(url)
    }

    /// Takes it as an identity token for that audience.
    pub fn identity(&self, audience: &str, now: UnixTime) -> Result<IdentityToken, Flaw> {
        let body = self.content()?;
        let flavor = self.head.headers.single("metadata-flavor");
        if flavor != Ok(Some(b"Google")) {
            return Err(Flaw::NotMetadata);
        }
        IdentityToken::parse(body, audience, now).map_err(Flaw::Identity)
    }

    fn status(&self) -> Option<u16> {
        let status = self.head.headers.single(":status").ok()??;
        std::str::from_utf8(status).ok()?.parse().ok()
    }

    fn content(&self) -> Result<&[u8], Flaw> {
        match self.status() {
            None => Err(Flaw::NoAnswer),
            Some(200) if self.body.len() > MAX_SET_BYTES => Err(Flaw::TooLarge),
            Some(200) => Ok(&self.body),
            Some(300..=303 | 305..=399) => Err(Flaw::Redirected),
            Some(status) => Err(Flaw::Status(status)),
        }
    }

    fn etag(&self) -> Vec<u8> {
        let tag = self.head.headers.single("etag").ok().flatten();
        let fits = |tag: &&[u8]| {
            tag.len() <= MAX_ETAG_BYTES
                && tag.ends_with(b"\"")
                && tag.iter().all(u8::is_ascii_graphic)
        };
        tag.filter(fits).unwrap_or_default().to_vec()
    }

    /// RFC 9111 §4.2: what is left of the freshness lifetime.
    fn max_age(&self) -> Option<u64> {
        let headers = &self.head.headers;
        let said = directives::read(headers.all("cache-control")).directives;
        if said.forbids_reuse() {
            return Some(0);
        }
        let age = headers.single("age").ok().flatten();
        let age = age.and_then(directives::delta_seconds).unwrap_or(0);
        let left = said.max_age?.saturating_sub(age);
        Some(u64::from(left))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::head::Headers;
    use crate::token::algorithm::Algorithm;
    use crate::token::mint::SigningKey;

    fn answer(fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let bytes =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        Answer {
            head: ResponseHead {
                headers: Headers::new(fields.iter().map(bytes).collect()),
            },
            body: body.as_ref().to_vec(),
        }
    }

    fn set() -> String {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        json!({ "keys": [key.public_jwk("a")] }).to_string()
    }

    fn keys(answer: &Answer) -> Result<Fetched, Flaw> {
        answer.keys(KeyFormat::JwkSet, false, UnixTime(0))
    }

    #[test]
    fn only_a_whole_good_answer_brings_keys() {
        let ok = (":status", "200");
        let good = keys(&answer(&[ok], set())).unwrap();
        assert_eq!(good.keys.unwrap().keys().count(), 1);
        for (answer, flaw) in [
            (answer(&[], ""), Flaw::NoAnswer),
            (answer(&[ok, ok], set()), Flaw::NoAnswer),
            (answer(&[(":status", "x")], set()), Flaw::NoAnswer),
            (answer(&[(":status", "204")], set()), Flaw::Status(204)),
            (answer(&[(":status", "503")], set()), Flaw::Status(503)),
            (answer(&[(":status", "302")], set()), Flaw::Redirected),
            (answer(&[(":status", "304")], ""), Flaw::Status(304)),
            (answer(&[ok], " ".repeat(MAX_SET_BYTES + 1)), Flaw::TooLarge),
            (
                answer(&[ok], "<html>"),
                Flaw::Keys(KeySetFlaw::Json(JsonFlaw::Syntax)),
            ),
            (
                answer(&[ok], "[".repeat(100)),
                Flaw::Keys(KeySetFlaw::Json(JsonFlaw::TooDeep)),
            ),
            (
                answer(&[ok], r#"{"keys":[]}"#),
                Flaw::Keys(KeySetFlaw::NoUsableKey),
            ),
            (
                answer(&[ok], r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
                Flaw::Keys(KeySetFlaw::NoUsableKey),
            ),
        ] {
            assert_eq!(keys(&answer), Err(flaw));
        }
        let same = answer(&[(":status", "304"), ("cache-control", "max-age=7")], "");
        let same = same.keys(KeyFormat::JwkSet, true, UnixTime(0)).unwrap();
        assert_eq!((same.keys, same.max_age), (None, Some(7)));
    }

    #[test]
    fn only_a_metadata_server_brings_an_identity() {
        const AUDIENCE: &str = "https://a.run.app";
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let claims = json!({ "aud": AUDIENCE, "exp": 2_000_000_000 });
        let token = crate::token::mint::mint(&key, "k", &serde_json::Map::new(), &claims);
        let ask = |fields: &[(&str, &str)], body: &str| {
            let now = UnixTime(1_900_000_000);
            let identity = answer(fields, body).identity(AUDIENCE, now);
            identity.map(|token| token.as_str().to_owned())
        };
        let flavor = ("metadata-flavor", "Google");
        let ok = (":status", "200");
        assert_eq!(ask(&[ok, flavor], &token), Ok(token.clone()));
        for (fields, flaw) in [
            (&[ok][..], Flaw::NotMetadata),
            (&[ok, flavor, flavor], Flaw::NotMetadata),
            (&[ok, ("metadata-flavor", "google")], Flaw::NotMetadata),
            (&[(":status", "302"), flavor], Flaw::Redirected),
            (&[(":status", "403"), flavor], Flaw::Status(403)),
            (&[(":status", "429"), flavor], Flaw::Status(429)),
            (&[flavor], Flaw::NoAnswer),
        ] {
            assert_eq!(ask(fields, &token), Err(flaw));
        }
        let garbage = ask(&[ok, flavor], "<html>");
        assert!(matches!(garbage, Err(Flaw::Identity(_))), "{garbage:?}");
    }

    #[test]
    fn freshness_is_read_strictly() {
        for (fields, expected) in [
            (&[][..], None),
            (&[("cache-control", "max-age=60")][..], Some(60)),
            (
                &[("cache-control", "public, max-age=60"), ("age", "50")],
                Some(10),
            ),
            (&[("cache-control", "max-age=60"), ("age", "70")], Some(0)),
            (&[("cache-control", "no-store, max-age=60")], Some(0)),
            (&[("cache-control", "no-cache")], Some(0)),
            (&[("cache-control", "private")], None),
        ] {
            assert_eq!(answer(fields, "").max_age(), expected, "{fields:?}");
        }
    }

    #[test]
    fn entity_tags_are_sent_back_only_where_they_are_some() {
        for (tag, kept) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("", false),
            ("a", false),
            ("\"a b\"", false),
        ] {
            let etag = answer(&[("etag", tag)], "").etag();
            assert_eq!(etag, if kept { tag } else { "" }.as_bytes());
        }
    }

    #[test]
    fn metadata_speaks_for_its_own_issuer_and_the_hosts_named() {
        const ISSUER: &str = "https://idp.example/realm";
        let document = Url::parse("https://idp.example/.well-known/x").unwrap();
        let ask = |metadata: Value| {
            let answer = answer(&[(":status", "200")], metadata.to_string());
            answer.keys_url(ISSUER, &document, "keys.example")
        };
        let good = ask(json!({ "issuer": ISSUER, "jwks_uri": "https://keys.example/k" }));
        assert_eq!(good.unwrap().target(), "/k");
        for (metadata, flaw) in [
            (json!([]), Flaw::Metadata(JsonFlaw::NotAnObject)),
            (json!({}), Flaw::OtherIssuer),
            (
                json!({ "issuer": "https://idp.example/realm/", "jwks_uri": "https://keys.example/k" }),
                Flaw::OtherIssuer,
            ),
            (json!({ "issuer": ISSUER }), Flaw::NoKeysUri),
            (
                json!({ "issuer": ISSUER, "jwks_uri": "/k" }),
                Flaw::NoKeysUri,
            ),
            (
                json!({ "issuer": ISSUER, "jwks_uri": "https://evil.example/k" }),
                Flaw::KeysElsewhere,
            ),
            (
                json!({ "issuer": ISSUER, "jwks_uri": "https://keys.example@evil.example/k" }),
                Flaw::NoKeysUri,
            ),
            (
                json!({ "issuer": ISSUER, "jwks_uri": "http://keys.example/k" }),
                Flaw::KeysElsewhere,
            ),
        ] {
            assert_eq!(ask(metadata), Err(flaw));
        }
    }
}
