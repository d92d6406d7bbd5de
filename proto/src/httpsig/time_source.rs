//! The parts of a request that state the time of its signature, and the allowed distance from the current time.

use std::fmt;

/// The maximum distance between the time of a signature and the current time, in seconds, in either direction.
pub const FRESHNESS: i64 = 300;

/// The part of a request that states the time of its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The parameter `created`.
    Created,
    /// The covered Date field.
    Date,
}

impl TimeSource {
    /// Returns its name in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Date => "date",
        }
    }
}

impl fmt::Display for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.as_str())
    }
}
