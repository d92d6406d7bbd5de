//! The parts of a request that say when it was signed, and how far they may be from now.

use std::fmt;

/// How far the time of a signature may be from now, in seconds, both ways.
pub const FRESHNESS: i64 = 300;

/// The part of a request that says when it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The parameter `created`.
    Created,
    /// The Date field, which the signature covers.
    Date,
}

impl TimeSource {
    /// Its name in a request.
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
