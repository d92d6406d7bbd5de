//! The units in which traffic is counted over time.

use time::OffsetDateTime;

/// Returns the hour of a time, in hours since the Unix epoch.
#[must_use]
pub(crate) fn hour_of(time: OffsetDateTime) -> i64 {
    time.unix_timestamp().div_euclid(3600)
}

/// Returns a time in Unix microseconds; 0 for one before 1970.
#[must_use]
pub(crate) fn unix_micros(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or_default()
}
