use std::sync::LazyLock;

use rsa::pkcs1v15::SigningKey;
use rsa::signature::{RandomizedSigner, SignatureEncoding, Signer};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Of a length that is no multiple of eight, where PSS is an octet shorter than the modulus or as
/// long, and of the usual one.
static KEYS: LazyLock<Vec<RsaPrivateKey>> = LazyLock::new(|| {
    let bits = [1024, 1025, 1031, 2048];
    let key = |bits| RsaPrivateKey::new(&mut p256::elliptic_curve::rand_core::OsRng, bits);
    bits.map(|bits| key(bits).unwrap()).into()
});

fn public(key: &RsaPrivateKey) -> RsaKey {
    RsaKey::new(&key.n().to_bytes_be(), &key.e().to_bytes_be()).unwrap()
}

fn pkcs1<H: Hash>(key: &RsaKey, message: &[u8], signature: &[u8]) -> bool {
    let algorithm = Rsa::<H, Pkcs1>::new("RS");
    algorithm.verify_signature(&RsaSignature(signature.into()), key, message)
}

fn pss<H: Hash>(key: &RsaKey, message: &[u8], signature: &[u8]) -> bool {
    let algorithm = Rsa::<H, Pss>::new("PS");
    algorithm.verify_signature(&RsaSignature(signature.into()), key, message)
}

#[test]
fn signatures_of_another_implementation_verify_and_no_others() {
    let mut rng = p256::elliptic_curve::rand_core::OsRng;
    for private in &*KEYS {
        let key = public(private);
        for message in [&b""[..], b"message", &[0xff; 300]] {
            let one = SigningKey::<Sha256>::new(private.clone())
                .sign(message)
                .to_vec();
            let two = rsa::pss::SigningKey::<Sha256>::new(private.clone());
            let two = two.sign_with_rng(&mut rng, message).to_vec();
            assert!(pkcs1::<Sha256>(&key, message, &one));
            assert!(pss::<Sha256>(&key, message, &two));
            assert!(!pkcs1::<Sha256>(&key, message, &two) && !pss::<Sha256>(&key, message, &one));
            assert!(!pkcs1::<Sha512>(&key, message, &one) && !pss::<Sha384>(&key, message, &two));
            assert!(!pkcs1::<Sha256>(&key, b"other", &one) && !pss::<Sha256>(&key, b"other", &two));
            for at in [0, 1, one.len() / 2, one.len() - 1] {
                for (signature, verify) in [
                    (&one, pkcs1::<Sha256> as fn(&RsaKey, &[u8], &[u8]) -> bool),
                    (&two, pss::<Sha256>),
                ] {
                    let mut flipped = signature.clone();
                    flipped[at] ^= 1;
                    assert!(!verify(&key, message, &flipped));
                    assert!(!verify(&key, message, &signature[1..]));
                    assert!(!verify(&key, message, &[&[0], &signature[..]].concat()));
                }
            }
        }
    }
}

/// Signs what it is told to, whatever it is.
fn raw(key: &RsaPrivateKey, encoded: &[u8]) -> Vec<u8> {
    let number = BigUint::from_bytes_be(encoded).modpow(key.d(), key.n());
    let octets = number.to_bytes_be();
    [vec![0; key.size() - octets.len()], octets].concat()
}

#[test]
fn a_padding_that_is_only_nearly_right_is_refused() {
    let private = KEYS.last().unwrap();
    let key = public(private);
    let digest = Sha256::digest(b"m");
    let good = |fill: usize, rest: &[u8]| {
        let head = [&[0, 1][..], &vec![0xff; fill], &[0]].concat();
        let whole = [&head, &<Sha256 as Hash>::PREFIX[..], &digest, rest].concat();
        raw(private, &[&whole[..], &vec![0; 256 - whole.len()]].concat())
    };
    assert!(pkcs1::<Sha256>(&key, b"m", &good(202, &[])));
    // Bleichenbacher's forgery: the digest early, anything behind it.
    assert!(!pkcs1::<Sha256>(&key, b"m", &good(8, &[])));
    assert!(!pkcs1::<Sha256>(&key, b"m", &good(201, &[0])));
    let parameters_missing = {
        let info = [
            &[0x30, 0x2f, 0x30, 0x0b][..],
            &<Sha256 as Hash>::PREFIX[4..15],
            &[4, 32],
            &digest,
        ];
        let info = info.concat();
        let fill = vec![0xff; 256 - 3 - info.len()];
        raw(private, &[&[0, 1][..], &fill, &[0], &info].concat())
    };
    assert!(!pkcs1::<Sha256>(&key, b"m", &parameters_missing));
}

#[test]
fn a_salt_of_another_length_is_refused() {
    let mut rng = p256::elliptic_curve::rand_core::OsRng;
    for private in &*KEYS {
        for length in [0, 20, 31, 33] {
            let signer = rsa::pss::SigningKey::<Sha256>::new_with_salt_len(private.clone(), length);
            let signature = signer.sign_with_rng(&mut rng, b"m").to_vec();
            assert!(
                !pss::<Sha256>(&public(private), b"m", &signature),
                "{length}"
            );
        }
    }
}

#[test]
fn a_signature_is_below_the_modulus() {
    let private = KEYS.last().unwrap();
    let key = public(private);
    let signature = SigningKey::<Sha256>::new(private.clone())
        .sign(b"m")
        .to_vec();
    let above = BigUint::from_bytes_be(&signature) + private.n();
    let above = above.to_bytes_be();
    // The same number modulo n, where it still fits.
    if above.len() == 256 {
        assert!(!pkcs1::<Sha256>(&key, b"m", &above));
    }
    assert_eq!(key.open(&key.modulus()), None);
    assert_eq!(key.open(&[0xff; 256]), None);
    assert_eq!(key.open(&[0; 256]), Some(vec![0; 256]));
    // One bit above the modulus, wherever there is room for it in as many octets.
    for key in KEYS.iter().map(public) {
        for bit in key.bits()..8 * key.octets() {
            let octets = (BigUint::from(1_u8) << bit).to_bytes_be();
            assert_eq!(octets.len(), key.octets());
            assert_eq!(key.open(&octets), None, "{bit}");
        }
    }
}

#[test]
fn columns_hold_the_largest_numbers() {
    // All ones: every limb of the modulus, and of the base, is as large as it can be.
    for octets in [256, 512, 1024, 1687] {
        let modulus = vec![0xff; octets];
        let base = [&[0xfe][..], &modulus[1..]].concat();
        let (n, b) = (
            BigUint::from_bytes_be(&modulus),
            BigUint::from_bytes_be(&base),
        );
        let key = RsaKey::new(&modulus, &[3]).unwrap();
        let expected = b.modpow(&BigUint::from(3_u8), &n);
        assert_eq!(BigUint::from_bytes_be(&key.open(&base).unwrap()), expected);
    }
    assert_eq!(RsaKey::new(&[0xff; 1688], &[3]), None);
}

#[test]
fn keys_that_verify_nothing_are_none() {
    let n = KEYS[0].n().to_bytes_be();
    for (modulus, exponent) in [
        (&n[..], &[][..]),
        (&n, &[0]),
        (&n, &[1]),
        (&n, &[2]),
        (&n, &[0, 4]),
        (&n, &[1; 9]),
        (&[], &[3]),
        (&[0; 300], &[3]),
        (&[7], &[3]),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 2], &[3]),
    ] {
        assert_eq!(RsaKey::new(modulus, exponent), None, "{exponent:?}");
    }
    let padded = [&[0; 5], &n[..]].concat();
    assert_eq!(
        RsaKey::new(&padded, &[0, 1, 0, 1]),
        RsaKey::new(&n, &[1, 0, 1])
    );
}

#[test]
fn a_key_is_written_as_others_write_it() {
    use rsa::pkcs8::EncodePublicKey;
    for private in &*KEYS {
        let theirs = private.to_public_key().to_public_key_der().unwrap();
        assert_eq!(
            to_spki(&public(private)).as_deref(),
            Some(theirs.as_bytes())
        );
    }
}

#[test]
fn powers_are_those_of_another_implementation() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut octets = |length: usize| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    };
    for length in [5, 8, 9, 31, 32, 33, 64, 127, 256, 1024] {
        let mut modulus = octets(length);
        modulus[0] |= 1;
        modulus[length - 1] |= 1;
        let mut lowered = modulus.clone();
        lowered[length - 1] -= 1;
        let mut small = octets(length);
        small[0] = 0;
        let mut ones = vec![0xff; length];
        for modulus in [&modulus, &ones.clone()] {
            ones[length - 1] = 0xfe;
            for base in [&small, &lowered, &vec![0; length]] {
                for exponent in [3_u64, 5, 17, 65_537, (1 << 33) - 1] {
                    let n = BigUint::from_bytes_be(modulus);
                    let expected = BigUint::from_bytes_be(base).modpow(&exponent.into(), &n);
                    let power = Modulus::new(modulus)
                        .unwrap()
                        .power(base, exponent)
                        .unwrap();
                    assert_eq!(
                        BigUint::from_bytes_be(&power),
                        expected,
                        "{length} {exponent}"
                    );
                    assert_eq!(power.len(), length);
                }
            }
        }
    }
}
