//! Calendar time, for signatures.

use time::OffsetDateTime;

/// Unix seconds.
#[must_use]
pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}
