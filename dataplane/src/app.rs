//! Puts the dataplane together: binds everything, then builds, then runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use rustls::server::ProducesTickets;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tracing::{error, info, warn};
use webgateway_dns::{DnsListenError, DnsMetrics, DnsSockets, QuestionFilter};
use webgateway_process::admin::{self, AdminServer};
use webgateway_process::settings::Program;
use webgateway_process::{
    Application, BindError, InheritedSockets, ProcessMetrics, Readiness, Stop, TaskError, Tasks, Watchdog,
    max_clients, notify, signals, watch_reload,
};

use crate::backend::connector::Observation;
use crate::backend::dial::{Dialer, Ourselves};
use crate::backend::down::Down;
use crate::backend::monitor::Monitor;
use crate::backend::view::BackendView;
use crate::clock::unix_now;
use crate::config::{Config, ConfigError, Endpoint, Live, PROGRAM, Settings};
use crate::controlplane::ControlplaneClient;
use crate::dns::{self, Relay};
use crate::edge::socket_activation::ListenError;
use crate::edge::worker::{Sockets, wait_for_first_sync};
use crate::feed::cache::{self, Opened};
use crate::feed::client::FeedClient;
use crate::feed::directive::Drain;
use crate::feed::link::Link;
use crate::feed::{Publisher, file, renewal};
use crate::identity::{Current, StateFailed};
use crate::join::{self, JoinError};
use crate::metrics::{Metrics, WorkerMetrics};
use crate::ready::ReadyGate;
use crate::snapshot::Snapshot;
use crate::status::Status;
use crate::tickets::Tickets;
use crate::workers::{Ports, Shared, ThreadError, listen_all, start_thread, start_workers, worker_parts};

/// The time for the process to end after the workers' drain.
const GRACE: Duration = Duration::from_secs(2);
/// The number of the workers' observations that wait for the monitor.
const OBSERVATIONS: usize = 1024;

/// The process cannot start, or stopped.
#[derive(Debug, Error)]
pub enum AppError {
    /// The system refuses signals.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    /// The listener of metrics and probes cannot be had.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// The listeners of the public side cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The sockets of the name server cannot be had.
    #[error(transparent)]
    Dns(#[from] DnsListenError),
    /// A thread cannot be started.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// There are no session ticket keys.
    #[error("cannot make session ticket keys: {0}")]
    Tickets(#[from] rustls::Error),
    /// This node's identity cannot be read.
    #[error(transparent)]
    Identity(#[from] StateFailed),
    /// This node cannot join.
    #[error("join: {0}")]
    Join(#[from] JoinError),
    /// An essential task ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// A process whose listeners are bound and that is not running yet.
pub struct App {
    config: Config,
    tasks: Tasks,
    registry: Registry,
    metrics: Metrics,
    admin: AdminServer,
    sockets: Vec<Sockets>,
    ports: Ports,
    dns: Vec<DnsSockets>,
    filter: QuestionFilter,
}

impl Application for App {
    const PROGRAM: Program = PROGRAM;
    const SOCKETS: &'static [&'static str] = &["https", "http"];
    type Settings = Settings;
    type Config = Config;
    type ConfigError = ConfigError;
    type Error = AppError;

    fn configure(settings: Settings) -> Result<Config, ConfigError> {
        settings.resolve()
    }

    fn log_level(config: &Config) -> &str {
        &config.log_level
    }

    /// Feed and admin run here, the workers on threads of their own.
    fn runtime() -> Builder {
        Builder::new_current_thread()
    }

    async fn bind(config: Config, mut inherited: InheritedSockets) -> Result<Self, AppError> {
        let mut registry = Registry::default();
        let tasks = Tasks::with_metrics(Stop::new(), ProcessMetrics::register(&mut registry));
        tasks.metrics().count_tasks();
        let metrics = Metrics::register(&mut registry);
        let filter = QuestionFilter::new(DnsMetrics::register(&mut registry, tasks.metrics()));
        let admin = admin::bind(config.admin_listen).await?;
        let (sockets, ports) = listen_all(&config, &mut inherited)?;
        let dns = dns::bind(&config.dns_listen)?;
        Ok(Self { config, tasks, registry, metrics, admin, sockets, ports, dns, filter })
    }

    async fn run(self) -> Result<(), AppError> {
        let Self { config, tasks, registry, metrics, admin, sockets, ports, dns, filter } = self;
        signals::watch(&tasks).map_err(AppError::Signals)?;
        let live = watch_live(&config, &tasks).map_err(AppError::Signals)?;
        let readiness = Readiness::new();
        let gate = ReadyGate::new(readiness.clone());
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let controlplane = ControlplaneClient::default();
        let (senders, parts) = worker_parts(sockets, &metrics);
        let workers: Vec<WorkerMetrics> = parts.iter().map(|part| part.metrics.clone()).collect();
        let mut watchdog = Watchdog::default();
        let drain = Drain::new(readiness.clone());
        let ourselves = ours(&ports, &admin, &dns, &snapshot);
        let dialer = Dialer { ourselves, ack_timeout: config.live.limits.ack_timeout };
        let (view, observations) = look_after(dialer, &snapshot, &metrics, &tasks);
        let shared = Shared {
            snapshot: Arc::clone(&snapshot),
            controlplane: controlplane.clone(),
            ports: ports.clone(),
            draining: drain.asked(),
            view: view.clone(),
            observations,
            live: live.clone(),
        };
        start_workers(&shared, parts, &tasks, &mut watchdog)?;
        let (draining, stop) = (drain.asked(), tasks.stop().clone());
        let status = Status { metrics: metrics.clone(), workers: workers.clone(), draining, stop };
        watchdog.run(&tasks, move || status.line());
        let tickets = Arc::new(Tickets::new()?);
        let mut publisher = Publisher::new(
            Arc::clone(&snapshot),
            senders,
            Arc::clone(&tickets),
            metrics.clone(),
            gate.clone(),
        );
        open_cache(&config, &tickets, &metrics, &tasks, &mut publisher)?;
        let relay = Relay::new(controlplane.clone(), filter, metrics.dns_unanswered.clone());
        start_dns(dns, relay, &tasks)?;
        let fed = Fed { publisher, controlplane, drain, metrics, workers, view };
        start_feed(&config, fed, &tasks)?;
        let Ports { https, http, .. } = ports;
        info!(https, http, admin = %admin.local_addr(), workers = config.workers, "listening");
        admin.serve(&tasks, Arc::new(registry), readiness.clone());
        tasks.spawn("readiness", gate.run(Arc::clone(&snapshot), tasks.stop().clone()));
        tasks.spawn("ready", notify_ready(snapshot, tasks.stop().clone()));
        tasks.stop().begun().await;
        let drain = live.borrow().limits.drain;
        tasks.run_until_stopped(drain + GRACE).await?;
        info!("stopped");
        Ok(())
    }

    async fn act(config: Config, token: String) -> Result<String, AppError> {
        let identity = join::join(&join::token(&token)?, &config.state_dir).await?;
        let (name, address) = (&identity.name, &identity.address);
        Ok(format!("joined as {name} at {address}\nnext: systemctl restart webgateway-dataplane"))
    }
}

/// Returns the part of the configuration that a reload changes, as it is from then on.
fn watch_live(config: &Config, tasks: &Tasks) -> io::Result<watch::Receiver<Live>> {
    let workers = config.workers;
    let (sender, live) = watch::channel(fitted(&config.live, workers));
    watch_reload::<App>(tasks, move |config| {
        sender.send_replace(fitted(&config.live, workers));
        Ok(())
    })?;
    Ok(live)
}

/// Lowers the bound on connections to what the limit on open files allows, with a descriptor for each one's backend.
fn fitted(live: &Live, workers: usize) -> Live {
    let (fit, configured) = ((max_clients() / workers).max(1), live.limits.connections);
    let mut live = live.clone();
    if fit < configured {
        warn!(connections = fit, configured, "the limit on open files allows fewer connections per worker");
        live.limits.connections = fit;
    }
    live
}

/// Tells the service manager that the process does its job, with the first sync.
async fn notify_ready(snapshot: Arc<ArcSwap<Snapshot>>, stop: Stop) {
    tokio::select! {
        () = wait_for_first_sync(&snapshot) => notify::ready(),
        () = stop.begun() => {}
    }
}

/// The parts that the feed leads to.
struct Fed {
    publisher: Publisher,
    controlplane: ControlplaneClient,
    drain: Drain,
    metrics: Metrics,
    workers: Vec<WorkerMetrics>,
    view: BackendView,
}

fn start_feed(config: &Config, fed: Fed, tasks: &Tasks) -> Result<(), AppError> {
    let stop = tasks.stop().clone();
    let Fed { publisher, controlplane, drain, metrics, workers, view } = fed;
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
    let client = FeedClient { link, node, publisher, controlplane, drain, metrics, workers, view };
    tasks.essential("feed", client.run(stop));
    Ok(())
}

/// Returns all TCP listeners of this process, and the others' of this gateway.
fn ours(
    ports: &Ports,
    admin: &AdminServer,
    dns: &[DnsSockets],
    snapshot: &Arc<ArcSwap<Snapshot>>,
) -> Ourselves {
    let dns = dns.iter().map(DnsSockets::local_addr);
    let own = ports.listeners.iter().copied().chain([admin.local_addr()]).chain(dns);
    Ourselves::new(own, Arc::clone(snapshot))
}

/// Starts the monitor of the backends.
fn look_after(
    dialer: Dialer,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    metrics: &Metrics,
    tasks: &Tasks,
) -> (BackendView, mpsc::Sender<Observation>) {
    let down = Arc::new(ArcSwap::from_pointee(Down::default()));
    let (observing, observations) = mpsc::channel(OBSERVATIONS);
    let view = BackendView { down: Arc::clone(&down), dialer: dialer.clone() };
    let (snapshot, metrics) = (Arc::clone(snapshot), metrics.clone());
    let monitor = Monitor { snapshot, down, observations, dialer, metrics };
    tasks.essential("health", monitor.run(tasks.stop().clone()));
    (view, observing)
}

/// Opens the cache; a feed from a file needs none. Traffic goes on without one that cannot be had.
fn open_cache(
    config: &Config,
    tickets: &Arc<Tickets>,
    metrics: &Metrics,
    tasks: &Tasks,
    publisher: &mut Publisher,
) -> Result<(), AppError> {
    let Some(folder) = config.cache_dir.as_ref().filter(|_| !config.is_fed_by_file()) else { return Ok(()) };
    let tickets: Arc<dyn ProducesTickets> = Arc::clone(tickets) as _;
    match cache::open(folder, &config.state_dir, &tickets, metrics.clone(), unix_now()) {
        Ok(Opened { restored, cache, write }) => {
            publisher.continue_from(cache, restored);
            Ok(start_thread(tasks, "cache".to_owned(), write)?)
        }
        Err(reason) => {
            metrics.cache_failures.inc();
            error!(%reason, "`cache_dir`: going on without a cache");
            Ok(())
        }
    }
}

/// Starts the DNS relay on a thread of its own: a flood of questions delays neither traffic nor the feed.
fn start_dns(sockets: Vec<DnsSockets>, relay: Relay, tasks: &Tasks) -> Result<(), AppError> {
    if sockets.is_empty() {
        return Ok(());
    }
    let stop = tasks.stop().clone();
    Ok(start_thread(tasks, "dns".to_owned(), move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(dns::serve(sockets, relay, stop))
    })?)
}
