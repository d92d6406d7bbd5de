//! The only writer of the snapshot: applies a batch, swaps the snapshot, and tells the workers which routes were
//! removed.

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
use crate::connections::ClosedRoute;
use crate::metrics::Metrics;
use crate::ready::ReadyGate;
use crate::snapshot::Snapshot;
use crate::tickets::Tickets;

/// The only writer of the snapshot.
pub(crate) struct Publisher {
    snapshot: Arc<ArcSwap<Snapshot>>,
    workers: Vec<UnboundedSender<ClosedRoute>>,
    tickets: Arc<Tickets>,
    metrics: Metrics,
    gate: ReadyGate,
    cache: Option<Cache>,
    version: u64,
}

/// A batch that is in use.
#[derive(Debug)]
pub(crate) struct PublishedBatch {
    /// The version after the batch.
    pub version: u64,
    /// The resources of the batch that could not be used.
    pub rejections: Vec<Rejection>,
    /// Resolves when the batch is in the cache, or cannot be stored; `None` without a cache.
    pub persisted: Option<oneshot::Receiver<()>>,
}

impl Publisher {
    /// Returns the writer of `snapshot`; `gate` opens with the first batch.
    pub(crate) fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        workers: Vec<UnboundedSender<ClosedRoute>>,
        tickets: Arc<Tickets>,
        metrics: Metrics,
        gate: ReadyGate,
    ) -> Self {
        Self { snapshot, workers, tickets, metrics, gate, cache: None, version: 0 }
    }

    /// Stores every batch in `cache` from now on, and serves the snapshot that was `restored` from it.
    pub(crate) fn start_from_cache(&mut self, cache: Cache, restored: Option<RestoredCache>) {
        self.cache = Some(cache);
        let Some(RestoredCache { snapshot, at }) = restored else { return };
        let version = snapshot.held.as_ref().map_or(0, |held| held.version);
        self.metrics.config_age.confirmed(at);
        info!(version, age = unix_now() - at, "serving the cached snapshot until the feed is connected");
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

    /// Applies a batch by one swap of the snapshot.
    pub(crate) fn publish(&mut self, batch: CompleteBatch) -> PublishedBatch {
        let (current, now) = (self.current(), unix_now());
        let record = self.cache.as_ref().map(|_| CacheRecord::new(&batch, now));
        let tickets: Arc<dyn ProducesTickets> = Arc::clone(&self.tickets) as _;
        let started = Instant::now();
        let ApplyOutcome { snapshot, version, full, rejections, not_yet_valid, closed_routes } =
            apply(&current, batch, &tickets, now);
        if let Some(first) = not_yet_valid.first() {
            let certificates = not_yet_valid.len();
            warn!(
                certificates, %first,
                "certificates not valid yet by this machine's clock, served once they are: check the clock"
            );
        }
        for Rejection { resource, reason } in &rejections {
            warn!(resource, reason, "resource rejected, keeping its last good version");
        }
        let snapshot = Arc::new(snapshot);
        self.serve(Arc::clone(&snapshot), version);
        self.metrics.feed_apply.observe(started.elapsed());
        for route in closed_routes {
            for worker in &self.workers {
                // Sending fails only after the worker has ended, and its connections with it.
                let _ = worker.send(route);
            }
        }
        self.metrics.feed_batches.inc();
        self.metrics.feed_full_syncs.inc_by(full.into());
        self.metrics.feed_rejects.inc_by(rejections.len() as u64);
        self.metrics.config_age.confirmed(now);
        let persisted = self.cache.as_ref().zip(record).map(|(cache, record)| cache.store(record, snapshot));
        PublishedBatch { version, rejections, persisted }
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
        if self.gate.open(&snapshot, unix_now()) {
            info!(version, routes, certificates, "first snapshot in use");
        }
    }
}
