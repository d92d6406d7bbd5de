//! The open connections of a worker, by route, which end when the route is removed or the process stops.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use webgateway_proto::model::RouteId;

use crate::network_limits::NetworkConnection;

/// The time that an idle connection stays open after its drain has started, so that a request in flight is answered
/// (with `connection: close` or after GOAWAY) instead of being lost.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// A removed route, and the way in which its connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClosedRoute {
    /// The route.
    pub route: RouteId,
    /// True if the connections are closed at once instead of drained.
    pub at_once: bool,
}

/// The phase of a connection's shutdown. A connection only ever moves to a greater phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The connection is open.
    Open,
    /// The connection ends after its next request, if there is one.
    Leaving,
    /// The connection ends after the requests in progress, or after [`LINGER`] if it is idle.
    Draining,
    /// The connection is closed at once.
    Cut,
}

/// The phase of a connection, for the tasks that wait for a later one.
#[derive(Debug)]
pub(crate) struct PhaseWatch {
    phase: Cell<Phase>,
    changed: Notify,
}

/// The connections of a route, by number.
type Members = HashMap<u64, Rc<PhaseWatch>>;

/// The open connections of one worker, all on its thread.
#[derive(Debug)]
pub(crate) struct Connections {
    next_number: Cell<u64>,
    /// The phase in which new connections start.
    initial: Cell<Phase>,
    by_route: RefCell<HashMap<Option<RouteId>, Members>>,
}

/// The membership of a connection, or of a request or tunnel on it, in the set of a route; ends when dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    connections: Rc<Connections>,
    route: Option<RouteId>,
    number: u64,
    watch: Rc<PhaseWatch>,
}

/// A guard that counts a connection in the metrics, against `limits.connections` and for its client's network until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    open: Gauge,
    _permit: OwnedSemaphorePermit,
    network: Option<NetworkConnection>,
}

/// Returns a number for a connection that is unique in this process, for the log.
pub(crate) fn connection_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl OpenConnection {
    /// Counts a connection that was accepted with `permit`.
    #[must_use]
    pub(crate) fn new(open: Gauge, permit: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open, _permit: permit, network: None }
    }

    /// Keeps the count for the client's network.
    pub(crate) fn keep(&mut self, network: NetworkConnection) {
        self.network = Some(network);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl PhaseWatch {
    /// Returns the current phase.
    #[must_use]
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Resolves when the phase is at least `phase`.
    pub(crate) async fn reaches(&self, phase: Phase) {
        while self.phase.get() < phase {
            // There is one thread only, so the phase cannot change between the check and the wait.
            self.changed.notified().await;
        }
    }

    /// Resolves [`LINGER`] after the start of the drain.
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
    /// Adds a connection of a route, or one without a route.
    pub(crate) fn enter(self: &Rc<Self>, route: Option<RouteId>) -> Membership {
        let watch = Rc::new(PhaseWatch { phase: self.initial.clone(), changed: Notify::new() });
        let number = self.next_number.replace(self.next_number.get() + 1);
        self.by_route.borrow_mut().entry(route).or_default().insert(number, Rc::clone(&watch));
        Membership { connections: Rc::clone(self), route, number, watch }
    }

    /// Moves the connections of a route to `phase`.
    pub(crate) fn end_route(&self, route: RouteId, phase: Phase) {
        if let Some(members) = self.by_route.borrow().get(&Some(route)) {
            members.values().for_each(|watch| watch.advance(phase));
        }
    }

    /// Closes the connections of a route that are draining; newer ones stay open.
    pub(crate) fn end_draining(&self, route: RouteId) {
        if let Some(members) = self.by_route.borrow().get(&Some(route)) {
            let draining = members.values().filter(|watch| watch.phase() == Phase::Draining);
            draining.for_each(|watch| watch.advance(Phase::Cut));
        }
    }

    /// Starts or ends the phase [`Phase::Leaving`] for new connections; when it starts, the open ones enter it too. New
    /// connections are still accepted.
    pub(crate) fn set_leaving(&self, leave: bool) {
        if self.initial.get() > Phase::Leaving {
            return;
        }
        if leave {
            return self.end_all(Phase::Leaving);
        }
        self.initial.set(Phase::Open);
    }

    /// Moves all connections to `phase`, and new ones start in it.
    pub(crate) fn end_all(&self, phase: Phase) {
        self.initial.set(phase.max(self.initial.get()));
        for members in self.by_route.borrow().values() {
            members.values().for_each(|watch| watch.advance(phase));
        }
    }

    /// Returns the routes that have open connections.
    #[must_use]
    pub(crate) fn routes(&self) -> Vec<RouteId> {
        self.by_route.borrow().keys().copied().flatten().collect()
    }

    /// Returns the number of open connections of a route.
    #[must_use]
    pub(crate) fn count(&self, route: RouteId) -> u64 {
        self.by_route.borrow().get(&Some(route)).map_or(0, |members| members.len() as u64)
    }

    /// Returns whether there are no connections.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_route.borrow().is_empty()
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self { next_number: Cell::default(), initial: Cell::new(Phase::Open), by_route: RefCell::default() }
    }
}

impl Membership {
    /// Returns the route, if there is one.
    #[must_use]
    pub(crate) fn route(&self) -> Option<RouteId> {
        self.route
    }

    /// Returns the phase of this member.
    #[must_use]
    pub(crate) fn watch(&self) -> &Rc<PhaseWatch> {
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
    async fn only_the_connections_of_the_removed_route_end() {
        let connections = Rc::new(Connections::default());
        let (one, two) = (connections.enter(Some(id(1))), connections.enter(Some(id(2))));
        connections.end_route(id(1), Phase::Draining);
        one.watch().reaches(Phase::Draining).await;
        assert_eq!(two.watch().phase(), Phase::Open);
        connections.end_all(Phase::Cut);
        connections.end_route(id(2), Phase::Draining);
        assert_eq!(two.watch().phase(), Phase::Cut, "a phase never goes back");
        drop((one, two));
        assert!(connections.is_empty());
    }

    #[test]
    fn new_connections_are_asked_to_leave_while_the_node_drains() {
        let connections = Rc::new(Connections::default());
        let early = connections.enter(Some(id(1)));
        connections.set_leaving(true);
        let late = connections.enter(None);
        assert_eq!([&early, &late].map(|m| m.watch().phase()), [Phase::Leaving; 2]);
        connections.set_leaving(false);
        assert_eq!(late.watch().phase(), Phase::Leaving, "a phase never goes back");
        assert_eq!(connections.enter(None).watch().phase(), Phase::Open);
        connections.end_all(Phase::Draining);
        connections.set_leaving(false);
        assert_eq!(
            connections.enter(None).watch().phase(),
            Phase::Draining,
            "the end of a drain does not undo a stop"
        );
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
