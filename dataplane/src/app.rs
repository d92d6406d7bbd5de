//! The application: binds all listeners, then builds the parts of the dataplane, then runs them.

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
    Application, BindError, FileCheckError, InheritedSockets, ProcessMetrics, Readiness, Stop, TaskError,
    Tasks, Watchdog, max_clients, notify, signals, watch_reload,
};

use crate::backend::connector::Observation;
use crate::backend::dial::{Dialer, OwnListeners};
use crate::backend::monitor::Monitor;
use crate::backend::probe::ProbeDialer;
use crate::backend::tls::BackendTlsConfigs;
use crate::backend::unhealthy::UnhealthySet;
use crate::backend::view::BackendView;
use crate::clock::unix_now;
use crate::config::{Config, ConfigError, Endpoint, Live, PROGRAM, Settings};
use crate::controlplane::ControlplaneClient;
use crate::dns::{self, DnsRelay};
use crate::edge::socket_activation::ListenError;
use crate::edge::worker::{WorkerSockets, wait_for_first_sync};
use crate::feed::cache::{self, OpenCache};
use crate::feed::client::FeedClient;
use crate::feed::connector::FeedConnector;
use crate::feed::drain::DrainState;
use crate::feed::{Publisher, file, renewal};
use crate::identity::{IdentityStore, StateDirError};
use crate::join::{self, JoinError};
use crate::metrics::{Metrics, WorkerMetrics};
use crate::network_limits::NetworkLimits;
use crate::problems::problems;
use crate::ready::ReadyGate;
use crate::snapshot::Snapshot;
use crate::stats::{TrafficReporter, traffic_reporter};
use crate::status::Status;
use crate::tickets::Tickets;
use crate::workers::{
    Ports, SharedParts, ThreadError, listen_all, start_thread, start_workers, worker_parts,
};

/// The time that the process has to stop after the drain of the workers.
const GRACE: Duration = Duration::from_secs(2);
/// The capacity of the queue of observations from the workers to the monitor.
const OBSERVATIONS: usize = 1024;

/// The reason why the process cannot start, or stopped.
#[derive(Debug, Error)]
pub enum AppError {
    /// Signal handlers cannot be installed.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    /// The admin listener cannot be opened.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// A public listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A DNS socket cannot be opened.
    #[error(transparent)]
    Dns(#[from] DnsListenError),
    /// A thread cannot be started.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// Session ticket keys cannot be generated.
    #[error("cannot generate session ticket keys: {0}")]
    Tickets(#[from] rustls::Error),
    /// This node's identity cannot be read.
    #[error(transparent)]
    Identity(#[from] StateDirError),
    /// Joining failed.
    #[error("join: {0}")]
    Join(#[from] JoinError),
    /// An essential task ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// The application after its listeners were bound, before it runs.
pub struct App {
    config: Config,
    tasks: Tasks,
    registry: Registry,
    metrics: Metrics,
    admin: AdminServer,
    sockets: Vec<WorkerSockets>,
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
    type Problem = FileCheckError;
    type Error = AppError;

    fn configure(settings: Settings) -> Result<Config, ConfigError> {
        settings.resolve()
    }

    fn problems(config: &Config) -> Vec<FileCheckError> {
        problems(config)
    }

    fn log_level(config: &Config) -> &str {
        &config.log_level
    }

    /// Returns the runtime of the feed and the admin server. Workers have threads of their own.
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
        let live = watch_settings(&config, &tasks).map_err(AppError::Signals)?;
        let readiness = Readiness::new();
        let gate = ReadyGate::new(readiness.clone());
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let controlplane = ControlplaneClient::default();
        let (senders, parts) = worker_parts(sockets, &metrics);
        let workers: Vec<WorkerMetrics> = parts.iter().map(|part| part.metrics.clone()).collect();
        let mut watchdog = Watchdog::default();
        let drain = DrainState::new(readiness.clone());
        let own_listeners = own_listeners(&ports, &admin, &dns, &snapshot);
        let ack_timeout = config.live.limits.ack_timeout;
        let dialer = Dialer { own_listeners, ack_timeout, tls: BackendTlsConfigs::default() };
        let dialer = ProbeDialer::new(dialer, live.clone());
        let (view, observations) = start_monitor(dialer, &snapshot, &metrics, &tasks);
        let (traffic, stats) = traffic_reporter(metrics.stats_unattributed.clone());
        let shared = SharedParts {
            snapshot: Arc::clone(&snapshot),
            controlplane: controlplane.clone(),
            ports: ports.clone(),
            draining: drain.subscribe(),
            view: view.clone(),
            observations,
            network_limits: NetworkLimits::new(metrics.client_networks.clone()),
            live: live.clone(),
            stats,
        };
        start_workers(&shared, parts, &tasks, &mut watchdog)?;
        let (draining, stop) = (drain.subscribe(), tasks.stop().clone());
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
        let relay = DnsRelay::new(controlplane.clone(), filter, metrics.dns_unanswered.clone());
        start_dns(dns, relay, &tasks)?;
        let fed = FeedParts { publisher, controlplane, drain, metrics, workers, view, traffic };
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

/// Watches for reloads; returns the current value of the settings that a reload changes.
fn watch_settings(config: &Config, tasks: &Tasks) -> io::Result<watch::Receiver<Live>> {
    let workers = config.workers;
    let (sender, live) = watch::channel(fit_to_open_files(&config.live, workers));
    watch_reload::<App>(tasks, move |config| {
        sender.send_replace(fit_to_open_files(&config.live, workers));
        Ok(())
    })?;
    Ok(live)
}

/// Lowers the connection limit to what the limit on open files allows, with one descriptor for each client and backend.
fn fit_to_open_files(live: &Live, workers: usize) -> Live {
    let (fit, configured) = ((max_clients() / workers).max(1), live.limits.connections);
    let mut live = live.clone();
    if fit < configured {
        warn!(connections = fit, configured, "the limit on open files allows fewer connections per worker");
        live.limits.connections = fit;
    }
    live
}

/// Notifies the service manager that the process is ready, after the first sync.
async fn notify_ready(snapshot: Arc<ArcSwap<Snapshot>>, stop: Stop) {
    tokio::select! {
        () = wait_for_first_sync(&snapshot) => notify::ready(),
        () = stop.begun() => {}
    }
}

/// The parts that the feed updates or reports on.
struct FeedParts {
    publisher: Publisher,
    controlplane: ControlplaneClient,
    drain: DrainState,
    metrics: Metrics,
    workers: Vec<WorkerMetrics>,
    view: BackendView,
    traffic: TrafficReporter,
}

fn start_feed(config: &Config, fed: FeedParts, tasks: &Tasks) -> Result<(), AppError> {
    let stop = tasks.stop().clone();
    let FeedParts { publisher, controlplane, drain, metrics, workers, view, traffic } = fed;
    let identity = config.may_be_remote().then(|| IdentityStore::load(&config.state_dir)).transpose()?;
    let joined = identity.as_ref().and_then(IdentityStore::get);
    let endpoints = config.endpoints(joined.as_ref().map(|joined| &joined.address));
    if let [Endpoint::File(path)] = endpoints.as_slice() {
        tasks.essential("feed", file::run(path.clone(), publisher, stop));
        return Ok(());
    }
    let connector = FeedConnector::new(endpoints, identity.clone());
    if let Some(identity) = identity {
        tasks.essential("renewal", renewal::run(identity, connector.remote_channel(), stop.clone()));
    }
    let node = config.node_name(joined.as_ref().map(|joined| &joined.name));
    let client =
        FeedClient { connector, node, publisher, controlplane, drain, metrics, workers, view, traffic };
    tasks.essential("feed", client.run(stop));
    Ok(())
}

/// Returns the listeners of this process, and those of the gateway that the snapshot names.
fn own_listeners(
    ports: &Ports,
    admin: &AdminServer,
    dns: &[DnsSockets],
    snapshot: &Arc<ArcSwap<Snapshot>>,
) -> OwnListeners {
    let dns = dns.iter().map(DnsSockets::local_addr);
    let own = ports.listeners.iter().copied().chain([admin.local_addr()]).chain(dns);
    OwnListeners::new(own, Arc::clone(snapshot))
}

/// Starts the health checks of backends.
fn start_monitor(
    dialer: ProbeDialer,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    metrics: &Metrics,
    tasks: &Tasks,
) -> (BackendView, mpsc::Sender<Observation>) {
    let unhealthy = Arc::new(ArcSwap::from_pointee(UnhealthySet::default()));
    let (observing, observations) = mpsc::channel(OBSERVATIONS);
    let view = BackendView { unhealthy: Arc::clone(&unhealthy), dialer: dialer.clone() };
    let (snapshot, metrics) = (Arc::clone(snapshot), metrics.clone());
    let monitor = Monitor { snapshot, unhealthy, observations, dialer, metrics };
    tasks.essential("health", monitor.run(tasks.stop().clone()));
    (view, observing)
}

/// Opens the cache, unless the feed is a file. If it cannot be opened, the node runs without one.
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
        Ok(OpenCache { restored, cache, write }) => {
            publisher.start_from_cache(cache, restored);
            Ok(start_thread(tasks, "cache".to_owned(), write)?)
        }
        Err(reason) => {
            metrics.cache_failures.inc();
            error!(%reason, "cannot open `cache_dir`, running without a cache");
            Ok(())
        }
    }
}

/// Starts the DNS relay on its own thread, so that a flood of questions delays neither traffic nor the feed.
fn start_dns(sockets: Vec<DnsSockets>, relay: DnsRelay, tasks: &Tasks) -> Result<(), AppError> {
    if sockets.is_empty() {
        return Ok(());
    }
    let stop = tasks.stop().clone();
    Ok(start_thread(tasks, "dns".to_owned(), move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(dns::serve(sockets, relay, stop))
    })?)
}
