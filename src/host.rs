//! The one trait through which effects go, so that a recording fake can stand in for Envoy.

use std::time::Duration;

use crate::head::{Edit, Headers};
use crate::reply::Reply;

/// The host refused or could not do what was asked. Which status it gave helps nobody at run time:
/// every failure closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError;

/// What a filter may ask of the proxy about the stream in hand.
pub trait Host {
    /// The time since the epoch.
    fn now(&mut self) -> Result<Duration, HostError>;
    /// Every request header, pseudo-headers included.
    fn request_headers(&mut self) -> Result<Headers, HostError>;
    /// Changes request headers, which must not have gone on yet.
    fn edit_request(&mut self, edits: &[Edit]) -> Result<(), HostError>;
    /// The first `size` bytes of the request body gathered so far.
    fn request_body(&mut self, size: usize) -> Result<Vec<u8>, HostError>;
    /// Every response header, `:status` included.
    fn response_headers(&mut self) -> Result<Headers, HostError>;
    /// Changes response headers, which must not have gone on yet.
    fn edit_response(&mut self, edits: &[Edit]) -> Result<(), HostError>;
    /// The first `size` bytes of the answer gathered so far.
    fn response_body(&mut self, size: usize) -> Result<Vec<u8>, HostError>;
    /// Whether a cache of the proxy gave the answer.
    fn answered_from_cache(&mut self) -> bool;
    /// Answers `304 Not Modified` with these fields in the place of the answer in hand.
    fn not_modified(&mut self, fields: &[(String, Vec<u8>)]) -> Result<(), HostError>;
    /// Answers in the service's place.
    fn reply(&mut self, reply: &Reply) -> Result<(), HostError>;
    /// Publishes a value to access logs, as filter state `wasm.NAME`. Best effort.
    fn publish(&mut self, name: &str, value: &str);
    /// Has the proxy choose its route again, by the headers as they are now. Best effort.
    fn clear_route_cache(&mut self);
    /// Adds one to a counter. Best effort.
    fn count(&mut self, counter: Counter);
}

/// What is counted; shown as `wasmcustom.forecourt.…` in Envoy's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Requests that went to the service.
    Forwarded,
    /// Requests refused, by reason.
    Refused(crate::reply::Code),
    /// Tokens whose signature had been verified before.
    TokenCacheHit,
    /// Tokens whose signature had to be verified.
    TokenCacheMiss,
    /// Refusals that monitor mode let pass, by reason.
    Monitored(crate::reply::Code),
}

impl Counter {
    /// The name of the metric.
    pub fn name(self) -> String {
        match self {
            Self::Forwarded => "forecourt.forwarded".into(),
            Self::TokenCacheHit => "forecourt.token_cache.hit".into(),
            Self::TokenCacheMiss => "forecourt.token_cache.miss".into(),
            Self::Refused(code) => format!("forecourt.refused.{}", code.as_str()),
            Self::Monitored(code) => format!("forecourt.monitored.{}", code.as_str()),
        }
    }
}
