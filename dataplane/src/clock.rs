//! The wall clock, and a coarse clock for checks that are made on every request.
//!
//! The crates quanta and coarsetime have coarse clocks too, but these are process-wide and need a thread or a system
//! call. Reading this one is a load from the worker's own memory, and it follows tokio's paused time in tests.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The interval between updates of a [`CoarseClock`].
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Returns the seconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// Returns the milliseconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// The clock of one worker, at most one [`TICK`] behind, which saves a system call per request.
#[derive(Debug)]
pub(crate) struct CoarseClock {
    instant: Cell<Instant>,
    unix: Cell<i64>,
}

impl CoarseClock {
    /// Returns the time at the last tick.
    #[must_use]
    pub(crate) fn now(&self) -> Instant {
        self.instant.get()
    }

    /// Returns the seconds since the Unix epoch at the last tick.
    #[must_use]
    pub(crate) fn unix(&self) -> i64 {
        self.unix.get()
    }

    /// Updates the clock; the worker calls this every [`TICK`].
    pub(crate) fn tick(&self) {
        self.instant.set(Instant::now());
        self.unix.set(unix_now());
    }
}

impl Default for CoarseClock {
    fn default() -> Self {
        Self { instant: Cell::new(Instant::now()), unix: Cell::new(unix_now()) }
    }
}
