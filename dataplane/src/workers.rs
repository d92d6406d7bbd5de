//! The start of the workers: their listeners, their shared and own parts, and their threads.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use webgateway_process::{InheritedSockets, Tasks, Watchdog};

use crate::backend::connector::{Connector, Observation};
use crate::backend::pool::Pool;
use crate::backend::view::BackendView;
use crate::config::{Config, Live};
use crate::connections::{ClosedRoute, Connections};
use crate::context::WorkerContext;
use crate::controlplane::ControlplaneClient;
use crate::edge::listener::ListenerSpec;
use crate::edge::socket_activation::{ListenError, listen};
use crate::edge::worker::{self, Worker, WorkerSockets};
use crate::http::backlog::WorkerBacklog;
use crate::http::refused_responses::RefusedResponseLog;
use crate::metrics::{Metrics, WorkerMetrics};
use crate::snapshot::Snapshot;

/// The error that a thread cannot be started.
#[derive(Debug, Error)]
#[error("cannot start the thread `{name}`: {source}")]
pub struct ThreadError {
    /// The thread's name.
    name: String,
    /// The system's error.
    source: io::Error,
}

/// The listeners of the public side.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    /// The addresses of all listeners.
    pub listeners: Vec<SocketAddr>,
    /// The port for TLS.
    pub https: u16,
    /// The port for plain HTTP.
    pub http: u16,
}

/// The parts that every worker shares.
pub(crate) struct SharedParts {
    /// The snapshot in use.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The client of the controlplane.
    pub controlplane: ControlplaneClient,
    /// The listeners of the public side.
    pub ports: Ports,
    /// Is true while clients are asked to close their connections.
    pub draining: watch::Receiver<bool>,
    /// The node's view of its backends.
    pub view: BackendView,
    /// The queue of the traffic's observations of backends.
    pub observations: mpsc::Sender<Observation>,
    /// The part of the configuration that a reload changes.
    pub live: watch::Receiver<Live>,
}

/// The parts that belong to one worker.
pub(crate) struct WorkerParts {
    sockets: WorkerSockets,
    closed: UnboundedReceiver<ClosedRoute>,
    /// The worker's counters.
    pub metrics: WorkerMetrics,
}

/// Binds the listeners of the public side, one set for each worker.
pub(crate) fn listen_all(
    config: &Config,
    inherited: &mut InheritedSockets,
) -> Result<(Vec<WorkerSockets>, Ports), ListenError> {
    let https = ListenerSpec { name: "https", key: "https_port", port: config.https_port };
    let http = ListenerSpec { name: "http", key: "http_port", port: config.http_port };
    let https = listen(inherited, https, &config.listen, config.workers)?;
    let http = listen(inherited, http, &config.listen, config.workers)?;
    let socket_addresses =
        |addresses: Vec<IpAddr>, port| addresses.into_iter().map(move |ip| SocketAddr::new(ip, port));
    let listeners = socket_addresses(https.addresses, https.port)
        .chain(socket_addresses(http.addresses, http.port))
        .collect();
    let ports = Ports { listeners, https: https.port, http: http.port };
    let wait_for_first_sync = https.socket_activation || http.socket_activation;
    let by_worker = https.by_worker.into_iter().zip(http.by_worker);
    Ok((by_worker.map(|(https, http)| WorkerSockets { https, http, wait_for_first_sync }).collect(), ports))
}

/// Creates the parts of each worker, and the senders that inform the workers of closed routes.
pub(crate) fn worker_parts(
    sockets: Vec<WorkerSockets>,
    metrics: &Metrics,
) -> (Vec<UnboundedSender<ClosedRoute>>, Vec<WorkerParts>) {
    let numbered = (0u32..).zip(sockets);
    let parts = numbered.map(|(number, sockets)| {
        let (sender, closed) = unbounded_channel();
        (sender, WorkerParts { sockets, closed, metrics: metrics.worker(number) })
    });
    parts.unzip()
}

/// Starts each worker on its own thread.
pub(crate) fn start_workers(
    shared: &SharedParts,
    workers: Vec<WorkerParts>,
    tasks: &Tasks,
    watchdog: &mut Watchdog,
) -> Result<(), ThreadError> {
    let refused_responses = RefusedResponseLog::default();
    for (number, WorkerParts { sockets, closed, metrics }) in workers.into_iter().enumerate() {
        let name = format!("worker {number}");
        let (leave, live, pulse) =
            (shared.draining.clone(), shared.live.clone(), watchdog.part(name.clone()));
        let context = context_constructor(shared, refused_responses.clone(), metrics);
        let (stop, metrics) = (tasks.stop().clone(), tasks.metrics().clone());
        let worker = Worker { sockets, closed, leave, live, pulse, stop, metrics, context };
        start_thread(tasks, name, move || worker::run(worker))?;
    }
    Ok(())
}

/// Returns the constructor of a worker's context, which runs on the worker's thread.
fn context_constructor(
    shared: &SharedParts,
    refused_responses: RefusedResponseLog,
    metrics: WorkerMetrics,
) -> worker::MakeContext {
    let (snapshot, controlplane) = (Arc::clone(&shared.snapshot), shared.controlplane.clone());
    let Live { access_log, limits } = shared.live.borrow().clone();
    let https_port = shared.ports.https;
    let (BackendView { unhealthy, dialer }, observations) =
        (shared.view.clone(), shared.observations.clone());
    Box::new(move |tasks| WorkerContext {
        snapshot,
        tasks,
        clock: Rc::default(),
        backlog: WorkerBacklog::new(limits.backlog_bytes, metrics.stalled_cuts()),
        connector: Connector::new(unhealthy, observations, dialer, metrics.clone(), limits.connect_timeout),
        pool: Rc::new(Pool::new(limits.backend_idle)),
        loop_detector: Rc::default(),
        connections: Rc::new(Connections::default()),
        controlplane,
        refused_responses,
        metrics,
        limits,
        access_log,
        https_port,
    })
}

/// Starts a thread of the process.
pub(crate) fn start_thread<E: std::fmt::Display>(
    tasks: &Tasks,
    name: String,
    body: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Result<(), ThreadError> {
    tasks.thread(name.clone(), body).map_err(|source| ThreadError { name, source })
}
