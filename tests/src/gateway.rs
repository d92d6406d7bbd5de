//! A running dataplane.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::client::{Client, Connection};
use crate::process::Process;
use crate::sandbox::Sandbox;
use crate::systemd::Systemd;
use crate::wait::eventually;

/// The https port, which is free in every scenario's namespace.
pub const HTTPS: u16 = 443;
/// The plain HTTP port.
pub const HTTP: u16 = 80;
/// The admin port of a single gateway. Gateway `n` of several has 9190 + `n`; 9181 is the controlplane's.
const ADMIN: u16 = 9180;
const BINARY: &str = "webgateway-dataplane";
const START: Duration = Duration::from_secs(20);

/// A dataplane on ports 443 and 80 of the scenario's namespace.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    address: IpAddr,
    admin: SocketAddr,
    root: String,
}

/// The configuration of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// The value of `[feed] endpoint`.
    pub feed: String,
    /// The number of workers.
    pub workers: u16,
    /// The root certificate that clients trust, in PEM.
    pub root: String,
    /// The number among several gateways, of which `n` listens on `127.0.0.n` alone; 0 for one that listens everywhere.
    pub number: u8,
    /// The node's name; `None` to derive it from the number.
    pub name: Option<String>,
    /// The service manager that holds the sockets and starts the process; `None` to start it directly.
    pub service: Option<Arc<Systemd>>,
    /// Shell commands that run first, in the process that becomes the dataplane. Ignored if `service` is set.
    pub shell: Option<String>,
    /// The log level.
    pub log_level: &'static str,
    /// Additional top-level TOML keys.
    pub top: String,
    /// Additional TOML tables, such as `[limits]`.
    pub more: String,
}

impl GatewayConfig {
    /// Creates the configuration of a gateway that is fed from a file.
    #[must_use]
    pub fn from_file(path: &Path, root: &str) -> Self {
        Self::with_feed(format!("file:{}", path.display()), root)
    }

    /// Creates the configuration of a gateway that is fed over a unix socket.
    #[must_use]
    pub fn from_socket(path: &Path, root: &str) -> Self {
        Self::with_feed(format!("unix:{}", path.display()), root)
    }

    /// Creates the configuration of a remote node; the endpoints are tried in turn, and its identity is in `state`.
    #[must_use]
    pub fn from_remote(endpoints: &[&str], state: &Path, root: &str) -> Self {
        let top = format!("state_dir = \"{}\"\n", state.display());
        Self { top, ..Self::with_feed(endpoints.join("\", \""), root) }
    }

    fn with_feed(feed: String, root: &str) -> Self {
        Self {
            feed,
            workers: 1,
            root: root.to_owned(),
            number: 0,
            name: None,
            service: None,
            shell: None,
            log_level: "debug",
            top: String::new(),
            more: String::new(),
        }
    }

    /// Sets the number of workers.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the node's name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Sets the service manager that starts the process with its sockets.
    #[must_use]
    pub fn service(mut self, service: &Arc<Systemd>) -> Self {
        self.service = Some(Arc::clone(service));
        self
    }

    /// Limits the number of open files.
    #[must_use]
    pub fn files(self, most: u32) -> Self {
        self.shell(&format!("ulimit -n {most}"))
    }

    /// Sets shell commands that run first, in the process that becomes the dataplane.
    #[must_use]
    pub fn shell(mut self, lines: &str) -> Self {
        self.shell = Some(lines.to_owned());
        self
    }

    /// Sets the number among several gateways.
    #[must_use]
    pub fn number(mut self, number: u8) -> Self {
        self.number = number;
        self
    }

    /// Sets the log level.
    #[must_use]
    pub fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    /// Sets additional top-level TOML keys.
    #[must_use]
    pub fn top(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.top);
        self
    }

    /// Sets a feed cache and a state directory in the sandbox.
    #[must_use]
    pub fn cached(self, sandbox: &Sandbox) -> Self {
        let number = self.number;
        let dir = |name: &str| sandbox.path(&format!("{name}{number}")).display().to_string();
        self.top(&format!("cache_dir = \"{}\"\nstate_dir = \"{}\"", dir("cache"), dir("state")))
    }

    /// Sets additional TOML tables.
    #[must_use]
    pub fn more(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.more);
        self
    }
}

impl Gateway {
    /// Starts a gateway and waits until it is ready.
    pub async fn start(sandbox: &Sandbox, config: &GatewayConfig) -> Result<Self> {
        let mut gateway = Self::start_unready(sandbox, config)?;
        eventually("the gateway is ready", START, async || {
            gateway.process.ensure_running()?;
            gateway.ready().await
        })
        .await?;
        Ok(gateway)
    }

    /// Starts the process without waiting until it is ready.
    pub fn start_unready(sandbox: &Sandbox, config: &GatewayConfig) -> Result<Self> {
        let GatewayConfig { feed, workers, root, number, name: named, service, shell, log_level, top, more } =
            config;
        let (name, listen, address) = match number {
            0 => ("scenario".to_owned(), "::".to_owned(), IpAddr::V6(Ipv6Addr::LOCALHOST)),
            n => (format!("node{n}"), format!("127.0.0.{n}"), Ipv4Addr::new(127, 0, 0, *n).into()),
        };
        let name = named.clone().unwrap_or(name);
        let admin = SocketAddr::new(
            Ipv4Addr::LOCALHOST.into(),
            if *number == 0 { ADMIN } else { ADMIN + 10 + u16::from(*number) },
        );
        let file = format!("dataplane{}", if *number == 0 { String::new() } else { number.to_string() });
        let config = format!(
            "node = \"{name}\"\nworkers = {workers}\nhttps_port = {HTTPS}\nhttp_port = {HTTP}\nlisten = [\"{listen}\"]\n\
             admin_listen = \"{admin}\"\nlog_level = \"{log_level}\"\n{top}\n[feed]\nendpoint = [\"{feed}\"]\n{more}\n"
        );
        let config = sandbox.write(&format!("{file}.toml"), &config)?;
        let args = ["--config", config.to_str().context("a path that is text")?];
        let log = sandbox.path(&format!("{file}.log"));
        let process = match (service, shell) {
            (Some(service), _) => service.start(BINARY, &args, &log)?,
            (None, Some(shell)) => Process::start_with_shell(shell, (BINARY, &args), &[], &log)?,
            (None, None) => Process::start(BINARY, &args, &log)?,
        };
        Ok(Self { process, address, admin, root: root.clone() })
    }

    /// Returns the https address.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        SocketAddr::new(self.address, HTTPS)
    }

    /// Returns the plain HTTP address.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.address, HTTP)
    }

    /// Returns a client that trusts the gateway's root.
    pub fn client(&self) -> Result<Client> {
        Client::new(self.https(), &self.root)
    }

    /// Returns the process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Sends SIGHUP, so that the gateway reads its files again.
    pub fn reload(&self) -> Result<()> {
        self.process.signal(Signal::SIGHUP)
    }

    /// Fails unless the gateway reports that it is ready.
    pub async fn ready(&self) -> Result<()> {
        self.admin("/readyz").await.map(drop)
    }

    /// Returns the metrics in Prometheus' text format.
    pub async fn metrics(&self) -> Result<String> {
        self.admin("/metrics").await
    }

    async fn admin(&self, path: &str) -> Result<String> {
        let reply = Connection::plain(self.admin).await?.get("localhost", path).await?;
        Ok(reply.expect(200)?.text())
    }
}
