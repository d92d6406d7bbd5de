//! The composition: bind everything, then build, then run. Nobody imports this.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::info;
use webgateway_dns::{DnsMetrics, QuestionFilter};
use webgateway_process::settings::Program;
use webgateway_process::{
    Application, InheritedSockets, ProcessMetrics, Readiness, Stop, TaskError, Tasks, Watchdog, notify,
    signals, watch_reload,
};
use webgateway_proto::feed::Settings;
use webgateway_seal::{SecretKey, SecretKeyError};

use crate::api::{Api, Parts};
use crate::certs::account::AcmeAccounts;
use crate::certs::acme::Ca;
use crate::certs::https::HttpsError;
use crate::certs::internal::{InternalCa, InternalCaError};
use crate::certs::issuer::{AcmeIssuer, AcmeIssuerParts, Issuer};
use crate::certs::order::Orders;
use crate::certs::reconciler::{CertificateReconciler, CertificateReconcilerParts, PassError};
use crate::certs::solver::Solver;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, PROGRAM};
use crate::dns::resolver::ResolverError;
use crate::dns::responder::ZoneResponder;
use crate::dns::txt::TxtSet;
use crate::dns::zone::{Zone, ZoneError};
use crate::domain::{Domain, GatewayListeners, HostPolicy, Invitations, Quotas};
use crate::feed::catalog::Catalog;
use crate::feed::challenges::Challenges;
use crate::feed::enrolment::{Enrolment, attempts};
use crate::feed::load::Loader;
use crate::feed::members::Members;
use crate::feed::nodes::Nodes;
use crate::feed::server::{FeedService, Remote, Timeouts};
use crate::handlers::{calls, questions};
use crate::keys::{KeyStore, KeyStoreError};
use crate::live::{LiveParts, LivePreflight, ReloadError};
use crate::metrics::Metrics;
use crate::pki::authority::{NodeAuthority, NodeAuthorityError};
use crate::pki::server;
use crate::reconcile::{self, Reconciler};
use crate::sockets::{ListenError, SOCKETS, Sockets, follow_addresses, listeners_at};
use crate::store::{OpenError, Store, StoreError};
use crate::suspensions::SuspensionReconciler;
use crate::tickets::{TicketKeyError, TicketKeyRotation};

/// The time for open connections to end.
const GRACE: Duration = Duration::from_secs(15);

/// The process cannot start, or stopped.
#[derive(Debug, Error)]
pub enum AppError {
    /// A socket cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The CA of the nodes cannot be had.
    #[error(transparent)]
    Authority(#[from] NodeAuthorityError),
    /// The base domain leaves no room for its zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The key that seals private keys cannot be had.
    #[error(transparent)]
    SecretKey(#[from] SecretKeyError),
    /// The local CA cannot be had.
    #[error(transparent)]
    Ca(#[from] InternalCaError),
    /// There is no way to speak with a CA.
    #[error("`local_acme_root`, `acme.fallback`: {0}")]
    Https(#[from] HttpsError),
    /// There is no way to ask the DNS.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The base domain has no certificate.
    #[error("the first certificates: {0}")]
    Certificates(#[from] PassError),
    /// There are no session ticket keys.
    #[error(transparent)]
    Tickets(#[from] TicketKeyError),
    /// The database cannot be read.
    #[error("cannot read what the nodes are to hold: {0}")]
    Catalog(#[from] StoreError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The public keys cannot be had.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A configuration cannot be taken while the process runs.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// The system refuses signals.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    /// An essential task ended.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}

/// A process that has everything it needs and is not running yet.
pub struct App {
    sockets: Sockets,
    api: Api,
    live: LiveParts,
    answers: ZoneResponder,
    nodes: Nodes,
    listeners: GatewayListeners,
    members: Members,
    remote: Option<Remote>,
    catalog: Catalog,
    loader: Loader,
    certificates: CertificateReconciler,
    tickets: TicketKeyRotation,
    suspensions: SuspensionReconciler,
    suspended: watch::Receiver<u64>,
    registry: Registry,
    metrics: Metrics,
    tasks: Tasks,
}

impl Application for App {
    const PROGRAM: Program = PROGRAM;
    const SOCKETS: &'static [&'static str] = SOCKETS;
    type Settings = config::Settings;
    type Config = Config;
    type ConfigError = ConfigError;
    type Error = AppError;

    fn configure(settings: config::Settings) -> Result<Config, ConfigError> {
        settings.resolve()
    }

    fn log_level(config: &Config) -> &str {
        &config.log_level
    }

    fn runtime() -> Builder {
        Builder::new_multi_thread()
    }

    /// Binds every listener, opens the store, sees to the first certificates and reads what the nodes shall hold.
    async fn bind(config: Config, inherited: InheritedSockets) -> Result<Self, AppError> {
        let sockets = Sockets::open(&config, inherited).await?;
        let zone = Zone::new(&config.base_domain)?;
        let mut registry = Registry::default();
        let tasks = Tasks::with_metrics(Stop::new(), ProcessMetrics::register(&mut registry));
        tasks.metrics().count_tasks();
        let dns = DnsMetrics::register(&mut registry, tasks.metrics());
        let metrics = Metrics::register(&mut registry);
        let store = open_store(config.db_path.clone(), metrics.clone()).await?;
        let key = open_secret_key(config.secret_key_file.clone()).await?;
        let keys = KeyStore::open(&config.live.keys)?;
        let challenges = Challenges::new(store.clone());
        let nodes = Nodes::new(Clock::system(), metrics.nodes_connected.clone());
        let values = TxtSet::new();
        let base = config.base_domain.clone();
        let solver = Solver::new(base, values.clone(), challenges.clone(), nodes.clone());
        let context = StoreContext { store: &store, key: &key, metrics: &metrics };
        let preflight = preflight(&config, &zone)?;
        let issuer = issuer(&config, context, preflight.as_ref(), solver).await?;
        let mut certificates = certificates(&config, context, issuer);
        certificates.pass().await?;
        let mut tickets =
            TicketKeyRotation::new(store.clone(), Arc::clone(&key), Clock::system(), config.ticket_rotation);
        tickets.pass().await?;
        let authority = NodeAuthority::open(&store, &key, Clock::system().now()).await?;
        let listeners = GatewayListeners::new(listeners_at(&sockets.addresses()));
        let known = Known { nodes: &nodes, listeners: &listeners, authority: &authority };
        let domain = domain(&config, store.clone(), keys.clone(), known);
        domain.quotas.load(&domain.store).await?;
        let suspended = domain.suspensions.subscribe();
        let mut suspensions = SuspensionReconciler::new(domain.clone());
        // Before the catalog is read: who comes back is in it.
        suspensions.pass().await?;
        let loader = loader(&config, context, &listeners, challenges);
        let catalog = loader.load().await?;
        let members = Members::new(Clock::system());
        members.load(&store).await?;
        let remote = remote(&config, &store, &members, &authority)?;
        let live = LiveParts { quotas: domain.quotas.clone(), keys, preflight };
        let (stop, required) = (tasks.stop().clone(), config.rpc_require);
        let api = Api::new(Parts { domain, metrics: metrics.clone(), stop, required });
        let answers = ZoneResponder::new(zone, values, QuestionFilter::new(dns));
        Ok(Self {
            sockets,
            api,
            live,
            answers,
            nodes,
            listeners,
            members,
            remote,
            catalog,
            loader,
            certificates,
            tickets,
            suspensions,
            suspended,
            registry,
            metrics,
            tasks,
        })
    }

    async fn run(self) -> Result<(), AppError> {
        let Sockets { rpc, dns, admin, .. } = &self.sockets;
        let (rpc, dns, admin) = (rpc.local_addr(), dns.local_addr(), admin.local_addr());
        let tasks = self.tasks;
        let stop = || tasks.stop().clone();
        signals::watch(&tasks).map_err(AppError::Signals)?;
        let live = self.live;
        watch_reload::<Self>(&tasks, move |config| Ok(live.apply(&config.live)?))
            .map_err(AppError::Signals)?;
        let follow = follow_addresses(self.sockets.addresses(), self.listeners.clone(), stop());
        tasks.essential("addresses", follow);
        self.sockets.admin.serve(&tasks, Arc::new(self.registry), Readiness::new());
        let (published, catalog) = watch::channel(self.catalog);
        let changed = self.loader.store.changed();
        tasks.essential("challenges", self.loader.challenges.clone().follow(stop()));
        tasks.essential("members", self.members.clone().follow(self.loader.store.clone(), stop()));
        tasks.essential("catalog", self.loader.follow(published, stop()));
        let status = status(catalog.clone(), self.metrics.nodes_connected.clone(), stop());
        let feed = FeedService {
            catalog,
            nodes: self.nodes,
            listeners: self.listeners,
            members: self.members,
            calls: calls(self.api.clone()),
            questions: questions(self.answers.clone()),
            tasks: tasks.clone(),
            timeouts: Timeouts::default(),
            garbage: self.metrics.feed_protocol_errors.clone(),
        };
        tasks.essential("feed", feed.serve(self.sockets.feed, self.remote));
        tasks.essential("dns", self.sockets.dns.serve(self.answers, stop()));
        let reconciler = reconcile::run("certificates", self.certificates, changed, stop());
        tasks.essential("certificates", reconciler);
        // Nothing but time changes them; the sender stays, or that would be an end.
        let (_poke, never) = watch::channel(0);
        tasks.essential("ticket keys", reconcile::run("ticket keys", self.tickets, never, stop()));
        let ends = reconcile::run("suspensions", self.suspensions, self.suspended, stop());
        tasks.essential("suspensions", ends);
        tasks.essential("rpc", self.sockets.rpc.serve(self.api, self.metrics, tasks.clone()));
        info!(%rpc, %dns, %admin, "ready");
        notify::ready();
        Watchdog::default().run(&tasks, status);
        tasks.run_until_stopped(GRACE).await?;
        info!("stopped");
        Ok(())
    }
}

/// Returns the status of the process, in one line for `systemctl status`.
fn status(catalog: watch::Receiver<Catalog>, nodes: Gauge, stop: Stop) -> impl Fn() -> String {
    move || {
        let doing = if stop.is_stopping() { "stopping" } else { "serving" };
        format!("{doing}: version {}, {} nodes", catalog.borrow().version(), nodes.get())
    }
}

/// The store, and what is needed to use it.
#[derive(Clone, Copy)]
struct StoreContext<'a> {
    store: &'a Store,
    key: &'a Arc<SecretKey>,
    metrics: &'a Metrics,
}

/// Makes the preflight that CAs over ACME need; the internal one needs none.
fn preflight(config: &Config, zone: &Zone) -> Result<Option<LivePreflight>, AppError> {
    let make = || LivePreflight::new(&config.live.lookup, zone.clone(), config.base_domain.clone());
    Ok((!config.cas.is_empty()).then(make).transpose()?)
}

async fn issuer(
    config: &Config,
    context: StoreContext<'_>,
    preflight: Option<&LivePreflight>,
    solver: Solver,
) -> Result<Issuer, AppError> {
    let (clock, StoreContext { store, key, metrics }) = (Clock::system(), context);
    let Some(preflight) = preflight.map(LivePreflight::current) else {
        let folder = config.db_path.parent().unwrap_or(Path::new("."));
        return Ok(Issuer::Internal(InternalCa::open(store, key, folder, clock.now()).await?));
    };
    let (store, key) = (store.clone(), Arc::clone(key));
    let cas = config.cas.iter().map(|ca| Ca::new(ca.clone(), clock)).collect::<Result<_, _>>()?;
    let accounts = AcmeAccounts::new(store.clone(), Arc::clone(&key), clock);
    let orders = Orders { store, key, accounts, solver, clock };
    Ok(Issuer::Acme(AcmeIssuer::new(AcmeIssuerParts { cas, orders, preflight, metrics: metrics.clone() })))
}

fn certificates(config: &Config, context: StoreContext<'_>, issuer: Issuer) -> CertificateReconciler {
    let StoreContext { store, key, metrics } = context;
    CertificateReconciler::new(CertificateReconcilerParts {
        store: store.clone(),
        key: Arc::clone(key),
        issuer,
        base: config.base_domain.clone(),
        clock: Clock::system(),
        metrics: metrics.clone(),
    })
}

fn loader(
    config: &Config,
    StoreContext { store, key, .. }: StoreContext<'_>,
    listeners: &GatewayListeners,
    challenges: Challenges,
) -> Loader {
    let settings = Settings {
        base_domain: config.base_domain.clone(),
        allowed_backends: config.allowed_backends.clone(),
        listeners: Vec::new(),
    };
    Loader {
        store: store.clone(),
        key: Arc::clone(key),
        settings,
        listeners: listeners.clone(),
        challenges,
        clock: Clock::system(),
        delay: config.load_delay,
    }
}

/// Makes what remote nodes need, if there is an address for them.
fn remote(
    config: &Config,
    store: &Store,
    members: &Members,
    authority: &NodeAuthority,
) -> Result<Option<Remote>, AppError> {
    if !config.feed.is_remote() {
        return Ok(None);
    }
    let (clock, lifetime) = (Clock::system(), config.feed.node_lifetime.as_secs());
    let enrolment = Enrolment {
        store: store.clone(),
        authority: authority.clone(),
        members: members.clone(),
        clock,
        lifetime: time::Duration::seconds(lifetime.cast_signed()),
        attempts: attempts(),
    };
    Ok(Some(Remote { tls: server::config(authority, clock)?, enrolment }))
}

/// The facts about nodes that the rules need.
struct Known<'a> {
    nodes: &'a Nodes,
    listeners: &'a GatewayListeners,
    authority: &'a NodeAuthority,
}

fn domain(config: &Config, store: Store, keys: KeyStore, known: Known<'_>) -> Domain {
    let Known { nodes, listeners, authority } = known;
    let told = || Invitations { authority: authority.fingerprint(), address: config.feed.address.clone() };
    Domain {
        store,
        keys,
        nodes: Arc::new(nodes.clone()),
        listeners: listeners.clone(),
        hosts: HostPolicy::new(config.base_domain.clone(), config.reserved_subdomains.clone()),
        allowed_backends: config.allowed_backends.clone(),
        admin: config.admin_id.clone(),
        invitations: config.feed.is_remote().then(told),
        quotas: Quotas::new(config.live.quotas),
        suspensions: watch::Sender::new(0),
        clock: Clock::system(),
    }
}

async fn open_store(path: PathBuf, metrics: Metrics) -> Result<Store, AppError> {
    let opened = spawn_blocking(move || Store::open(&path, metrics)).await;
    Ok(opened.map_err(|_| AppError::Interrupted)??)
}

async fn open_secret_key(path: PathBuf) -> Result<Arc<SecretKey>, AppError> {
    let opened = spawn_blocking(move || SecretKey::load_or_create(&path, "secret_key_file")).await;
    Ok(Arc::new(opened.map_err(|_| AppError::Interrupted)??))
}
