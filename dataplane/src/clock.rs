//! The calendar, and a coarse clock for what is looked at on every request.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// How coarse [`Coarse`] is.
pub const TICK: Duration = Duration::from_millis(100);

/// Seconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// One worker's time, at most a [`TICK`] behind: asking the system on every request costs more than it is worth.
#[derive(Debug)]
pub struct Coarse(Cell<Instant>);

impl Coarse {
    /// The time at the last tick.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.get()
    }

    /// The worker's loop calls this every [`TICK`].
    pub fn tick(&self) {
        self.0.set(Instant::now());
    }
}

impl Default for Coarse {
    fn default() -> Self {
        Self(Cell::new(Instant::now()))
    }
}
