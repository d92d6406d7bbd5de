//! Calendar time, for signatures.

use time::OffsetDateTime;

/// Unix seconds.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
#[must_use]
pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}
