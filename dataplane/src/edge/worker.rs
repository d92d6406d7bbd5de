//! A worker: one thread, one runtime, its own sockets, pools and tasks.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout};
use webgateway_process::{Pulse, Stop};

use super::{connection, listener, plain};
use crate::clock::TICK;
use crate::connections::{OpenConnection, Phase, RouteClosed};
use crate::context::WorkerContext;
use crate::snapshot::Snapshot;

/// How often idle things are let go of.
const SWEEP: Duration = Duration::from_secs(1);
/// How often a worker that waits looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// How long to wait for the first sync.
const UNINFORMED: Duration = Duration::from_secs(10);

/// The listening sockets of one worker.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For the split.
    pub https: Vec<std::net::TcpListener>,
    /// For the redirect.
    pub http: Vec<std::net::TcpListener>,
    /// Whether visitors who come before the first sync wait in them, rather than be told that nobody is known here.
    pub patient: bool,
}

/// What a worker's thread is given.
pub struct Worker {
    /// Its listening sockets.
    pub sockets: Sockets,
    /// Routes that are gone.
    pub closed: UnboundedReceiver<RouteClosed>,
    /// Whether visitors are asked to go.
    pub leave: watch::Receiver<bool>,
    /// Shows that it moves.
    pub pulse: Pulse,
    /// When to end.
    pub stop: Stop,
    /// Makes the state that its connections share, on its own thread.
    pub context: Box<dyn FnOnce() -> WorkerContext + Send>,
}

/// Runs a worker to its end.
pub fn run(worker: Worker) -> io::Result<()> {
    let runtime = tokio::runtime::LocalRuntime::new()?;
    runtime.block_on(async move {
        let context = Rc::new((worker.context)());
        let permits = Rc::new(Semaphore::new(context.limits.connections));
        let mut accepting = tokio::task::JoinSet::new();
        let Sockets { https, http, patient } = worker.sockets;
        for socket in https {
            accepting.spawn_local(accept_https(
                TcpListener::from_std(socket)?,
                Rc::clone(&context),
                (Rc::clone(&permits), patient),
            ));
        }
        for socket in http {
            accepting.spawn_local(accept_http(
                TcpListener::from_std(socket)?,
                Rc::clone(&context),
                (Rc::clone(&permits), patient),
            ));
        }
        let (stop, pulse) = (worker.stop, worker.pulse);
        watch(&context, (worker.closed, worker.leave), &stop, &pulse).await;
        // The listening sockets close with their tasks: nothing new comes in.
        accepting.shutdown().await;
        drain(&context, &stop, &pulse).await;
        Ok(())
    })
}

async fn accept_https(
    listener: TcpListener,
    context: Rc<WorkerContext>,
    (permits, patient): (Rc<Semaphore>, bool),
) {
    let metrics = context.metrics.clone();
    if patient {
        informed(&context.snapshot).await;
    }
    listener::accept(listener, permits, metrics, |stream, peer, permits| {
        context.metrics.accepted_https.inc();
        let open = OpenConnection::new(context.metrics.open.clone(), permits);
        spawn(connection::connection(Rc::clone(&context), open, stream, peer));
    })
    .await;
}

async fn accept_http(
    listener: TcpListener,
    context: Rc<WorkerContext>,
    (permits, patient): (Rc<Semaphore>, bool),
) {
    let metrics = context.metrics.clone();
    if patient {
        informed(&context.snapshot).await;
    }
    listener::accept(listener, permits, metrics, |stream, peer, permits| {
        context.metrics.accepted_http.inc();
        let open = OpenConnection::new(context.metrics.open.clone(), permits);
        spawn(plain::connection(Rc::clone(&context), open, stream, peer));
    })
    .await;
}

/// Resolves with the first sync; there is an end to patience.
pub async fn informed(snapshot: &ArcSwap<Snapshot>) {
    let first = async {
        while snapshot.load().settings.is_none() {
            sleep(LOOK).await;
        }
    };
    // Who has waited for so long is answered, even if it is that nothing is known.
    let _ = timeout(UNINFORMED, first).await;
}

/// Runs a connection's task.
fn spawn(connection: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(connection);
}

/// Ends the connections of routes that are gone, and sweeps, until the stop begins.
async fn watch(
    context: &Rc<WorkerContext>,
    (mut closed, mut leave): (UnboundedReceiver<RouteClosed>, watch::Receiver<bool>),
    stop: &Stop,
    pulse: &Pulse,
) {
    let (mut sweep, mut tick) = (interval(SWEEP), interval(TICK));
    loop {
        tokio::select! {
            Some(closed) = closed.recv() => end_route(context, closed),
            Ok(()) = leave.changed() => context.connections.leave(*leave.borrow_and_update()),
            _ = tick.tick() => {
                context.clock.tick();
                pulse.beat();
            }
            _ = sweep.tick() => context.pool.sweep(Instant::now()),
            () = stop.begun() => return,
        }
    }
}

fn end_route(context: &Rc<WorkerContext>, closed: RouteClosed) {
    if closed.at_once {
        return context.connections.end_route(closed.route, Phase::Cut);
    }
    context.connections.end_route(closed.route, Phase::Draining);
    let context = Rc::clone(context);
    tokio::task::spawn_local(async move {
        sleep(context.limits.drain).await;
        context.connections.end_draining(closed.route);
    });
}

/// What is under way finishes; what does not within the drain is cut.
async fn drain(context: &Rc<WorkerContext>, stop: &Stop, pulse: &Pulse) {
    context.connections.end_all(Phase::Draining);
    let all_gone = async {
        while !context.connections.is_empty() {
            sleep(LOOK).await;
            context.clock.tick();
            pulse.beat();
        }
    };
    tokio::select! {
        _ = timeout(context.limits.drain, all_gone) => {}
        () = stop.was_cut() => {}
    }
    context.connections.end_all(Phase::Cut);
    // One turn for the cut to be seen.
    sleep(LOOK).await;
}
