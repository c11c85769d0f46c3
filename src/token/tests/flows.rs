//! What is not an attack: which tokens are asked for, where they are found, what is handed on.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// `shop` takes its tokens from Authorization and the cookie `session`, `other` from the query.
fn with_places() -> Vec<Issuer> {
    let mut issuers = WORLD.issuers.clone();
    issuers[0].sources.push(Source::Cookie("session".into()));
    issuers[1].sources = vec![Source::Query("access_token".into())];
    issuers
}

fn others() -> String {
    let mut claims = claims();
    claims["iss"] = json!("https://other.example/");
    claims["sub"] = json!("other-1");
    mint(&WORLD.other, "other", &Map::new(), &claims)
}

fn request(fields: &[(&str, &str)]) -> RequestHead {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    RequestHead {
        headers: Headers::new(fields.collect()),
    }
}

#[track_caller]
fn granted(outcome: Outcome) -> Granted {
    match outcome {
        Outcome::Granted(granted) => granted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_of_takes_one_token_from_its_issuers_own_place() {
    let (shop, other) = (good(), others());
    let bearer = format!("Bearer {shop}");
    let wrong_place = format!("Bearer {other}");
    let cookie = format!("session={shop}");
    let query = format!("/?access_token={other}");
    let both = || Rules {
        requirement: any_of(&[0, 1]),
        ..Rules::default()
    };
    for (fields, expected) in [
        (vec![("authorization", bearer.as_str())], Ok("shop")),
        (vec![("cookie", cookie.as_str())], Ok("shop")),
        (vec![(":path", query.as_str())], Ok("other")),
        (vec![], Err(Code::TokenMissing)),
        (
            vec![("authorization", wrong_place.as_str())],
            Err(Code::IssuerUnknown),
        ),
        (
            vec![
                ("authorization", bearer.as_str()),
                ("cookie", cookie.as_str()),
            ],
            Err(Code::TokenAmbiguous),
        ),
        (
            vec![
                ("authorization", bearer.as_str()),
                (":path", query.as_str()),
            ],
            Err(Code::TokenAmbiguous),
        ),
        (
            vec![
                ("authorization", bearer.as_str()),
                (":path", "/?access_token=junk"),
            ],
            Err(Code::TokenAmbiguous),
        ),
    ] {
        let outcome = ask_in(&with_places(), both(), &request(&fields));
        let result = match outcome {
            Outcome::Granted(granted) => Ok(granted.issuer),
            Outcome::Refused(refusal) => Err(refusal.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(result, expected.map(str::to_owned), "{fields:?}");
    }
    // Where the other issuer is not accepted, its place is not looked at.
    let fields = [
        ("authorization", bearer.as_str()),
        (":path", query.as_str()),
    ];
    assert_granted(&ask_in(&with_places(), shop_only(), &request(&fields)));
}

#[test]
fn all_of_needs_each_and_the_first_says_who_is_calling() {
    let bearer = format!("Bearer {}", good());
    let query = format!("/?access_token={}", others());
    let rules = |optional| Rules {
        requirement: Requirement::AllOf(any_of(&[0, 1]).accepted().to_vec()),
        optional,
        ..Rules::default()
    };
    let head = request(&[
        ("authorization", bearer.as_str()),
        (":path", query.as_str()),
    ]);
    let caller = granted(ask_in(&with_places(), rules(false), &head));
    assert_eq!(caller.subject.as_deref(), Some("user-1"));
    // The query's token is taken out by default.
    assert_eq!(caller.edits, [Edit::Set(":path".into(), b"/".to_vec())]);
    for fields in [
        vec![("authorization", bearer.as_str())],
        vec![(":path", query.as_str())],
    ] {
        for optional in [false, true] {
            let outcome = ask_in(&with_places(), rules(optional), &request(&fields));
            assert_eq!(refusal(outcome).code, Code::TokenMissing, "{optional}");
        }
    }
    let none = ask_in(&with_places(), rules(true), &request(&[]));
    assert_eq!(none, Outcome::Anonymous);
    let expired = mint(&WORLD.other, "other", &Map::new(), &with("exp", json!(1)));
    let query = format!("/?access_token={expired}");
    let head = request(&[
        ("authorization", bearer.as_str()),
        (":path", query.as_str()),
    ]);
    assert!(matches!(
        ask_in(&with_places(), rules(true), &head),
        Outcome::Refused(_)
    ));
}

#[test]
fn optional_lets_nobody_pass_and_a_bad_token_never() {
    let rules = || Rules {
        optional: true,
        ..shop_only()
    };
    assert_eq!(ask(rules(), &head(&[])), Outcome::Anonymous);
    assert_eq!(ask(rules(), &head(&["Basic x".into()])), Outcome::Anonymous);
    assert_granted(&ask(rules(), &bearer(&good())));
    for token in ["", "x", &signed(&with("exp", json!(1)))] {
        assert!(
            matches!(ask(rules(), &bearer(token)), Outcome::Refused(_)),
            "{token}"
        );
    }
}

#[test]
fn a_cors_preflight_passes_unless_told_otherwise() {
    let full = [
        (":method", "OPTIONS"),
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
    ];
    let rules = |preflight| Rules {
        preflight,
        ..shop_only()
    };
    assert_eq!(ask(rules(true), &request(&full)), Outcome::Anonymous);
    assert_eq!(
        refusal(ask(rules(false), &request(&full))).code,
        Code::TokenMissing
    );
    for fields in [
        vec![full[0], full[1]],
        vec![full[0], full[2]],
        vec![(":method", "POST"), full[1], full[2]],
        vec![(":method", "options"), full[1], full[2]],
    ] {
        let outcome = ask(rules(true), &request(&fields));
        assert_eq!(refusal(outcome).code, Code::TokenMissing, "{fields:?}");
    }
}

#[test]
fn a_route_may_name_other_audiences() {
    let rules = |audiences: &[&str]| Rules {
        requirement: Requirement::AnyOf(vec![Accepted {
            issuer: 0,
            audiences: Some(audiences.iter().map(|name| (*name).to_owned()).collect()),
        }]),
        ..Rules::default()
    };
    let token = signed(&with("aud", json!("reports")));
    assert_granted(&ask(rules(&["reports"]), &bearer(&token)));
    // They stand in place of the issuer's own.
    let outcome = ask(rules(&["reports"]), &bearer(&good()));
    assert_eq!(refusal(outcome).code, Code::AudienceMismatch);
}

#[test]
fn issuers_that_share_a_name_are_tried_in_turn() {
    let mut issuers = WORLD.issuers.clone();
    issuers[1] = issuer("twin", ISS, &[WORLD.ec.public_jwk("ec")]);
    issuers[1].audiences = vec!["reports".into()];
    let both = || Rules {
        requirement: any_of(&[0, 1]),
        ..Rules::default()
    };
    for (aud, name) in [("orders", "shop"), ("reports", "twin")] {
        let token = signed(&with("aud", json!(aud)));
        assert_eq!(
            granted(ask_in(&issuers, both(), &bearer(&token))).issuer,
            name
        );
    }
    let token = signed(&with("aud", json!("x")));
    let outcome = ask_in(&issuers, both(), &bearer(&token));
    assert_eq!(refusal(outcome).code, Code::AudienceMismatch);
}

#[test]
fn a_rule_may_be_for_one_issuers_tokens_only() {
    let mut other = WORLD.issuers.clone();
    other[1].audiences = vec!["orders".into()];
    let rule = ClaimRule {
        claim: ClaimPath::parse("email_verified").unwrap(),
        tests: vec![Test::Equals(json!(true))],
        space_delimited: false,
        issuer: Some(0),
    };
    let rules = || Rules {
        requirement: any_of(&[0, 1]),
        claims: vec![rule.clone()],
        ..Rules::default()
    };
    assert_granted(&ask_in(&other, rules(), &bearer(&others())));
    assert_eq!(
        refusal(ask_in(&other, rules(), &bearer(&good()))).code,
        Code::ClaimMismatch
    );
    let verified = signed(&with("email_verified", json!(true)));
    assert_granted(&ask_in(&other, rules(), &bearer(&verified)));
}

#[test]
fn revoked_tokens_are_refused_once_their_signature_is_good() {
    let mut issuers = WORLD.issuers.clone();
    issuers[0].revoked = issuer::Revoked {
        jti: ["stolen".to_owned()].into(),
        sub: ["fired".to_owned()].into(),
        issued_before: Some(UnixTime(NOW.0 - 100)),
    };
    let issued = |name: &str, value: Value| {
        let mut claims = with(name, value);
        claims
            .as_object_mut()
            .unwrap()
            .entry("iat")
            .or_insert(json!(NOW.0 - 100));
        claims
    };
    assert_granted(&ask_in(
        &issuers,
        shop_only(),
        &bearer(&signed(&issued("jti", json!("1")))),
    ));
    for claims in [
        issued("jti", json!("stolen")),
        issued("sub", json!("fired")),
        issued("iat", json!(NOW.0 - 101)),
        claims(),
    ] {
        let outcome = ask_in(&issuers, shop_only(), &bearer(&signed(&claims)));
        assert_eq!(refusal(outcome).code, Code::TokenRevoked, "{claims}");
    }
    let forged = mint(&WORLD.other, "ec", &Map::new(), &claims());
    let outcome = ask_in(&issuers, shop_only(), &bearer(&forged));
    assert_eq!(refusal(outcome).code, Code::SignatureInvalid);
}

#[test]
fn a_route_may_ask_for_a_recent_sign_in() {
    let rules = || Rules {
        max_age: Some(300),
        ..shop_only()
    };
    for (auth_time, good) in [
        (json!(NOW.0 - 360), true),
        (json!(NOW.0 - 361), false),
        (json!(NOW.0 + 60), true),
        (json!(NOW.0 + 61), false),
        (json!("now"), false),
        (json!(null), false),
    ] {
        let outcome = ask(
            rules(),
            &bearer(&signed(&with("auth_time", auth_time.clone()))),
        );
        if good {
            assert_granted(&outcome);
            continue;
        }
        let refusal = refusal(outcome);
        assert_eq!(refusal.code, Code::AuthenticationTooOld, "{auth_time}");
        let (_, challenge) = &refusal.headers[0];
        assert!(challenge.contains(r#"error="insufficient_user_authentication""#));
        assert!(challenge.contains(r#"max_age="300""#));
    }
}

#[test]
fn two_tokens_are_taken_out_of_one_field_one_after_the_other() {
    let mut issuers = WORLD.issuers.clone();
    issuers[0].sources = vec![Source::Cookie("a".into())];
    issuers[1].sources = vec![Source::Cookie("b".into())];
    let rules = Rules {
        requirement: Requirement::AllOf(any_of(&[0, 1]).accepted().to_vec()),
        forward: Forward {
            token: Some(TokenHandling::Strip),
            ..Forward::default()
        },
        ..Rules::default()
    };
    let cookie = format!("a={}; x=1; b={}", good(), others());
    let mut head = request(&[("cookie", &cookie)]);
    let caller = granted(ask_in(&issuers, rules, &head));
    head.headers.apply(&caller.edits);
    assert_eq!(head.headers.single("cookie"), Ok(Some(&b"x=1"[..])));
}

#[test]
fn logs_and_route_clearing_are_handed_to_the_driver() {
    let rules = Rules {
        forward: Forward {
            log: Some(vec![(ClaimPath::parse("email").unwrap(), "email".into())]),
            clear_route_cache: true,
            ..Forward::default()
        },
        ..shop_only()
    };
    let token = signed(&with("email", json!("a@example.com")));
    let caller = granted(ask(rules, &bearer(&token)));
    assert_eq!(
        caller.logged,
        Some(vec![("email".to_owned(), "a@example.com".to_owned())])
    );
    assert!(caller.clear_route_cache);
}
