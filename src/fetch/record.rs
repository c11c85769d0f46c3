//! What the VMs of one proxy tell each other about a source of keys, through shared data.
//!
//! Two entries a source: a small one that is read often and changed by compare-and-swap only, and
//! the keys themselves, written by whoever holds the lease. Instants are milliseconds since the
//! epoch; 0 stands for never.

use std::time::Duration;

use crate::time::UnixTime;
use crate::token::remote::Bounds;

/// How long a fetch that failed keeps the next one waiting at first, in milliseconds.
const FIRST_BACKOFF: u64 = 500;
/// The longest that it does.
const LONGEST_BACKOFF: u64 = 60_000;
/// What a lease lasts beyond the time that its fetch may take.
const LEASE_SLACK: u64 = 2_000;
/// A retry that is due within this time is worth waiting for.
const SOON: u64 = 1_000;
/// Use of keys where neither the policy nor the answer says, in seconds.
const DEFAULT_LIFETIME: u64 = 600;
/// Longest use that an answer may ask for, in seconds.
const LONGEST_LIFETIME: u64 = 86_400;

/// Milliseconds since the epoch.
pub fn millis(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The instant of those milliseconds, as tokens and certificates have it.
pub fn seconds(millis: u64) -> UnixTime {
    UnixTime(millis / 1000)
}

/// How a source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Counts the key sets that were taken over; 0 before the first.
    pub generation: u64,
    /// When the keys are due to be fetched anew.
    pub refresh: u64,
    /// When they are stale.
    pub expires: u64,
    /// When the last fetch began.
    pub began: u64,
    /// Until when its fetcher has the lease; 0 when it has ended.
    pub lease: u64,
    /// Not to be tried again before this, after a failure.
    pub retry: u64,
    /// Failures in a row.
    pub failures: u64,
}

impl State {
    /// Its entry.
    pub fn to_bytes(self) -> Vec<u8> {
        [
            VERSION,
            self.generation,
            self.refresh,
            self.expires,
            self.began,
            self.lease,
            self.retry,
            self.failures,
        ]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
    }

    /// Reads an entry; one of another form counts as none. Instants that lie further ahead than any
    /// rule here puts them come from a clock that was set back, and count as past.
    pub fn from_bytes(bytes: &[u8], now: u64, bounds: &Bounds) -> Self {
        let mut numbers = bytes.chunks(8).map(|chunk| {
            let eight = chunk.try_into().unwrap_or_default();
            u64::from_le_bytes(eight)
        });
        if bytes.len() != 64 || numbers.next() != Some(VERSION) {
            return Self::default();
        }
        let mut next = || numbers.next().unwrap_or_default();
        let state = Self {
            generation: next(),
            refresh: next(),
            expires: next(),
            began: next(),
            lease: next(),
            retry: next(),
            failures: next(),
        };
        let sane = |instant: u64, ahead: u64| {
            if instant > now.saturating_add(ahead) {
                0
            } else {
                instant
            }
        };
        let longest = LONGEST_LIFETIME.max(bounds.min_refresh) * 1000;
        Self {
            refresh: sane(state.refresh, longest),
            expires: sane(state.expires, longest),
            began: sane(state.began, 0),
            lease: sane(state.lease, lease_length(bounds)),
            retry: sane(state.retry, LONGEST_BACKOFF),
            ..state
        }
    }

    /// Whether somebody is fetching.
    pub fn is_leased(&self, now: u64) -> bool {
        self.lease > now
    }

    /// Whether to fetch now. `wanted`: a token names a key that is not there.
    pub fn is_due(&self, now: u64, bounds: &Bounds, wanted: bool) -> bool {
        if self.is_leased(now) || self.retry > now {
            return false;
        }
        self.generation == 0 || now >= self.refresh || (wanted && self.may_refresh(now, bounds))
    }

    /// Whether the keys may be used; stale ones only for a time.
    pub fn is_usable(&self, now: u64, bounds: &Bounds) -> bool {
        let end = self
            .expires
            .saturating_add(bounds.max_stale.saturating_mul(1000));
        self.generation > 0 && now < end
    }

    /// Whether keys, or newer ones, will be here in a moment or known not to come.
    pub fn is_coming(&self, now: u64) -> bool {
        self.is_leased(now) || self.retry <= now.saturating_add(SOON)
    }

    /// Whether the last fetch failed, so that nobody knows what keys there are by now.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// In how many seconds it is worth asking again for keys that are not there: after the next
    /// fetch, at least one, at most a minute.
    pub fn retry_after(&self, now: u64, bounds: &Bounds) -> u64 {
        let turn = self.generation == 0 || now >= self.refresh;
        let next = match turn {
            true => self.retry,
            false => self.retry.max(self.out_of_turn(bounds)),
        };
        let wait = next.saturating_sub(now).div_ceil(1000);
        wait.clamp(1, LONGEST_BACKOFF / 1000)
    }

    /// From when on a token can have the keys fetched out of turn.
    fn out_of_turn(&self, bounds: &Bounds) -> u64 {
        let interval = bounds.min_refresh.saturating_mul(1000);
        self.began.saturating_add(interval)
    }

    /// Whether enough time has passed for a fetch out of turn.
    pub fn may_refresh(&self, now: u64, bounds: &Bounds) -> bool {
        self.retry <= now && now >= self.out_of_turn(bounds)
    }

    /// A fetch begins.
    #[must_use]
    pub fn leased(self, now: u64, bounds: &Bounds) -> Self {
        Self {
            began: now,
            lease: now.saturating_add(lease_length(bounds)),
            ..self
        }
    }

    /// The fetch brought keys, or word that they are still the same. They are due again a while
    /// before `lifetime` (in seconds) is over; `chance`, any number, spreads that time so that not
    /// all proxies ask at once.
    #[must_use]
    pub fn succeeded(self, now: u64, new_keys: bool, lifetime: u64, chance: u64) -> Self {
        let lifetime = lifetime.saturating_mul(1000);
        let percent = 70 + chance % 21;
        Self {
            generation: self.generation.saturating_add(u64::from(new_keys)),
            refresh: now.saturating_add(lifetime / 100 * percent),
            expires: now.saturating_add(lifetime),
            lease: 0,
            retry: 0,
            failures: 0,
            ..self
        }
    }

    /// The fetch failed. The next one waits, twice as long each time, up to a minute, less a share by
    /// `chance`.
    #[must_use]
    pub fn failed(self, now: u64, chance: u64) -> Self {
        let doublings = u32::try_from(self.failures).unwrap_or(u32::MAX).min(16);
        let backoff = (FIRST_BACKOFF << doublings).min(LONGEST_BACKOFF);
        let share = backoff / 2 / 100 * (chance % 101);
        Self {
            lease: 0,
            retry: now.saturating_add(backoff - share),
            failures: self.failures.saturating_add(1),
            ..self
        }
    }
}

const VERSION: u64 = 1;

/// Discovery takes two fetches.
fn lease_length(bounds: &Bounds) -> u64 {
    bounds.timeout.saturating_mul(2_000) + LEASE_SLACK
}

/// How long fetched keys are used, in seconds, by the policy's bounds and the answer's `max-age`.
pub fn lifetime(bounds: &Bounds, max_age: Option<u64>) -> u64 {
    let longest = bounds.cache_duration.unwrap_or(LONGEST_LIFETIME);
    max_age
        .or(bounds.cache_duration)
        .unwrap_or(DEFAULT_LIFETIME)
        .min(longest)
        .max(bounds.min_refresh)
}

/// The keys as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The generation of the state that they belong to.
    pub generation: u64,
    /// The answer's entity tag, or nothing.
    pub etag: Vec<u8>,
    /// The answer's body.
    pub body: Vec<u8>,
}

impl Document {
    /// Its entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = u32::try_from(self.etag.len()).unwrap_or_default();
        [
            &self.generation.to_le_bytes()[..],
            &size.to_le_bytes(),
            &self.etag,
            &self.body,
        ]
        .concat()
    }

    /// Reads an entry.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk::<8>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        let (etag, body) = rest.split_at_checked(size)?;
        Some(Self {
            generation: u64::from_le_bytes(*generation),
            etag: etag.to_vec(),
            body: body.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        cache_duration: None,
        max_stale: 100,
        min_refresh: 10,
        timeout: 5,
    };
    const NOW: u64 = 1_800_000_000_000;

    fn fresh() -> State {
        State::default()
            .leased(NOW, &BOUNDS)
            .succeeded(NOW, true, 600, 0)
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let state = fresh().leased(NOW, &BOUNDS).failed(NOW, 3);
        assert_eq!(State::from_bytes(&state.to_bytes(), NOW, &BOUNDS), state);
        for other in [&b""[..], b"x", &[0; 64], &[1; 63], &[0xff; 72]] {
            assert_eq!(State::from_bytes(other, NOW, &BOUNDS), State::default());
        }
        let document = Document {
            generation: 7,
            etag: b"\"a\"".to_vec(),
            body: b"{}".to_vec(),
        };
        assert_eq!(
            Document::from_bytes(&document.to_bytes()).as_ref(),
            Some(&document)
        );
        for broken in [&b""[..], &[0; 11], &[0xff; 20]] {
            assert_eq!(Document::from_bytes(broken), None);
        }
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_fetching() {
        let state = fresh().failed(NOW, 0).leased(NOW, &BOUNDS);
        let before = NOW - 30 * 86_400_000;
        let read = State::from_bytes(&state.to_bytes(), before, &BOUNDS);
        assert!(read.is_due(before, &BOUNDS, false), "{read:?}");
        assert_eq!(read.generation, state.generation);
    }

    #[test]
    fn keys_are_fetched_at_once_then_before_they_expire() {
        assert!(State::default().is_due(NOW, &BOUNDS, false));
        let leased = State::default().leased(NOW, &BOUNDS);
        assert!(!leased.is_due(NOW + 11_999, &BOUNDS, false), "one fetches");
        assert!(
            leased.is_due(NOW + 12_000, &BOUNDS, false),
            "whoever vanished holds nobody up"
        );
        for chance in [0, 20, 21, u64::MAX] {
            let state = leased.succeeded(NOW, true, 600, chance);
            assert!(!state.is_due(NOW + 419_999, &BOUNDS, false));
            assert!(state.is_due(NOW + 540_000, &BOUNDS, false));
        }
    }

    #[test]
    fn stale_keys_are_used_for_a_bounded_time() {
        let state = fresh().failed(NOW + 600_000, 0);
        assert!(state.is_usable(NOW + 699_999, &BOUNDS));
        assert!(!state.is_usable(NOW + 700_000, &BOUNDS));
        assert!(!State::default().is_usable(0, &BOUNDS));
    }

    #[test]
    fn an_unknown_key_is_sought_once_per_interval() {
        let state = fresh();
        assert!(!state.is_due(NOW + 9_999, &BOUNDS, true));
        assert!(state.is_due(NOW + 10_000, &BOUNDS, true));
        assert!(!state.is_due(NOW + 10_000, &BOUNDS, false));
        let failed = state.leased(NOW + 10_000, &BOUNDS).failed(NOW + 10_000, 0);
        assert!(!failed.may_refresh(NOW + 10_400, &BOUNDS));
        assert!(failed.has_failed() && !state.has_failed());
        assert_eq!(failed.retry_after(NOW + 10_400, &BOUNDS), 10);
        assert_eq!(failed.retry_after(NOW + 30_000, &BOUNDS), 1);
    }

    #[test]
    fn failures_wait_twice_as_long_each_time_up_to_a_minute() {
        let mut state = State::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            state = state.failed(NOW, 0);
            waits.push(state.retry - NOW);
            assert!(!state.is_due(state.retry - 1, &BOUNDS, true));
            assert!(state.is_due(state.retry, &BOUNDS, false));
        }
        assert_eq!(
            waits,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000
            ]
        );
        let times = [0, 59_000, 59_001, 60_000, 61_000]
            .map(|later| state.retry_after(NOW + later, &BOUNDS));
        assert_eq!(times, [60, 1, 1, 1, 1]);
        assert_eq!(state.retry_after(NOW + 100, &BOUNDS), 60);
        assert_eq!(State::default().retry_after(NOW, &BOUNDS), 1);
        state.failures = u64::MAX;
        assert_eq!(state.retry_after(0, &BOUNDS), 60, "whatever an entry says");
        assert_eq!(state.failed(NOW, 100).retry - NOW, 30_000);
        assert!(State::default().failed(NOW, 0).is_coming(NOW));
        assert!(!state.failed(NOW, 0).is_coming(NOW));
    }

    #[test]
    fn the_answer_says_how_long_within_bounds() {
        let capped = Bounds {
            cache_duration: Some(60),
            ..BOUNDS
        };
        for (bounds, max_age, expected) in [
            (&BOUNDS, None, 600),
            (&BOUNDS, Some(20_000), 20_000),
            (&BOUNDS, Some(u64::MAX), 86_400),
            (&BOUNDS, Some(0), 10),
            (&capped, None, 60),
            (&capped, Some(20_000), 60),
            (&capped, Some(30), 30),
            (&capped, Some(1), 10),
        ] {
            assert_eq!(lifetime(bounds, max_age), expected);
        }
    }
}
