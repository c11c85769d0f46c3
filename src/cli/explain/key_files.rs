//! Keys from files, in the place of those that the filter would fetch.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::problem::did_you_mean;
use crate::policy::Policy;
use crate::time::UnixTime;
use crate::token::keyset::KeySet;
use crate::token::remote::{Remote, Start};
use crate::token::{Issuer, KeySource, KeyState, Keys, Refresh};
use crate::trace::Trace;

/// `ISSUER=FILE`, as typed.
#[derive(Clone, Debug)]
pub struct KeyFile {
    issuer: String,
    path: PathBuf,
}

impl KeyFile {
    /// Reads the argument.
    ///
    /// # Errors
    /// It has not that form.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((issuer, path)) if !issuer.is_empty() && !path.is_empty() => Ok(Self {
                issuer: issuer.to_owned(),
                path: path.into(),
            }),
            _ => Err("write it as `ISSUER=FILE`".into()),
        }
    }
}

/// The keys that were given, and what was asked of those that were not.
#[derive(Debug)]
pub struct KeyFiles {
    /// By the issuer's index in the policy.
    sets: Vec<Option<KeySet>>,
    /// Issuers whose keys were looked for and not given.
    wanted: RefCell<BTreeSet<usize>>,
    /// Issuers of which a token named a key that is not in the file.
    sought: RefCell<BTreeSet<usize>>,
}

impl KeyFiles {
    /// Reads the files, as the filter would read an issuer's answer at that time.
    ///
    /// # Errors
    /// Why one of them is of no use, for a person to read.
    pub fn read(
        files: &[KeyFile],
        policy: &Policy,
        now: UnixTime,
        trace: &mut Trace,
    ) -> Result<Self, String> {
        let mut sets = vec![None; policy.issuers.len()];
        for KeyFile { issuer: name, path } in files {
            let index = find(name, &policy.issuers)?;
            let issuer = policy.issuers.get(index);
            let Some(remote) = issuer.and_then(remote) else {
                return Err(format!(
                    "--jwks {name}: the keys of `{name}` are in the policy; it fetches none"
                ));
            };
            let text = std::fs::read(path);
            let path = path.display();
            let text =
                text.map_err(|error| format!("--jwks {name}: cannot read {path}: {error}"))?;
            let set = remote
                .format
                .read(&text, now)
                .map_err(|flaw| format!("--jwks {name}: {path} {flaw}"))?;
            let count = set.keys().count();
            trace.note("keys", || {
                format!(
                    "{count} of issuer {name} out of {path}; the filter fetches them from {}",
                    place(remote)
                )
            });
            for dropped in set.dropped() {
                let (index, flaw) = (dropped.index, dropped.flaw);
                trace.note("keys", || format!("keys[{index}] is not used: {flaw}"));
            }
            if let Some(slot) = sets.get_mut(index) {
                *slot = Some(set);
            }
        }
        Ok(Self {
            sets,
            wanted: RefCell::default(),
            sought: RefCell::default(),
        })
    }

    /// What the filter would have done where this could not.
    pub fn remarks(&self, policy: &Policy) -> Vec<String> {
        let remote = |index: &usize| {
            let issuer = policy.issuers.get(*index)?;
            Some((&issuer.name, remote(issuer)?))
        };
        let wanted = self.wanted.borrow();
        let wanted = wanted.iter().filter_map(remote).map(|(name, remote)| {
            format!(
                "the filter fetches those of issuer {name} from {}, ahead of requests; this \
                 command fetches nothing: give them with --jwks {name}=FILE",
                place(remote)
            )
        });
        let sought = self.sought.borrow();
        let sought = sought.iter().filter_map(remote).map(|(name, remote)| {
            format!(
                "the filter would fetch those of issuer {name} anew before it refuses, unless it \
                 has within {} seconds",
                remote.bounds.min_refresh
            )
        });
        wanted.chain(sought).collect()
    }
}

impl Keys for KeyFiles {
    fn lookup(&self, issuer: usize) -> KeyState<'_> {
        match self.sets.get(issuer) {
            Some(Some(keys)) => KeyState::Ready(keys),
            _ => {
                self.wanted.borrow_mut().insert(issuer);
                KeyState::Unavailable
            }
        }
    }

    fn refresh(&self, issuer: usize, _: &str) -> Refresh {
        self.sought.borrow_mut().insert(issuer);
        Refresh::Current
    }

    fn retry_after(&self, _: usize) -> u64 {
        1
    }
}

fn find(name: &str, issuers: &[Issuer]) -> Result<usize, String> {
    let index = issuers.iter().position(|issuer| issuer.name == name);
    index.ok_or_else(|| {
        let near = did_you_mean(name, issuers.iter().map(|issuer| issuer.name.as_str()));
        format!("--jwks {name}: `{name}` is not under `issuers`{near}")
    })
}

fn remote(issuer: &Issuer) -> Option<&Remote> {
    match &issuer.keys {
        KeySource::Remote(remote) => Some(remote),
        KeySource::Inline(_) => None,
    }
}

fn place(remote: &Remote) -> String {
    match &remote.start {
        Start::Keys(keys) => format!("{} (cluster {})", keys.url, keys.cluster),
        Start::Discovery {
            document,
            keys_authority,
            keys_cluster,
            ..
        } => format!(
            "where {} (cluster {}) says, at {keys_authority} (cluster {keys_cluster})",
            document.url, document.cluster
        ),
    }
}
