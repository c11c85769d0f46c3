//! Instants as the core sees them: arguments, never readings of a clock.

use std::time::Duration;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds ignored: a NumericDate of RFC 7519 §2 without
/// its fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The instant that many seconds later; stays at the end of time instead of overflowing.
    pub fn saturating_add(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The instant that many seconds earlier, at the earliest the epoch.
    pub fn saturating_sub(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

impl From<Duration> for UnixTime {
    fn from(since_epoch: Duration) -> Self {
        Self(since_epoch.as_secs())
    }
}
