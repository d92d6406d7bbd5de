//! Calendar time. Nothing else in this crate asks for it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A source of the time; copied freely.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(fn() -> OffsetDateTime);

impl Clock {
    /// Returns the machine's clock.
    #[must_use]
    pub(crate) fn system() -> Self {
        Self(OffsetDateTime::now_utc)
    }

    /// Makes a clock of a function.
    #[cfg(test)]
    pub(crate) fn from_fn(now: fn() -> OffsetDateTime) -> Self {
        Self(now)
    }

    /// Returns the time now, in UTC and whole milliseconds: what the store keeps.
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

/// Formats a time as RFC 3339 has it; empty for a year that it cannot write, which is none of this era.
#[must_use]
pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
