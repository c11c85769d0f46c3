//! The attacks of the design's list, by their numbers, each beside a token that is good but for it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn attack_01_alg_none_in_any_case() {
    for alg in [
        "none", "None", "NONE", "nOnE", "", "rs256", "ES256K", "HS256",
    ] {
        let header = encode(json!({ "alg": alg, "kid": "ec" }).to_string());
        let payload = encode(claims().to_string());
        let token = format!("{header}.{payload}.AAAA");
        assert_eq!(refused(&token), Code::AlgorithmNotAllowed, "{alg}");
        assert_eq!(
            refused(&format!("{header}.{payload}.")),
            Code::TokenMalformed,
            "{alg}"
        );
    }
}

#[test]
fn attack_02_a_public_key_as_hmac_secret() {
    let public = WORLD.rsa.public_jwk("rsa");
    let modulus = public["n"].as_str().unwrap();
    let secrets = [modulus.to_owned(), encode(public.to_string())];
    for secret in secrets {
        let jwk = json!({ "kty": "oct", "k": secret });
        let forger = SigningKey::from_jwk(Algorithm::Hs256, &jwk).unwrap();
        let token = mint(&forger, "rsa", &Map::new(), &claims());
        assert_eq!(refused(&token), Code::AlgorithmNotAllowed);
        let renamed = json!({ "alg": "RS256" });
        let token = mint(&forger, "rsa", renamed.as_object().unwrap(), &claims());
        assert_eq!(refused(&token), Code::SignatureInvalid);
    }
}

#[test]
fn attack_03_changed_short_long_and_removed_signatures() {
    let token = good();
    assert_granted(&check(&token));
    let (input, signature) = token.rsplit_once('.').unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    for index in [0, 31, 32, 63] {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let token = format!("{input}.{}", encode(changed));
        assert_eq!(refused(&token), Code::SignatureInvalid);
    }
    let mut long = bytes.clone();
    long.push(0);
    let zero_r = [vec![0; 32], bytes[32..].to_vec()].concat();
    let huge_s = [bytes[..32].to_vec(), vec![0xff; 32]].concat();
    for changed in [
        bytes[..63].to_vec(),
        vec![0],
        vec![0; 64],
        long,
        zero_r,
        huge_s,
    ] {
        let token = format!("{input}.{}", encode(changed));
        assert_eq!(refused(&token), Code::SignatureInvalid);
    }
    assert_eq!(
        refused(&format!("{input}.SIGNATURE_REMOVED_BY_GOOGLE")),
        Code::TokenSignatureRemoved
    );
}

#[test]
fn attack_10_ecdsa_out_of_range_and_in_der_form() {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let token = good();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = bytes.split_at(32);
    let der = p256::ecdsa::Signature::from_slice(&bytes).unwrap().to_der();
    let (zero, ones) = ([0; 32], [0xff; 32]);
    for changed in [
        der.as_bytes().to_vec(),
        [&zero[..], s].concat(),
        [r, &zero].concat(),
        [&ORDER[..], s].concat(),
        [r, &ORDER].concat(),
        [&ones[..], s].concat(),
        [r, &ones].concat(),
        [s, r].concat(),
    ] {
        let token = format!("{input}.{}", encode(changed));
        assert_eq!(refused(&token), Code::SignatureInvalid);
    }
}

#[test]
fn attack_05_and_06_keys_in_or_named_by_the_token() {
    let attacker = SigningKey::generate(Algorithm::Es256).unwrap();
    let jwk = attacker.public_jwk("mine");
    for (kid, header, expected) in [
        ("mine", json!({ "jwk": jwk }), Code::KeyUnknown),
        ("ec", json!({ "jwk": jwk }), Code::SignatureInvalid),
        (
            "ec",
            json!({ "jku": "https://evil.example/jwks.json" }),
            Code::SignatureInvalid,
        ),
        (
            "ec",
            json!({ "x5u": "https://evil.example/cert.pem" }),
            Code::SignatureInvalid,
        ),
        ("ec", json!({ "x5c": ["MIIB"] }), Code::SignatureInvalid),
    ] {
        let token = mint(&attacker, kid, header.as_object().unwrap(), &claims());
        assert_eq!(refused(&token), expected, "{header}");
        // Beside it: the same parameters on the issuer's own token do no harm.
        assert_granted(&check(&signed_with_header(header)));
    }
}

#[test]
fn attack_07_kid_with_a_path_or_code() {
    for kid in [
        "../../../../dev/null",
        "ec' OR '1'='1",
        "ec|/usr/bin/id",
        "EC",
        "ec ",
        "ec\u{0}",
        "",
        &"k".repeat(2000),
    ] {
        let token = mint(&WORLD.ec, kid, &Map::new(), &claims());
        assert_eq!(refused(&token), Code::KeyUnknown, "{kid}");
    }
}

#[test]
fn attack_09_another_algorithm_than_the_keys() {
    let header = json!({ "alg": "RS256" });
    let token = mint(&WORLD.ec, "ec", header.as_object().unwrap(), &claims());
    assert_eq!(refused(&token), Code::AlgorithmNotAllowed);
    for alg in ["PS256", "RS384", "ES384", "EdDSA"] {
        let header = json!({ "alg": alg });
        let token = mint(&WORLD.rsa, "rsa", header.as_object().unwrap(), &claims());
        assert_eq!(refused(&token), Code::AlgorithmNotAllowed, "{alg}");
    }
}

#[test]
fn attack_13_and_23_headers_that_ask_for_more_and_jwe() {
    for header in [
        json!({ "crit": ["exp"] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A256GCM" }),
    ] {
        assert_eq!(refused(&signed_with_header(header)), Code::TokenUnsupported);
    }
    // RFC 7516 appendix A.2's header.
    let jwe = "eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.e30.e30.e30.e30";
    assert_eq!(refused(jwe), Code::TokenUnsupported);
}

#[test]
fn attack_14_and_15_other_parts_and_other_base64() {
    let token = good();
    for broken in [
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.e30"),
        format!("{token}="),
        token.replacen('.', "..", 1),
        token.replacen('.', "", 1),
        token.replacen('e', "%65", 1),
    ] {
        assert_eq!(refused(&broken), Code::TokenMalformed, "{broken}");
    }
}

#[test]
fn attack_16_duplicate_members_and_invalid_utf8() {
    let header = br#"{"alg":"ES256","kid":"ec"}"#;
    let good = claims().to_string();
    assert_granted(&check(&sign_parts(&WORLD.ec, header, good.as_bytes())));
    let doubled = good.replacen('{', r#"{"sub":"admin","#, 1);
    let nested = good.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1);
    let invalid = [&b"{\"x\":\"\xff\","[..], &good.as_bytes()[1..]].concat();
    for payload in [
        doubled.as_bytes(),
        nested.as_bytes(),
        &invalid,
        b"[]",
        b"",
        b"null",
    ] {
        let token = sign_parts(&WORLD.ec, header, payload);
        assert_eq!(refused(&token), Code::TokenMalformed);
    }
    for header in [
        &br#"{"alg":"ES256","kid":"other","kid":"ec"}"#[..],
        br#"{"alg":"ES256","alg":"none","kid":"ec"}"#,
        br#"["ES256"]"#,
    ] {
        let token = sign_parts(&WORLD.ec, header, good.as_bytes());
        assert_eq!(refused(&token), Code::TokenMalformed);
    }
}

#[test]
fn attack_17_keys_and_names_of_another_issuer() {
    // The other issuer's key under this one's name, and the other way round.
    let token = mint(&WORLD.other, "other", &Map::new(), &claims());
    assert_eq!(refused(&token), Code::KeyUnknown);
    let token = mint(&WORLD.other, "ec", &Map::new(), &claims());
    assert_eq!(refused(&token), Code::SignatureInvalid);
    let other = with("iss", json!("https://other.example/"));
    assert_eq!(refused(&signed(&other)), Code::IssuerUnknown);
    let token = mint(&WORLD.other, "other", &Map::new(), &other);
    assert_eq!(refused(&token), Code::IssuerUnknown);
    let both = Rules {
        requirement: any_of(&[0, 1]),
        ..Rules::default()
    };
    assert_granted(&ask(both, &head(&[format!("Bearer {token}")])));
}

#[test]
fn attack_17_names_that_are_almost_an_issuers() {
    for iss in [
        "https://issuer.example",
        "https://issuer.example//",
        "http://issuer.example/",
        "https://ISSUER.example/",
        "https://issuer.example/ ",
        "issuer.example/",
        "",
    ] {
        assert_eq!(
            refused(&signed(&with("iss", json!(iss)))),
            Code::IssuerUnknown
        );
    }
    assert_eq!(refused(&signed(&without("iss"))), Code::IssuerUnknown);
    assert_eq!(
        refused(&signed(&with("iss", json!([ISS])))),
        Code::TokenMalformed
    );
}

#[test]
fn attack_18_missing_and_other_audiences() {
    assert_granted(&check(&signed(&with("aud", json!(["a", "orders"])))));
    for aud in [
        json!("other"),
        json!([]),
        json!("Orders"),
        json!(null),
        json!(1),
    ] {
        assert_eq!(refused(&signed(&with("aud", aud))), Code::AudienceMismatch);
    }
    assert_eq!(refused(&signed(&without("aud"))), Code::AudienceMismatch);
}

#[test]
fn attack_20_times() {
    assert_granted(&check(&signed(&with("exp", json!(NOW.0 - 59)))));
    assert_granted(&check(&signed(&with("exp", json!(1_700_000_000.5)))));
    for (name, value, expected) in [
        ("exp", json!(NOW.0 - 60), Code::TokenExpired),
        ("exp", json!(0), Code::TokenExpired),
        ("exp", json!(-1), Code::ExpiryMissing),
        ("exp", json!("1700000300"), Code::ExpiryMissing),
        ("exp", json!(1e300), Code::ExpiryMissing),
        ("exp", json!(u64::MAX), Code::ExpiryMissing),
        ("nbf", json!(NOW.0 + 61), Code::TokenNotYetValid),
        ("iat", json!(NOW.0 + 61), Code::TokenNotYetValid),
        ("nbf", json!("soon"), Code::TokenMalformed),
    ] {
        assert_eq!(refused(&signed(&with(name, value))), expected, "{name}");
    }
    assert_eq!(refused(&signed(&without("exp"))), Code::ExpiryMissing);
}

#[test]
fn attack_21_several_tokens() {
    let bearer = format!("Bearer {}", good());
    assert_granted(&ask(shop_only(), &head(std::slice::from_ref(&bearer))));
    for second in [
        bearer.clone(),
        "Bearer x".into(),
        "Basic x".into(),
        String::new(),
    ] {
        for pair in [[bearer.clone(), second.clone()], [second, bearer.clone()]] {
            let refusal = refusal(ask(shop_only(), &head(&pair)));
            assert_eq!(refusal.code, Code::TokenAmbiguous);
        }
    }
}

#[test]
fn attack_23_size_and_depth() {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    assert_eq!(refused(&signed(&with("x", deep))), Code::TokenMalformed);
    let long = json!("x".repeat(jws::MAX_TOKEN_BYTES));
    assert_eq!(refused(&signed(&with("x", long))), Code::TokenMalformed);
    assert_granted(&check(&signed(&with("x", json!("x".repeat(8_000))))));
}

#[test]
fn attack_24_the_token_in_what_is_said_of_it() {
    let mut trace = Trace::on(false);
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        identities: &identity::NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    assert_granted(&check(&good()));
    let token = signed(&with("exp", json!(1)));
    let access = Access::restricted(shop_only());
    let outcome = access.check(
        &WORLD.issuers,
        &head(&[format!("Bearer {token}")]),
        &env,
        &mut trace,
    );
    let said = format!("{outcome:?} {:?}", trace.steps());
    for part in token.split('.').chain(["user-1"]) {
        assert!(!said.contains(part), "{said}");
    }
    assert!(
        said.contains("issuer shop refuses it: token_expired"),
        "{said}"
    );
}

#[test]
fn attack_19_tokens_for_another_purpose() {
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "application/logout+jwt",
        "",
    ] {
        let token = signed_with_header(json!({ "typ": typ }));
        assert_eq!(refused(&token), Code::TokenTypeNotAllowed, "{typ:?}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_granted(&check(&signed_with_header(json!({ "typ": typ }))));
    }
    let mut issuers = WORLD.issuers.clone();
    issuers[0].types = Some(vec!["at+jwt".into()]);
    for (header, granted) in [
        (json!({ "typ": "at+jwt" }), true),
        (json!({ "typ": "JWT" }), false),
        (json!({}), false),
    ] {
        let token = signed_with_header(header.clone());
        let outcome = ask_in(&issuers, shop_only(), &bearer(&token));
        if granted {
            assert_granted(&outcome);
        } else {
            assert_eq!(refusal(outcome).code, Code::TokenTypeNotAllowed, "{header}");
        }
    }
}

#[test]
fn attack_20_tokens_that_live_too_long() {
    let mut issuers = WORLD.issuers.clone();
    issuers[0].max_lifetime = Some(600);
    for (iat, exp, granted) in [
        (Some(NOW.0), NOW.0 + 600, true),
        (Some(NOW.0), NOW.0 + 601, false),
        (Some(NOW.0 - 500), NOW.0 + 101, false),
        (None, NOW.0 + 660, true),
        (None, NOW.0 + 661, false),
    ] {
        let mut claims = with("exp", json!(exp));
        if let Some(iat) = iat {
            claims["iat"] = json!(iat);
        }
        let outcome = ask_in(&issuers, shop_only(), &bearer(&signed(&claims)));
        if granted {
            assert_granted(&outcome);
        } else {
            let refusal = refusal(outcome);
            assert_eq!(refusal.code, Code::TokenLifetimeTooLong, "{iat:?} {exp}");
        }
    }
}

#[test]
fn attack_22_headers_that_the_access_writes_are_known_to_all() {
    let forward = Forward {
        claims: vec![(ClaimPath::parse("tenant").unwrap(), "x-tenant".into())],
        ..Forward::default()
    };
    let access = Access::restricted(Rules {
        forward,
        ..shop_only()
    });
    // The exchange removes these from every request first; a claim that is absent then leaves
    // nothing that a client may have put there.
    assert_eq!(access.headers_set().collect::<Vec<_>>(), ["x-tenant"]);
    let env = Env {
        now: NOW,
        keys: &InlineOnly,
        identities: &identity::NoIdentities,
        crypto: &InWasm,
        cache: None,
    };
    let outcome = access.check(&WORLD.issuers, &bearer(&good()), &env, &mut Trace::off());
    let Outcome::Granted(granted) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(granted.edits, []);
}
