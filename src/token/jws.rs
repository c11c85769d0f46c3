//! The compact serialization of a JWS (RFC 7515 §7.1), read strictly: one spelling for each token,
//! nothing in the header that asks for more than a signature.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json::{self, JsonFlaw};

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest JOSE header, in bytes of JSON.
pub const MAX_HEADER_BYTES: usize = 4 * 1024;

/// What Cloud Run's front end writes in place of a signature that it has checked.
const SIGNATURE_REMOVED: &[u8] = b"SIGNATURE_REMOVED_BY_GOOGLE";

/// A token taken apart; nothing of it is verified.
#[derive(Clone, PartialEq)]
pub struct Compact<'a> {
    /// The parameters of the header that have a say.
    pub header: Header,
    /// The octets of the payload.
    pub payload: Vec<u8>,
    /// What the signature is over: header and payload as they came, and the period between.
    pub signing_input: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

/// The JOSE header (RFC 7515 §4). `jwk`, `jku`, `x5c` and `x5u` are never read: a key never comes
/// from the token that it is to verify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `alg`, as it came.
    pub algorithm: String,
    /// `kid`.
    pub kid: Option<String>,
    /// `typ`.
    pub typ: Option<String>,
}

/// Why a token was not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwsFlaw {
    /// More than [`MAX_TOKEN_BYTES`], or a header of more than [`MAX_HEADER_BYTES`].
    TooLarge,
    /// Not three parts with a period between, or no header or signature.
    Parts,
    /// Five parts: a JWE, whose payload is encrypted (RFC 7516 §7.1).
    Encrypted,
    /// A part is not base64url without padding, in its one canonical spelling.
    Base64,
    /// The header is not a JSON object as it should be.
    HeaderJson(JsonFlaw),
    /// `alg`, `kid` or `typ` is not a string, or `alg` is missing.
    HeaderParameter(&'static str),
    /// A header parameter that is never honoured: `crit`, `b64`, `zip` or `enc`.
    Unsupported(&'static str),
    /// The signature was taken away by Cloud Run.
    SignatureRemoved,
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// The first flaw; nothing of the token is in it.
    pub fn parse(token: &'a [u8]) -> Result<Self, JwsFlaw> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsFlaw::TooLarge);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsFlaw::Parts);
        };
        match parts.count() {
            0 if !header.is_empty() && !signature.is_empty() => {}
            2 if names_encryption(header) => return Err(JwsFlaw::Encrypted),
            _ => return Err(JwsFlaw::Parts),
        }
        if signature == SIGNATURE_REMOVED {
            return Err(JwsFlaw::SignatureRemoved);
        }
        let signed_bytes = header.len() + 1 + payload.len();
        Ok(Self {
            header: Header::parse(&decode(header)?)?,
            payload: decode(payload)?,
            signing_input: token.get(..signed_bytes).unwrap_or_default(),
            signature: decode(signature)?,
        })
    }
}

impl Header {
    fn parse(text: &[u8]) -> Result<Self, JwsFlaw> {
        if text.len() > MAX_HEADER_BYTES {
            return Err(JwsFlaw::TooLarge);
        }
        let members = json::object(text).map_err(JwsFlaw::HeaderJson)?;
        // RFC 7515 §4.1.11, RFC 7797 §3, RFC 7516 §4.1.2 and §4.1.3.
        for name in ["crit", "b64", "zip", "enc"] {
            if members.contains_key(name) {
                return Err(JwsFlaw::Unsupported(name));
            }
        }
        Ok(Self {
            algorithm: text_of(&members, "alg")?.ok_or(JwsFlaw::HeaderParameter("alg"))?,
            kid: text_of(&members, "kid")?,
            typ: text_of(&members, "typ")?,
        })
    }
}

/// Whether the header of five parts is that of a JWE (RFC 7516 §4.1.2).
fn names_encryption(header: &[u8]) -> bool {
    let header = decode(header).and_then(|text| Header::parse(&text));
    header == Err(JwsFlaw::Unsupported("enc"))
}

fn text_of(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, JwsFlaw> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(JwsFlaw::HeaderParameter(name)),
    }
}

/// Refuses padding, foreign characters and spare bits that are not zero (RFC 4648 §3.5, §5).
fn decode(part: &[u8]) -> Result<Vec<u8>, JwsFlaw> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwsFlaw::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    // RFC 7515 appendix A.1.1.
    const RFC_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
        .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
        .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn with_header(header: &str) -> String {
        format!("{}.e30.c2ln", BASE64_URL_SAFE_NO_PAD.encode(header))
    }

    fn flaw(token: &str) -> JwsFlaw {
        Compact::parse(token.as_bytes()).err().unwrap()
    }

    #[test]
    fn takes_the_example_of_the_rfc_apart() {
        let token = Compact::parse(RFC_TOKEN.as_bytes()).ok().unwrap();
        assert_eq!(token.header.algorithm, "HS256");
        assert_eq!(token.header.typ.as_deref(), Some("JWT"));
        assert_eq!(token.header.kid, None);
        assert!(token.payload.starts_with(b"{\"iss\":\"joe\",\r\n"));
        assert_eq!(token.signature.len(), 32);
        assert_eq!(
            token.signing_input,
            RFC_TOKEN.rsplit_once('.').unwrap().0.as_bytes()
        );
    }

    #[test]
    fn any_other_number_of_parts_is_refused() {
        let (signed, signature) = RFC_TOKEN.rsplit_once('.').unwrap();
        for token in [
            "",
            ".",
            "..",
            signed,
            &format!("{signed}."),
            &format!(".{signed}"),
            &format!("{RFC_TOKEN}."),
            &format!("{RFC_TOKEN}.{signature}"),
            &format!("{RFC_TOKEN}.a.b.c"),
            &format!("..{signature}"),
            // The JSON serializations of RFC 7515 §7.2.
            r#"{"payload":"e30","protected":"eyJhbGciOiJIUzI1NiJ9","signature":"c2ln"}"#,
        ] {
            assert_eq!(flaw(token), JwsFlaw::Parts, "{token:?}");
        }
        assert_eq!(flaw(&format!("{RFC_TOKEN}.a.b")), JwsFlaw::Parts);
        let jwe = with_header(r#"{"alg":"dir","enc":"A128GCM"}"#);
        assert_eq!(flaw(&format!("{jwe}.a.b")), JwsFlaw::Encrypted);
    }

    #[test]
    fn base64url_has_one_spelling() {
        let token = with_header(r#"{"alg":"RS256"}"#);
        assert!(Compact::parse(token.as_bytes()).is_ok());
        let (signed, _) = token.rsplit_once('.').unwrap();
        for signature in [
            "c2ln=",
            "c2ln==",
            "c2l",
            "c2ln\n",
            " c2ln",
            "c2 ln",
            "c2l+",
            "c2l/",
            "c2l?",
            "c2l%",
            "c",
            "AB",
            "c2l\u{e9}",
        ] {
            let token = format!("{signed}.{signature}");
            assert_eq!(flaw(&token), JwsFlaw::Base64, "{signature:?}");
        }
        assert_eq!(flaw("e30=.e30.c2ln"), JwsFlaw::Base64);
        assert_eq!(flaw(&token.replace("e30", "e31")), JwsFlaw::Base64);
    }

    #[test]
    fn a_header_may_ask_for_a_signature_and_nothing_else() {
        for (header, name) in [
            (r#"{"alg":"RS256","crit":["exp"],"exp":1}"#, "crit"),
            (r#"{"alg":"RS256","crit":[]}"#, "crit"),
            (r#"{"alg":"RS256","b64":false}"#, "b64"),
            (r#"{"alg":"RS256","b64":true}"#, "b64"),
            (r#"{"alg":"RS256","zip":"DEF"}"#, "zip"),
            (r#"{"alg":"dir","enc":"A128GCM"}"#, "enc"),
        ] {
            assert_eq!(flaw(&with_header(header)), JwsFlaw::Unsupported(name));
        }
    }

    #[test]
    fn a_malformed_header_is_refused() {
        for (header, expected) in [
            ("{}", JwsFlaw::HeaderParameter("alg")),
            (r#"{"alg":null}"#, JwsFlaw::HeaderParameter("alg")),
            (r#"{"alg":["RS256"]}"#, JwsFlaw::HeaderParameter("alg")),
            (
                r#"{"alg":"RS256","kid":1}"#,
                JwsFlaw::HeaderParameter("kid"),
            ),
            (
                r#"{"alg":"RS256","typ":{}}"#,
                JwsFlaw::HeaderParameter("typ"),
            ),
            (r#"["alg"]"#, JwsFlaw::HeaderJson(JsonFlaw::NotAnObject)),
            (
                r#"{"alg":"RS256","alg":"none"}"#,
                JwsFlaw::HeaderJson(JsonFlaw::DuplicateMember),
            ),
            ("{", JwsFlaw::HeaderJson(JsonFlaw::Syntax)),
        ] {
            assert_eq!(flaw(&with_header(header)), expected, "{header}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let long_kid = format!(
            r#"{{"alg":"RS256","kid":"{}"}}"#,
            "k".repeat(MAX_HEADER_BYTES)
        );
        assert_eq!(flaw(&with_header(&long_kid)), JwsFlaw::TooLarge);
        let long = format!("{RFC_TOKEN}{}", "A".repeat(MAX_TOKEN_BYTES));
        assert_eq!(flaw(&long), JwsFlaw::TooLarge);
    }

    #[test]
    fn a_signature_taken_away_by_cloud_run_is_named_as_such() {
        let (signed, _) = RFC_TOKEN.rsplit_once('.').unwrap();
        let token = format!("{signed}.SIGNATURE_REMOVED_BY_GOOGLE");
        assert_eq!(flaw(&token), JwsFlaw::SignatureRemoved);
    }
}
