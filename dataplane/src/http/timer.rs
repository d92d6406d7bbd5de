//! A timer that a connection uses for each of its requests in turn.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a connection between two requests; `None` before its first use and while a [`Timer`] uses it.
///
/// Resetting a timer is much cheaper than registering a new one.
pub(super) type IdleTimer = Cell<Option<Pin<Box<Sleep>>>>;

/// A timer in use. It returns to its connection when it is dropped.
pub(crate) struct Timer<'a> {
    sleep: Option<Pin<Box<Sleep>>>,
    home: &'a IdleTimer,
}

impl<'a> Timer<'a> {
    /// Takes the timer of a connection and starts it; it fires at `deadline`.
    pub(super) fn start(home: &'a IdleTimer, deadline: Instant) -> Self {
        let mut timer = Self { sleep: home.take(), home };
        timer.reset(deadline);
        timer
    }

    /// Moves the deadline.
    pub(crate) fn reset(&mut self, deadline: Instant) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
    }

    /// Resolves when the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.home.set(self.sleep.take());
    }
}
