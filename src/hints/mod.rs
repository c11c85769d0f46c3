//! Caching hints: what may be kept of an answer, by whom and for how long.
//!
//! The origin's fields are read strictly ([`origin`], [`directives`]), the route's [`Rule`] is
//! applied ([`mod@decide`]), then the safety rules, then the ways of the cache in front
//! ([`Profile`]); what changed becomes edits of the answer's head. Where nothing changed nothing is
//! written, and a second round over the edited answer finds nothing to do.
//!
//! # Safety rules
//!
#![doc = include_str!("safety.md")]
//!
//! A private answer also loses the fields through which an origin speaks to shared caches alone
//! ([`targeted`]), since those outrank Cache-Control there.

pub mod decide;
pub mod directives;
pub mod encoding;
pub mod field;
pub mod mark;
pub mod origin;
pub mod own_key;
pub mod rule;
pub mod status;
pub mod structured;
pub mod tags;
pub mod targeted;
pub mod validate;
pub mod vary;

pub use mark::Mark;
pub use rule::{Case, Edge, Keep, MediaRange, Mode, Profile, Rule, Statuses, Wish};
pub use tags::{Tags, Template};
pub use validate::{Conditions, Strength, Validation};

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
    /// What the client says about the answer that it already has; read only where the route has
    /// answers validated here.
    pub conditions: Conditions,
    /// Whether a cache between here and the service answered, where that is known.
    pub from_cache: Option<bool>,
    /// The cache between here and the service was made to pass the request by.
    pub bypasses_cache: bool,
    /// The cache between here and the client keeps the answer under the caller's own key; told only
    /// to the instance behind that cache.
    pub own_key: bool,
}

impl Asked {
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
