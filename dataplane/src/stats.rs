//! The traffic of each route: counted by the workers, collected every second, and reported to the controlplane.
//!
//! Each worker counts in cells of its own, so that counting needs no lock and no atomic operation. A route has a cell
//! while it has traffic or open connections.

mod cell;
mod line_budget;
mod record;
mod reporter;
mod worker;

use std::collections::HashSet;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};
use webgateway_proto::feed::AccessLines;
use webgateway_proto::model::{RouteId, Traffic};

pub(crate) use self::record::{RequestHead, TrafficRecord};
pub(crate) use self::reporter::TrafficReporter;
pub(crate) use self::worker::WorkerStats;

/// The maximum number of routes that a worker, or the node between two reports, counts apart.
const MAX_ROUTES: usize = 10_000;
/// The maximum number of collections that wait for the reporter. Until there is room, a worker counts on.
const COLLECTIONS: usize = 64;
/// The maximum number of messages with lines that wait for the reporter.
const LINE_MESSAGES: usize = 256;

/// The routes whose access log is followed.
type FollowedRoutes = Arc<HashSet<RouteId>>;

/// What a worker has counted of a route since the last collection.
#[derive(Debug)]
struct CollectedRoute {
    route: RouteId,
    /// The change of the number of open connections.
    opened: i64,
    traffic: Traffic,
}

/// The workers' ends of the channels to the [`TrafficReporter`].
#[derive(Debug, Clone)]
pub(crate) struct StatsChannels {
    collections: mpsc::Sender<Vec<CollectedRoute>>,
    lines: mpsc::Sender<AccessLines>,
    followed: watch::Receiver<FollowedRoutes>,
    /// The requests and connections of routes beyond [`MAX_ROUTES`].
    unattributed: Counter,
}

/// Creates the reporter, and the channels of the workers to it. `unattributed` counts what belongs to too many routes.
pub(crate) fn traffic_reporter(unattributed: Counter) -> (TrafficReporter, StatsChannels) {
    let (collections, collected) = mpsc::channel(COLLECTIONS);
    let (lines, logged) = mpsc::channel(LINE_MESSAGES);
    let (follow, followed) = watch::channel(FollowedRoutes::default());
    let reporter = TrafficReporter::new(collected, logged, follow, unattributed.clone());
    (reporter, StatsChannels { collections, lines, followed, unattributed })
}
