//! What only tests may ask of the module: feature `test-hooks`, never in a release.

use std::cell::Cell;
use std::rc::Rc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Action, BufferType, Foreign, MapType, bindings, headers};
use crate::token::algorithm::Algorithm;
use crate::token::host_crypto::{self, HostCrypto};
use crate::token::issuer::{find_key, verify};
use crate::token::jws::Compact;
use crate::token::key::{PublicKey, Secrets};
use crate::token::keyset::KeySet;
use crate::token::{Crypto, InWasm};

/// Kills the VM, so that a test can see traffic refused while it is gone and served once it is back.
const TRAP: &str = "x-forecourt-test-trap";
/// Answers with what the verifier says of the signatures in the body; see [`verdicts`].
const VERIFY: &str = "x-forecourt-test-verify";

/// Takes over requests that carry one of the headers.
pub fn request_headers() -> Option<Action> {
    if asks(TRAP) {
        std::process::abort();
    }
    asks(VERIFY).then_some(Action::Pause)
}

/// Goes on with a request that was taken over.
pub fn request_body(size: usize, ends: bool) -> Option<Action> {
    if !asks(VERIFY) {
        return None;
    }
    if ends {
        let body = bindings::buffer(BufferType::HttpRequestBody, size).unwrap_or_default();
        let body = serde_json::from_slice(&body).ok();
        let verdicts = body.as_ref().and_then(verdicts);
        let sent = bindings::send_local_response(&bindings::LocalResponse {
            status: if verdicts.is_some() { 200 } else { 400 },
            details: "forecourt_test",
            headers: &[],
            body: json!(verdicts).to_string().as_bytes(),
            grpc_status: -1,
        });
        if sent.is_err() {
            std::process::abort();
        }
    }
    Some(Action::Pause)
}

fn asks(header: &str) -> bool {
    headers(MapType::HttpRequestHeaders).is_ok_and(|headers| headers.has(header))
}

/// For each signature of `{jwk, alg, signatures: [[message, signature]]}`, or each token of
/// `{jwks, secrets, tokens}`: what comes of it through the host, what comes of it in Wasm, and
/// whether the host gave a verdict.
fn verdicts(question: &Value) -> Option<Vec<[bool; 3]>> {
    let answered = Rc::<Cell<usize>>::default();
    let host = HostCrypto::prove(Watched(Rc::clone(&answered)));
    let mut all = Vec::new();
    let mut add = |check: &dyn Fn(&dyn Crypto) -> bool| {
        let before = answered.get();
        all.push([check(&host), check(&InWasm), answered.get() > before]);
    };
    if let Some(tokens) = question.get("tokens") {
        let set = question.get("jwks")?.to_string();
        let secrets = match question.get("secrets")?.as_bool()? {
            true => Secrets::Allowed,
            false => Secrets::Refused,
        };
        for token in tokens.as_array()? {
            let token = token.as_str()?;
            add(&|crypto| accepts(&set, secrets, token, crypto).is_some());
        }
        return Some(all);
    }
    let algorithm = Algorithm::named(question.get("alg")?.as_str()?)?;
    let key = PublicKey::from_jwk(question.get("jwk")?.as_object()?, Secrets::Allowed).ok();
    for pair in question.get("signatures")?.as_array()? {
        let bytes = |index| {
            BASE64_URL_SAFE_NO_PAD
                .decode(pair.get(index)?.as_str()?)
                .ok()
        };
        let (message, signature): (Vec<u8>, Vec<u8>) = (bytes(0)?, bytes(1)?);
        add(&|crypto| {
            let key = key.as_ref();
            key.is_some_and(|key| crypto.verify(key, algorithm, &message, &signature))
        });
    }
    Some(all)
}

fn accepts(set: &str, secrets: Secrets, token: &str, crypto: &dyn Crypto) -> Option<()> {
    let keys = KeySet::parse(set.as_bytes(), secrets).ok()?;
    let token = Compact::parse(token.as_bytes()).ok()?;
    let algorithm = Algorithm::named(&token.header.algorithm)?;
    let key = find_key(&token.header, algorithm, &keys).ok()?;
    verify(&token, algorithm, key, crypto).ok()
}

/// Envoy's function, and how often it gave an answer.
struct Watched(Rc<Cell<usize>>);

impl host_crypto::Call for Watched {
    fn call(&self, arguments: &[u8]) -> Option<Vec<u8>> {
        let answer = Foreign.call(arguments)?;
        self.0.set(self.0.get() + 1);
        Some(answer)
    }
}
