//! The JWS signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1) and the keys each of them needs.

use std::fmt;

/// What kind of key an algorithm takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `kty: oct`, a shared secret of at least that many bytes (RFC 7518 §3.2).
    Secret {
        /// The hash's output size: no shorter secret is used with it.
        least_bytes: usize,
    },
    /// `kty: RSA`.
    Rsa,
    /// `kty: EC`, `crv: P-256`.
    P256,
    /// `kty: EC`, `crv: P-384`.
    P384,
    /// `kty: EC`, `crv: P-521`.
    P521,
    /// `kty: OKP`, `crv: Ed25519`.
    Ed25519,
}

macro_rules! algorithms {
    ($($variant:ident $name:literal $kind:expr, $doc:literal;)*) => {
        /// A signature algorithm. `none` is not among them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Algorithm { $(#[doc = $doc] $variant,)* }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the `alg` header parameter.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The only kind of key it is ever used with.
            pub const fn key_kind(self) -> KeyKind {
                match self { $(Self::$variant => $kind,)* }
            }
        }
    };
}

algorithms! {
    Rs256 "RS256" KeyKind::Rsa, "RSASSA-PKCS1-v1_5 with SHA-256.";
    Rs384 "RS384" KeyKind::Rsa, "RSASSA-PKCS1-v1_5 with SHA-384.";
    Rs512 "RS512" KeyKind::Rsa, "RSASSA-PKCS1-v1_5 with SHA-512.";
    Ps256 "PS256" KeyKind::Rsa, "RSASSA-PSS with SHA-256 and MGF1 with SHA-256.";
    Ps384 "PS384" KeyKind::Rsa, "RSASSA-PSS with SHA-384 and MGF1 with SHA-384.";
    Ps512 "PS512" KeyKind::Rsa, "RSASSA-PSS with SHA-512 and MGF1 with SHA-512.";
    Es256 "ES256" KeyKind::P256, "ECDSA on P-256 with SHA-256.";
    Es384 "ES384" KeyKind::P384, "ECDSA on P-384 with SHA-384.";
    Es512 "ES512" KeyKind::P521, "ECDSA on P-521 with SHA-512.";
    EdDsa "EdDSA" KeyKind::Ed25519, "Ed25519 (RFC 8032).";
    Hs256 "HS256" KeyKind::Secret { least_bytes: 32 }, "HMAC with SHA-256.";
    Hs384 "HS384" KeyKind::Secret { least_bytes: 48 }, "HMAC with SHA-384.";
    Hs512 "HS512" KeyKind::Secret { least_bytes: 64 }, "HMAC with SHA-512.";
}

impl Algorithm {
    /// The algorithm of exactly that name: `alg` is case-sensitive (RFC 7515 §4.1.1).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.as_str() == name)
    }

    /// Whether signer and verifier share one secret.
    pub const fn is_symmetric(self) -> bool {
        matches!(self.key_kind(), KeyKind::Secret { .. })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_exact() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.as_str()), Some(*algorithm));
            let other_case = algorithm.as_str().to_ascii_lowercase();
            assert_eq!(Algorithm::named(&other_case), None);
        }
        for name in [
            "none", "None", "NONE", "nOnE", "", "RS256 ", "ES256K", "ES521",
        ] {
            assert_eq!(Algorithm::named(name), None, "{name:?}");
        }
    }
}
