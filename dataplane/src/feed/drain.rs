//! The drain directive of the operator: a draining node is not ready, and asks its clients to reconnect elsewhere.

use tokio::sync::watch;
use tracing::info;
use webgateway_process::{Blocker, Readiness};

/// The drain state of this node. A draining node still accepts connections; losing the controlplane does not end a
/// drain.
#[derive(Debug)]
pub(crate) struct DrainState {
    readiness: Readiness,
    /// Blocks readiness while the node drains.
    blocker: Option<Blocker>,
    workers: watch::Sender<bool>,
}

impl DrainState {
    /// Returns the state of a node that does not drain; while it does, it blocks `readiness`.
    #[must_use]
    pub(crate) fn new(readiness: Readiness) -> Self {
        Self { readiness, blocker: None, workers: watch::Sender::new(false) }
    }

    /// Returns a receiver of whether the node drains, for a worker.
    #[must_use]
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.workers.subscribe()
    }

    /// Returns whether the node drains.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.blocker.is_some()
    }

    /// Starts or ends the drain.
    pub(crate) fn set(&mut self, drain: bool) {
        if drain == self.is_draining() {
            return;
        }
        info!("{}", if drain { "drain started" } else { "drain ended" });
        // Readiness changes first, so that a load balancer that asks now sends no more clients to this node.
        self.blocker = drain.then(|| self.readiness.block("the operator: this node drains"));
        self.workers.send_replace(drain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_node_is_not_ready_until_the_drain_ends() {
        let readiness = Readiness::new();
        let mut drain = DrainState::new(readiness.clone());
        let receiver = drain.subscribe();
        drain.set(true);
        drain.set(true);
        assert!(drain.is_draining() && *receiver.borrow() && !readiness.is_ready());
        drain.set(false);
        assert!(!drain.is_draining() && !*receiver.borrow() && readiness.is_ready());
    }
}
