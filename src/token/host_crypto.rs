//! Signatures checked by the host: Envoy's foreign function `verify_signature`, which BoringSSL
//! answers some seven times as fast as Wasm can.
//!
//! It takes and gives protocol buffers (Envoy's `VerifySignatureArguments` and
//! `VerifySignatureResult`), so small that they are written by hand here. It covers RSASSA-PKCS1-v1_5
//! and ECDSA; whatever else there is stays in Wasm.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::crypto::{Crypto, InWasm};
use super::key::{PublicKey, Secrets};

/// The name of the foreign function.
pub const FUNCTION: &str = "verify_signature";

/// Calls [`FUNCTION`] with these arguments; `None` where the host cannot or would not.
pub trait Call {
    /// The result's bytes.
    fn call(&self, arguments: &[u8]) -> Option<Vec<u8>>;
}

/// Checks signatures through the host where the host has shown that it can, and in Wasm elsewhere.
#[derive(Clone, Debug, Default)]
pub struct HostCrypto<C> {
    host: C,
    proven: Vec<Algorithm>,
}

impl<C: Call> HostCrypto<C> {
    /// Tries the host with a good and a bad signature of each algorithm. Those for which it gives
    /// both answers right go through it from now on.
    pub fn prove(host: C) -> Self {
        let candidate = Self {
            host,
            proven: Vec::new(),
        };
        let proven = known_answers()
            .filter(|known| {
                candidate.ask(&known.key, known.algorithm, MESSAGE, &known.signature) == Some(true)
                    && candidate.ask(&known.key, known.algorithm, OTHER, &known.signature)
                        == Some(false)
            })
            .map(|known| known.algorithm)
            .collect();
        Self {
            proven,
            ..candidate
        }
    }

    /// The algorithms that go through the host.
    pub fn proven(&self) -> &[Algorithm] {
        &self.proven
    }

    /// The host's verdict; `None` where it gave none.
    fn ask(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let hash = hash_name(algorithm)?;
        // A signature whose numbers are out of range has no DER form; Wasm refuses it.
        let signature = key.der_signature(signature)?;
        let arguments = arguments(hash, key.spki_der()?, &signature, message);
        verdict(&self.host.call(&arguments)?)
    }
}

impl<C: Call> Crypto for HostCrypto<C> {
    fn verify(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        if !key.could_have_made(signature, algorithm) {
            return false;
        }
        let verdict = if self.proven.contains(&algorithm) {
            self.ask(key, algorithm, message, signature)
        } else {
            None
        };
        verdict.unwrap_or_else(|| InWasm.verify(key, algorithm, message, signature))
    }
}

/// The hash as `verify_signature` calls it; none where the algorithm does not go through it.
fn hash_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Es256 => Some("sha256"),
        Algorithm::Rs384 | Algorithm::Es384 => Some("sha384"),
        Algorithm::Rs512 | Algorithm::Es512 => Some("sha512"),
        _ => None,
    }
}

/// `VerifySignatureArguments`: four length-delimited fields.
fn arguments(hash: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Vec<u8> {
    let fields = [(1, hash.as_bytes()), (2, key), (3, signature), (4, text)];
    let size = fields.iter().map(|(_, bytes)| bytes.len() + 8).sum();
    let mut message = Vec::with_capacity(size);
    for (number, bytes) in fields {
        message.push((number << 3) | LENGTH_DELIMITED);
        push_varint(&mut message, bytes.len());
        message.extend_from_slice(bytes);
    }
    message
}

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

fn push_varint(message: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// `VerifySignatureResult`: field 1 is the verdict, absent when false; field 2 an error's text. A
/// message that holds anything else is no verdict.
fn verdict(message: &[u8]) -> Option<bool> {
    let mut verdict = false;
    let mut rest = message.iter().copied();
    while let Some(tag) = rest.next() {
        match (tag >> 3, tag & 7) {
            (1, VARINT) => {
                verdict = match varint(&mut rest)? {
                    0 => false,
                    1 => true,
                    _ => return None,
                }
            }
            (2, LENGTH_DELIMITED) => {
                for _ in 0..varint(&mut rest)? {
                    rest.next()?;
                }
            }
            _ => return None,
        }
    }
    Some(verdict)
}

fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut number = 0u32;
    for shift in [0, 7, 14, 21] {
        let byte = bytes.next()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

const MESSAGE: &[u8] = b"forecourt";
const OTHER: &[u8] = b"Forecourt";

/// A signature over [`MESSAGE`] that is known to be good.
struct KnownAnswer {
    algorithm: Algorithm,
    key: PublicKey,
    signature: Vec<u8>,
}

fn known_answers() -> impl Iterator<Item = KnownAnswer> {
    let list: Vec<Map<String, Value>> =
        serde_json::from_str(include_str!("self_test.json")).unwrap_or_default();
    list.into_iter().filter_map(|entry| {
        let text = |name| entry.get(name).and_then(Value::as_str);
        let jwk = entry.get("jwk")?.as_object()?;
        Some(KnownAnswer {
            algorithm: Algorithm::named(text("alg")?)?,
            key: PublicKey::from_jwk(jwk, Secrets::Refused).ok()?,
            signature: BASE64_URL_SAFE_NO_PAD.decode(text("signature")?).ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_known_answers_are_right_and_complete() {
        let known: Vec<_> = known_answers().collect();
        let algorithms: Vec<_> = known.iter().map(|known| known.algorithm.as_str()).collect();
        assert_eq!(
            algorithms,
            ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
        );
        for known in known {
            let check = |text| InWasm.verify(&known.key, known.algorithm, text, &known.signature);
            assert!(check(MESSAGE) && !check(OTHER));
        }
    }

    #[test]
    fn arguments_are_written_as_protocol_buffers() {
        assert_eq!(
            arguments("sha256", b"key", b"", &[7; 300]),
            [
                b"\x0a\x06sha256\x12\x03key\x1a\x00\x22\xac\x02".as_slice(),
                &[7; 300]
            ]
            .concat()
        );
    }

    #[test]
    fn only_a_whole_result_is_a_verdict() {
        for (message, expected) in [
            (&b""[..], Some(false)),
            (b"\x08\x01", Some(true)),
            (b"\x08\x00", Some(false)),
            (b"\x12\x03bad", Some(false)),
            (b"\x08\x01\x12\x00", Some(true)),
            (b"\x08", None),
            (b"\x08\x02", None),
            (b"\x08\x81\x00", Some(true)),
            (b"\x08\xff\xff\xff\xff\xff", None),
            (b"\x08\x01\x12", None),
            (b"\x08\x01\x12\x05bad", None),
            (b"\x08\x01\x18\x01", None),
            (b"\x0a\x01\x01", None),
            (b"\x00\x01", None),
            (b"\xff", None),
        ] {
            assert_eq!(verdict(message), expected, "{message:?}");
        }
    }

    type Answer = fn(bool) -> Option<Vec<u8>>;

    /// A host that answers from a script and counts.
    #[derive(Default)]
    struct Scripted {
        /// Whether the arguments hold [`MESSAGE`], to the answer.
        answer: Option<Answer>,
        calls: Cell<usize>,
    }

    impl Call for Scripted {
        fn call(&self, arguments: &[u8]) -> Option<Vec<u8>> {
            self.calls.set(self.calls.get() + 1);
            self.answer?(arguments.ends_with(MESSAGE))
        }
    }

    #[test]
    fn a_host_that_is_wrong_once_is_not_asked_again() {
        const TRUE: &[u8] = b"\x08\x01";
        let wrong: [Option<Answer>; 6] = [
            None,
            Some(|_| Some(TRUE.into())),
            Some(|_| Some(Vec::new())),
            Some(|good| Some(if good { Vec::new() } else { TRUE.into() })),
            Some(|good| good.then(|| TRUE.into())),
            Some(|_| Some(b"garbage".into())),
        ];
        for answer in wrong {
            let crypto = HostCrypto::prove(Scripted {
                answer,
                ..Scripted::default()
            });
            assert_eq!(crypto.proven(), []);
            let before = crypto.host.calls.get();
            for known in known_answers() {
                let check =
                    |text| crypto.verify(&known.key, known.algorithm, text, &known.signature);
                assert!(check(MESSAGE) && !check(OTHER), "Wasm decides");
            }
            assert_eq!(crypto.host.calls.get(), before);
        }
    }

    #[test]
    fn a_host_that_fails_later_leaves_it_to_wasm() {
        for broken in [None, Some(b"\x08\x07".to_vec())] {
            let crypto = HostCrypto {
                host: Broken(broken),
                proven: Algorithm::ALL.to_vec(),
            };
            for known in known_answers() {
                let check =
                    |text| crypto.verify(&known.key, known.algorithm, text, &known.signature);
                assert!(check(MESSAGE) && !check(OTHER));
            }
        }
    }

    struct Broken(Option<Vec<u8>>);

    impl Call for Broken {
        fn call(&self, _: &[u8]) -> Option<Vec<u8>> {
            self.0.clone()
        }
    }

    #[test]
    fn what_does_not_fit_the_key_never_reaches_the_host() {
        let crypto = HostCrypto::prove(Scripted {
            answer: Some(|good| {
                Some(if good {
                    b"\x08\x01".to_vec()
                } else {
                    Vec::new()
                })
            }),
            ..Scripted::default()
        });
        assert_eq!(crypto.proven().len(), 6);
        let before = crypto.host.calls.get();
        for known in known_answers() {
            let verify = |algorithm, signature: &[u8]| {
                crypto.verify(&known.key, algorithm, MESSAGE, signature)
            };
            let signature = &known.signature;
            assert!(!verify(known.algorithm, &signature[1..]));
            assert!(!verify(known.algorithm, &[signature, &[0][..]].concat()));
            assert!(!verify(Algorithm::EdDsa, signature));
            assert!(!verify(Algorithm::Hs256, signature));
            if known.algorithm.key_kind() != crate::token::algorithm::KeyKind::Rsa {
                let zero = vec![0; signature.len()];
                assert!(!verify(known.algorithm, &zero), "r and s of zero");
                let large = vec![0xff; signature.len()];
                assert!(!verify(known.algorithm, &large), "r and s beyond the order");
            }
        }
        assert_eq!(crypto.host.calls.get(), before);
    }
}
