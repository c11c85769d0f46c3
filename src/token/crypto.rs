//! The seam behind which signatures are checked: in Wasm here, by the host elsewhere.

use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm as JwtAlgorithm, AlgorithmSignature};
use sha2::{Sha256, Sha384, Sha512};

use super::algorithm::Algorithm;
use super::ec::{Es384, Es512};
use super::key::{Material, PublicKey};
use super::rsa::{Pkcs1, Pss, Rsa};

const RS256: Rsa<Sha256, Pkcs1> = Rsa::new("RS256");
const RS384: Rsa<Sha384, Pkcs1> = Rsa::new("RS384");
const RS512: Rsa<Sha512, Pkcs1> = Rsa::new("RS512");
const PS256: Rsa<Sha256, Pss> = Rsa::new("PS256");
const PS384: Rsa<Sha384, Pss> = Rsa::new("PS384");
const PS512: Rsa<Sha512, Pss> = Rsa::new("PS512");

/// Checks signatures.
pub trait Crypto {
    /// Whether `signature`, in the form of RFC 7518 §3, is by `key` over `message`. False whenever
    /// the key and the algorithm do not fit each other.
    fn verify(
        &self,
        key: &PublicKey,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool;
}

/// Checks signatures in this process, with jwt-compact's algorithms.
#[derive(Clone, Copy, Debug, Default)]
pub struct InWasm;

impl Crypto for InWasm {
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
        match (algorithm, &key.material) {
            (Algorithm::Rs256, Material::Rsa(key)) => check(RS256, key, message, signature),
            (Algorithm::Rs384, Material::Rsa(key)) => check(RS384, key, message, signature),
            (Algorithm::Rs512, Material::Rsa(key)) => check(RS512, key, message, signature),
            (Algorithm::Ps256, Material::Rsa(key)) => check(PS256, key, message, signature),
            (Algorithm::Ps384, Material::Rsa(key)) => check(PS384, key, message, signature),
            (Algorithm::Ps512, Material::Rsa(key)) => check(PS512, key, message, signature),
            (Algorithm::Es256, Material::P256(key)) => check(Es256, key, message, signature),
            (Algorithm::Es384, Material::P384(key)) => check(Es384, key, message, signature),
            (Algorithm::Es512, Material::P521(key)) => check(Es512, &key.0, message, signature),
            (Algorithm::EdDsa, Material::Ed25519(key)) => {
                let key = ed25519_compact::PublicKey::new(**key);
                check(Ed25519, &key, message, signature)
            }
            (Algorithm::Hs256, Material::Secret(secret)) => {
                check(Hs256, &Hs256Key::new(secret), message, signature)
            }
            (Algorithm::Hs384, Material::Secret(secret)) => {
                check(Hs384, &Hs384Key::new(secret), message, signature)
            }
            (Algorithm::Hs512, Material::Secret(secret)) => {
                check(Hs512, &Hs512Key::new(secret), message, signature)
            }
            _ => false,
        }
    }
}

/// The caller has compared the length: some algorithms of jwt-compact panic on another.
fn check<A: JwtAlgorithm>(
    algorithm: A,
    key: &A::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> bool {
    A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, message))
}
