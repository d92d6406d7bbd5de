//! Who is waited for: what tells a stalled visitor from a patient one.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::Coarse;

/// The exchanges of one connection, taken together.
pub struct Progress {
    in_flight: Cell<u32>,
    begun: Cell<u64>,
    waiting_for_backend: Cell<u32>,
    last: Cell<Instant>,
    clock: Rc<Coarse>,
    /// Kept from one request to the next: to put a timer off costs next to nothing, to make one does not.
    timer: Cell<Option<Pin<Box<Sleep>>>>,
}

/// A timer on loan from the connection.
pub struct Timer<'a> {
    sleep: Option<Pin<Box<Sleep>>>,
    home: &'a Progress,
}

/// One request and its answer; ends when dropped.
#[derive(Debug)]
pub struct Exchange {
    connection: Rc<Progress>,
    waiting_for_backend: Cell<bool>,
    request_done: Cell<bool>,
    last: Cell<Instant>,
}

impl Progress {
    /// A connection without exchanges.
    #[must_use]
    pub fn new(clock: Rc<Coarse>) -> Rc<Self> {
        let last = Cell::new(clock.now());
        let (in_flight, waiting_for_backend) = (Cell::new(0), Cell::new(0));
        let (begun, timer) = (Cell::new(0), Cell::new(None));
        Rc::new(Self { in_flight, begun, waiting_for_backend, last, clock, timer })
    }

    /// A request begins.
    #[must_use]
    pub fn begin(self: &Rc<Self>) -> Rc<Exchange> {
        let now = self.clock.now();
        self.in_flight.set(self.in_flight.get() + 1);
        self.begun.set(self.begun.get() + 1);
        self.last.set(now);
        Rc::new(Exchange {
            connection: Rc::clone(self),
            waiting_for_backend: Cell::new(false),
            request_done: Cell::new(false),
            last: Cell::new(now),
        })
    }

    /// How many requests have begun so far.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Whether no request is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// Whether nothing has moved for `limit`, and it is not because of a backend.
    #[must_use]
    pub fn is_stalled(&self, now: Instant, limit: Duration) -> bool {
        self.waiting_for_backend.get() == 0 && now.saturating_duration_since(self.last.get()) > limit
    }
}

impl Exchange {
    /// Something moved.
    pub fn moved(&self) {
        let now = self.connection.clock.now();
        self.last.set(now);
        self.connection.last.set(now);
    }

    /// A timer that fires at `deadline`.
    pub fn timer(&self, deadline: Instant) -> Timer<'_> {
        let kept = self.connection.timer.take();
        let mut timer = Timer { sleep: kept, home: &self.connection };
        timer.put_off(deadline);
        timer
    }

    /// When something last moved.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.last.get()
    }

    /// The whole request was read.
    pub fn request_done(&self) {
        self.request_done.set(true);
        self.wait_for_backend(true);
    }

    /// Whether the whole request was read.
    #[must_use]
    pub fn is_request_done(&self) -> bool {
        self.request_done.get()
    }

    /// Whether it is the backend's turn.
    pub fn wait_for_backend(&self, waiting: bool) {
        if self.waiting_for_backend.replace(waiting) != waiting {
            let others = self.connection.waiting_for_backend.get();
            let now = if waiting { others + 1 } else { others.saturating_sub(1) };
            self.connection.waiting_for_backend.set(now);
        }
    }
}

impl Timer<'_> {
    /// Fires at `deadline` instead.
    pub fn put_off(&mut self, deadline: Instant) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
    }

    /// Resolves when it has fired.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.home.timer.set(self.sleep.take());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.wait_for_backend(false);
        self.moved();
        self.connection.in_flight.set(self.connection.in_flight.get().saturating_sub(1));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_connection_stalls_only_when_no_backend_is_waited_for() {
        let progress = Progress::new(Rc::default());
        let later = Instant::now() + LIMIT * 2;
        let (one, two) = (progress.begin(), progress.begin());
        assert!(!progress.is_idle() && progress.is_stalled(later, LIMIT));
        one.request_done();
        assert!(!progress.is_stalled(later, LIMIT));
        one.wait_for_backend(false);
        assert!(progress.is_stalled(later, LIMIT));
        two.wait_for_backend(true);
        drop(two);
        assert!(progress.is_stalled(later, LIMIT) && !progress.is_stalled(Instant::now(), LIMIT));
        drop(one);
        assert!(progress.is_idle());
    }
}
