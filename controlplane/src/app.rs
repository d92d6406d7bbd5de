//! The composition: bind everything, then build, then run. Nobody imports this.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tracing::info;
use webgateway_process::admin::{self, AdminServer};
use webgateway_process::{BindError, Readiness, Stop, TaskFailed, Tasks, notify, signals};
use webgateway_proto::api::NodeView;

use crate::api::keys::KeyStore;
use crate::api::server::RpcServer;
use crate::api::{Api, Parts};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{Domain, HostPolicy, NodeDirectory};
use crate::metrics::Metrics;
use crate::store::{OpenError, Store};

/// How long open connections may take to end.
const GRACE: Duration = Duration::from_secs(15);

/// Why the process cannot start, or stopped.
#[derive(Debug, Error)]
pub enum Failed {
    /// A listener that cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A database that cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// No directory of keys.
    #[error("cannot read the key directory {path} (`pub_key_store.path`): {source}")]
    Keys {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refuses signals.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    /// An essential task ended.
    #[error(transparent)]
    Task(#[from] TaskFailed),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}

/// Where the process listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The API.
    pub rpc: SocketAddr,
    /// Metrics and probes.
    pub admin: SocketAddr,
}

/// A process that has everything it needs and is not running yet.
pub struct App {
    rpc: RpcServer,
    admin: AdminServer,
    api: Api,
    registry: Arc<Registry>,
    metrics: Metrics,
    tasks: Tasks,
}

impl App {
    /// Binds every listener and opens the store.
    pub async fn bind(config: Config) -> Result<Self, Failed> {
        let rpc = RpcServer::bind(config.rpc_listen).await?;
        let admin = admin::bind(config.admin_listen).await?;
        // WIRE: bind the feed's socket (config.feed_socket) and the DNS server (config.dns_listen) here.
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let store = open_store(config.db_path.clone(), metrics.clone()).await?;
        let keys = open_keys(config.keys_path.clone())?;
        let tasks = Tasks::new(Stop::new());
        // WIRE: the feed's node directory in place of `NoNodes`; the sealing key (config.secret_key_file), the
        // internal CA beside config.db_path and the reconciler that issues for the base domain and the routes.
        let api = Api::new(Parts {
            domain: domain(&config, store),
            keys,
            nodes: Arc::new(NoNodes),
            metrics: metrics.clone(),
        });
        Ok(Self { rpc, admin, api, registry: Arc::new(registry), metrics, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses { rpc: self.rpc.local_addr(), admin: self.admin.local_addr() }
    }

    /// Runs until a signal, or until something essential fails.
    pub async fn run(self) -> Result<(), Failed> {
        let addresses = self.addresses();
        let tasks = self.tasks;
        signals::watch(&tasks).map_err(Failed::Signals)?;
        let readiness = Readiness::new();
        self.admin.serve(&tasks, self.registry, readiness);
        tasks.essential("rpc", self.rpc.serve(self.api, self.metrics, tasks.clone()));
        // WIRE: tasks.essential("feed", …), ("dns", …), ("reconcile", …) here; the feed's Call is
        // `api.handle(call.request, Origin::Node, call.client)`.
        info!(rpc = %addresses.rpc, admin = %addresses.admin, "ready");
        notify::ready();
        Ok(tasks.run_until_stopped(GRACE).await?)
    }
}

fn domain(config: &Config, store: Store) -> Domain {
    Domain {
        store,
        hosts: HostPolicy::new(config.base_domain.clone(), config.reserved_subdomains.clone()),
        allowed_backends: config.allowed_backends.clone(),
        admin: config.admin_id.clone(),
        clock: Clock::system(),
    }
}

async fn open_store(path: PathBuf, metrics: Metrics) -> Result<Store, Failed> {
    let opened = spawn_blocking(move || Store::open(&path, metrics)).await;
    Ok(opened.map_err(|_| Failed::Interrupted)??)
}

fn open_keys(path: PathBuf) -> Result<KeyStore, Failed> {
    KeyStore::open(path.clone()).map_err(|source| Failed::Keys { path, source })
}

/// No feed, no nodes.
struct NoNodes;

impl NodeDirectory for NoNodes {
    fn nodes(&self) -> Vec<NodeView> {
        Vec::new()
    }
}
