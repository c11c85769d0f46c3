//! A shared cache as RFC 9111 describes it, written apart from the code under test and as
//! permissive as the RFC lets it be: what it may not keep, no cache may keep.

// Each test that includes it uses a part of it.
#![allow(dead_code)]

use forecourt::head::{Headers, ResponseHead};

/// An answer's head out of text.
pub fn answer(status: &str, fields: &[(String, String)]) -> ResponseHead {
    let status = (b":status".to_vec(), status.as_bytes().to_vec());
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    ResponseHead {
        headers: Headers::new(std::iter::once(status).chain(fields).collect()),
    }
}

/// The lines of a field, as one.
pub fn field(answer: &ResponseHead, name: &str) -> String {
    let values: Vec<_> = answer
        .headers
        .all(name)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    values.join(", ")
}

/// The words of a field, whatever stands between them.
fn words(answer: &ResponseHead, name: &str) -> Vec<String> {
    let text = field(answer, name).to_ascii_lowercase();
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.split(|c| !word(c))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether Cache-Control has the word anywhere.
pub fn says(answer: &ResponseHead, word: &str) -> bool {
    words(answer, "cache-control")
        .iter()
        .any(|held| held == word)
}

/// Whether a shared cache may keep the answer, a targeted field going before Cache-Control
/// (RFC 9213 §2.2), heuristics included (RFC 9111 §4.2.2).
pub fn may_be_shared(answer: &ResponseHead) -> bool {
    targeted(answer) || !(says(answer, "no-store") || says(answer, "private"))
}

/// Whether a field speaks to shared caches past Cache-Control.
pub fn targeted(answer: &ResponseHead) -> bool {
    answer.headers.iter().any(|(name, _)| {
        let name = String::from_utf8_lossy(name);
        let past = ["surrogate-control", "edge-control", "x-accel-expires"];
        name.ends_with("-cache-control") || past.contains(&&*name)
    })
}

/// Whether the client's own cache may keep the answer.
pub fn may_be_kept(answer: &ResponseHead) -> bool {
    !says(answer, "no-store")
}

/// The number after `name=`, where the field is well-formed.
pub fn seconds(answer: &ResponseHead, name: &str) -> Option<u64> {
    field(answer, "cache-control")
        .split(',')
        .filter_map(|member| member.trim().split_once('='))
        .find(|(held, _)| *held == name)
        .and_then(|(_, value)| value.parse().ok())
}
