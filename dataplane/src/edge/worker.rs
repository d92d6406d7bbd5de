//! A worker: a thread with its own runtime, listening sockets, connection pool and tasks.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep, timeout};
use webgateway_process::accept::Acceptor;
use webgateway_process::{LocalTasks, ProcessMetrics, Pulse, Stop};

use super::admission::{AcceptedConnection, admit};
use super::connection_limit::ConnectionLimit;
use super::{connection, plain};
use crate::clock::TICK;
use crate::config::Live;
use crate::connections::{ClosedRoute, OpenConnection, Phase};
use crate::context::{CurrentContext, WorkerContext};
use crate::snapshot::Snapshot;
use crate::socket;

/// The interval at which idle backend connections are closed and traffic is collected.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The interval at which a worker checks for the first sync, and for the end of its connections during the drain.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The maximum wait for the first sync. After it clients are accepted, although their hosts may be unknown.
const FIRST_SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// The listening sockets of one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerSockets {
    /// The sockets for TLS.
    pub https: Vec<std::net::TcpListener>,
    /// The sockets for plain HTTP: challenges and redirects.
    pub http: Vec<std::net::TcpListener>,
    /// True if connections are accepted only after the first sync, so that early clients wait in the kernel's queue
    /// instead of being refused.
    pub wait_for_first_sync: bool,
}

/// A function that creates a worker's context. It is called on the worker's thread.
pub(crate) type MakeContext = Box<dyn FnOnce(LocalTasks) -> WorkerContext + Send>;

/// The parts of a worker, for its thread.
pub(crate) struct Worker {
    /// Its listening sockets.
    pub sockets: WorkerSockets,
    /// Receives the routes that were deleted or suspended, whose connections must end.
    pub closed: UnboundedReceiver<ClosedRoute>,
    /// True while the node drains: each connection is closed after its next request ([`Phase::Leaving`]).
    pub leave: watch::Receiver<bool>,
    /// The part of the configuration that a reload changes.
    pub live: watch::Receiver<Live>,
    /// The liveness signal to the watchdog.
    pub pulse: Pulse,
    /// The signal to stop.
    pub stop: Stop,
    /// The metrics of accepts and tasks.
    pub metrics: ProcessMetrics,
    /// Creates the context that its connections share.
    pub context: MakeContext,
}

/// The reason why a worker ended unexpectedly.
#[derive(Debug, Error)]
pub(crate) enum WorkerError {
    /// The runtime cannot be created, or a listening socket cannot be registered with it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An accept loop panicked.
    #[error("an accept loop failed: {0}")]
    AcceptLoop(#[from] JoinError),
    /// An accept loop returned.
    #[error("an accept loop ended")]
    AcceptLoopEnded,
}

/// Runs a worker until the process stops and its connections have ended, or until it fails.
pub(crate) fn run(worker: Worker) -> Result<(), WorkerError> {
    let runtime = tokio::runtime::LocalRuntime::new()?;
    runtime.block_on(async move {
        let Worker { sockets, closed, leave, live, pulse, stop, metrics, context } = worker;
        metrics.count_tasks();
        let context = context(LocalTasks::new(metrics.clone()));
        let limit = ConnectionLimit::new(context.limits.connections);
        let context = Rc::new(CurrentContext::new(context));
        let mut accepting = accept_all(sockets, &context, limit.semaphore(), metrics)?;
        let (stop, pulse) = (&stop, &pulse);
        let mut control = ControlLoop { context: &context, limit, closed, leave, live, stop, pulse };
        let ended = control.run(&mut accepting).await;
        if ended.is_err() {
            // The process cannot run without this worker: it stops, and reports the error after the drain.
            stop.begin();
        }
        // The listening sockets close with their tasks, so no new connections are accepted.
        accepting.shutdown().await;
        control.drain().await;
        ended
    })
}

fn accept_all(
    sockets: WorkerSockets,
    context: &Rc<CurrentContext>,
    limit: Arc<Semaphore>,
    metrics: ProcessMetrics,
) -> io::Result<JoinSet<()>> {
    let WorkerSockets { https, http, wait_for_first_sync } = sockets;
    let acceptors = Acceptors { context: Rc::clone(context), limit, metrics, wait_for_first_sync };
    let mut accepting = JoinSet::new();
    for socket in https {
        accepting.spawn_local(acceptors.clone().https(TcpListener::from_std(socket)?));
    }
    for socket in http {
        accepting.spawn_local(acceptors.clone().http(TcpListener::from_std(socket)?));
    }
    Ok(accepting)
}

/// The accept loops of a worker.
#[derive(Clone)]
struct Acceptors {
    context: Rc<CurrentContext>,
    limit: Arc<Semaphore>,
    metrics: ProcessMetrics,
    wait_for_first_sync: bool,
}

impl Acceptors {
    async fn https(self, listener: TcpListener) {
        let current = Rc::clone(&self.context);
        self.accept("https", listener, |stream, peer, permit| {
            let context = current.get();
            context.metrics.accepted_https.inc();
            let open = OpenConnection::new(context.metrics.open.clone(), permit);
            let accepted = AcceptedConnection { open, stream, peer, is_tls: true };
            admit(context, accepted, connection::serve);
        })
        .await;
    }

    async fn http(self, listener: TcpListener) {
        let current = Rc::clone(&self.context);
        self.accept("http", listener, |stream, peer, permit| {
            let context = current.get();
            context.metrics.accepted_http.inc();
            let open = OpenConnection::new(context.metrics.open.clone(), permit);
            let accepted = AcceptedConnection { open, stream, peer, is_tls: false };
            admit(context, accepted, plain::serve);
        })
        .await;
    }

    async fn accept(
        self,
        name: &'static str,
        listener: TcpListener,
        mut serve: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit),
    ) {
        if self.wait_for_first_sync {
            wait_for_first_sync(&self.context.get().snapshot).await;
        }
        let errors = self.metrics.accept_errors(name);
        let acceptor = Acceptor { name, listener, admission: self.limit, errors };
        let accepting = acceptor.run(|stream, peer, permit| {
            // This fails only if the connection is closed already, which the first read reports.
            let _ = socket::prepare(&stream);
            serve(stream, peer, permit);
        });
        accepting.await;
    }
}

/// Resolves with the first sync, or after [`FIRST_SYNC_TIMEOUT`].
pub(crate) async fn wait_for_first_sync(snapshot: &ArcSwap<Snapshot>) {
    let first = async {
        while snapshot.load().settings.is_none() {
            sleep(POLL_INTERVAL).await;
        }
    };
    let _ = timeout(FIRST_SYNC_TIMEOUT, first).await;
}

/// The control loop of a worker, which runs concurrently with its connections.
struct ControlLoop<'a> {
    context: &'a CurrentContext,
    limit: ConnectionLimit,
    closed: UnboundedReceiver<ClosedRoute>,
    leave: watch::Receiver<bool>,
    live: watch::Receiver<Live>,
    stop: &'a Stop,
    pulse: &'a Pulse,
}

impl ControlLoop<'_> {
    /// Closes connections of closed routes, applies reloads and sweeps the pool, until the process stops.
    async fn run(&mut self, accepting: &mut JoinSet<()>) -> Result<(), WorkerError> {
        let (mut sweep, mut tick) = (interval(SWEEP_INTERVAL), interval(TICK));
        loop {
            tokio::select! {
                Some(closed) = self.closed.recv() => end_route(&self.context.get(), closed),
                Ok(()) = self.leave.changed() => {
                    self.context.get().connections.set_leaving(*self.leave.borrow_and_update());
                }
                Ok(()) = self.live.changed() => {
                    let live = self.live.borrow_and_update().clone();
                    self.limit.resize(live.limits.connections, &self.context.get().tasks);
                    self.context.reload(live);
                }
                _ = tick.tick() => {
                    let context = self.context.get();
                    context.clock.tick();
                    context.stats.tick();
                    self.pulse.beat();
                }
                _ = sweep.tick() => {
                    let context = self.context.get();
                    context.pool.sweep(Instant::now());
                    context.stats.collect(&context.connections);
                }
                Some(ended) = accepting.join_next() => {
                    ended?;
                    return Err(WorkerError::AcceptLoopEnded);
                }
                () = self.stop.begun() => return Ok(()),
            }
        }
    }

    /// Waits for open connections; those that do not end within the drain time are cut.
    async fn drain(&self) {
        let Self { context, stop, pulse, .. } = self;
        let context = context.get();
        context.connections.end_all(Phase::Draining);
        let all_gone = async {
            while !context.connections.is_empty() {
                sleep(POLL_INTERVAL).await;
                context.clock.tick();
                pulse.beat();
            }
        };
        tokio::select! {
            _ = timeout(context.limits.drain, all_gone) => {}
            () = stop.was_cut() => {}
        }
        context.connections.end_all(Phase::Cut);
        // The tasks of the connections need a moment to see the cut.
        sleep(POLL_INTERVAL).await;
    }
}

fn end_route(context: &Rc<WorkerContext>, closed: ClosedRoute) {
    if closed.at_once {
        return context.connections.end_route(closed.route, Phase::Cut);
    }
    context.connections.end_route(closed.route, Phase::Draining);
    let draining = Rc::clone(context);
    context.tasks.spawn("route drain", async move {
        sleep(draining.limits.drain).await;
        draining.connections.end_draining(closed.route);
    });
}
