//! The progress of requests and responses: it tells a stalled client from one that waits for a backend.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::Instant;
use webgateway_process::LocalTasks;
use webgateway_process::client_io::{ClientState, discard};

use super::backlog::{ResponseBacklog, WorkerBacklog};
use super::timer::{IdleTimer, Timer};
use crate::clock::Coarse;
use crate::connections::{Membership, Phase};
use crate::trailers::TrailerSlot;

/// The time that a client which has sent its end waits for an answer without a byte of it.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(30);

/// The requests that a client may cancel at once, before they are answered, and the time in which it may another one
/// (CVE-2023-44487).
pub(crate) const CANCEL_BURST: u32 = 512;
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// The exchanges of one connection, taken together.
pub(crate) struct Progress {
    in_flight: Cell<u32>,
    begun: Cell<u64>,
    waiting_for_backend: Cell<u32>,
    is_upgrading: Cell<bool>,
    last: Cell<Instant>,
    /// The time at which all cancelled requests are made up for.
    cancelled_until: Cell<Instant>,
    clock: Rc<Coarse>,
    tasks: LocalTasks,
    /// The same, as far as the connection's input and output need it.
    client: Arc<ClientState>,
    /// The trailers of the answer that is sent over HTTP/1.1.
    trailers: TrailerSlot,
    worker_backlog: Rc<WorkerBacklog>,
    /// The bytes of it that the connection as a whole holds.
    unsent: Cell<usize>,
    /// The responses that are read on when the client takes something.
    blocked: RefCell<Vec<Rc<ResponseBacklog>>>,
    timer: IdleTimer,
}

/// One request and its response, bodies included; ends when dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Rc<Progress>,
    waiting_for_backend: Cell<bool>,
    mark_request_read: Cell<bool>,
    answered: Cell<bool>,
    last: Cell<Instant>,
    /// Its own among those of a route, unless the connection's is of that route.
    membership: OnceCell<Rc<Membership>>,
}

/// A wait for the cut of an exchange's route. It takes no memory until there is one to wait for.
#[derive(Default)]
pub(crate) struct CutWait(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Progress {
    /// A connection without exchanges.
    #[must_use]
    pub(crate) fn new(clock: Rc<Coarse>, tasks: LocalTasks, worker_backlog: Rc<WorkerBacklog>) -> Rc<Self> {
        let last = Cell::new(clock.now());
        let (in_flight, waiting_for_backend) = (Cell::new(0), Cell::new(0));
        let (begun, is_upgrading) = (Cell::new(0), Cell::new(false));
        let (client, cancelled_until) = (Arc::default(), last.clone());
        Rc::new(Self {
            in_flight,
            begun,
            waiting_for_backend,
            is_upgrading,
            last,
            cancelled_until,
            clock,
            tasks,
            client,
            trailers: TrailerSlot::default(),
            worker_backlog,
            unsent: Cell::new(0),
            blocked: RefCell::default(),
            timer: IdleTimer::default(),
        })
    }

    /// A request begins.
    #[must_use]
    pub(crate) fn begin_exchange(self: &Rc<Self>) -> Rc<Exchange> {
        let now = self.clock.now();
        self.in_flight.set(self.in_flight.get() + 1);
        self.begun.set(self.begun.get() + 1);
        self.last.set(now);
        self.client.set_in_flight(true);
        Rc::new(Exchange {
            connection: Rc::clone(self),
            waiting_for_backend: Cell::new(false),
            mark_request_read: Cell::new(false),
            answered: Cell::new(false),
            last: Cell::new(now),
            membership: OnceCell::new(),
        })
    }

    /// Returns the number of requests that have begun so far.
    #[must_use]
    pub(crate) fn request_count(&self) -> u64 {
        self.begun.get()
    }

    /// Returns whether no request is under way.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// Returns whether an upgrade was asked for and is not answered yet.
    #[must_use]
    pub(crate) fn is_upgrading(&self) -> bool {
        self.is_upgrading.get()
    }

    /// Returns what is known of the client's input and output.
    pub(crate) fn client(&self) -> &Arc<ClientState> {
        &self.client
    }

    /// Returns the trailers of the answer that is sent over HTTP/1.1.
    pub(crate) fn trailers(&self) -> &TrailerSlot {
        &self.trailers
    }

    /// Counts what the client has not taken, and has its responses read on once it has taken all. To be called after the
    /// connection was polled.
    pub(crate) fn update_backlog(&self) {
        let unsent = self.client.blocked();
        self.worker_backlog.replace(self.unsent.replace(unsent), unsent);
        if unsent == 0 {
            for held in self.blocked.take() {
                held.wake();
            }
        }
    }

    /// Takes note that the client has taken something.
    pub(crate) fn record_progress(&self) {
        self.last.set(self.clock.now());
    }

    /// Returns whether the client has sent its end, and nothing has moved for [`HALF_CLOSED_TIMEOUT`]. By then it is most
    /// likely gone: from a full close an end differs only in the client's answer to bytes that it is sent.
    #[must_use]
    pub(crate) fn is_abandoned(&self, now: Instant) -> bool {
        self.client.has_input_ended() && now.saturating_duration_since(self.last.get()) > HALF_CLOSED_TIMEOUT
    }

    /// Returns whether the client cancels requests as no honest one does: a page's at once, but not page after page.
    #[must_use]
    pub(crate) fn is_flooding(&self) -> bool {
        let ahead = self.cancelled_until.get().saturating_duration_since(self.clock.now());
        ahead > CANCEL_INTERVAL * CANCEL_BURST
    }

    fn record_cancellation(&self) {
        self.cancelled_until.set(self.cancelled_until.get().max(self.clock.now()) + CANCEL_INTERVAL);
    }

    /// Reads the rest of a request in which nobody is interested any more.
    pub(crate) fn discard(&self, body: Incoming) {
        self.tasks.spawn("request discard", discard(body, Arc::clone(&self.client)));
    }

    /// Returns whether nothing has moved for `limit`, and it is not because of a backend.
    #[must_use]
    pub(crate) fn is_stalled(&self, now: Instant, limit: Duration) -> bool {
        self.waiting_for_backend.get() == 0 && now.saturating_duration_since(self.last.get()) > limit
    }
}

impl Exchange {
    /// Returns whether the client takes nothing just now of what is to be sent.
    #[must_use]
    pub(crate) fn is_client_blocked(&self) -> bool {
        self.connection.client.blocked() > 0
    }

    /// Has the task that waits for `held` woken when the client takes something.
    pub(crate) fn wait_for_client(&self, held: &Rc<ResponseBacklog>) {
        let mut blocked = self.connection.blocked.borrow_mut();
        if !blocked.iter().any(|other| Rc::ptr_eq(other, held)) {
            blocked.push(Rc::clone(held));
        }
    }

    /// Returns the count of what its worker holds.
    #[must_use]
    pub(crate) fn worker_backlog(&self) -> &Rc<WorkerBacklog> {
        &self.connection.worker_backlog
    }

    /// Takes note that something moved.
    pub(crate) fn record_progress(&self) {
        let now = self.connection.clock.now();
        self.last.set(now);
        self.connection.last.set(now);
    }

    /// Takes note that there is a response.
    pub(crate) fn mark_answered(&self) {
        self.answered.set(true);
    }

    /// Returns a timer that fires at `deadline`.
    pub(crate) fn timer(&self, deadline: Instant) -> Timer<'_> {
        Timer::start(&self.connection.timer, deadline)
    }

    /// The moment at which something last moved.
    #[must_use]
    pub(crate) fn last_progress(&self) -> Instant {
        self.last.get()
    }

    /// Takes note that the whole request was read.
    pub(crate) fn mark_request_read(&self) {
        self.mark_request_read.set(true);
        self.connection.client.set_unread(false);
        self.set_waiting_for_backend(true);
    }

    /// Returns whether the whole request was read.
    #[must_use]
    pub(crate) fn is_request_read(&self) -> bool {
        self.mark_request_read.get()
    }

    /// Takes note whether it is the backend's turn.
    pub(crate) fn set_waiting_for_backend(&self, waiting: bool) {
        if self.waiting_for_backend.replace(waiting) != waiting {
            let others = self.connection.waiting_for_backend.get();
            let now = if waiting { others + 1 } else { others.saturating_sub(1) };
            self.connection.waiting_for_backend.set(now);
            self.connection.client.set_waiting(now > 0);
        }
    }
}

impl Exchange {
    /// Takes note that the request asks for an upgrade.
    pub(crate) fn mark_upgrading(&self) {
        self.connection.is_upgrading.set(true);
    }

    /// Makes the exchange end with the route of `membership`, which is not that of its connection.
    pub(crate) fn join_route(&self, membership: Membership) {
        // An exchange has one route.
        let _ = self.membership.set(Rc::new(membership));
    }

    /// Its own entry among those of a route; `None` if that of the connection holds for it.
    #[must_use]
    pub(crate) fn membership(&self) -> Option<&Rc<Membership>> {
        self.membership.get()
    }

    /// Returns whether its route was cut, be the connection another's.
    #[must_use]
    pub(crate) fn is_cut(&self) -> bool {
        self.membership.get().is_some_and(|membership| membership.watch().phase() == Phase::Cut)
    }
}

impl CutWait {
    /// Resolves when the route of `exchange` is cut; never if the connection is of the same route.
    pub(crate) fn poll(&mut self, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<()> {
        let Some(membership) = exchange.membership.get() else { return Poll::Pending };
        let wait = self.0.get_or_insert_with(|| {
            let watch = Rc::clone(membership.watch());
            Box::pin(async move { watch.reaches(Phase::Cut).await })
        });
        wait.as_mut().poll(cx)
    }
}

impl fmt::Debug for CutWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CutWait").field(&self.0.is_some()).finish()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.worker_backlog.replace(self.unsent.get(), 0);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.set_waiting_for_backend(false);
        self.record_progress();
        if !self.answered.get() {
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
    use std::task::Waker;

    use webgateway_proto::model::RouteId;

    use super::*;
    use crate::connections::Connections;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_connection_stalls_only_when_no_backend_is_waited_for() {
        let progress = Progress::new(Rc::default(), LocalTasks::default(), Rc::default());
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

    #[tokio::test]
    async fn an_exchange_of_another_route_is_cut_with_that_route() {
        let (progress, connections) = (
            Progress::new(Rc::default(), LocalTasks::default(), Rc::default()),
            Rc::new(Connections::default()),
        );
        let (own, other) = (progress.begin_exchange(), progress.begin_exchange());
        let route = RouteId::from_bytes([1; 16]);
        other.join_route(connections.enter(Some(route)));
        let (mut of_own, mut of_other) = (CutWait::default(), CutWait::default());
        let poll = |wait: &mut CutWait, exchange: &Exchange| {
            wait.poll(exchange, &mut Context::from_waker(Waker::noop())).is_ready()
        };
        assert!(!poll(&mut of_own, &own) && !poll(&mut of_other, &other));
        connections.end_route(route, Phase::Draining);
        assert!(!poll(&mut of_other, &other) && !other.is_cut());
        connections.end_draining(route);
        assert!(poll(&mut of_other, &other) && other.is_cut());
        assert!(!poll(&mut of_own, &own) && !own.is_cut());
        drop(other);
        assert!(connections.is_empty());
    }
}
