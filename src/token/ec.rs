//! ES384 and ES512, which jwt-compact lacks, plugged in through its [`Algorithm`] trait.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use jwt_compact::{Algorithm, AlgorithmSignature};
use p256::ecdsa::signature::{Signer, Verifier};

macro_rules! ecdsa_on {
    ($algorithm:ident, $signature:ident, $curve:ident, $name:literal, $bytes:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $algorithm;

        /// A signature as RFC 7518 §3.4 writes it: r and s, each as long as the curve's order.
        #[derive(Clone, Debug)]
        pub struct $signature($curve::ecdsa::Signature);

        impl AlgorithmSignature for $signature {
            const LENGTH: Option<NonZeroUsize> = NonZeroUsize::new($bytes);

            // Refuses r or s outside [1, n-1].
            fn try_from_slice(bytes: &[u8]) -> anyhow::Result<Self> {
                $curve::ecdsa::Signature::from_slice(bytes)
                    .map(Self)
                    .map_err(anyhow::Error::msg)
            }

            fn as_bytes(&self) -> Cow<'_, [u8]> {
                Cow::Owned(self.0.to_bytes().to_vec())
            }
        }

        impl Algorithm for $algorithm {
            type SigningKey = $curve::ecdsa::SigningKey;
            type VerifyingKey = $curve::ecdsa::VerifyingKey;
            type Signature = $signature;

            fn name(&self) -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn sign(&self, key: &Self::SigningKey, message: &[u8]) -> Self::Signature {
                $signature(key.sign(message))
            }

            fn verify_signature(
                &self,
                signature: &Self::Signature,
                key: &Self::VerifyingKey,
                message: &[u8],
            ) -> bool {
                key.verify(message, &signature.0).is_ok()
            }
        }
    };
}

ecdsa_on!(
    Es384,
    Es384Signature,
    p384,
    "ES384",
    96,
    "ECDSA on P-384 with SHA-384."
);
ecdsa_on!(
    Es512,
    Es512Signature,
    p521,
    "ES512",
    132,
    "ECDSA on P-521 with SHA-512."
);
