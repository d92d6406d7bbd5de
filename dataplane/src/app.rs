//! Puts the dataplane together: binds everything, then builds, then runs.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use rustls::server::ProducesTickets;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tracing::{error, info};
use webgateway_process::dns::DnsSockets;
use webgateway_process::{
    Inherited, ProcessMetrics, Readiness, Stop, Tasks, Watchdog, admin, notify, signals,
};

use crate::backend::dial::Ourselves;
use crate::backend::down::Down;
use crate::backend::monitor::Monitor;
use crate::backend::pool::Pool;
use crate::backend::reach::{Reach, Seen};
use crate::clock::unix_now;
use crate::config::{Config, Endpoint};
use crate::connections::Connections;
use crate::dns::{self, Relay};
use crate::edge::held::listen;
use crate::edge::listener::Purpose;
use crate::edge::worker::{self, Sockets, Worker};
use crate::feed::cache::{self, Opened};
use crate::feed::client::{ApiDoor, FeedClient};
use crate::feed::directive::Drain;
use crate::feed::explain::Sight;
use crate::feed::link::Link;
use crate::feed::{Publisher, RouteClosed, file, renewal};
use crate::identity::Current;
use crate::metrics::{Metrics, WorkerMetrics};
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::status::Status;
use crate::tickets::Tickets;

/// A moment more than the workers' own drain.
const GRACE: Duration = Duration::from_secs(2);
/// How many sights of the workers wait for the monitor.
const SEEN: usize = 1024;

/// The names of the sockets it takes from systemd.
pub const SOCKETS: &[&str] = &["https", "http"];

/// Runs the dataplane, on sockets from systemd if it passes some, until it is told to stop.
pub async fn run(config: Config, mut inherited: Inherited) -> anyhow::Result<()> {
    let mut registry = Registry::default();
    let tasks = Tasks::with_metrics(Stop::new(), ProcessMetrics::register(&mut registry));
    signals::watch(&tasks).context("cannot watch for signals")?;
    let metrics = Metrics::new(&mut registry);
    let readiness = Readiness::new();
    let unready = readiness.block("the first sync");

    let admin = admin::bind(config.admin_listen).await?;
    let count = config.worker_count();
    let (sockets, ports) = listen_all(&config, &mut inherited, count)?;
    let names = dns::bind(&config.dns.listen)?;
    let admin_at = admin.local_addr();

    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let door = ApiDoor::default();
    let (senders, receivers): (Vec<UnboundedSender<RouteClosed>>, Vec<_>) =
        (0..count).map(|_| unbounded_channel()).unzip();
    let mut watchdog = Watchdog::default();
    let drain = Drain::new(readiness.clone());
    let (sight, seen) = look_after(&ports, &snapshot, &metrics, &tasks);
    let shared = Shared {
        snapshot: Arc::clone(&snapshot),
        door: door.clone(),
        ports: ports.clone(),
        draining: drain.asked(),
        sight: sight.clone(),
        seen,
    };
    let workers = worker_metrics(&metrics, count);
    let of_workers = sockets.into_iter().zip(receivers).zip(workers.clone());
    start_workers(&config, &shared, of_workers, (&tasks, &mut watchdog))?;
    let (draining, stop) = (drain.asked(), tasks.stop().clone());
    let status = Status { metrics: metrics.clone(), workers: workers.clone(), draining, stop };
    watchdog.run(&tasks, move || status.line());
    let tickets = Arc::new(Tickets::new()?);
    let mut publisher =
        Publisher::new(Arc::clone(&snapshot), senders, Arc::clone(&tickets), metrics.clone(), unready);
    open_cache(&config, &tickets, &metrics, &tasks, &mut publisher)?;
    start_dns(names, Relay::new(door.clone(), metrics.clone(), tasks.metrics()), &tasks)?;
    let fed = Fed { publisher, door, drain, metrics, workers, sight };
    start_feed(&config, fed, &tasks)?;
    admin.serve(&tasks, Arc::new(registry), readiness.clone());
    info!(https = ports.https, http = ports.http, admin = %admin_at, workers = count, "listening");
    let stop = tasks.stop().clone();
    tasks.spawn("ready", async move {
        tokio::select! {
            () = worker::wait_for_first_sync(&snapshot) => notify::ready(),
            () = stop.begun() => {}
        }
    });
    tasks.run_until_stopped(config.limits.drain + GRACE).await?;
    info!("stopped");
    Ok(())
}

/// What the feed leads to.
struct Fed {
    publisher: Publisher,
    door: ApiDoor,
    drain: Drain,
    metrics: Metrics,
    workers: Vec<WorkerMetrics>,
    sight: Sight,
}

fn start_feed(config: &Config, fed: Fed, tasks: &Tasks) -> anyhow::Result<()> {
    let stop = tasks.stop().clone();
    let Fed { publisher, door, drain, metrics, workers, sight } = fed;
    let identity = config.may_be_remote().then(|| Current::load(&config.state_dir)).transpose()?;
    let joined = identity.as_ref().and_then(Current::get);
    let endpoints = config.endpoints(joined.as_ref().map(|joined| &joined.address));
    if let [Endpoint::File(path)] = endpoints.as_slice() {
        tasks.essential("feed", file::run(path.clone(), publisher, stop));
        return Ok(());
    }
    let link = Link::new(endpoints, identity.clone());
    if let Some(identity) = identity {
        tasks.essential("renewal", renewal::run(identity, link.remote(), stop.clone()));
    }
    let node = config.node_name(joined.as_ref().map(|joined| &joined.name));
    let client = FeedClient { link, node, publisher, door, drain, metrics, workers, sight };
    tasks.essential("feed", client.run(stop));
    Ok(())
}

#[derive(Debug, Clone)]
struct Ports {
    addresses: Vec<IpAddr>,
    https: u16,
    http: u16,
}

/// What goes to every worker.
struct Shared {
    snapshot: Arc<ArcSwap<Snapshot>>,
    door: ApiDoor,
    ports: Ports,
    draining: watch::Receiver<bool>,
    sight: Sight,
    seen: mpsc::Sender<Seen>,
}

/// Looks after the backends, and says who is out.
fn look_after(
    ports: &Ports,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    metrics: &Metrics,
    tasks: &Tasks,
) -> (Sight, mpsc::Sender<Seen>) {
    let ourselves = Ourselves { addresses: ports.addresses.clone(), ports: [ports.https, ports.http] };
    let (down, (seen, told)) = (Arc::new(ArcSwap::from_pointee(Down::default())), mpsc::channel(SEEN));
    let sight = Sight { down: Arc::clone(&down), ourselves: ourselves.clone() };
    let (snapshot, metrics) = (Arc::clone(snapshot), metrics.clone());
    let monitor = Monitor { snapshot, down, seen: told, ourselves, metrics };
    tasks.essential("health", monitor.run(tasks.stop().clone()));
    (sight, seen)
}

/// What one worker has to itself.
type OfWorker = ((Sockets, UnboundedReceiver<RouteClosed>), WorkerMetrics);

fn listen_all(
    config: &Config,
    inherited: &mut Inherited,
    count: usize,
) -> anyhow::Result<(Vec<Sockets>, Ports)> {
    let https = Purpose { what: "https", key: "https_port", port: config.https_port };
    let http = Purpose { what: "http", key: "http_port", port: config.http_port };
    let https = listen(inherited, https, &config.listen, count)?;
    let http = listen(inherited, http, &config.listen, count)?;
    let ports =
        Ports { addresses: [https.addresses, http.addresses].concat(), https: https.port, http: http.port };
    let wait_for_first_sync = https.held || http.held;
    let by_worker = https.by_worker.into_iter().zip(http.by_worker);
    Ok((by_worker.map(|(https, http)| Sockets { https, http, wait_for_first_sync }).collect(), ports))
}

/// What is fed from a file has that file for a cache. Traffic goes on without one that cannot be had.
fn open_cache(
    config: &Config,
    tickets: &Arc<Tickets>,
    metrics: &Metrics,
    tasks: &Tasks,
    publisher: &mut Publisher,
) -> std::io::Result<()> {
    let (Some(folder), false) = (&config.cache_dir, matches!(config.feed.endpoint[..], [Endpoint::File(_)]))
    else {
        return Ok(());
    };
    let tickets: Arc<dyn ProducesTickets> = Arc::clone(tickets) as _;
    match cache::open(folder, &config.state_dir, &tickets, metrics.clone(), unix_now()) {
        Ok(Opened { restored, cache, write }) => {
            publisher.continue_from(cache, restored);
            tasks.thread("cache".to_owned(), write)
        }
        Err(reason) => {
            metrics.cache_failures.inc();
            error!(%reason, "`cache_dir`: going on without a cache");
            Ok(())
        }
    }
}

/// On a thread of its own: a flood of questions delays neither traffic nor the feed.
fn start_dns(sockets: Vec<DnsSockets>, relay: Relay, tasks: &Tasks) -> std::io::Result<()> {
    if sockets.is_empty() {
        return Ok(());
    }
    let stop = tasks.stop().clone();
    tasks.thread("dns".to_owned(), move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(dns::serve(sockets, relay, stop))
    })
}

fn worker_metrics(metrics: &Metrics, count: usize) -> Vec<WorkerMetrics> {
    (0u32..).take(count).map(|number| metrics.worker(number)).collect()
}

fn start_workers(
    config: &Config,
    shared: &Shared,
    workers: impl Iterator<Item = OfWorker>,
    (tasks, watchdog): (&Tasks, &mut Watchdog),
) -> std::io::Result<()> {
    for (number, ((sockets, closed), metrics)) in workers.enumerate() {
        let (snapshot, api) = (Arc::clone(&shared.snapshot), shared.door.clone());
        let (limits, access_log) = (config.limits.clone(), config.access_log);
        let https_port = shared.ports.https;
        let (Sight { down, ourselves }, seen) = (shared.sight.clone(), shared.seen.clone());
        let proxy = Box::new(move |tasks| Proxy {
            snapshot,
            tasks,
            clock: Rc::default(),
            backends: Reach::new(down, seen, ourselves, limits.connect_timeout),
            pool: Rc::new(Pool::new(limits.backend_idle)),
            connections: Rc::new(Connections::default()),
            api,
            metrics,
            limits,
            access_log,
            https_port,
        });
        let name = format!("worker {number}");
        let (leave, pulse) = (shared.draining.clone(), watchdog.part(name.clone()));
        let (stop, metrics) = (tasks.stop().clone(), tasks.metrics().clone());
        let worker = Worker { sockets, closed, leave, pulse, stop, metrics, proxy };
        tasks.thread(name, move || worker::run(worker))?;
    }
    Ok(())
}

/// The configuration's part that can be wrong without being started.
pub fn check(config: &Config) -> Result<SocketAddr, String> {
    if config.listen.is_empty() {
        return Err("`listen` is empty: name one address at least".to_owned());
    }
    if config.https_port != 0 && config.https_port == config.http_port {
        return Err(format!("`https_port` and `http_port` are both {}", config.https_port));
    }
    if config.feed.endpoint.len() > 1 && config.feed.endpoint.iter().any(|e| matches!(e, Endpoint::File(_))) {
        return Err("`feed.endpoint`: file:PATH stands alone".to_owned());
    }
    config.check_bounds()?;
    Ok(config.admin_listen)
}
