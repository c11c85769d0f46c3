//! The one trait through which effects go, so that a recording fake can stand in for Envoy.

use std::cell::Cell;
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
    /// Whether the response has that header, even empty. Costs less than all of them.
    fn has_response_header(&mut self, name: &str) -> Result<bool, HostError>;
    /// Changes response headers, which must not have gone on yet.
    fn edit_response(&mut self, edits: &[Edit]) -> Result<(), HostError>;
    /// The first `size` bytes of the answer gathered so far.
    fn response_body(&mut self, size: usize) -> Result<Vec<u8>, HostError>;
    /// Whether a cache of the proxy gave the answer.
    fn answered_from_cache(&mut self) -> bool;
    /// Answers `304 Not Modified` with these fields in the place of the answer in hand.
    fn not_modified(&mut self, fields: &[(String, Vec<u8>)]) -> Result<(), HostError>;
    /// Lets the request go on that was kept waiting.
    fn resume(&mut self) -> Result<(), HostError>;
    /// Answers in the service's place.
    fn reply(&mut self, reply: &Reply) -> Result<(), HostError>;
    /// Publishes a value to access logs, as filter state `wasm.NAME`. Best effort.
    fn publish(&mut self, name: &str, value: &str);
    /// Has the proxy choose its route again, by the headers as they are now.
    fn clear_route_cache(&mut self) -> Result<(), HostError>;
    /// What is gathered of the counters that nearly every request adds to.
    fn tally(&self) -> &Tally;
    /// Adds to a counter. Best effort.
    fn count(&mut self, counter: Counter, times: u32);
}

/// Counts of what happens with nearly every request, gathered so that no request pays for a call
/// that counts: they are told to the proxy now and then.
#[derive(Debug, Default)]
pub struct Tally {
    forwarded: Cell<u32>,
    hits: Cell<u32>,
    misses: Cell<u32>,
}

impl Tally {
    /// One more request went to the service.
    pub fn forwarded(&self) {
        add(&self.forwarded, 1);
    }

    /// So many more tokens were found in the cache, and so many were not.
    pub fn tokens(&self, hits: u64, misses: u64) {
        add(&self.hits, hits);
        add(&self.misses, misses);
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.forwarded.get() | self.hits.get() | self.misses.get() == 0
    }

    /// Tells all of it, and begins anew.
    pub fn tell(&self, host: &mut dyn Host) {
        for (counter, count) in [
            (Counter::Forwarded, &self.forwarded),
            (Counter::TokenCacheHit, &self.hits),
            (Counter::TokenCacheMiss, &self.misses),
        ] {
            let times = count.take();
            if times > 0 {
                host.count(counter, times);
            }
        }
    }
}

fn add(count: &Cell<u32>, more: u64) {
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    count.set(count.get().saturating_add(more));
}

/// What a VM may ask of the proxy on its own account, to have keys and tokens fetched.
pub trait KeyHost {
    /// An entry that all VMs share, and the number by which to swap it; `None` where there is none.
    fn shared(&mut self, name: &str) -> Result<Option<(Vec<u8>, u32)>, HostError>;
    /// Writes an entry, if it still has that number. Whether it was written.
    fn set_shared(
        &mut self,
        name: &str,
        value: &[u8],
        swap: Option<u32>,
    ) -> Result<bool, HostError>;
    /// Sends a request; the number of the call, by which the answer will come. An answer that does
    /// not come in time comes empty.
    fn call(&mut self, request: &Request<'_>) -> Result<u32, HostError>;
    /// A number that differs from proxy to proxy and from time to time. No secret.
    fn chance(&mut self) -> u64;
    /// Adds one to a counter. Best effort.
    fn count(&mut self, counter: Counter);
}

/// A GET that the proxy sends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The cluster that reaches the server.
    pub cluster: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `Host` or `:authority`.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The media type that is wanted.
    pub accept: &'a str,
    /// Whether it says `Metadata-Flavor: Google`, without which a metadata server does not answer.
    pub metadata_flavor: bool,
    /// An entity tag that the answer may confirm with 304.
    pub if_none_match: Option<&'a str>,
    /// How long the answer may take.
    pub timeout: Duration,
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
    /// Fetches that brought keys, or word that they are still the same.
    KeysFetched,
    /// Fetches that did not.
    KeysNotFetched,
    /// Fetches that brought an identity token.
    IdentityFetched,
    /// Fetches that did not.
    IdentityNotFetched,
}

impl Counter {
    /// The name of the metric.
    pub fn name(self) -> String {
        match self {
            Self::Forwarded => "forecourt.forwarded".into(),
            Self::TokenCacheHit => "forecourt.token_cache.hit".into(),
            Self::TokenCacheMiss => "forecourt.token_cache.miss".into(),
            Self::Refused(code) => format!("forecourt.refused.{}", code.as_str()),
            Self::KeysFetched => "forecourt.jwks_fetch.success".into(),
            Self::KeysNotFetched => "forecourt.jwks_fetch.failed".into(),
            Self::IdentityFetched => "forecourt.identity_fetch.success".into(),
            Self::IdentityNotFetched => "forecourt.identity_fetch.failed".into(),
            Self::Monitored(code) => format!("forecourt.monitored.{}", code.as_str()),
        }
    }
}
