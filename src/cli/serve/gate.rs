//! What stands before a private service on Cloud Run: it lets through who shows an ID token for that
//! service, and takes the token's signature away before the service sees it.

use std::rc::Rc;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use crate::cli::clock;
use crate::config;
use crate::config::problem::Problems;
use crate::exchange::{Exchange, Step};
use crate::head::{Headers, RequestHead};
use crate::service::SERVERLESS_AUTHORIZATION;
use crate::token::identity::NoIdentities;
use crate::token::{Env, InWasm, InlineOnly};
use crate::trace::Trace;

/// What is left of a signature that has been checked.
const SIGNATURE_REMOVED: &str = "SIGNATURE_REMOVED_BY_GOOGLE";

/// The check, for one service.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Who gets through, as a policy of one route.
    policy: Value,
}

impl Gate {
    /// Lets through whoever has a token for that audience, signed with one of these keys, of a service
    /// account with that address.
    ///
    /// # Errors
    /// The keys are none.
    pub fn new(audience: &str, keys: &Value, email: &str) -> Result<Self, Problems> {
        let policy = json!({
            "version": config::VERSION,
            "issuers": { "google": {
                "preset": "google-id-token", "audiences": [audience],
                "jwks": { "inline": keys },
            }},
            "routes": [{ "match": { "path": "/" }, "access": {
                "anyOf": ["google"], "claims": [{ "claim": "email", "equals": email }],
            }}],
        });
        config::from_value(policy.clone()).map(|_| Self { policy })
    }

    /// Whether a request may reach the service; if so, without the token's signature.
    ///
    /// # Errors
    /// The status of the refusal: 403 without a token, as Cloud Run answers, 401 with a bad one.
    pub fn admit(&self, headers: &mut HeaderMap) -> Result<(), u16> {
        // With both fields there, only the first is looked at.
        let names = [SERVERLESS_AUTHORIZATION, "authorization"];
        let shown = names
            .into_iter()
            .find_map(|name| Some((name, headers.get(name)?.clone())));
        let (name, value) = shown.ok_or(403_u16)?;
        if headers.get_all(name).iter().count() > 1 || !self.accepts(&value) {
            return Err(401);
        }
        let signed = value.to_str().ok().and_then(|text| text.rsplit_once('.'));
        let (signed, _) = signed.ok_or(401_u16)?;
        let left = HeaderValue::try_from(format!("{signed}.{SIGNATURE_REMOVED}"));
        headers.insert(name, left.map_err(|_| 401_u16)?);
        Ok(())
    }

    fn accepts(&self, value: &HeaderValue) -> bool {
        let Ok(policy) = config::from_value(self.policy.clone()) else {
            return false;
        };
        let field = |(name, value): (&str, &[u8])| (name.as_bytes().to_vec(), value.to_vec());
        let head = RequestHead {
            headers: Headers::new(
                [
                    (":method", &b"GET"[..]),
                    (":path", b"/"),
                    ("authorization", value.as_bytes()),
                ]
                .map(field)
                .into(),
            ),
        };
        let env = Env {
            now: clock::now(),
            keys: &InlineOnly,
            identities: &NoIdentities,
            crypto: &InWasm,
            cache: None,
        };
        let step = Exchange::new(Rc::new(policy), Trace::off()).request(head, true, &env);
        matches!(step, Step::Forward(_))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::cli::serve::metadata::ISSUER;
    use crate::token::algorithm::Algorithm;
    use crate::token::mint::{SigningKey, mint};

    const AUDIENCE: &str = "https://orders-abc123-ew.a.run.app";
    const EMAIL: &str = "edge@shop.example";

    #[test]
    fn only_a_token_for_the_service_gets_through_and_without_its_signature() {
        let algorithm = Algorithm::named("RS256").unwrap();
        let [key, other] = [(); 2].map(|()| SigningKey::generate(algorithm).unwrap());
        let keys = json!({ "keys": [key.public_jwk("m")] });
        let gate = Gate::new(AUDIENCE, &keys, EMAIL).unwrap();
        let now = clock::now().0;
        let token = |key: &SigningKey, aud: &str, exp: u64, email: &str| {
            let claims = json!({ "iss": ISSUER, "aud": aud, "sub": "1", "iat": now, "exp": exp,
                                 "email": email, "email_verified": true });
            format!("Bearer {}", mint(key, "m", &Map::new(), &claims))
        };
        let good = token(&key, AUDIENCE, now + 300, EMAIL);
        let bad = [
            token(&other, AUDIENCE, now + 300, EMAIL),
            token(&key, "https://other.a.run.app", now + 300, EMAIL),
            token(&key, AUDIENCE, now - 300, EMAIL),
            token(&key, AUDIENCE, now + 300, "somebody@else.example"),
            "Bearer x".to_owned(),
        ];
        let ask = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            gate.admit(&mut headers).map(|()| headers)
        };
        for name in [SERVERLESS_AUTHORIZATION, "authorization"] {
            let seen = ask(&[(name, &good)]).unwrap();
            let left = seen.get(name).unwrap().to_str().unwrap();
            assert!(left.ends_with(".SIGNATURE_REMOVED_BY_GOOGLE"), "{left}");
            for bad in &bad {
                assert_eq!(ask(&[(name, bad)]), Err(401), "{bad}");
            }
        }
        assert_eq!(ask(&[]), Err(403));
        let both = [
            (SERVERLESS_AUTHORIZATION, &*good),
            ("authorization", "Bearer user"),
        ];
        let seen = ask(&both).unwrap();
        assert_eq!(seen.get("authorization").unwrap(), "Bearer user");
        let both = [
            (SERVERLESS_AUTHORIZATION, "Bearer x"),
            ("authorization", &good),
        ];
        assert_eq!(ask(&both), Err(401), "the first counts");
    }
}
