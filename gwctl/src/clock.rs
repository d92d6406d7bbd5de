//! The calendar time, which signatures and the ends of suspensions need; the library and the program each have it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time now, in Unix seconds.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
