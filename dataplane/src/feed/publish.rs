//! The one writer of the snapshot: applies a batch, swaps it in, tells the workers which routes are gone.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use rustls::server::ProducesTickets;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::apply::{ApplyOutcome, CompleteBatch, Rejection, apply};
use super::cache::{Cache, CacheRecord, RestoredCache};
use crate::clock::unix_now;
use crate::connections::RouteClosed;
use crate::metrics::Metrics;
use crate::ready::ReadyGate;
use crate::snapshot::Snapshot;
use crate::tickets::Tickets;

/// The one writer of the snapshot.
pub(crate) struct Publisher {
    snapshot: Arc<ArcSwap<Snapshot>>,
    workers: Vec<UnboundedSender<RouteClosed>>,
    tickets: Arc<Tickets>,
    metrics: Metrics,
    gate: ReadyGate,
    cache: Option<Cache>,
    version: u64,
}

/// The outcome of a batch.
#[derive(Debug)]
pub(crate) struct PublishedBatch {
    /// The version that it stands at.
    pub version: u64,
    /// The resources that could not be used.
    pub rejects: Vec<Rejection>,
    /// Resolves when it is in the cache, or cannot be; `None` without a cache.
    pub kept: Option<oneshot::Receiver<()>>,
}

impl Publisher {
    /// Writes `snapshot`; `gate` opens with the first batch.
    pub(crate) fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        workers: Vec<UnboundedSender<RouteClosed>>,
        tickets: Arc<Tickets>,
        metrics: Metrics,
        gate: ReadyGate,
    ) -> Self {
        Self { snapshot, workers, tickets, metrics, gate, cache: None, version: 0 }
    }

    /// Keeps every batch in `cache` from now on, and serves what was in it.
    pub(crate) fn start_from_cache(&mut self, cache: Cache, restored: Option<RestoredCache>) {
        self.cache = Some(cache);
        let Some(RestoredCache { snapshot, at }) = restored else { return };
        let version = snapshot.held.as_ref().map_or(0, |held| held.version);
        self.metrics.config_age.confirmed(at);
        info!(version, age = unix_now() - at, "serving what is cached until the controlplane is there");
        self.serve(Arc::new(snapshot), version);
    }

    /// Returns the snapshot in use.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Returns the version of the last batch, whether or not all of it could be used.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Applies a batch as one swap.
    pub(crate) fn publish(&mut self, complete: CompleteBatch) -> PublishedBatch {
        let (current, now) = (self.current(), unix_now());
        let record = self.cache.as_ref().map(|_| CacheRecord::new(&complete, now));
        let tickets: Arc<dyn ProducesTickets> = Arc::clone(&self.tickets) as _;
        let begun = Instant::now();
        let ApplyOutcome { snapshot, version, full, rejects, not_begun, closed } =
            apply(&current, complete, &tickets, now);
        if let Some(first) = not_begun.first() {
            let certificates = not_begun.len();
            warn!(certificates, %first, "not valid yet by this machine's clock, served once they are: check the clock");
        }
        for Rejection { resource, reason } in &rejects {
            warn!(resource, reason, "rejected, the last good one stays");
        }
        let snapshot = Arc::new(snapshot);
        self.serve(Arc::clone(&snapshot), version);
        self.metrics.feed_apply.observe(begun.elapsed());
        for closed in closed {
            for worker in &self.workers {
                // A worker that is gone has no connections.
                let _ = worker.send(closed);
            }
        }
        self.metrics.feed_batches.inc();
        self.metrics.feed_full_syncs.inc_by(full.into());
        self.metrics.feed_rejects.inc_by(rejects.len() as u64);
        self.metrics.config_age.confirmed(now);
        let kept = self.cache.as_ref().zip(record).map(|(cache, record)| cache.keep(record, snapshot));
        PublishedBatch { version, rejects, kept }
    }

    fn serve(&mut self, snapshot: Arc<Snapshot>, version: u64) {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let (routes, certificates) = (snapshot.routes.len(), snapshot.certs.len());
        if let Some(keys) = &snapshot.ticket_keys
            && self.current().ticket_keys.as_ref().is_none_or(|old| !Arc::ptr_eq(old, keys))
        {
            self.tickets.share(keys);
        }
        self.version = version;
        self.snapshot.store(Arc::clone(&snapshot));
        self.metrics.feed_version.set(i64::try_from(version).unwrap_or(i64::MAX));
        self.metrics.routes.set(gauge(routes));
        self.metrics.certificates.set(gauge(certificates));
        if self.gate.synced(&snapshot, unix_now()) {
            info!(version, routes, certificates, "ready to serve");
        }
    }
}
