//! The one writer of the snapshot: applies a batch, swaps it in, tells the workers which routes are gone.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use rustls::server::ProducesTickets;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};
use webgateway_process::Blocker;
use webgateway_proto::model::RouteId;

use super::apply::{Applied, Complete, apply};
use crate::clock::unix_now;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// A route that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteClosed {
    /// Which.
    pub route: RouteId,
    /// Whether its connections are cut at once instead of drained.
    pub at_once: bool,
}

/// The one writer of the snapshot.
pub struct Publisher {
    snapshot: Arc<ArcSwap<Snapshot>>,
    workers: Vec<UnboundedSender<RouteClosed>>,
    tickets: Arc<dyn ProducesTickets>,
    metrics: Metrics,
    unready: Option<Blocker>,
}

impl Publisher {
    /// Writes `snapshot`; `unready` is let go with the first batch.
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        workers: Vec<UnboundedSender<RouteClosed>>,
        tickets: Arc<dyn ProducesTickets>,
        metrics: Metrics,
        unready: Blocker,
    ) -> Self {
        Self { snapshot, workers, tickets, metrics, unready: Some(unready) }
    }

    /// What is in use.
    pub fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Applies a batch as one swap; returns its version and what was rejected.
    pub fn publish(&mut self, complete: Complete) -> (u64, Vec<(String, String)>) {
        let begun = Instant::now();
        let Applied { snapshot, version, full, rejects, closed } =
            apply(&self.current(), complete, &self.tickets, unix_now());
        for (name, reason) in &rejects {
            warn!(resource = name, reason, "rejected, the last good one stays");
        }
        let (routes, certificates) = (snapshot.routes.len(), snapshot.certs.iter().count());
        self.snapshot.store(Arc::new(snapshot));
        self.metrics.feed_apply.observe(begun.elapsed());
        for (route, at_once) in closed {
            for worker in &self.workers {
                // A worker that is gone has no connections.
                let _ = worker.send(RouteClosed { route, at_once });
            }
        }
        self.metrics.feed_full_syncs.inc_by(full.into());
        self.count(version, rejects.len(), routes, certificates);
        (version, rejects)
    }

    fn count(&mut self, version: u64, rejects: usize, routes: usize, certificates: usize) {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.feed_batches.inc();
        self.metrics.feed_rejects.inc_by(rejects as u64);
        self.metrics.feed_version.set(i64::try_from(version).unwrap_or(i64::MAX));
        self.metrics.routes.set(gauge(routes));
        self.metrics.certificates.set(gauge(certificates));
        if self.unready.take().is_some() {
            info!(version, routes, certificates, "first sync done");
        }
    }
}
