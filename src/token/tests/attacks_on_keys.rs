//! The attacks that go by keys and by what is remembered of them, by their numbers, each beside a token
//! that is good but for it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Keys that a driver would have fetched.
struct Fetched {
    state: Option<KeySet>,
    pending: bool,
    refresh: Refresh,
}

impl Keys for Fetched {
    fn lookup(&self, _: usize) -> KeyState<'_> {
        match &self.state {
            Some(keys) => KeyState::Ready(keys),
            None if self.pending => KeyState::Pending,
            None => KeyState::Unavailable,
        }
    }

    fn refresh(&self, _: usize, _: &str) -> Refresh {
        self.refresh
    }

    fn retry_after(&self, _: usize) -> u64 {
        7
    }
}

#[test]
fn attack_08_unknown_kids_ask_and_wait_only_where_it_can_help() {
    let KeySource::Inline(keys) = WORLD.issuers[0].keys.clone() else {
        panic!()
    };
    let mut issuers = WORLD.issuers.clone();
    issuers[0].keys = KeySource::Remote(Box::new(Remote {
        start: Start::Keys(Endpoint {
            url: Url::parse("https://keys.example/").unwrap(),
            cluster: "keys".into(),
        }),
        format: KeyFormat::JwkSet,
        bounds: Bounds {
            cache_duration: None,
            max_stale: 0,
            min_refresh: 1,
            timeout: 1,
        },
    }));
    let ask = |token: &str, state: Option<KeySet>, pending: bool, refresh: Refresh| {
        let keys = Fetched {
            state,
            pending,
            refresh,
        };
        let env = Env {
            now: NOW,
            keys: &keys,
            identities: &identity::NoIdentities,
            crypto: &InWasm,
            cache: None,
        };
        let head = head(&[format!("Bearer {token}")]);
        Access::restricted(shop_only()).check(&issuers, &head, &env, &mut Trace::off())
    };
    let wait = Outcome::AwaitKeys(vec![0]);
    for refresh in [Refresh::Coming, Refresh::Current, Refresh::Later] {
        assert_granted(&ask(&good(), Some(keys.clone()), false, refresh));
        assert_eq!(ask(&good(), None, true, refresh), wait);
        let unavailable = refusal(ask(&good(), None, false, refresh));
        assert_eq!(unavailable.code, Code::KeysUnavailable);
        assert_eq!(unavailable.headers, [("retry-after".into(), "7".into())]);
    }
    let unknown = mint(&WORLD.ec, "new", &Map::new(), &claims());
    let seek = |refresh| ask(&unknown, Some(keys.clone()), false, refresh);
    assert_eq!(seek(Refresh::Coming), wait);
    assert_eq!(refusal(seek(Refresh::Current)).code, Code::KeyUnknown);
    let held_up = refusal(seek(Refresh::Later));
    assert_eq!(held_up.code, Code::KeysUnavailable);
    // Without a name there is nothing to look for.
    let header = json!({ "alg": "ES256" }).to_string();
    let nameless = sign_parts(
        &WORLD.ec,
        header.as_bytes(),
        claims().to_string().as_bytes(),
    );
    let twice = [WORLD.ec.public_jwk("ec"), WORLD.other.public_jwk("other")];
    let KeySource::Inline(two) = issuer("shop", ISS, &twice).keys else {
        panic!()
    };
    let ambiguous = refusal(ask(&nameless, Some(two), false, Refresh::Coming));
    assert_eq!(ambiguous.code, Code::KeyUnknown);
    // A token that would be refused anyway never makes anybody fetch or wait.
    let expired = signed(&with("exp", json!(1)));
    let expired = refusal(ask(&expired, None, true, Refresh::Coming));
    assert_eq!(expired.code, Code::TokenExpired);
}

#[test]
fn attack_04_blank_and_guessable_hmac_secrets() {
    let shared = |secret: &[u8]| {
        let jwk = json!({ "kty": "oct", "k": encode(secret) });
        PublicKey::from_jwk(jwk.as_object().unwrap(), Secrets::Allowed)
    };
    for secret in [&b""[..], b"\0", b"secret", &[7; 31]] {
        assert_eq!(shared(secret).unwrap_err(), KeyFlaw::SecretTooShort);
    }
    // Long enough for HS256 only; and the policy's compiler refuses what can be guessed.
    let text = shared(&[b'x'; 47]).unwrap();
    assert!(text.fits(Algorithm::Hs256) && !text.fits(Algorithm::Hs384) && text.is_guessable());
    assert!(!shared(&[0, 255].repeat(16)).unwrap().is_guessable());
    // An issuer that does not name HS* accepts none, whatever the secret.
    let key = SigningKey::generate(Algorithm::Hs256).unwrap();
    let token = mint(&key, "ec", &Map::new(), &claims());
    assert_eq!(refused(&token), Code::AlgorithmNotAllowed);
}

#[test]
fn attacks_11_and_12_weak_keys_and_keys_for_other_purposes() {
    // The rest of the variants stand beside the key set.
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("d", json!("AAAA")),
        ("y", json!(encode([1; 32]))),
    ] {
        let mut jwk = WORLD.ec.public_jwk("ec");
        jwk[name] = value;
        let set = json!({ "keys": [WORLD.rsa.public_jwk("rsa"), jwk] }).to_string();
        let mut issuers = WORLD.issuers.clone();
        let keys = KeySet::parse(set.as_bytes(), Secrets::Refused).unwrap();
        issuers[0].keys = KeySource::Inline(keys);
        let outcome = ask_in(&issuers, shop_only(), &bearer(&good()));
        assert_eq!(refusal(outcome).code, Code::KeyUnknown, "{name}");
        let token = mint(&WORLD.rsa, "rsa", &Map::new(), &claims());
        assert_granted(&ask_in(&issuers, shop_only(), &bearer(&token)));
    }
}

#[test]
fn attack_25_a_remembered_token_outlives_neither_its_expiry_nor_its_key() {
    let cache = Cache::new(10);
    let counting = Counting::default();
    let token = good();
    let ask = |issuers: &[Issuer], now: UnixTime| {
        let env = Env {
            now,
            keys: &InlineOnly,
            identities: &identity::NoIdentities,
            crypto: &counting,
            cache: Some(&cache),
        };
        let access = Access::restricted(shop_only());
        access.check(issuers, &bearer(&token), &env, &mut Trace::off())
    };
    for _ in 0..3 {
        assert_granted(&ask(&WORLD.issuers, NOW));
    }
    assert_eq!(
        counting.0.get(),
        1,
        "one signature checked, the rest remembered"
    );
    assert_eq!((cache.hits(), cache.misses()), (2, 1));
    let late = refusal(ask(&WORLD.issuers, UnixTime(NOW.0 + 360)));
    assert_eq!(late.code, Code::TokenExpired);
    // The key has been replaced under the same name.
    let mut issuers = WORLD.issuers.clone();
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    issuers[0].keys = issuer("shop", ISS, &[other.public_jwk("ec")]).keys;
    assert_eq!(refusal(ask(&issuers, NOW)).code, Code::SignatureInvalid);
    issuers[0].keys = issuer("shop", ISS, &[other.public_jwk("new")]).keys;
    assert_eq!(refusal(ask(&issuers, NOW)).code, Code::KeyUnknown);
    // Everything else is asked anew too.
    let mut issuers = WORLD.issuers.clone();
    issuers[0].audiences = vec!["other".into()];
    assert_eq!(refusal(ask(&issuers, NOW)).code, Code::AudienceMismatch);
    issuers[0].audiences = vec!["orders".into()];
    issuers[0].revoked.sub.insert("user-1".into());
    assert_eq!(refusal(ask(&issuers, NOW)).code, Code::TokenRevoked);
    assert_granted(&ask(&WORLD.issuers, NOW));
    // A forgery that shares all but one character is not the token.
    let (input, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{input}.{}", encode([1; 64]));
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        identities: &identity::NoIdentities,
        crypto: &counting,
        cache: Some(&cache),
    };
    let access = Access::restricted(shop_only());
    let outcome = access.check(&WORLD.issuers, &bearer(&forged), &env, &mut Trace::off());
    assert_eq!(refusal(outcome).code, Code::SignatureInvalid);
    assert!(
        cache.get(forged.as_bytes()).is_none(),
        "a forgery is never remembered"
    );
}

/// Counts the signatures that are checked.
#[derive(Default)]
struct Counting(std::cell::Cell<u32>);

impl Crypto for Counting {
    fn verify(&self, key: &PublicKey, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.0.set(self.0.get() + 1);
        InWasm.verify(key, alg, message, signature)
    }
}
