//! Shared state: that of the connections of one worker, and that of the requests of one connection.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use webgateway_process::LocalTasks;

use crate::backend::connector::Connector;
use crate::backend::loop_detection::LoopDetector;
use crate::backend::pool::Pool;
use crate::clock::CoarseClock;
use crate::config::{Limits, Live};
use crate::connections::{Connections, Membership, OpenConnection};
use crate::controlplane::ControlplaneClient;
use crate::http::backlog::WorkerBacklog;
use crate::http::body::RequestBody;
use crate::http::exchange::Progress;
use crate::http::refused_responses::RefusedResponseLog;
use crate::metrics::WorkerMetrics;
use crate::snapshot::Snapshot;

/// The state that all connections of one worker share. All of it belongs to one thread, except the snapshot and
/// metrics.
pub(crate) struct WorkerContext {
    /// The snapshot in use.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The supervisor of the worker's tasks.
    pub tasks: LocalTasks,
    /// The worker's coarse clock, which is updated at every tick, so that reading it costs no system call.
    pub clock: Rc<CoarseClock>,
    /// The backlog of responses.
    pub backlog: Rc<WorkerBacklog>,
    /// The connector to the backends.
    pub connector: Connector,
    /// Idle backend connections.
    pub pool: Rc<Pool<RequestBody>>,
    /// The detector of passthrough loops.
    pub loop_detector: Rc<LoopDetector>,
    /// The open connections of clients.
    pub connections: Rc<Connections>,
    /// The client of the controlplane, for API requests.
    pub controlplane: ControlplaneClient,
    /// The log of refused responses, shared by all workers.
    pub refused_responses: RefusedResponseLog,
    /// The worker's counters.
    pub metrics: WorkerMetrics,
    /// The limits on sizes and times.
    pub limits: Limits,
    /// Enables the access log.
    pub access_log: bool,
    /// The port that clients are redirected to.
    pub https_port: u16,
}

/// The current context of a worker. A reload replaces it for new connections; open ones keep theirs, so that requests
/// need no lookup.
pub(crate) struct CurrentContext(RefCell<Rc<WorkerContext>>);

/// The state that all requests of one connection share.
pub(crate) struct ConnectionContext {
    /// The worker that the connection is on.
    pub worker: Rc<WorkerContext>,
    /// The client's address.
    pub client: IpAddr,
    /// The progress of its requests.
    pub progress: Rc<Progress>,
    /// The membership of the connection in its route, or in none.
    pub membership: Rc<Membership>,
    /// The permit of the connection, which a tunnel after an upgrade shares.
    pub open: Rc<OpenConnection>,
}

impl WorkerContext {
    /// Returns the context with other settings. Open and pooled connections are shared with the old one.
    #[must_use]
    fn with_settings(&self, Live { access_log, limits }: Live) -> Self {
        self.pool.set_idle_timeout(limits.backend_idle);
        self.backlog.set_limit(limits.backlog_bytes);
        Self {
            snapshot: Arc::clone(&self.snapshot),
            tasks: self.tasks.clone(),
            clock: Rc::clone(&self.clock),
            backlog: Rc::clone(&self.backlog),
            connector: self.connector.with_timeouts(limits.connect_timeout, limits.ack_timeout),
            pool: Rc::clone(&self.pool),
            loop_detector: Rc::clone(&self.loop_detector),
            connections: Rc::clone(&self.connections),
            controlplane: self.controlplane.clone(),
            refused_responses: self.refused_responses.clone(),
            metrics: self.metrics.clone(),
            limits,
            access_log,
            https_port: self.https_port,
        }
    }
}

impl CurrentContext {
    /// Creates the cell with its first context.
    #[must_use]
    pub(crate) fn new(context: WorkerContext) -> Self {
        Self(RefCell::new(Rc::new(context)))
    }

    /// Returns the context for new connections.
    #[must_use]
    pub(crate) fn get(&self) -> Rc<WorkerContext> {
        Rc::clone(&self.0.borrow())
    }

    /// Replaces the context by one with the reloaded settings.
    pub(crate) fn reload(&self, live: Live) {
        let next = self.get().with_settings(live);
        self.0.replace(Rc::new(next));
    }
}

/// Returns the gateway's name in CDN-Loop (RFC 8586): its base domain.
#[must_use]
pub(crate) fn cdn_id(snapshot: &Snapshot) -> HeaderValue {
    let base = snapshot.settings.as_ref().map(|settings| settings.base_domain.as_str());
    base.and_then(|base| HeaderValue::from_str(base).ok()).unwrap_or(HeaderValue::from_static("webgateway"))
}

/// Returns a client's address as a value of X-Forwarded-For.
#[must_use]
pub(crate) fn client_value(client: IpAddr) -> HeaderValue {
    // An address is always a valid field value.
    HeaderValue::from_str(&client.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
