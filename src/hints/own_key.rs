//! A key of the caller's own, in a cache that tells answers apart by host and path alone.
//!
//! The instance before the cache adds the key to the path and hides `Authorization`, which would
//! have the cache pass the request by; the one behind it undoes both. A path that comes with such a
//! parameter already is nobody's key: those requests pass the cache by.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::head::{Edit, Headers, RequestHead};

/// Where `Authorization` is on its way past the cache.
pub const AUTHORIZATION: &str = "x-forecourt-authorization";

/// The parameter, which is the last of its query.
const PARAMETER: &[u8] = b"forecourt-key=";
/// SHA-256 in base64 without padding.
const KEY_BYTES: usize = 43;

/// The key of a caller: of the issuer's name and the subject, and of each of the named fields as the
/// service gets to see it. So two callers have one key only if they are the same to the service.
pub fn of<'a>(
    issuer: &str,
    subject: &str,
    fields: impl IntoIterator<Item = &'a str>,
    headers: &Headers,
) -> String {
    let mut digest = Sha256::new();
    let mut add = |part: &[u8]| {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    };
    add(issuer.as_bytes());
    add(subject.as_bytes());
    for name in fields {
        for value in headers.all(name) {
            add(name.as_bytes());
            add(value);
        }
    }
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

/// Whether the path could be taken for one with a key.
pub fn is_claimed(head: &RequestHead) -> bool {
    let target = head.target();
    target
        .windows(PARAMETER.len())
        .any(|window| window == PARAMETER)
}

/// The edits that put a request under that key.
pub fn lock(head: &RequestHead, key: &str) -> Vec<Edit> {
    let target = head.target();
    let separator = if target.contains(&b'?') { b'&' } else { b'?' };
    let locked = [target, &[separator], PARAMETER, key.as_bytes()].concat();
    let mut edits = vec![Edit::Set(":path".into(), locked)];
    if let Ok(Some(held)) = head.headers.single("authorization") {
        edits.push(Edit::Set(AUTHORIZATION.into(), held.to_vec()));
        edits.push(Edit::Remove("authorization".into()));
    }
    edits
}

/// The edits that undo [`lock`]; `None` where the path has no key.
pub fn unlock(head: &RequestHead) -> Option<Vec<Edit>> {
    let target = head.target();
    let added = 1 + PARAMETER.len() + KEY_BYTES;
    let (before, suffix) = target.split_at_checked(target.len().checked_sub(added)?)?;
    let (separator, parameter) = suffix.split_first()?;
    if !matches!(separator, b'?' | b'&') || !parameter.starts_with(PARAMETER) {
        return None;
    }
    let mut edits = vec![Edit::Set(":path".into(), before.to_vec())];
    if let Ok(Some(held)) = head.headers.single(AUTHORIZATION) {
        edits.push(Edit::Set("authorization".into(), held.to_vec()));
    }
    edits.push(Edit::Remove(AUTHORIZATION.into()));
    Some(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let pair =
            |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        RequestHead {
            headers: Headers::new(fields.iter().map(pair).collect()),
        }
    }

    fn key(issuer: &str, subject: &str, fields: &[(&str, &str)]) -> String {
        of(
            issuer,
            subject,
            ["authorization", "x-user"],
            &head(fields).headers,
        )
    }

    #[test]
    fn what_differs_for_the_service_has_another_key() {
        let alice = key("a", "alice", &[("x-user", "alice")]);
        assert_eq!(alice.len(), KEY_BYTES);
        assert_eq!(
            alice,
            key("a", "alice", &[("x-user", "alice"), ("x-trace", "7")])
        );
        for other in [
            key("a", "bob", &[("x-user", "alice")]),
            key("b", "alice", &[("x-user", "alice")]),
            key("aa", "lice", &[("x-user", "alice")]),
            key("a", "alice", &[("x-user", "bob")]),
            key("a", "alice", &[("authorization", "alice")]),
            key("a", "alice", &[("x-user", "alice"), ("x-user", "")]),
            key("a", "alice", &[]),
        ] {
            assert_ne!(alice, other);
        }
    }

    #[test]
    fn what_is_locked_is_unlocked_as_it_was() {
        let key = key("a", "alice", &[]);
        for target in ["/", "/a?b=c", "/a?", "/a?forecourt-key=x"] {
            for fields in [&[][..], &[("authorization", "Bearer x")]] {
                let mut changed = head(&[&[(":path", target)], fields].concat());
                let before = changed.clone();
                changed.headers.apply(&lock(&before, &key));
                assert!(!changed.headers.has("authorization"), "{target}");
                assert!(changed.target().ends_with(key.as_bytes()), "{target}");
                assert!(is_claimed(&changed), "{target}");
                let undone = unlock(&changed).unwrap();
                changed.headers.apply(&undone);
                assert_eq!(changed.target(), before.target());
                for name in ["authorization", AUTHORIZATION] {
                    let held = |head: &RequestHead| {
                        head.headers.single(name).map(|v| v.map(<[u8]>::to_vec))
                    };
                    assert_eq!(held(&changed), held(&before), "{target} {name}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_key_is_not_unlocked() {
        let key = "k".repeat(KEY_BYTES);
        for target in [
            String::new(),
            "/".into(),
            format!("/a?forecourt-key={}", &key[1..]),
            format!("/a/forecourt-key={key}"),
            format!("/a?forecourt-kez={key}"),
            format!("forecourt-key={key}"),
        ] {
            assert_eq!(unlock(&head(&[(":path", &target)])), None, "{target}");
        }
        assert!(!is_claimed(&head(&[(":path", "/a?forecourt-kex=1")])));
    }
}
