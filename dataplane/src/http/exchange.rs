//! The progress of the requests of a connection, which tells a stalled client from one that waits for a backend.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::Instant;
use webgateway_process::LocalTasks;
use webgateway_process::client_io::{ClientState, discard};

use super::backlog::{OutputBacklog, ResponseBacklog, WorkerBacklog};
use super::bounds::ExchangeBounds;
use super::timer::{IdleTimer, Timer};
use crate::backend::open_requests::OpenRequest;
use crate::clock::CoarseClock;
use crate::connections::{Membership, Phase};
use crate::stats::RecordSlot;
use crate::trailers::TrailerSlot;

/// The maximum time without progress after a client has half-closed its connection.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of unanswered requests that a client may cancel at once (CVE-2023-44487).
pub(crate) const CANCEL_BURST: u32 = 512;
/// The interval at which a client may cancel one more request.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// The progress of all exchanges of one connection.
pub(crate) struct Progress {
    in_flight: Cell<u32>,
    request_count: Cell<u64>,
    waiting_for_backend: Cell<u32>,
    is_upgrading: Cell<bool>,
    last_progress: Cell<Instant>,
    /// The time at which the burst of cancellations is available in full again.
    cancellations_until: Cell<Instant>,
    clock: Rc<CoarseClock>,
    tasks: LocalTasks,
    /// The state that the connection's input and output share with the progress.
    client: Arc<ClientState>,
    /// The trailers of the response that is sent over HTTP/1.1.
    trailers: TrailerSlot,
    output: Rc<OutputBacklog>,
    /// The backlogs of the responses that wait for the client to read.
    blocked: RefCell<Vec<Rc<ResponseBacklog>>>,
    timer: IdleTimer,
}

/// One request and its response, bodies included. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Rc<Progress>,
    waiting_for_backend: Cell<bool>,
    is_request_read: Cell<bool>,
    is_answered: Cell<bool>,
    last_progress: Cell<Instant>,
    /// The membership in the route of the request, unless the connection is a member of that route.
    membership: OnceCell<Rc<Membership>>,
    /// The record of the request.
    pub record: RecordSlot,
    /// A guard that is dropped at the end of the exchange, or taken by what continues after it.
    pub kept: RefCell<Option<Box<dyn Any>>>,
    /// The bounds that the route sets.
    pub bounds: ExchangeBounds,
    /// The count of the exchange among the open requests of its backend, if the route's policy needs it.
    pub open_request: RefCell<Option<OpenRequest>>,
}

impl Progress {
    /// Creates the progress of a connection without exchanges.
    #[must_use]
    pub(crate) fn new(
        clock: Rc<CoarseClock>,
        tasks: LocalTasks,
        worker_backlog: Rc<WorkerBacklog>,
    ) -> Rc<Self> {
        let last_progress = Cell::new(clock.now());
        let (in_flight, waiting_for_backend) = (Cell::new(0), Cell::new(0));
        let (request_count, is_upgrading) = (Cell::new(0), Cell::new(false));
        let (client, cancellations_until) = (Arc::default(), last_progress.clone());
        Rc::new(Self {
            in_flight,
            request_count,
            waiting_for_backend,
            is_upgrading,
            last_progress,
            cancellations_until,
            clock,
            tasks,
            client,
            trailers: TrailerSlot::default(),
            output: OutputBacklog::new(worker_backlog),
            blocked: RefCell::default(),
            timer: IdleTimer::default(),
        })
    }

    /// Begins an exchange.
    #[must_use]
    pub(crate) fn begin_exchange(self: &Rc<Self>) -> Rc<Exchange> {
        let now = self.clock.now();
        self.in_flight.set(self.in_flight.get() + 1);
        self.request_count.set(self.request_count.get() + 1);
        self.last_progress.set(now);
        self.client.set_in_flight(true);
        Rc::new(Exchange {
            connection: Rc::clone(self),
            waiting_for_backend: Cell::new(false),
            is_request_read: Cell::new(false),
            is_answered: Cell::new(false),
            last_progress: Cell::new(now),
            membership: OnceCell::new(),
            record: RecordSlot::default(),
            kept: RefCell::default(),
            bounds: ExchangeBounds::default(),
            open_request: RefCell::default(),
        })
    }

    /// Returns the number of requests so far.
    #[must_use]
    pub(crate) fn request_count(&self) -> u64 {
        self.request_count.get()
    }

    /// Returns whether no request is in flight.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// Returns whether a request for an upgrade is in flight.
    #[must_use]
    pub(crate) fn is_upgrading(&self) -> bool {
        self.is_upgrading.get()
    }

    /// Returns the state of the connection's input and output.
    pub(crate) fn client(&self) -> &Arc<ClientState> {
        &self.client
    }

    /// Returns the trailers of the response that is sent over HTTP/1.1.
    pub(crate) fn trailers(&self) -> &TrailerSlot {
        &self.trailers
    }

    /// Updates the backlog with the connection's unsent output; once that is empty, wakes the responses that wait. Call
    /// it after the connection was polled.
    pub(crate) fn update_backlog(&self) {
        let unsent = self.client.blocked();
        self.output.update(unsent);
        if unsent == 0 {
            for backlog in self.blocked.take() {
                backlog.wake();
            }
        }
    }

    /// Returns whether the connection has to end, because its client stalls and the worker's backlog is over its limit.
    #[must_use]
    pub(crate) fn is_cut(&self) -> bool {
        self.output.is_cut()
    }

    /// Records that the client has read something.
    pub(crate) fn record_progress(&self) {
        self.last_progress.set(self.clock.now());
    }

    /// Returns whether the client has half-closed the connection and there was no progress for [`HALF_CLOSED_TIMEOUT`].
    /// The client is probably gone: until something is sent to it, a half-close looks the same as a full close.
    #[must_use]
    pub(crate) fn is_abandoned(&self, now: Instant) -> bool {
        self.client.has_input_ended()
            && now.saturating_duration_since(self.last_progress.get()) > HALF_CLOSED_TIMEOUT
    }

    /// Returns whether the client cancels requests at a rate that no honest one reaches. A browser cancels all requests
    /// of one page at once, but not of page after page.
    #[must_use]
    pub(crate) fn is_flooding(&self) -> bool {
        let excess = self.cancellations_until.get().saturating_duration_since(self.clock.now());
        excess > CANCEL_INTERVAL * CANCEL_BURST
    }

    fn record_cancellation(&self) {
        self.cancellations_until.set(self.cancellations_until.get().max(self.clock.now()) + CANCEL_INTERVAL);
    }

    /// Reads and discards the rest of a request body.
    pub(crate) fn discard(&self, body: Incoming) {
        self.tasks.spawn("request discard", discard(body, Arc::clone(&self.client)));
    }

    /// Returns whether there was no progress for `limit` and no exchange waits for a backend.
    #[must_use]
    pub(crate) fn is_stalled(&self, now: Instant, limit: Duration) -> bool {
        self.waiting_for_backend.get() == 0 && now.saturating_duration_since(self.last_progress.get()) > limit
    }
}

impl Exchange {
    /// Returns whether the connection has output that the client does not read.
    #[must_use]
    pub(crate) fn is_client_blocked(&self) -> bool {
        self.connection.client.blocked() > 0
    }

    /// Registers the task that waits for `backlog` to be woken when the client has read all output.
    pub(crate) fn wait_for_client(&self, backlog: &Rc<ResponseBacklog>) {
        let mut blocked = self.connection.blocked.borrow_mut();
        if !blocked.iter().any(|other| Rc::ptr_eq(other, backlog)) {
            blocked.push(Rc::clone(backlog));
        }
    }

    /// Returns the backlog of the connection's output.
    #[must_use]
    pub(crate) fn output(&self) -> &Rc<OutputBacklog> {
        &self.connection.output
    }

    /// Records progress: a part of the request or the response moved.
    pub(crate) fn record_progress(&self) {
        let now = self.connection.clock.now();
        self.last_progress.set(now);
        self.connection.last_progress.set(now);
    }

    /// Records that there is a response, so that the end of the exchange is not a cancellation.
    pub(crate) fn mark_answered(&self) {
        self.is_answered.set(true);
    }

    /// Returns a timer that fires at `deadline`.
    pub(crate) fn timer(&self, deadline: Instant) -> Timer<'_> {
        Timer::start(&self.connection.timer, deadline)
    }

    /// Returns the time of the last progress.
    #[must_use]
    pub(crate) fn last_progress(&self) -> Instant {
        self.last_progress.get()
    }

    /// Records that the request was read to its end.
    pub(crate) fn mark_request_read(&self) {
        self.is_request_read.set(true);
        self.connection.client.set_unread(false);
        self.set_waiting_for_backend(true);
    }

    /// Returns whether the request was read to its end.
    #[must_use]
    pub(crate) fn is_request_read(&self) -> bool {
        self.is_request_read.get()
    }

    /// Sets whether the exchange waits for the backend.
    pub(crate) fn set_waiting_for_backend(&self, waiting: bool) {
        if self.waiting_for_backend.replace(waiting) != waiting {
            let before = self.connection.waiting_for_backend.get();
            let count = if waiting { before + 1 } else { before.saturating_sub(1) };
            self.connection.waiting_for_backend.set(count);
            self.connection.client.set_waiting(count > 0);
        }
    }

    /// Records that the request asks for an upgrade.
    pub(crate) fn mark_upgrading(&self) {
        self.connection.is_upgrading.set(true);
    }

    /// Makes the exchange a member of a route that is not the connection's: it is cut with that route.
    pub(crate) fn join_route(&self, membership: Membership) {
        // An exchange has one route.
        let _ = self.membership.set(Rc::new(membership));
    }

    /// Returns the exchange's own membership in a route; `None` if the connection's applies.
    #[must_use]
    pub(crate) fn membership(&self) -> Option<&Rc<Membership>> {
        self.membership.get()
    }

    /// Keeps a guard until the end of the exchange.
    pub(crate) fn keep(&self, guard: Box<dyn Any>) {
        self.kept.replace(Some(guard));
    }

    /// Returns whether the route of the exchange's own membership was cut.
    #[must_use]
    pub(crate) fn is_cut(&self) -> bool {
        self.membership.get().is_some_and(|membership| membership.watch().phase() == Phase::Cut)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.set_waiting_for_backend(false);
        self.record_progress();
        if !self.is_answered.get() {
            self.connection.record_cancellation();
        }
        self.connection.is_upgrading.set(false);
        let others = self.connection.in_flight.get().saturating_sub(1);
        self.connection.in_flight.set(others);
        if others == 0 {
            self.connection.client.set_in_flight(false);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_connection_that_waits_for_a_backend_is_not_stalled() {
        let progress =
            Progress::new(Rc::default(), LocalTasks::default(), WorkerBacklog::new(0, Counter::default()));
        let later = Instant::now() + LIMIT * 2;
        let (one, two) = (progress.begin_exchange(), progress.begin_exchange());
        assert!(!progress.is_idle() && progress.is_stalled(later, LIMIT));
        one.mark_request_read();
        assert!(!progress.is_stalled(later, LIMIT));
        one.set_waiting_for_backend(false);
        assert!(progress.is_stalled(later, LIMIT));
        two.set_waiting_for_backend(true);
        drop(two);
        assert!(progress.is_stalled(later, LIMIT) && !progress.is_stalled(Instant::now(), LIMIT));
        drop(one);
        assert!(progress.is_idle());
    }
}
