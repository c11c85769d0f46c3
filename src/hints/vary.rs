//! `Vary` (RFC 9110 §12.5.5): merged, never dropped.

use super::field;
use super::origin::names;
use crate::head::{Edit, ResponseHead};

/// The edit that adds the names that the answer's `Vary` lacks. `*` already says more than any
/// name.
pub fn merge(answer: &ResponseHead, wanted: &[String]) -> Option<Edit> {
    if wanted.is_empty() {
        return None;
    }
    let held = field::tokens(answer.headers.all("vary"));
    if held.iter().flatten().any(|name| name == "*") {
        return None;
    }
    let missing: Vec<_> = wanted
        .iter()
        .filter(|name| !names(answer, "vary", name))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return None;
    }
    Some(match held {
        Some(held) => {
            let all: Vec<_> = held.iter().map(String::as_str).chain(missing).collect();
            Edit::Set("vary".to_owned(), all.join(", ").into_bytes())
        }
        // What cannot be read is not rewritten.
        None => Edit::Add("vary".to_owned(), missing.join(", ").into_bytes()),
    })
}
