//! The operator's directive: a node that is told to drain is not ready, and asks its clients to go.

use tokio::sync::watch;
use tracing::info;
use webgateway_process::{Blocker, Readiness};

/// The drain of this node. No client is refused by it, and losing the controlplane does not undo it.
#[derive(Debug)]
pub(crate) struct DrainState {
    readiness: Readiness,
    unready: Option<Blocker>,
    workers: watch::Sender<bool>,
}

impl DrainState {
    /// Does not drain; what drains is not `readiness`.
    #[must_use]
    pub(crate) fn new(readiness: Readiness) -> Self {
        Self { readiness, unready: None, workers: watch::Sender::new(false) }
    }

    /// Returns, for a worker, whether its clients are asked to go.
    #[must_use]
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.workers.subscribe()
    }

    /// Returns whether it drains.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.unready.is_some()
    }

    /// Drains, or no longer does.
    pub(crate) fn set(&mut self, drain: bool) {
        if drain == self.is_draining() {
            return;
        }
        info!(drain, "as the operator wants it");
        // Not ready comes first: who looks sends nobody here any more.
        self.unready = drain.then(|| self.readiness.block("the operator: this node drains"));
        self.workers.send_replace(drain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_drains_is_not_ready_until_that_is_undone() {
        let readiness = Readiness::new();
        let mut drain = DrainState::new(readiness.clone());
        let asked = drain.subscribe();
        drain.set(true);
        drain.set(true);
        assert!(drain.is_draining() && *asked.borrow() && !readiness.is_ready());
        drain.set(false);
        assert!(!drain.is_draining() && !*asked.borrow() && readiness.is_ready());
    }
}
