//! The status line of the node, for `systemctl status`.

use tokio::sync::watch;
use webgateway_process::Stop;

use crate::metrics::{Metrics, WorkerMetrics};

/// The sources of the status line.
#[derive(Clone)]
pub(crate) struct Status {
    /// The node's metrics.
    pub metrics: Metrics,
    /// The workers' metrics.
    pub workers: Vec<WorkerMetrics>,
    /// True while the operator drains the node.
    pub draining: watch::Receiver<bool>,
    /// The stop signal of the process.
    pub stop: Stop,
}

impl Status {
    /// Formats the line, such as `serving: version 12, 340 routes, 17 connections, feed connected`.
    #[must_use]
    pub(crate) fn line(&self) -> String {
        let doing = match (self.stop.is_stopping(), *self.draining.borrow()) {
            (true, _) => "stopping",
            (false, true) => "draining",
            (false, false) if self.metrics.feed_batches.get() == 0 => "waiting for the first sync",
            (false, false) => "serving",
        };
        let connections: i64 = self.workers.iter().map(|worker| worker.open.get()).sum();
        let feed = if self.metrics.feed_connected.get() == 1 { "connected" } else { "away" };
        let (version, routes) = (self.metrics.feed_version.get(), self.metrics.routes.get());
        format!("{doing}: version {version}, {routes} routes, {connections} connections, feed {feed}")
    }
}
