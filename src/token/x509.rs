//! Public keys out of X.509 certificates (RFC 5280), as `kid`s are mapped to them by issuers that
//! serve no JWK set.
//!
//! Nothing of a certificate but its key and its time counts: no chain is followed, because what
//! vouches for the key is the place that it was fetched from, and an issuer withdraws a key by no
//! longer serving it. The time is looked at when the certificates are fetched, so an expired one is
//! used for no longer than fetched keys may be.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::pkcs8::DecodePublicKey;
use serde_json::{Map, Value};
use x509_cert::Certificate;
use x509_cert::der::{Decode, DecodePem, Encode};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::key::{KeyFlaw, PublicKey, Secrets};
use crate::time::UnixTime;

/// Tolerance for the clock of whoever issued a certificate, in seconds.
const CLOCK_SKEW: u64 = 600;

/// The key of a certificate in PEM (RFC 7468 §5), under a name.
///
/// # Errors
/// It is no certificate, it is not valid now (RFC 5280 §4.1.2.5), or its key is one that a JWK set
/// could not hold either.
pub fn key(kid: &str, pem: &str, now: UnixTime) -> Result<PublicKey, KeyFlaw> {
    let malformed = KeyFlaw::Malformed("certificate");
    let certificate = Certificate::from_pem(pem).map_err(|_| malformed)?;
    let valid = certificate.tbs_certificate.validity;
    let [from, until] =
        [valid.not_before, valid.not_after].map(|time| UnixTime::from(time.to_unix_duration()));
    if now.saturating_add(CLOCK_SKEW) < from || until.saturating_add(CLOCK_SKEW) < now {
        return Err(KeyFlaw::CertificateTime);
    }
    let info = certificate.tbs_certificate.subject_public_key_info;
    let info = info.to_der().map_err(|_| malformed)?;
    let mut jwk = members(&info).ok_or(KeyFlaw::Unsupported("certificate"))?;
    jwk.insert("kid".to_owned(), kid.into());
    // Weak keys are found where those of JWK sets are.
    PublicKey::from_jwk(&jwk, Secrets::Refused)
}

/// The JWK members of a `SubjectPublicKeyInfo`.
fn members(info: &[u8]) -> Option<Map<String, Value>> {
    let spki = SubjectPublicKeyInfoRef::from_der(info).ok()?;
    if spki.algorithm.oid == pkcs1::ALGORITHM_OID {
        let key = pkcs1::RsaPublicKey::from_der(spki.subject_public_key.as_bytes()?).ok()?;
        return Some(map([
            ("kty", "RSA".into()),
            ("n", encode(key.modulus.as_bytes())),
            ("e", encode(key.public_exponent.as_bytes())),
        ]));
    }
    let (curve, point) = if let Ok(key) = p256::PublicKey::from_public_key_der(info) {
        ("P-256", key.to_sec1_bytes())
    } else {
        let key = p384::PublicKey::from_public_key_der(info).ok()?;
        ("P-384", key.to_sec1_bytes())
    };
    // An uncompressed point is one byte, then both coordinates.
    let coordinates = point.get(1..)?;
    let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
    Some(map([
        ("kty", "EC".into()),
        ("crv", curve.into()),
        ("x", encode(x)),
        ("y", encode(y)),
    ]))
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn map<const N: usize>(members: [(&str, String); N]) -> Map<String, Value> {
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::algorithm::Algorithm;
    use crate::token::keyset::{KeySet, KeySetFlaw};

    const RSA: &str = include_str!("../../tests/data/x509/rsa.pem");
    const P256: &str = include_str!("../../tests/data/x509/p256.pem");
    const WEAK: &str = include_str!("../../tests/data/x509/rsa-1024.pem");
    const ED25519: &str = include_str!("../../tests/data/x509/ed25519.pem");
    const EXPIRED: &str = include_str!("../../tests/data/x509/rsa-expired.pem");
    const FUTURE: &str = include_str!("../../tests/data/x509/rsa-future.pem");

    /// In 2027, when the other certificates are valid.
    const NOW: UnixTime = UnixTime(1_800_000_000);
    /// The midnights with which 2001 and 2002 begin.
    const YEAR_2001: u64 = 978_307_200;
    const YEAR_2002: u64 = 1_009_843_200;

    fn key(kid: &str, pem: &str) -> Result<PublicKey, KeyFlaw> {
        super::key(kid, pem, NOW)
    }

    #[test]
    fn the_key_is_taken_out_of_the_certificate() {
        let key_of = |pem| key("k", pem).unwrap();
        assert!(key_of(RSA).fits(Algorithm::Rs256) && key_of(P256).fits(Algorithm::Es256));
        let crlf = RSA.replace('\n', "\r\n");
        assert_eq!(key_of(&crlf), key_of(RSA));
        for (pem, name, member) in [
            // What openssl says of the same certificates.
            (RSA, "n", "1uLL-niN"),
            (P256, "x", "1WDtf4gORXkwkMjiDzJh7eyWZmwYezYjHDBP_SJffDs"),
        ] {
            let (_, der) = x509_cert::der::pem::decode_vec(pem.as_bytes()).unwrap();
            let certificate = <Certificate as x509_cert::der::Decode>::from_der(&der).unwrap();
            let info = certificate.tbs_certificate.subject_public_key_info;
            let members = members(&info.to_der().unwrap()).unwrap();
            assert!(members[name].as_str().unwrap().starts_with(member));
        }
    }

    #[test]
    fn whatever_is_no_usable_certificate_is_refused() {
        let malformed = KeyFlaw::Malformed("certificate");
        assert_eq!(key("k", ""), Err(malformed));
        assert_eq!(key("k", &RSA[..RSA.len() / 2]), Err(malformed));
        assert_eq!(
            key("k", &RSA.replace("CERTIFICATE", "PUBLIC KEY")),
            Err(malformed)
        );
        assert_eq!(key("k", &RSA.replacen("MII", "AAA", 1)), Err(malformed));
        assert_eq!(key("k", WEAK), Err(KeyFlaw::RsaModulusSize));
        assert_eq!(key("k", ED25519), Err(KeyFlaw::Unsupported("certificate")));
    }

    #[test]
    fn a_certificate_counts_from_its_first_to_its_last_second() {
        for (now, valid) in [
            (0, false),
            (YEAR_2001 - CLOCK_SKEW - 1, false),
            (YEAR_2001 - CLOCK_SKEW, true),
            (YEAR_2002 + CLOCK_SKEW, true),
            (YEAR_2002 + CLOCK_SKEW + 1, false),
            (u64::MAX, false),
        ] {
            let outcome = super::key("k", EXPIRED, UnixTime(now));
            assert_eq!(outcome.is_ok(), valid, "{now}");
            assert!(valid || outcome == Err(KeyFlaw::CertificateTime));
        }
        assert_eq!(key("k", FUTURE), Err(KeyFlaw::CertificateTime));
        assert!(key("k", RSA).is_ok());
    }

    #[test]
    fn a_map_of_certificates_is_a_key_set() {
        let parse = |map: Value| KeySet::parse_certificates(map.to_string().as_bytes(), NOW);
        let set = parse(json!({ "a": RSA, "b": P256, "c": WEAK, "d": EXPIRED })).unwrap();
        assert_eq!(set.keys().count(), 2);
        assert_eq!(set.dropped()[0].kid.as_deref(), Some("c"));
        assert_eq!(set.dropped()[0].flaw, KeyFlaw::RsaModulusSize);
        assert_eq!(set.dropped()[1].flaw, KeyFlaw::CertificateTime);
        assert!(set.find(Some("a"), Algorithm::Rs256).is_ok());
        assert!(set.find(Some("b"), Algorithm::Rs256).is_err());
        assert_eq!(parse(json!({})), Err(KeySetFlaw::NoUsableKey));
        assert_eq!(parse(json!({ "a": WEAK })), Err(KeySetFlaw::NoUsableKey));
        assert_eq!(parse(json!({ "a": 1 })), Err(KeySetFlaw::CertificateMap));
        let many: Map<_, _> = (0..101).map(|n| (n.to_string(), json!(""))).collect();
        assert_eq!(parse(many.into()), Err(KeySetFlaw::TooManyKeys));
    }
}
