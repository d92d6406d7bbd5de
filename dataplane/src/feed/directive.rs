//! The operator's directive: a node that is told to drain is not ready, and asks its clients to go.

use tokio::sync::watch;
use tracing::info;
use webgateway_process::{Blocker, Readiness};

/// The drain of this node. No client is refused by it, and losing the controlplane does not undo it.
#[derive(Debug)]
pub(crate) struct Drain {
    readiness: Readiness,
    unready: Option<Blocker>,
    workers: watch::Sender<bool>,
}

impl Drain {
    /// Does not drain; what drains is not `readiness`.
    #[must_use]
    pub(crate) fn new(readiness: Readiness) -> Self {
        Self { readiness, unready: None, workers: watch::Sender::new(false) }
    }

    /// Returns, for a worker, whether its clients are asked to go.
    #[must_use]
    pub(crate) fn asked(&self) -> watch::Receiver<bool> {
        self.workers.subscribe()
    }

    /// Returns whether it drains.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.unready.is_some()
    }

    /// Drains, or no longer does.
    pub(crate) fn obey(&mut self, drain: bool) {
        if drain == self.is_on() {
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
        let mut drain = Drain::new(readiness.clone());
        let asked = drain.asked();
        drain.obey(true);
        drain.obey(true);
        assert!(drain.is_on() && *asked.borrow() && !readiness.is_ready());
        drain.obey(false);
        assert!(!drain.is_on() && !*asked.borrow() && readiness.is_ready());
    }
}
