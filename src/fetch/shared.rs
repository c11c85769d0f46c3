//! One source's two entries in shared data, and the lease by which one VM fetches for all.

use super::record::{Document, State};
use crate::host::{HostError, KeyHost};
use crate::token::remote::Bounds;

/// How often a change of shared data is tried again when another VM came first.
const TRIES: usize = 8;

/// What a VM knows of the entries of a source.
#[derive(Debug)]
pub(super) struct Shared {
    state_entry: String,
    document_entry: String,
    bounds: Bounds,
    /// As last read or written.
    pub state: State,
}

/// What came of a fetch.
pub(super) struct Outcome<'a> {
    /// How long what is held now may be used, in seconds.
    pub lifetime: u64,
    /// What was fetched; `None` where what was there before is still good.
    pub new: Option<New<'a>>,
}

/// What was fetched.
pub(super) struct New<'a> {
    pub etag: &'a [u8],
    pub body: &'a [u8],
}

impl Shared {
    /// `kind` and `identity` together name the entries.
    pub fn new(kind: &str, identity: &str, bounds: Bounds) -> Self {
        Self {
            state_entry: format!("forecourt.{kind}.state {identity}"),
            document_entry: format!("forecourt.{kind} {identity}"),
            bounds,
            state: State::default(),
        }
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub fn prepare(&mut self, host: &mut dyn KeyHost) -> Result<(), HostError> {
        if host.shared(&self.state_entry)?.is_none() {
            host.set_shared(&self.state_entry, &State::default().to_bytes(), None)?;
        }
        Ok(())
    }

    /// Brings `state` up to date; the number for the next compare-and-swap.
    pub fn read(&mut self, host: &mut dyn KeyHost, now: u64) -> Result<u32, HostError> {
        let mut entry = host.shared(&self.state_entry)?;
        if entry.is_none() {
            self.prepare(host)?;
            entry = host.shared(&self.state_entry)?;
        }
        let (bytes, swap) = entry.ok_or(HostError)?;
        self.state = State::from_bytes(&bytes, now, &self.bounds);
        Ok(swap)
    }

    /// What was fetched last, by whichever VM.
    pub fn document(&self, host: &mut dyn KeyHost) -> Option<Document> {
        let (bytes, _) = host.shared(&self.document_entry).ok()??;
        Document::from_bytes(&bytes)
    }

    /// Takes the lease; `false` where another VM was first.
    pub fn lease(&mut self, host: &mut dyn KeyHost, now: u64, swap: u32) -> bool {
        let leased = self.state.leased(now, &self.bounds);
        let taken = host.set_shared(&self.state_entry, &leased.to_bytes(), Some(swap));
        if taken == Ok(true) {
            self.state = leased;
        }
        taken == Ok(true)
    }

    /// Ends the fetch that began then: the document first, then the state that points to it. Whether
    /// it counts: not where its lease ran out and another VM took over.
    pub fn finish(
        &mut self,
        host: &mut dyn KeyHost,
        now: u64,
        began: u64,
        outcome: Option<&Outcome<'_>>,
    ) -> bool {
        let chance = host.chance();
        for _ in 0..TRIES {
            let Ok(swap) = self.read(host, now) else {
                return false;
            };
            if self.state.began != began || self.state.lease == 0 {
                return false;
            }
            let next = match outcome {
                Some(Outcome { lifetime, new }) => {
                    self.state.succeeded(now, new.is_some(), *lifetime, chance)
                }
                None => self.state.failed(now, chance),
            };
            if let Some(New { etag, body }) = outcome.and_then(|outcome| outcome.new.as_ref()) {
                let document = Document {
                    generation: next.generation,
                    etag: etag.to_vec(),
                    body: body.to_vec(),
                };
                if host.set_shared(&self.document_entry, &document.to_bytes(), None) != Ok(true) {
                    return false;
                }
            }
            match host.set_shared(&self.state_entry, &next.to_bytes(), Some(swap)) {
                Ok(true) => {
                    self.state = next;
                    return true;
                }
                Ok(false) => {}
                Err(HostError) => return false,
            }
        }
        false
    }
}
