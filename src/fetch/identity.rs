//! One identity token of this proxy in one VM.

use super::answer::{Answer, Flaw};
use super::record::seconds;
use super::shared::{New, Outcome, Shared};
use crate::host::{Counter, HostError, KeyHost, Request};
use crate::token::identity::{Identity, IdentityState, IdentityToken};
use crate::token::remote::Bounds;

/// A token for one audience: what is here and what is under way.
#[derive(Debug)]
pub(super) struct Source {
    identity: Identity,
    shared: Shared,
    token: Option<IdentityToken>,
    /// The generation of `token`.
    generation: u64,
    /// The fetch of this VM: its call, and when its lease was taken.
    fetch: Option<(u32, u64)>,
}

impl Source {
    pub fn new(identity: &Identity) -> Self {
        let bounds = Bounds {
            cache_duration: None,
            // An expired token is of no use to anybody.
            max_stale: 0,
            min_refresh: 1,
            timeout: identity.timeout,
        };
        Self {
            identity: identity.clone(),
            shared: Shared::new("identity", &identity.identity(), bounds),
            token: None,
            generation: 0,
            fetch: None,
        }
    }

    /// How long a request may wait for it, in seconds.
    pub fn patience(&self) -> u64 {
        self.identity.timeout
    }

    pub fn prepare(&mut self, host: &mut dyn KeyHost) -> Result<(), HostError> {
        self.shared.prepare(host)
    }

    pub fn lookup(&self, now: u64) -> IdentityState<'_> {
        let state = &self.shared.state;
        let usable = state.is_usable(now, self.shared.bounds());
        let token = self.token.as_ref().filter(|token| {
            let is_newest = self.generation == state.generation;
            usable && is_newest && token.is_alive(seconds(now))
        });
        match token {
            Some(token) => IdentityState::Ready(token),
            None if state.is_coming(now) => IdentityState::Pending,
            None => IdentityState::Unavailable,
        }
    }

    pub fn tick(&mut self, host: &mut dyn KeyHost, now: u64) -> bool {
        let before = (self.shared.state, self.generation);
        // Without shared data nothing is known and nothing is fetched; requests wait and are refused.
        if let Ok(swap) = self.shared.read(host, now) {
            self.adopt(host, now);
            let due = self.shared.state.is_due(now, self.shared.bounds(), false);
            if due && self.shared.lease(host, now, swap) {
                self.call(host, now);
            }
        }
        before != (self.shared.state, self.generation)
    }

    pub fn has_called(&self, call: u32) -> bool {
        self.fetch.is_some_and(|(held, _)| held == call)
    }

    pub fn answered(&mut self, host: &mut dyn KeyHost, now: u64, answer: &Answer) -> bool {
        let Some((_, began)) = self.fetch.take() else {
            return false;
        };
        let token = answer.identity(&self.identity.audience, seconds(now));
        self.finish(host, now, began, token);
        true
    }

    /// Takes over the token that another VM fetched.
    fn adopt(&mut self, host: &mut dyn KeyHost, now: u64) {
        if self.shared.state.generation == self.generation {
            return;
        }
        let document = self.shared.document(host);
        let token = document.and_then(|document| {
            let audience = &self.identity.audience;
            let token = IdentityToken::parse(&document.body, audience, seconds(now)).ok()?;
            Some((document.generation, token))
        });
        match token {
            Some((generation, token)) => {
                self.generation = generation;
                self.token = Some(token);
            }
            // Unreadable, or of no use any more: as if there were none.
            None => self.shared.state.generation = 0,
        }
    }

    fn call(&mut self, host: &mut dyn KeyHost, now: u64) {
        let url = &self.identity.server.url;
        let request = Request {
            cluster: &self.identity.server.cluster,
            scheme: url.scheme(),
            authority: url.authority(),
            target: &self.identity.target(),
            accept: "*/*",
            metadata_flavor: true,
            if_none_match: None,
            timeout: std::time::Duration::from_secs(self.identity.timeout),
        };
        match host.call(&request) {
            Ok(call) => self.fetch = Some((call, now)),
            Err(HostError) => self.finish(host, now, now, Err(Flaw::NotSent)),
        }
    }

    fn finish(
        &mut self,
        host: &mut dyn KeyHost,
        now: u64,
        began: u64,
        token: Result<IdentityToken, Flaw>,
    ) {
        let audience = &self.identity.audience;
        match &token {
            Ok(_) => host.count(Counter::IdentityFetched),
            Err(flaw) => {
                host.count(Counter::IdentityNotFetched);
                log::warn!("identity token for {audience} not fetched: {flaw}");
            }
        }
        let outcome = token.as_ref().ok().map(|token| Outcome {
            lifetime: token.usable_for(seconds(now)),
            new: Some(New {
                etag: &[],
                body: token.as_str().as_bytes(),
            }),
        });
        if self.shared.finish(host, now, began, outcome.as_ref())
            && let Ok(token) = token
        {
            self.token = Some(token);
            self.generation = self.shared.state.generation;
        }
    }
}
