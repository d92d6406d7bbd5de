//! The open connections of a worker by route: a stop or a removed route ends them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use webgateway_proto::model::RouteId;

/// The time a draining connection that is idle stays open: a request that is on its way comes within it, and is
/// answered with a goodbye instead of being lost.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// A route that is gone, and how its connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteClosed {
    /// The route.
    pub route: RouteId,
    /// Tells whether its connections are cut at once instead of drained.
    pub at_once: bool,
}

/// The stage of a connection's end. The order counts: it only ever goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// No end is in sight.
    Open,
    /// After its next request, if there is one.
    Leaving,
    /// After what is under way or on its way.
    Draining,
    /// At once.
    Cut,
}

/// The phase of a connection, to be watched by its tasks.
#[derive(Debug)]
pub(crate) struct Watch {
    phase: Cell<Phase>,
    changed: Notify,
}

/// Connections by number.
type Members = HashMap<u64, Rc<Watch>>;

/// The open connections of one worker. Everything here is of one thread.
#[derive(Debug)]
pub(crate) struct Connections {
    next: Cell<u64>,
    /// The phase of those that come from now on.
    arriving: Cell<Phase>,
    by_route: RefCell<HashMap<Option<RouteId>, Members>>,
}

/// An entry of a connection, or of a request or tunnel of it, among those of a route; removed when dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    connections: Rc<Connections>,
    route: Option<RouteId>,
    number: u64,
    watch: Rc<Watch>,
}

/// A connection that counts as open in the metrics and against `limits.connections` until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

/// Returns a number for a connection that no other one of the process has, for the log.
pub(crate) fn connection_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl OpenConnection {
    /// Counts a connection that was let in by `permit`.
    #[must_use]
    pub(crate) fn new(open: Gauge, permit: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open, _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Watch {
    /// The phase by now.
    #[must_use]
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Resolves when the phase is at least `phase`.
    pub(crate) async fn reaches(&self, phase: Phase) {
        while self.phase.get() < phase {
            // One thread: nothing comes between the look and the wait.
            self.changed.notified().await;
        }
    }

    /// Resolves [`LINGER`] after the drain began.
    pub(crate) async fn lingered(&self) {
        self.reaches(Phase::Draining).await;
        tokio::time::sleep(LINGER).await;
    }

    fn advance(&self, phase: Phase) {
        if self.phase.get() < phase {
            self.phase.set(phase);
            self.changed.notify_waiters();
        }
    }
}

impl Connections {
    /// Adds a connection of a route, or of none.
    pub(crate) fn enter(self: &Rc<Self>, route: Option<RouteId>) -> Membership {
        let watch = Rc::new(Watch { phase: self.arriving.clone(), changed: Notify::new() });
        let number = self.next.replace(self.next.get() + 1);
        self.by_route.borrow_mut().entry(route).or_default().insert(number, Rc::clone(&watch));
        Membership { connections: Rc::clone(self), route, number, watch }
    }

    /// Ends the connections of a route.
    pub(crate) fn end_route(&self, route: RouteId, phase: Phase) {
        if let Some(members) = self.by_route.borrow().get(&Some(route)) {
            members.values().for_each(|watch| watch.advance(phase));
        }
    }

    /// Cuts those connections of a route that were told to drain; one that came since stays.
    pub(crate) fn end_draining(&self, route: RouteId) {
        if let Some(members) = self.by_route.borrow().get(&Some(route)) {
            let draining = members.values().filter(|watch| watch.phase() == Phase::Draining);
            draining.for_each(|watch| watch.advance(Phase::Cut));
        }
    }

    /// Asks clients to go, those that come later too; or no longer does. Nobody is refused.
    pub(crate) fn leave(&self, leave: bool) {
        if self.arriving.get() > Phase::Leaving {
            return;
        }
        if leave {
            return self.end_all(Phase::Leaving);
        }
        self.arriving.set(Phase::Open);
    }

    /// Ends all, and those that come later too.
    pub(crate) fn end_all(&self, phase: Phase) {
        self.arriving.set(phase.max(self.arriving.get()));
        for members in self.by_route.borrow().values() {
            members.values().for_each(|watch| watch.advance(phase));
        }
    }

    /// Returns whether there is no entry.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_route.borrow().is_empty()
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self { next: Cell::default(), arriving: Cell::new(Phase::Open), by_route: RefCell::default() }
    }
}

impl Membership {
    /// The route, if it is one of a route.
    #[must_use]
    pub(crate) fn route(&self) -> Option<RouteId> {
        self.route
    }

    /// The phase to watch.
    #[must_use]
    pub(crate) fn watch(&self) -> &Rc<Watch> {
        &self.watch
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut by_route = self.connections.by_route.borrow_mut();
        if let Some(members) = by_route.get_mut(&self.route) {
            members.remove(&self.number);
            if members.is_empty() {
                by_route.remove(&self.route);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn id(n: u8) -> RouteId {
        RouteId::from_bytes([n; 16])
    }

    #[tokio::test]
    async fn only_the_routes_own_connections_end() {
        let connections = Rc::new(Connections::default());
        let (one, two) = (connections.enter(Some(id(1))), connections.enter(Some(id(2))));
        connections.end_route(id(1), Phase::Draining);
        one.watch().reaches(Phase::Draining).await;
        assert_eq!(two.watch().phase(), Phase::Open);
        connections.end_all(Phase::Cut);
        connections.end_route(id(2), Phase::Draining);
        assert_eq!(two.watch().phase(), Phase::Cut, "never back");
        drop((one, two));
        assert!(connections.is_empty());
    }

    #[test]
    fn a_client_that_comes_while_others_are_asked_to_go_is_asked_too() {
        let connections = Rc::new(Connections::default());
        let early = connections.enter(Some(id(1)));
        connections.leave(true);
        let late = connections.enter(None);
        assert_eq!([&early, &late].map(|m| m.watch().phase()), [Phase::Leaving; 2]);
        connections.leave(false);
        assert_eq!(late.watch().phase(), Phase::Leaving, "never back");
        assert_eq!(connections.enter(None).watch().phase(), Phase::Open);
        connections.end_all(Phase::Draining);
        connections.leave(false);
        assert_eq!(connections.enter(None).watch().phase(), Phase::Draining, "a stop is not undone");
    }

    #[test]
    fn a_connection_counts_until_it_is_dropped() {
        let (open, permits) = (Gauge::default(), Arc::new(Semaphore::new(1)));
        let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
        let connection = OpenConnection::new(open.clone(), permit);
        assert_eq!((open.get(), permits.available_permits()), (1, 0));
        drop(connection);
        assert_eq!((open.get(), permits.available_permits()), (0, 1));
    }
}
