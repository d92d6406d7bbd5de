//! Which connections of a worker are open, and for which route: what a stop or a removed route ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use webgateway_proto::model::RouteId;

/// How long a draining connection that is idle stays open: a request that is on its way comes within it, and is
/// answered with a goodbye instead of being lost.
pub const LINGER: Duration = Duration::from_secs(1);

/// How a connection is to end. The order counts: it only ever goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is not.
    Open,
    /// After its next request, if there is one.
    Leaving,
    /// After what is under way or on its way.
    Draining,
    /// At once.
    Cut,
}

/// What a connection watches to know when it is to end.
#[derive(Debug)]
pub struct Watch {
    phase: Cell<Phase>,
    changed: Notify,
}

/// Connections by number.
type Members = HashMap<u64, Rc<Watch>>;

/// The open connections of one worker. Everything here is of one thread.
#[derive(Debug)]
pub struct Connections {
    next: Cell<u64>,
    /// How those that come from now on are to end.
    arriving: Cell<Phase>,
    by_route: RefCell<HashMap<Option<RouteId>, Members>>,
}

/// An open connection, or what of it belongs to a route; closed when dropped.
#[derive(Debug)]
pub struct Membership {
    connections: Rc<Connections>,
    route: Option<RouteId>,
    number: u64,
    watch: Rc<Watch>,
}

impl Watch {
    /// How the connection is to end by now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Resolves when the phase is at least `phase`.
    pub async fn reaches(&self, phase: Phase) {
        while self.phase.get() < phase {
            // One thread: nothing comes between the look and the wait.
            self.changed.notified().await;
        }
    }

    /// Resolves [`LINGER`] after the drain began.
    pub async fn lingered(&self) {
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
    /// Enters a connection of a route, or of none.
    pub fn enter(self: &Rc<Self>, route: Option<RouteId>) -> Membership {
        let watch = Rc::new(Watch { phase: self.arriving.clone(), changed: Notify::new() });
        let number = self.next.replace(self.next.get() + 1);
        self.by_route.borrow_mut().entry(route).or_default().insert(number, Rc::clone(&watch));
        Membership { connections: Rc::clone(self), route, number, watch }
    }

    /// Ends the connections of a route.
    pub fn end_route(&self, route: RouteId, phase: Phase) {
        if let Some(members) = self.by_route.borrow().get(&Some(route)) {
            members.values().for_each(|watch| watch.advance(phase));
        }
    }

    /// Cuts those connections of a route that were told to drain; one that came since stays.
    pub fn end_draining(&self, route: RouteId) {
        if let Some(members) = self.by_route.borrow().get(&Some(route)) {
            let draining = members.values().filter(|watch| watch.phase() == Phase::Draining);
            draining.for_each(|watch| watch.advance(Phase::Cut));
        }
    }

    /// Asks visitors to go, those that come later too; or no longer does. Nobody is refused.
    pub fn leave(&self, leave: bool) {
        if self.arriving.get() > Phase::Leaving {
            return;
        }
        if leave {
            return self.end_all(Phase::Leaving);
        }
        self.arriving.set(Phase::Open);
    }

    /// Ends all, and those that come later too.
    pub fn end_all(&self, phase: Phase) {
        self.arriving.set(phase.max(self.arriving.get()));
        for members in self.by_route.borrow().values() {
            members.values().for_each(|watch| watch.advance(phase));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_route.borrow().values().map(HashMap::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_route.borrow().is_empty()
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self { next: Cell::default(), arriving: Cell::new(Phase::Open), by_route: RefCell::default() }
    }
}

impl Membership {
    /// What to watch.
    #[must_use]
    pub fn watch(&self) -> &Rc<Watch> {
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
    fn who_comes_while_visitors_are_asked_to_go_is_asked_too() {
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
}
