//! What must hold for any bytes where tokens, keys and claims are read. The fuzz targets and the
//! replay of their corpus run the same checks.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use forecourt::fetch::answer::Answer;
use forecourt::fetch::record::{Document, State};
use forecourt::head::{Edit, Headers, RequestHead, ResponseHead};
use forecourt::time::UnixTime;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::claims::{ClaimPath, Claims};
use forecourt::token::forward::Forward;
use forecourt::token::identity::{IdentityToken, MAX_IDENTITY_BYTES};
use forecourt::token::jws::Compact;
use forecourt::token::key::Secrets;
use forecourt::token::keyset::KeySet;
use forecourt::token::remote::{Bounds, KeyFormat, Url};
use forecourt::token::rule::{ClaimRule, Test};
use forecourt::token::source::{Found, Source};
use forecourt::token::{Crypto, InWasm};

/// A check of one input.
pub type Check = fn(&[u8]);

/// Every check with the name of its target.
pub const ALL: &[(&str, Check)] = &[
    ("token_claims", claims),
    ("token_fetched", fetched),
    ("token_identity", identity),
    ("token_jws", jws),
    ("token_keys", keys),
    ("token_sources", sources),
];

/// A token that is taken apart has no other spelling.
pub fn jws(data: &[u8]) {
    if let Ok(token) = Compact::parse(data) {
        let signature = BASE64_URL_SAFE_NO_PAD.encode(&token.signature);
        let again = [token.signing_input, b".", signature.as_bytes()].concat();
        assert_eq!(again, data);
        let payload = BASE64_URL_SAFE_NO_PAD.encode(&token.payload);
        assert!(
            token
                .signing_input
                .ends_with(format!(".{payload}").as_bytes())
        );
    }
}

/// An answer that is taken for an identity token is one for that audience, may stand in a header, and
/// is not taken later than it says.
pub fn identity(data: &[u8]) {
    let now = UnixTime(1_800_000_000);
    if let Ok(token) = IdentityToken::parse(data, "shop", now) {
        assert_eq!(token.as_str().as_bytes(), data.trim_ascii());
        assert!(token.as_str().len() <= MAX_IDENTITY_BYTES);
        assert!(token.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        let usable = token.usable_for(now);
        assert!(usable > 0 && token.is_alive(UnixTime(now.0 + usable - 1)));
        let claims = Compact::parse(token.as_str().as_bytes()).map(|token| token.payload);
        let claims = claims.ok().and_then(|payload| Claims::parse(&payload).ok());
        assert_eq!(
            claims.as_ref().and_then(|claims| claims.text("aud")),
            Some("shop")
        );
        assert!(IdentityToken::parse(data, "other", now).is_err());
        let late = claims.and_then(|claims| claims.date("exp")).unwrap_or(now);
        assert!(IdentityToken::parse(data, "shop", late.saturating_add(60)).is_err());
    }
}

/// Every key that is kept is found only where it fits, and verifies no signature of zeros.
pub fn keys(data: &[u8]) {
    for secrets in [Secrets::Refused, Secrets::Allowed] {
        let Ok(set) = KeySet::parse(data, secrets) else {
            continue;
        };
        assert!(!set.is_empty());
        for key in set.keys() {
            assert!(secrets == Secrets::Allowed || !key.is_secret());
            for algorithm in Algorithm::ALL.iter().copied() {
                assert!(!key.fits(algorithm) || algorithm.is_symmetric() == key.is_secret());
                let zeros = vec![0; key.signature_bytes(algorithm)];
                assert!(!InWasm.verify(key, algorithm, b"message", &zeros));
                if let Ok(found) = set.find(key.kid(), algorithm) {
                    assert!(found.fits(algorithm));
                }
            }
        }
    }
}

/// The first line names a claim, the rest is a payload. A test and its negation never both hold, a
/// token is never both expired and not, and no header can be broken out of.
pub fn claims(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let name = parts.next().and_then(|line| std::str::from_utf8(line).ok());
    let Some(path) = name.and_then(ClaimPath::parse) else {
        return;
    };
    assert_eq!(ClaimPath::parse(&path.to_string()), Some(path.clone()));
    let Ok(claims) = Claims::parse(parts.next().unwrap_or_default()) else {
        return;
    };
    let tests = [
        Test::Equals("a".into()),
        Test::OneOf(vec!["a".into(), 1.into()]),
        Test::Contains("a".into()),
        Test::StartsWith("a".to_owned()),
        Test::AtLeast(1.into()),
        Test::Present(true),
    ];
    for test in tests {
        let holds = |test: Test| {
            let rule = ClaimRule {
                claim: path.clone(),
                tests: vec![test],
                space_delimited: true,
                issuer: None,
            };
            rule.broken_by(&claims).is_none()
        };
        let negation = Test::Not(Box::new(test.clone()));
        assert!(!(holds(test) && holds(negation)));
    }
    let early = claims.check_times(UnixTime(0), 0).is_ok();
    let late = claims.check_times(UnixTime(u64::MAX), 0).is_ok();
    assert!(!late, "{early}");
    let forward = Forward {
        claims: vec![(path, "x-claim".to_owned())],
        ..Forward::default()
    };
    for edit in forward.edits(b"a.b.c", &claims).unwrap_or_default() {
        if let Edit::Set(_, value) = edit {
            assert!(value.iter().all(|byte| *byte >= b' ' && *byte != 0x7f));
        }
    }
}

/// What an issuer answers, a head and a body with an empty line between, and what stands in shared
/// data. Keys that come of it are usable, and no address is taken over that the policy does not name.
pub fn fetched(data: &[u8]) {
    const NOW: u64 = 1_800_000_000;
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = data.split_at(end.unwrap_or(data.len()));
    let fields = head.split(|byte| *byte == b'\n').map(|line| {
        let at = line.iter().rposition(|byte| *byte == b' ').unwrap_or(0);
        let (name, value) = line.split_at(at);
        (name.to_vec(), value.get(1..).unwrap_or_default().to_vec())
    });
    let answer = Answer {
        head: ResponseHead {
            headers: Headers::new(fields.collect()),
        },
        body: body.get(2..).unwrap_or_default().to_vec(),
    };
    for format in [KeyFormat::JwkSet, KeyFormat::CertificateMap] {
        for conditional in [false, true] {
            let Ok(fetched) = answer.keys(format, conditional, UnixTime(NOW)) else {
                continue;
            };
            assert!(fetched.etag.iter().all(u8::is_ascii_graphic));
            assert!(fetched.keys.is_none_or(|keys| !keys.is_empty()));
        }
    }
    let document = Url::parse("https://idp.example/meta").unwrap();
    if let Ok(url) = answer.keys_url("https://idp.example", &document, "keys.example") {
        assert!(url.authority() == "keys.example" && url.is_secure());
        assert!(url.target().bytes().all(|byte| byte.is_ascii_graphic()));
    }
    if let Some(url) = std::str::from_utf8(data).ok().and_then(Url::parse) {
        assert_eq!(Url::parse(&url.to_string()), Some(url));
    }
    if let Some(document) = Document::from_bytes(data) {
        assert_eq!(document.to_bytes(), data);
    }
    let bounds = Bounds {
        cache_duration: None,
        max_stale: 60,
        min_refresh: 10,
        timeout: 5,
    };
    let state = State::from_bytes(data, NOW * 1000, &bounds);
    assert!((1..=60).contains(&state.retry_after(NOW * 1000, &bounds)));
    assert!(!state.is_usable((NOW + 2 * 86_400) * 1000, &bounds));
    let failed = state.failed(NOW * 1000, NOW);
    assert!(failed.is_due((NOW + 120) * 1000, &bounds, true));
    let succeeded = state.succeeded(NOW * 1000, true, 600, NOW);
    assert!(succeeded.is_usable(NOW * 1000, &bounds));
}

/// The first line is a request target, the second a cookie, the third an `Authorization`. What is
/// taken out is not there any more.
pub fn sources(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let fields = [":path", "cookie", "authorization"].map(|name| {
        let value = lines.next().unwrap_or_default();
        (name.as_bytes().to_vec(), value.to_vec())
    });
    let head = RequestHead {
        headers: Headers::new(fields.into()),
    };
    for source in [
        Source::Query("t".to_owned()),
        Source::Cookie("t".to_owned()),
        Source::bearer(),
    ] {
        let mut rest = head.clone();
        let found = source.find(&head);
        rest.headers.apply(&[source.strip(&head)]);
        assert_eq!(source.find(&rest), Found::Nothing, "{found:?}");
    }
}
