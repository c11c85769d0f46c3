//! The one place where the command line reads the clock; the core is told.

use std::time::SystemTime;

use crate::time::UnixTime;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "somebody has to tell the core the time"
)]
pub fn now() -> UnixTime {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map(UnixTime::from)
        .unwrap_or_default()
}
