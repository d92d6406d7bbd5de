//! A worker: one thread, one runtime, its own sockets, pools and tasks.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, interval, sleep, timeout};
use webgateway_process::Stop;

use super::{connection, listener, plain};
use crate::clock::TICK;
use crate::connections::Phase;
use crate::feed::RouteClosed;
use crate::proxy::Proxy;

/// How often idle things are let go of.
const SWEEP: Duration = Duration::from_secs(1);
/// How often a draining worker looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// What a worker's thread is given.
pub struct Worker {
    /// Its listening sockets.
    pub sockets: listener::Sockets,
    /// Routes that are gone.
    pub closed: UnboundedReceiver<RouteClosed>,
    /// When to end.
    pub stop: Stop,
    /// Makes what its connections share, on its own thread.
    pub proxy: Box<dyn FnOnce() -> Proxy + Send>,
}

/// Runs a worker to its end.
pub fn run(worker: Worker) -> io::Result<()> {
    let runtime = tokio::runtime::LocalRuntime::new()?;
    runtime.block_on(async move {
        let proxy = Rc::new((worker.proxy)());
        let permits = Rc::new(Semaphore::new(proxy.limits.connections));
        let mut accepting = tokio::task::JoinSet::new();
        for socket in worker.sockets.https {
            accepting.spawn_local(accept_https(
                TcpListener::from_std(socket)?,
                Rc::clone(&proxy),
                Rc::clone(&permits),
            ));
        }
        for socket in worker.sockets.http {
            accepting.spawn_local(accept_http(
                TcpListener::from_std(socket)?,
                Rc::clone(&proxy),
                Rc::clone(&permits),
            ));
        }
        watch(&proxy, worker.closed, &worker.stop).await;
        // The listening sockets close with their tasks: nothing new comes in.
        accepting.shutdown().await;
        drain(&proxy, &worker.stop).await;
        Ok(())
    })
}

async fn accept_https(listener: TcpListener, proxy: Rc<Proxy>, permits: Rc<Semaphore>) {
    let metrics = proxy.metrics.clone();
    listener::accept(listener, permits, metrics, |stream, peer, permits| {
        proxy.metrics.accepted_https.inc();
        open(&proxy, permits, connection::connection(Rc::clone(&proxy), stream, peer));
    })
    .await;
}

async fn accept_http(listener: TcpListener, proxy: Rc<Proxy>, permits: Rc<Semaphore>) {
    let metrics = proxy.metrics.clone();
    listener::accept(listener, permits, metrics, |stream, peer, permits| {
        proxy.metrics.accepted_http.inc();
        open(&proxy, permits, plain::connection(Rc::clone(&proxy), stream, peer));
    })
    .await;
}

/// Runs a connection's task, counted while it is open.
fn open(proxy: &Rc<Proxy>, permits: Rc<Semaphore>, connection: impl Future<Output = ()> + 'static) {
    let counted = Counted { open: proxy.metrics.open.clone(), permits };
    counted.open.inc();
    tokio::task::spawn_local(async move {
        connection.await;
        drop(counted);
    });
}

/// An open connection in the metrics and the limit.
struct Counted {
    open: prometheus_client::metrics::gauge::Gauge,
    permits: Rc<Semaphore>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.dec();
        self.permits.add_permits(1);
    }
}

/// Ends the connections of routes that are gone, and sweeps, until the stop begins.
async fn watch(proxy: &Rc<Proxy>, mut closed: UnboundedReceiver<RouteClosed>, stop: &Stop) {
    let (mut sweep, mut tick) = (interval(SWEEP), interval(TICK));
    loop {
        tokio::select! {
            Some(closed) = closed.recv() => end_route(proxy, closed),
            _ = tick.tick() => proxy.clock.tick(),
            _ = sweep.tick() => {
                let now = Instant::now();
                proxy.pool.sweep(now);
                proxy.health.borrow_mut().sweep(now);
            }
            () = stop.begun() => return,
        }
    }
}

fn end_route(proxy: &Rc<Proxy>, closed: RouteClosed) {
    if closed.at_once {
        return proxy.connections.end_route(closed.route, Phase::Cut);
    }
    proxy.connections.end_route(closed.route, Phase::Draining);
    let proxy = Rc::clone(proxy);
    tokio::task::spawn_local(async move {
        sleep(proxy.limits.drain).await;
        proxy.connections.end_draining(closed.route);
    });
}

/// What is under way finishes; what does not within the drain is cut.
async fn drain(proxy: &Rc<Proxy>, stop: &Stop) {
    proxy.connections.end_all(Phase::Draining);
    let all_gone = async {
        while !proxy.connections.is_empty() {
            sleep(LOOK).await;
            proxy.clock.tick();
        }
    };
    tokio::select! {
        _ = timeout(proxy.limits.drain, all_gone) => {}
        () = stop.was_cut() => {}
    }
    proxy.connections.end_all(Phase::Cut);
    // One turn for the cut to be seen.
    sleep(LOOK).await;
}
