//! The composition of the process: it binds the sockets, builds the parts and runs them. No other module imports it.

mod error;
mod parts;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tracing::info;
use webgateway_dns::{DnsMetrics, QuestionFilter};
use webgateway_process::settings::Program;
use webgateway_process::{
    Application, InheritedSockets, ProcessMetrics, Readiness, Stop, Tasks, Watchdog, notify, signals,
    watch_reload,
};
use webgateway_proto::feed::Settings;
use webgateway_seal::SecretKey;

pub use self::error::AppError;
use self::parts::{members, open_secret_key, open_store, suspension_reconciler, traffic_writer};
use crate::api::{Api, ApiParts};
use crate::certs::account::AcmeAccounts;
use crate::certs::acme::Ca;
use crate::certs::internal::InternalCa;
use crate::certs::issuer::{AcmeIssuer, AcmeIssuerParts, Issuer};
use crate::certs::order::Orders;
use crate::certs::reconciler::{CertificateReconciler, CertificateReconcilerParts, PassError};
use crate::certs::solver::Solver;
use crate::claims::ClaimReconciler;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, PROGRAM};
use crate::dns::responder::ZoneResponder;
use crate::dns::txt::TxtSet;
use crate::dns::zone::Zone;
use crate::domain::{ClaimPolicy, Domain, GatewayListeners, HostPolicy, Invitations, Quotas};
use crate::feed::catalog::Catalog;
use crate::feed::challenges::Challenges;
use crate::feed::enrolment::{Enrolment, join_rate_limit};
use crate::feed::load::Loader;
use crate::feed::members::Members;
use crate::feed::nodes::Nodes;
use crate::feed::server::{FeedService, RemoteAccess, Timeouts};
use crate::handlers::{api_calls, dns_messages};
use crate::keys::{self, KeyStore, SetupError};
use crate::live::{LiveParts, SharedPreflightChecker};
use crate::metrics::Metrics;
use crate::pki::authority::NodeAuthority;
use crate::pki::server;
use crate::reconcile::{self, Reconciler};
use crate::sockets::{SOCKETS, Sockets, follow_addresses, listeners_at};
use crate::store::Store;
use crate::suspensions::SuspensionReconciler;
use crate::tickets::{TicketKeyError, TicketKeyRotation};
use crate::traffic::{TrafficState, TrafficWriter};

/// The time that open connections have to end after the process began to stop.
const GRACE: Duration = Duration::from_secs(15);

/// The process after its start, before its tasks run.
pub struct App {
    sockets: Sockets,
    api: Api,
    live: LiveParts,
    responder: ZoneResponder,
    nodes: Nodes,
    listeners: GatewayListeners,
    members: Members,
    remote: Option<RemoteAccess>,
    catalog: Catalog,
    loader: Loader,
    certificates: CertificateReconciler,
    tickets: TicketKeyRotation,
    suspensions: SuspensionReconciler,
    claims: ClaimReconciler,
    suspended: watch::Receiver<u64>,
    traffic: TrafficWriter,
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
    type Problem = SetupError;
    type Error = AppError;

    fn configure(settings: config::Settings) -> Result<Config, ConfigError> {
        settings.resolve()
    }

    fn problems(config: &Config) -> Vec<SetupError> {
        keys::problems(config)
    }

    fn log_level(config: &Config) -> &str {
        &config.log_level
    }

    fn runtime() -> Builder {
        Builder::new_multi_thread()
    }

    /// Binds every listener, opens the store, obtains the first certificates and loads the catalog.
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
        let (challenges, txt_set) = (Challenges::new(store.clone()), TxtSet::new());
        let nodes = Nodes::new(Clock::system(), metrics.nodes_connected.clone());
        let solver =
            Solver::new(config.base_domain.clone(), txt_set.clone(), challenges.clone(), nodes.clone());
        let context = StoreContext { store: &store, key: &key, metrics: &metrics };
        let preflight = preflight_checker(&config, &zone)?;
        let issuer = issuer(&config, context, preflight.as_ref(), solver).await?;
        let certificates = certificate_reconciler(&config, context, issuer).await?;
        let tickets = ticket_key_rotation(&config, context).await?;
        let authority = NodeAuthority::open(&store, &key, Clock::system().now()).await?;
        let listeners = GatewayListeners::new(listeners_at(&sockets.addresses()));
        let shared = preflight.as_ref();
        let parts =
            DomainParts { nodes: &nodes, listeners: &listeners, authority: &authority, preflight: shared };
        let domain = domain(&config, store.clone(), keys.clone(), parts);
        domain.quotas.load(&domain.store).await?;
        let (claims, suspended) = (ClaimReconciler::new(domain.clone()), domain.suspensions.subscribe());
        let traffic = traffic_writer(&domain);
        // Before the catalog is loaded, so that it has the routes of users whose suspension has ended.
        let suspensions = suspension_reconciler(&domain).await?;
        let loader = loader(&config, context, &listeners, challenges);
        let catalog = loader.load().await?;
        let members = members(&store).await?;
        let remote = remote_access(&config, &store, &members, &authority)?;
        let live = LiveParts { quotas: domain.quotas.clone(), keys, preflight };
        let (stop, required) = (tasks.stop().clone(), config.rpc_require);
        let api = Api::new(ApiParts { domain, metrics: metrics.clone(), stop, required });
        let responder = ZoneResponder::new(zone, txt_set, QuestionFilter::new(dns));
        Ok(Self {
            sockets,
            api,
            live,
            responder,
            nodes,
            listeners,
            members,
            remote,
            catalog,
            loader,
            certificates,
            tickets,
            suspensions,
            claims,
            suspended,
            traffic,
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
            traffic: self.traffic.traffic.clone(),
            api: api_calls(self.api.clone()),
            dns: dns_messages(self.responder.clone()),
            tasks: tasks.clone(),
            timeouts: Timeouts::default(),
            protocol_errors: self.metrics.feed_protocol_errors.clone(),
        };
        tasks.essential("traffic", self.traffic.run(stop()));
        tasks.essential("feed", feed.serve(self.sockets.feed, self.remote));
        tasks.essential("dns", self.sockets.dns.serve(self.responder, stop()));
        let claims = reconcile::run("claims", self.claims, changed.clone(), stop());
        tasks.essential("claims", claims);
        let reconciler = reconcile::run("certificates", self.certificates, changed, stop());
        tasks.essential("certificates", reconciler);
        // Only time changes ticket keys. The sender must live, because its end would end the reconciler.
        let (_changes, never) = watch::channel(0);
        tasks.essential("ticket keys", reconcile::run("ticket keys", self.tickets, never, stop()));
        let suspensions = reconcile::run("suspensions", self.suspensions, self.suspended, stop());
        tasks.essential("suspensions", suspensions);
        tasks.essential("rpc", self.sockets.rpc.serve(self.api, self.metrics, tasks.clone()));
        info!(%rpc, %dns, %admin, "ready");
        notify::ready();
        Watchdog::default().run(&tasks, status);
        tasks.run_until_stopped(GRACE).await?;
        info!("stopped");
        Ok(())
    }
}

/// Returns a function that formats the status of the process in one line, for `systemctl status`.
fn status(catalog: watch::Receiver<Catalog>, nodes: Gauge, stop: Stop) -> impl Fn() -> String {
    move || {
        let state = if stop.is_stopping() { "stopping" } else { "serving" };
        format!("{state}: version {}, {} nodes", catalog.borrow().version(), nodes.get())
    }
}

/// The store, the key that encrypts its secrets, and its metrics.
#[derive(Clone, Copy)]
struct StoreContext<'a> {
    store: &'a Store,
    key: &'a Arc<SecretKey>,
    metrics: &'a Metrics,
}

/// Creates the preflight checker for ACME CAs and for the proof of hosts.
fn preflight_checker(config: &Config, zone: &Zone) -> Result<Option<SharedPreflightChecker>, AppError> {
    let make =
        || SharedPreflightChecker::new(&config.live.preflight, zone.clone(), config.base_domain.clone());
    Ok((!config.cas.is_empty() || config.hosts.needs_proof).then(make).transpose()?)
}

/// Creates the issuer: the ACME CAs, or the internal CA if there are none.
async fn issuer(
    config: &Config,
    context: StoreContext<'_>,
    preflight: Option<&SharedPreflightChecker>,
    solver: Solver,
) -> Result<Issuer, AppError> {
    let (clock, StoreContext { store, key, metrics }) = (Clock::system(), context);
    let acme_preflight = preflight.filter(|_| !config.cas.is_empty());
    let Some(preflight) = acme_preflight.map(SharedPreflightChecker::current) else {
        let folder = config.db_path.parent().unwrap_or(Path::new("."));
        return Ok(Issuer::Internal(InternalCa::open(store, key, folder, clock.now()).await?));
    };
    let (store, key) = (store.clone(), Arc::clone(key));
    let cas = config.cas.iter().map(|ca| Ca::new(ca.clone(), clock)).collect::<Result<_, _>>()?;
    let accounts = AcmeAccounts::new(store.clone(), Arc::clone(&key), clock);
    let orders = Orders { store, key, accounts, solver, clock };
    Ok(Issuer::Acme(AcmeIssuer::new(AcmeIssuerParts { cas, orders, preflight, metrics: metrics.clone() })))
}

/// Creates the reconciler of certificates and runs its first pass.
async fn certificate_reconciler(
    config: &Config,
    StoreContext { store, key, metrics }: StoreContext<'_>,
    issuer: Issuer,
) -> Result<CertificateReconciler, PassError> {
    let mut reconciler = CertificateReconciler::new(CertificateReconcilerParts {
        store: store.clone(),
        key: Arc::clone(key),
        issuer,
        base: config.base_domain.clone(),
        clock: Clock::system(),
        metrics: metrics.clone(),
    });
    reconciler.pass().await?;
    Ok(reconciler)
}

/// Creates the rotation of session ticket keys and runs its first pass.
async fn ticket_key_rotation(
    config: &Config,
    StoreContext { store, key, .. }: StoreContext<'_>,
) -> Result<TicketKeyRotation, TicketKeyError> {
    let (store, key) = (store.clone(), Arc::clone(key));
    let mut rotation = TicketKeyRotation::new(store, key, Clock::system(), config.ticket_rotation);
    rotation.pass().await?;
    Ok(rotation)
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
        route_limits: config.route_limits,
        listeners: listeners.clone(),
        challenges,
        clock: Clock::system(),
        delay: config.load_delay,
    }
}

/// Creates the parts that serve remote nodes, if there is a listener for them.
fn remote_access(
    config: &Config,
    store: &Store,
    members: &Members,
    authority: &NodeAuthority,
) -> Result<Option<RemoteAccess>, AppError> {
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
        rate_limit: join_rate_limit(),
    };
    Ok(Some(RemoteAccess { tls: server::config(authority, clock)?, enrolment }))
}

/// The parts of the domain that are about nodes.
struct DomainParts<'a> {
    nodes: &'a Nodes,
    listeners: &'a GatewayListeners,
    authority: &'a NodeAuthority,
    preflight: Option<&'a SharedPreflightChecker>,
}

/// Returns the policy on claims. Without proof, no lookup is needed.
fn claim_policy(config: &Config, preflight: Option<&SharedPreflightChecker>) -> ClaimPolicy {
    match preflight.filter(|_| config.hosts.needs_proof) {
        Some(shared) => ClaimPolicy {
            lookup: shared.current(),
            is_required: true,
            ttl: time::Duration::seconds(config.hosts.claim_ttl.as_secs().cast_signed()),
            max_claims: config.hosts.max_claims,
            public_ip: config.live.preflight.public_ip.clone(),
        },
        None => ClaimPolicy::trusting(),
    }
}

fn domain(config: &Config, store: Store, keys: KeyStore, parts: DomainParts<'_>) -> Domain {
    let DomainParts { nodes, listeners, authority, preflight } = parts;
    let invitations =
        || Invitations { authority: authority.fingerprint(), address: config.feed.address.clone() };
    Domain {
        store,
        keys,
        nodes: Arc::new(nodes.clone()),
        listeners: listeners.clone(),
        hosts: HostPolicy::new(config.base_domain.clone(), config.hosts.reserved.clone()),
        claims: claim_policy(config, preflight),
        allowed_backends: config.allowed_backends.clone(),
        route_limits: config.route_limits,
        admin: config.admin_id.clone(),
        invitations: config.feed.is_remote().then(invitations),
        quotas: Quotas::new(config.live.quotas),
        suspensions: watch::Sender::new(0),
        traffic: TrafficState::default(),
        clock: Clock::system(),
    }
}
