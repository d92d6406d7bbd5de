//! Calendar time. No other module of this crate reads the system's clock.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A source of the current time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(fn() -> OffsetDateTime);

impl Clock {
    /// Returns the system's clock.
    #[must_use]
    pub(crate) fn system() -> Self {
        Self(OffsetDateTime::now_utc)
    }

    /// Creates a clock from a function.
    #[cfg(test)]
    pub(crate) fn from_fn(now: fn() -> OffsetDateTime) -> Self {
        Self(now)
    }

    /// Returns the current time in UTC, in whole milliseconds, which is the resolution of the store.
    #[must_use]
    pub(crate) fn now(&self) -> OffsetDateTime {
        let now = (self.0)();
        now.replace_millisecond(now.millisecond()).unwrap_or(now)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// Formats a time as in RFC 3339. Empty for a year that RFC 3339 cannot represent.
#[must_use]
pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
