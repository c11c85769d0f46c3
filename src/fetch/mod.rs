//! Keys that issuers serve, and the identity tokens that a metadata server gives this proxy: when they
//! are fetched, by whom, what is believed, and how long.
//!
//! Every VM of a proxy keeps them for itself and has a tick. On it, one VM takes the lease of a source
//! that is due, by compare-and-swap on shared data ([`record`]); it alone asks, judges the answer
//! ([`answer`]) and puts what it found where the others see it on their next tick. No request ever
//! fetches: it looks up what is here, or says that it is waiting for more.
//!
//! Nothing here reads a clock; the effects go through [`KeyHost`].

pub mod answer;
mod identity;
pub mod record;
mod shared;
mod source;

use std::time::Duration;

use self::answer::Answer;
use self::record::millis;
use self::source::Source;
use crate::host::KeyHost;
use crate::token::identity::{Identities, Identity, IdentityState};
use crate::token::{Issuer, KeySource, KeyState, Keys, Refresh};

/// How often shared data is looked at.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is while a request waits.
const BUSY: Duration = Duration::from_millis(20);

/// The fetched keys and identity tokens of one VM.
#[derive(Debug, Default)]
pub struct Store {
    /// By the issuer's index in the policy; `None` where its keys are in the policy.
    sources: Vec<Option<Source>>,
    /// By the token's index in the policy.
    identities: Vec<identity::Source>,
}

impl Store {
    /// A place for the keys of these issuers and for these tokens.
    pub fn new(issuers: &[Issuer], identities: &[Identity]) -> Self {
        let source = |issuer: &Issuer| match &issuer.keys {
            KeySource::Inline(_) => None,
            KeySource::Remote(remote) => Some(Source::new(&issuer.name, remote)),
        };
        Self {
            sources: issuers.iter().map(source).collect(),
            identities: identities.iter().map(identity::Source::new).collect(),
        }
    }

    /// Whether there is nothing to fetch.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.sources.iter().all(Option::is_none)
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
            .try_for_each(|source| source.prepare(host))?;
        self.identities
            .iter_mut()
            .try_for_each(|source| source.prepare(host))
    }

    /// Takes over what other VMs fetched and fetches what is due. Whether anything has changed for a
    /// request that waits.
    pub fn tick(&mut self, host: &mut dyn KeyHost, now: Duration) -> bool {
        let now = millis(now);
        let keys = self.sources.iter_mut().flatten();
        let changed = keys.fold(false, |changed, source| source.tick(host, now) | changed);
        let identities = self.identities.iter_mut();
        identities.fold(changed, |changed, source| source.tick(host, now) | changed)
    }

    /// The answer to the call with that number has come. Whether anything has changed.
    pub fn answered(
        &mut self,
        host: &mut dyn KeyHost,
        now: Duration,
        call: u32,
        answer: &Answer,
    ) -> bool {
        let now = millis(now);
        let mut keys = self.sources.iter_mut().flatten();
        if let Some(source) = keys.find(|source| source.has_called(call)) {
            return source.answered(host, now, answer);
        }
        let mut identities = self.identities.iter_mut();
        match identities.find(|source| source.has_called(call)) {
            Some(source) => source.answered(host, now, answer),
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

    /// How long a request may wait for the keys of these issuers and this token.
    pub fn patience(&self, issuers: &[usize], identity: Option<usize>) -> Duration {
        let keys = issuers
            .iter()
            .filter_map(|issuer| self.source(*issuer))
            .map(|source| source.bounds().timeout);
        let identity = identity.and_then(|identity| self.identities.get(identity));
        let longest = keys.chain(identity.map(identity::Source::patience)).max();
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

/// What was fetched, as a check sees it.
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

    fn refresh(&self, issuer: usize, kid: &str) -> Refresh {
        self.store
            .source(issuer)
            .map_or(Refresh::Current, |source| source.refresh(self.now, kid))
    }

    fn retry_after(&self, issuer: usize) -> u64 {
        self.store
            .source(issuer)
            .map_or(1, |source| source.retry_after(self.now))
    }
}

impl Identities for View<'_> {
    fn token(&self, identity: usize) -> IdentityState<'_> {
        let source = self.store.identities.get(identity);
        source.map_or(IdentityState::Unavailable, |source| source.lookup(self.now))
    }
}

#[cfg(test)]
mod identity_tests;
#[cfg(test)]
mod test_proxy;
#[cfg(test)]
mod tests;
