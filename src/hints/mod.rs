//! Caching hints: what may be kept of an answer, by whom and for how long.
//!
//! The origin's fields are read strictly ([`origin`], [`directives`]), the route's [`Rule`] is
//! applied ([`mod@decide`]), then the safety rules, then the ways of the cache in front
//! ([`Profile`]); what changed becomes edits of the answer's head. Where nothing changed nothing is
//! written, and a second round over the edited answer finds nothing to do.
//!
//! # Safety rules
//!
//! They hold on every route, with or without a rule of its own:
//!
//! | answer | becomes | why |
//! |---|---|---|
//! | to a verified request, or one with credentials | `private`, unless the route is `shared` and its rule covers the answer | RFC 9111 §3.5 protects only `Authorization`, and `public`, `s-maxage` and `must-revalidate` lift even that; a token in a cookie or another field has no protection, and an answer without any lifetime may be stored by guess (§4.2.2) |
//! | with `Set-Cookie` | `private`, or without the cookie where the route strips it | the field does not keep a cache from storing (§7.3) |
//! | `private`, `no-store` or `no-cache` at the origin | never less, unless the route forces it | §5.2.2.4, §5.2.2.5, §5.2.2.7 |
//! | 401, 403, 407 | never given a lifetime | they are about the asker (RFC 9110 §15.5.2, §15.5.4, §15.5.8) |
//! | 206 behind Envoy's cache | `no-store` | that cache answers whole requests with a stored part; RFC 9111 §3.3 forbids it |
//!
//! A private answer also loses the fields through which an origin speaks to shared caches alone
//! ([`targeted`]), since those outrank Cache-Control there.

pub mod decide;
pub mod directives;
pub mod encoding;
pub mod field;
pub mod mark;
pub mod origin;
pub mod rule;
pub mod status;
pub mod structured;
pub mod tags;
pub mod targeted;
pub mod validate;
pub mod vary;

pub use mark::Mark;
pub use rule::{Case, Keep, MediaRange, Mode, Profile, Rule, Statuses, Wish};
pub use tags::{Tags, Template};
pub use validate::{Conditions, Strength, Validation};

use crate::head::RequestHead;

/// What the answer must remember of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// A token was verified for it.
    pub verified: bool,
    /// It carried `Authorization`, or a cookie, query parameter or field in which the policy looks
    /// for a token, whether or not the route asked for one.
    pub credentials: bool,
    /// The method.
    pub method: Vec<u8>,
    /// The values of the path template's names, percent-decoded.
    pub parameters: Vec<(String, Vec<u8>)>,
    /// What the client says about the answer that it already has.
    pub conditions: Conditions,
    /// Whether a cache between here and the service answered, where that is known.
    pub from_cache: Option<bool>,
}

impl Asked {
    /// What the request's head alone tells. Whether it was verified, and the rest, is for those to
    /// add who know.
    pub fn of(head: &RequestHead) -> Self {
        Self {
            method: head.method().to_vec(),
            conditions: Conditions::read(head),
            ..Self::default()
        }
    }

    /// Whether it is a method whose answers caches keep (RFC 9110 §9.2.3, POST left out as every
    /// cache leaves it out).
    pub fn is_retrieval(&self) -> bool {
        matches!(&*self.method, b"GET" | b"HEAD")
    }

    /// Whether the answer may be for one caller only.
    pub fn has_credentials(&self) -> bool {
        self.verified || self.credentials
    }
}
