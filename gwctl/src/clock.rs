//! The wall clock, for signatures and the end of suspensions. Library and program both compile this module.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time, in Unix seconds.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
