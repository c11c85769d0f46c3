//! Keeps tokens and claims out of what is printed.

use std::borrow::Cow;

use crate::head::{Headers, RequestHead};
use crate::policy::Policy;
use crate::token::source::Found;

/// What stands in the place of a token, and of a claim.
const TOKEN: &str = "(token)";
const CLAIM: &str = "(masked)";

/// What must not be shown.
#[derive(Debug, Default)]
pub struct Mask {
    tokens: Vec<String>,
    /// Headers that hold claims.
    identity: Vec<String>,
}

impl Mask {
    /// What a request holds that must not be shown.
    pub fn of(policy: &Policy, head: &RequestHead) -> Self {
        let sources = policy.credential_sources.iter();
        let tokens = sources.filter_map(|source| match source.find(head) {
            Found::Token(token) => Some(String::from_utf8_lossy(&token).into_owned()),
            Found::Nothing | Found::Several => None,
        });
        Self {
            tokens: tokens.filter(|token| !token.is_empty()).collect(),
            identity: policy.identity_headers.clone(),
        }
    }

    /// The fields, with what they may not show taken out.
    pub fn apply(&self, headers: &Headers) -> Headers {
        let fields = headers.iter().map(|(name, value)| {
            let hidden = self.hidden(&String::from_utf8_lossy(name), value);
            (name.to_vec(), hidden.into_owned())
        });
        Headers::new(fields.collect())
    }

    fn hidden<'a>(&self, name: &str, value: &'a [u8]) -> Cow<'a, [u8]> {
        if self.identity.contains(&name.replace('_', "-")) {
            return Cow::Borrowed(CLAIM.as_bytes());
        }
        let mut text = String::from_utf8_lossy(value).into_owned();
        for token in &self.tokens {
            text = text.replace(token, TOKEN);
        }
        match text.as_bytes() == value {
            true => Cow::Borrowed(value),
            false => Cow::Owned(text.into_bytes()),
        }
    }
}
