//! Calendar time, for signatures.

use time::OffsetDateTime;

/// Returns the current time in Unix seconds.
#[must_use]
pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}
