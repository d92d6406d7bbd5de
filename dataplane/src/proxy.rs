//! What all connections of one worker share. Everything here is of one thread, but the snapshot and the counters.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use webgateway_process::LocalTasks;

use crate::backend::pool::Pool;
use crate::backend::reach::Reach;
use crate::clock::Coarse;
use crate::config::Limits;
use crate::connections::Connections;
use crate::feed::client::ApiDoor;
use crate::http::body::RequestBody;
use crate::metrics::WorkerMetrics;
use crate::snapshot::Snapshot;

/// What all connections of one worker share.
pub struct Proxy {
    /// What is known.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The supervisor of the worker's tasks.
    pub tasks: LocalTasks,
    /// The time, as far as requests need it.
    pub clock: Rc<Coarse>,
    /// The way to the backends.
    pub backends: Reach,
    /// Idle backend connections.
    pub pool: Rc<Pool<RequestBody>>,
    /// The visitors' connections.
    pub connections: Rc<Connections>,
    /// Where API requests go.
    pub api: ApiDoor,
    /// What is counted.
    pub metrics: WorkerMetrics,
    /// What is bounded.
    pub limits: Limits,
    /// Whether requests are logged.
    pub access_log: bool,
    /// The port visitors are redirected to.
    pub https_port: u16,
}
