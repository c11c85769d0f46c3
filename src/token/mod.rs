//! Token validation: who is calling, and may they call this route?
//!
//! A token is taken apart strictly ([`jws`]), its claims are read ([`claims`]), it is matched to
//! one of the issuers that the route accepts ([`issuer`]), its signature is checked with a key of
//! that issuer and no other ([`key`], [`keyset`], [`crypto`]), and then the route's rules are held
//! against its claims ([`rule`]). [`Access`] puts these steps in order.
//!
//! Times are compared to the second. Everything that a client or an issuer sends is bounded:
//! tokens at [`jws::MAX_TOKEN_BYTES`], key sets at [`keyset::MAX_SET_BYTES`], nesting at
//! [`json::MAX_DEPTH`].

mod access;
pub mod algorithm;
mod authenticate;
pub mod cache;
mod challenge;
pub mod claims;
pub mod crypto;
mod ec;
mod expectation;
pub mod forward;
pub mod host_crypto;
pub mod identity;
pub mod issuer;
pub mod json;
pub mod jws;
pub mod key;
pub mod keyset;
#[cfg(any(test, feature = "cli"))]
pub mod mint;
pub mod remote;
mod rsa;
pub mod rule;
pub mod source;
mod x509;

pub use access::{Accepted, Access, Env, Granted, Outcome, Requirement, Rules};
pub use authenticate::keys_unavailable;
pub use cache::Cache;
pub use crypto::{Crypto, InWasm};
pub use issuer::{InlineOnly, Issuer, KeySource, KeyState, Keys, Refresh};

#[cfg(test)]
mod tests;
