//! The channels between the workers and the reporter.

use std::collections::HashSet;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};
use webgateway_proto::feed::AccessLines;
use webgateway_proto::model::{RouteId, Traffic};

/// The maximum number of routes that a worker, or the node between two reports, counts apart.
pub(super) const MAX_ROUTES: usize = 10_000;
/// The maximum number of collections that wait for the reporter. Until there is room, a worker counts on.
pub(super) const COLLECTIONS: usize = 64;
/// The maximum number of messages with lines that wait for the reporter.
pub(super) const LINE_MESSAGES: usize = 256;

/// The routes whose access log is followed.
pub(super) type FollowedRoutes = Arc<HashSet<RouteId>>;

/// The counts of a route on a worker since the last collection.
#[derive(Debug)]
pub(super) struct CollectedRoute {
    /// The route.
    pub(super) route: RouteId,
    /// The change of the number of open connections.
    pub(super) opened: i64,
    /// The traffic.
    pub(super) traffic: Traffic,
}

/// The workers' ends of the channels to the reporter.
#[derive(Debug, Clone)]
pub(crate) struct StatsChannels {
    /// The collections.
    pub(super) collections: mpsc::Sender<Vec<CollectedRoute>>,
    /// The lines of followed access logs.
    pub(super) lines: mpsc::Sender<AccessLines>,
    /// The routes whose access log is followed.
    pub(super) followed: watch::Receiver<FollowedRoutes>,
    /// The counter of requests and connections of routes beyond [`MAX_ROUTES`].
    pub(super) unattributed: Counter,
}
