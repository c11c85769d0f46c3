//! RSA signatures, checked with the public key alone (RFC 8017 §8.1.2 and §8.2.2), plugged in through
//! jwt-compact's [`Algorithm`] trait.
//!
//! The `rsa` crate, made for secrets and for any word size, takes six times as long inside Wasm.

mod montgomery;

use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;

use jwt_compact::{Algorithm, AlgorithmSignature};
use sha2::digest::{Digest, Output};
use sha2::{Sha256, Sha384, Sha512};
use x509_cert::der::Encode;
use x509_cert::der::asn1::{Any, BitString, UintRef};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use montgomery::Modulus;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaKey {
    modulus: Modulus,
    exponent: u64,
}

impl RsaKey {
    /// From big-endian octets, with or without leading zeros. None where the modulus is even, of no
    /// more than 27 bits or of more than 13,500, or the exponent is even, below 3 or of more than 64 bits: nothing can be
    /// verified with such a key. Whether it is strong is the caller's question.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let first = exponent.iter().position(|octet| *octet != 0)?;
        let exponent = exponent.get(first..).filter(|octets| octets.len() <= 8)?;
        let exponent = exponent
            .iter()
            .fold(0, |number, octet| number << 8 | u64::from(*octet));
        if exponent < 3 || exponent & 1 == 0 {
            return None;
        }
        let modulus = Modulus::new(modulus)?;
        Some(Self { modulus, exponent })
    }

    /// The exponent.
    pub fn exponent(&self) -> u64 {
        self.exponent
    }

    /// The length of the modulus, in bits.
    pub fn bits(&self) -> usize {
        self.modulus.bits()
    }

    /// The length of a signature, in octets.
    pub fn octets(&self) -> usize {
        self.modulus.octets()
    }

    /// What remains of the modulus when it is divided by a small number.
    pub fn remainder(&self, divisor: u32) -> u32 {
        self.modulus.remainder(divisor)
    }

    /// The modulus as big-endian octets, without leading zeros.
    pub fn modulus(&self) -> Vec<u8> {
        self.modulus.to_octets()
    }

    /// The message representative of a signature (RFC 8017 §5.2.2), as long as the modulus.
    fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.octets() {
            return None;
        }
        self.modulus.power(signature, self.exponent)
    }
}

/// The key as DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7, RFC 8017 §A.1.1).
pub fn to_spki(key: &RsaKey) -> Option<Box<[u8]>> {
    let (modulus, exponent) = (key.modulus(), key.exponent.to_be_bytes());
    let key = pkcs1::RsaPublicKey {
        modulus: UintRef::new(&modulus).ok()?,
        public_exponent: UintRef::new(&exponent).ok()?,
    };
    let info = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: pkcs1::ALGORITHM_OID,
            parameters: Some(Any::null()),
        },
        subject_public_key: BitString::from_bytes(&key.to_der().ok()?).ok()?,
    };
    Some(info.to_der().ok()?.into())
}

/// A hash that signatures are made over.
pub trait Hash: Digest {
    /// The DER of `DigestInfo` up to the digest (RFC 8017 §9.2, note 1).
    const PREFIX: [u8; 19];
}

macro_rules! hash {
    ($hash:ty, $oid:literal, $whole:literal, $digest:literal) => {
        impl Hash for $hash {
            const PREFIX: [u8; 19] = [
                0x30, $whole, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
                0x02, $oid, 0x05, 0x00, 0x04, $digest,
            ];
        }
    };
}

hash!(Sha256, 0x01, 0x31, 0x20);
hash!(Sha384, 0x02, 0x41, 0x30);
hash!(Sha512, 0x03, 0x51, 0x40);

/// A way to pad what is signed.
pub trait Padding<H> {
    /// Whether `opened`, of `bits` significant bits, is how this pads that digest.
    fn fits(opened: &[u8], bits: usize, digest: &Output<H>) -> bool
    where
        H: Hash;
}

/// RSASSA-PKCS1-v1_5 (RFC 8017 §9.2).
#[derive(Clone, Copy, Debug)]
pub struct Pkcs1;

impl<H> Padding<H> for Pkcs1 {
    /// Compares with the one encoding that there is, instead of reading it: leniency here has let
    /// signatures be forged (Bleichenbacher 2006).
    fn fits(opened: &[u8], _: usize, digest: &Output<H>) -> bool
    where
        H: Hash,
    {
        let tail = H::PREFIX.iter().chain(digest.iter());
        let Some(fill) = opened.len().checked_sub(3 + H::PREFIX.len() + digest.len()) else {
            return false;
        };
        // At least eight, and a modulus of 2,048 bits leaves many more.
        let head = [0, 1].into_iter().chain(std::iter::repeat_n(0xff, fill));
        let whole = head.chain([0]).chain(tail.copied());
        fill >= 8 && opened.iter().copied().eq(whole)
    }
}

/// RSASSA-PSS with MGF1 over the same hash and a salt as long as it (RFC 8017 §9.1.2, RFC 7518 §3.5).
#[derive(Clone, Copy, Debug)]
pub struct Pss;

impl<H> Padding<H> for Pss {
    fn fits(opened: &[u8], bits: usize, digest: &Output<H>) -> bool
    where
        H: Hash,
    {
        unsalted::<H>(opened, bits).is_some_and(|(salt, hash)| {
            let salted = H::new()
                .chain_update([0; 8])
                .chain_update(digest)
                .chain_update(salt);
            *salted.finalize() == *hash
        })
    }
}

/// The salt and the hash out of a PSS encoding.
fn unsalted<H: Hash>(opened: &[u8], bits: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let length = <H as Digest>::output_size();
    // The encoding is one bit shorter than the modulus, which can be an octet less.
    let encoded_bits = bits.checked_sub(1)?;
    let (above, encoded) = opened.split_at_checked(opened.len() - encoded_bits.div_ceil(8))?;
    let (rest, trailer) = encoded.split_at_checked(encoded.len().checked_sub(1)?)?;
    let (masked, hash) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    let unused = 8 * encoded.len() - encoded_bits;
    let used = 0xff_u8 >> unused;
    if above.iter().any(|octet| *octet != 0) || trailer != [0xbc] || masked.first()? & !used != 0 {
        return None;
    }
    let mut block: Vec<_> = masked
        .iter()
        .zip(mask::<H>(hash, masked.len()))
        .map(|(octet, mask)| octet ^ mask)
        .collect();
    *block.first_mut()? &= used;
    let salt = block.split_off(block.len().checked_sub(length)?);
    let (one, zeros) = block.split_last()?;
    (*one == 1 && zeros.iter().all(|octet| *octet == 0)).then(|| (salt, hash.to_vec()))
}

/// MGF1 (RFC 8017 §B.2.1).
fn mask<H: Hash>(seed: &[u8], length: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(length + <H as Digest>::output_size());
    for counter in 0_u32.. {
        if mask.len() >= length {
            break;
        }
        let block = H::new()
            .chain_update(seed)
            .chain_update(counter.to_be_bytes());
        mask.extend_from_slice(&block.finalize());
    }
    mask.truncate(length);
    mask
}

/// RS* and PS* by their hash and their padding. It only verifies.
#[derive(Clone, Copy, Debug)]
pub struct Rsa<H, P> {
    name: &'static str,
    kind: PhantomData<(H, P)>,
}

impl<H, P> Rsa<H, P> {
    /// The algorithm of that name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            kind: PhantomData,
        }
    }
}

/// A signature as it came.
#[derive(Clone, Debug)]
pub struct RsaSignature(Box<[u8]>);

impl AlgorithmSignature for RsaSignature {
    fn try_from_slice(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(bytes.into()))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }
}

impl<H: Hash, P: Padding<H>> Algorithm for Rsa<H, P> {
    type SigningKey = Infallible;
    type VerifyingKey = RsaKey;
    type Signature = RsaSignature;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.name)
    }

    fn sign(&self, key: &Infallible, _: &[u8]) -> RsaSignature {
        match *key {}
    }

    fn verify_signature(&self, signature: &RsaSignature, key: &RsaKey, message: &[u8]) -> bool {
        key.open(&signature.0)
            .is_some_and(|opened| P::fits(&opened, key.bits(), &H::digest(message)))
    }
}

#[cfg(test)]
mod tests;
