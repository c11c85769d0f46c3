//! Keys that issuers serve: when they are fetched, by whom, what is believed, and how long.
//!
//! Every VM of a proxy keeps the keys for itself and has a tick. On it, one VM takes the lease of a
//! source that is due, by compare-and-swap on shared data ([`record`]); it alone asks the issuer,
//! judges the answer ([`answer`]) and puts what it found where the others see it on their next tick.
//! No request ever fetches: it looks up what is here, or says that it is waiting for more.
//!
//! Nothing here reads a clock; the effects go through [`KeyHost`].

pub mod answer;
pub mod record;
mod source;

use std::time::Duration;

use self::answer::Answer;
use self::record::millis;
use self::source::Source;
use crate::host::KeyHost;
use crate::token::{Issuer, KeySource, KeyState, Keys};

/// How often shared data is looked at.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is while a request waits.
const BUSY: Duration = Duration::from_millis(20);

/// The fetched keys of one VM.
#[derive(Debug, Default)]
pub struct Store {
    /// By the issuer's index in the policy; `None` where its keys are in the policy.
    sources: Vec<Option<Source>>,
}

impl Store {
    /// A place for the keys of these issuers.
    pub fn new(issuers: &[Issuer]) -> Self {
        let source = |issuer: &Issuer| match &issuer.keys {
            KeySource::Inline(_) => None,
            KeySource::Remote(remote) => Some(Source::new(&issuer.name, remote)),
        };
        Self {
            sources: issuers.iter().map(source).collect(),
        }
    }

    /// Whether there is nothing to fetch.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().all(Option::is_none)
    }

    /// Makes sure that every source has its entry in shared data. To be called before other VMs
    /// start: a first entry cannot be written by compare-and-swap.
    ///
    /// # Errors
    /// The host has no shared data.
    pub fn prepare(&mut self, host: &mut dyn KeyHost) -> Result<(), crate::host::HostError> {
        self.sources
            .iter_mut()
            .flatten()
            .try_for_each(|source| source.prepare(host))
    }

    /// Takes over what other VMs fetched and fetches what is due. Whether anything has changed for a
    /// request that waits.
    pub fn tick(&mut self, host: &mut dyn KeyHost, now: Duration) -> bool {
        let now = millis(now);
        self.sources
            .iter_mut()
            .flatten()
            .fold(false, |changed, source| source.tick(host, now) | changed)
    }

    /// The answer to the call with that number has come. Whether anything has changed.
    pub fn answered(
        &mut self,
        host: &mut dyn KeyHost,
        now: Duration,
        call: u32,
        answer: &Answer,
    ) -> bool {
        let mut sources = self.sources.iter_mut().flatten();
        match sources.find(|source| source.has_called(call)) {
            Some(source) => source.answered(host, millis(now), answer),
            None => false,
        }
    }

    /// What is known at that time.
    pub fn at(&self, now: Duration) -> View<'_> {
        View {
            store: self,
            now: millis(now),
        }
    }

    /// How long a request may wait for the keys of these issuers.
    pub fn patience(&self, issuers: &[usize]) -> Duration {
        let longest = issuers
            .iter()
            .filter_map(|issuer| self.source(*issuer))
            .map(|source| source.bounds().timeout)
            .max();
        Duration::from_secs(longest.unwrap_or(0))
    }

    /// How long until the next tick.
    pub fn rhythm(&self, requests_wait: bool) -> Duration {
        if requests_wait { BUSY } else { IDLE }
    }

    fn source(&self, issuer: usize) -> Option<&Source> {
        self.sources.get(issuer)?.as_ref()
    }
}

/// Fetched keys, as a check sees them.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    store: &'a Store,
    now: u64,
}

impl Keys for View<'_> {
    fn lookup(&self, issuer: usize) -> KeyState<'_> {
        self.store
            .source(issuer)
            .map_or(KeyState::Unavailable, |source| source.lookup(self.now))
    }

    fn refresh(&self, issuer: usize, kid: Option<&str>) -> bool {
        self.store
            .source(issuer)
            .is_some_and(|source| source.refresh(self.now, kid))
    }
}

#[cfg(test)]
mod tests;
