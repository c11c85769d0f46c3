//! One issuer's keys in one VM.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::answer::{Answer, Fetched, Flaw};
use super::record::{self, State, seconds};
use super::shared::{New, Outcome, Shared};
use crate::host::{Counter, HostError, KeyHost, Request};
use crate::token::keyset::KeySet;
use crate::token::remote::{Bounds, Endpoint, KeyFormat, Remote, Start};
use crate::token::{KeyState, Refresh};

/// The keys of one issuer: what is here, what is under way, what was asked for in vain.
#[derive(Debug)]
pub(super) struct Source {
    /// The policy's name for the issuer, for logs.
    issuer: String,
    remote: Remote,
    shared: Shared,
    keys: KeySet,
    /// The generation of `keys`.
    generation: u64,
    /// The fetch of this VM.
    fetch: Option<Fetch>,
    /// A token names a key that is not here.
    wanted: Cell<bool>,
    missing: RefCell<Missing>,
}

/// A fetch under way.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    /// When its lease was taken: no other fetch has the same.
    began: u64,
    call: u32,
    stage: Stage,
    /// Whether it carries the entity tag of the keys that are here.
    conditional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Metadata,
    Keys,
}

impl Source {
    pub fn new(issuer: &str, remote: &Remote) -> Self {
        Self {
            issuer: issuer.to_owned(),
            remote: remote.clone(),
            shared: Shared::new("keys", &remote.identity(), remote.bounds),
            keys: KeySet::default(),
            generation: 0,
            fetch: None,
            wanted: Cell::new(false),
            missing: RefCell::default(),
        }
    }

    pub fn bounds(&self) -> &Bounds {
        &self.remote.bounds
    }

    pub fn prepare(&mut self, host: &mut dyn KeyHost) -> Result<(), HostError> {
        self.shared.prepare(host)
    }

    pub fn lookup(&self, now: u64) -> KeyState<'_> {
        if self.generation > 0 && self.shared.state.is_usable(now, self.bounds()) {
            KeyState::Ready(&self.keys)
        } else if self.shared.state.is_coming(now) {
            KeyState::Pending
        } else {
            KeyState::Unavailable
        }
    }

    pub fn refresh(&self, now: u64, kid: &str) -> Refresh {
        let mut missing = self.missing.borrow_mut();
        if missing.is_known(kid, now, &self.shared.state, self.bounds()) {
            return Refresh::Current;
        }
        if self.shared.state.is_leased(now) {
            return Refresh::Coming;
        }
        if !self.shared.state.may_refresh(now, self.bounds()) {
            return match self.shared.state.has_failed() {
                true => Refresh::Later,
                false => Refresh::Current,
            };
        }
        missing.ask(kid, now);
        self.wanted.set(true);
        Refresh::Coming
    }

    pub fn retry_after(&self, now: u64) -> u64 {
        self.shared.state.retry_after(now, self.bounds())
    }

    pub fn tick(&mut self, host: &mut dyn KeyHost, now: u64) -> bool {
        let before = (self.shared.state, self.generation);
        // Without shared data nothing is known and nothing is fetched; requests wait and are refused.
        if let Ok(swap) = self.shared.read(host, now) {
            self.adopt(host, now);
            if self
                .shared
                .state
                .is_due(now, self.bounds(), self.wanted.get())
            {
                self.begin(host, now, swap);
            } else if !self.shared.state.may_refresh(now, self.bounds()) {
                self.wanted.set(false);
            }
        }
        before != (self.shared.state, self.generation)
    }

    pub fn has_called(&self, call: u32) -> bool {
        self.fetch.is_some_and(|fetch| fetch.call == call)
    }

    pub fn answered(&mut self, host: &mut dyn KeyHost, now: u64, answer: &Answer) -> bool {
        let Some(fetch) = self.fetch.take() else {
            return false;
        };
        match fetch.stage {
            Stage::Metadata => self.metadata(host, now, fetch, answer),
            Stage::Keys => {
                let format = self.remote.format;
                let fetched = answer.keys(format, fetch.conditional, seconds(now));
                self.finish(host, now, fetch.began, fetched, &answer.body);
            }
        }
        true
    }

    /// Takes over the keys that another VM fetched.
    fn adopt(&mut self, host: &mut dyn KeyHost, now: u64) {
        if self.shared.state.generation == self.generation {
            return;
        }
        let document = self.shared.document(host);
        let format = self.remote.format;
        let keys = document
            .as_ref()
            .map(|document| format.read(&document.body, seconds(now)));
        match (document, keys) {
            (Some(document), Some(Ok(keys))) => {
                self.generation = document.generation;
                self.keys = keys;
            }
            _ => {
                log::warn!("keys of issuer {}: shared data is unreadable", self.issuer);
                self.shared.state.generation = 0;
            }
        }
    }

    /// Takes the lease, unless another VM was first, and asks the issuer.
    fn begin(&mut self, host: &mut dyn KeyHost, now: u64, swap: u32) {
        if !self.shared.lease(host, now, swap) {
            return;
        }
        self.wanted.set(false);
        let (endpoint, stage) = match &self.remote.start {
            Start::Keys(keys) => (keys.clone(), Stage::Keys),
            Start::Discovery { document, .. } => (document.clone(), Stage::Metadata),
        };
        self.call(host, now, now, &endpoint, stage);
    }

    fn metadata(&mut self, host: &mut dyn KeyHost, now: u64, fetch: Fetch, answer: &Answer) {
        let Start::Discovery {
            document,
            issuer,
            keys_authority,
            keys_cluster,
        } = &self.remote.start
        else {
            return;
        };
        match answer.keys_url(issuer, &document.url, keys_authority) {
            Ok(url) => {
                let cluster = keys_cluster.clone();
                let keys = Endpoint { url, cluster };
                self.call(host, now, fetch.began, &keys, Stage::Keys);
            }
            Err(flaw) => self.finish(host, now, fetch.began, Err(flaw), &[]),
        }
    }

    fn call(
        &mut self,
        host: &mut dyn KeyHost,
        now: u64,
        began: u64,
        endpoint: &Endpoint,
        stage: Stage,
    ) {
        let etag = match stage {
            Stage::Keys => self.held_etag(host),
            Stage::Metadata => Vec::new(),
        };
        let request = Request {
            cluster: &endpoint.cluster,
            scheme: endpoint.url.scheme(),
            authority: endpoint.url.authority(),
            target: endpoint.url.target(),
            accept: "application/json",
            metadata_flavor: false,
            if_none_match: std::str::from_utf8(&etag)
                .ok()
                .filter(|tag| !tag.is_empty()),
            timeout: std::time::Duration::from_secs(self.bounds().timeout),
        };
        match host.call(&request) {
            Ok(call) => {
                self.fetch = Some(Fetch {
                    began,
                    call,
                    stage,
                    conditional: request.if_none_match.is_some(),
                });
            }
            Err(HostError) => self.finish(host, now, began, Err(Flaw::NotSent), &[]),
        }
    }

    /// The entity tag of the keys that this VM holds. Certificates are always read anew, because
    /// their time may have passed.
    fn held_etag(&self, host: &mut dyn KeyHost) -> Vec<u8> {
        if self.remote.format == KeyFormat::CertificateMap {
            return Vec::new();
        }
        let document = self.shared.document(host);
        document
            .filter(|document| self.generation > 0 && document.generation == self.generation)
            .map(|document| document.etag)
            .unwrap_or_default()
    }

    /// Ends the fetch that began then: the keys first, then the state that points to them.
    fn finish(
        &mut self,
        host: &mut dyn KeyHost,
        now: u64,
        began: u64,
        fetched: Result<Fetched, Flaw>,
        body: &[u8],
    ) {
        match &fetched {
            Ok(fetched) => {
                host.count(Counter::KeysFetched);
                self.log_dropped(fetched);
            }
            Err(flaw) => {
                host.count(Counter::KeysNotFetched);
                log::warn!("keys of issuer {} not fetched: {flaw}", self.issuer);
            }
        }
        let outcome = fetched.as_ref().ok().map(|fetched| Outcome {
            lifetime: record::lifetime(self.bounds(), fetched.max_age),
            new: fetched.keys.as_ref().map(|_| New {
                etag: &fetched.etag,
                body,
            }),
        });
        if self.shared.finish(host, now, began, outcome.as_ref())
            && let Ok(Fetched {
                keys: Some(keys), ..
            }) = fetched
        {
            self.keys = keys;
            self.generation = self.shared.state.generation;
        }
    }

    fn log_dropped(&self, fetched: &Fetched) {
        let keys = fetched.keys.iter();
        for dropped in keys.flat_map(|keys| keys.dropped()) {
            let index = dropped.index;
            log::warn!(
                "keys of issuer {}: keys[{index}] is not used: {}",
                self.issuer,
                dropped.flaw
            );
        }
    }
}

/// Names of keys that were asked for and are not there, so that the same one does not make the proxy
/// fetch again and again. Bounded; the oldest goes first.
#[derive(Debug, Default)]
struct Missing(VecDeque<Asked>);

#[derive(Debug)]
struct Asked {
    kid: String,
    at: u64,
    /// A fetch that began afterwards did not bring it. (Had it, nobody would ask again.)
    in_vain: bool,
}

impl Missing {
    const MOST: usize = 64;
    /// How long a name is known to be missing, in intervals of `minRefresh`.
    const INTERVALS: u64 = 4;

    fn is_known(&mut self, kid: &str, now: u64, state: &State, bounds: &Bounds) -> bool {
        let lasts = bounds.min_refresh.saturating_mul(1000 * Self::INTERVALS);
        self.0
            .retain(|asked| now.saturating_sub(asked.at) < lasts && asked.at <= now);
        let Some(asked) = self.0.iter_mut().find(|asked| asked.kid == kid) else {
            return false;
        };
        asked.in_vain |= state.began >= asked.at && state.failures == 0 && !state.is_leased(now);
        asked.in_vain
    }

    fn ask(&mut self, kid: &str, now: u64) {
        if self.0.iter().any(|asked| asked.kid == kid) {
            return;
        }
        if self.0.len() >= Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(Asked {
            kid: kid.to_owned(),
            at: now,
            in_vain: false,
        });
    }
}
