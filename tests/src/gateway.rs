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

/// The port clients use for https, free in every scenario's namespace.
pub const HTTPS: u16 = 443;
/// The port clients use for plain http.
pub const HTTP: u16 = 80;
/// 9181 is the controlplane's: several gateways count from 9190.
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

/// How a gateway is started.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// `[feed] endpoint`.
    pub feed: String,
    /// How many workers.
    pub workers: u16,
    /// The PEM of the root its certificates come from.
    pub root: String,
    /// Its number, if it is one of several: `n` listens on `127.0.0.n` alone. 0 listens everywhere.
    pub number: u8,
    /// Its name, if not the one that goes with its number.
    pub name: Option<String>,
    /// Who holds its sockets and starts it, if it is not the scenario itself.
    pub service: Option<Arc<Systemd>>,
    /// Lines of shell before it, in its own process.
    pub shell: Option<String>,
    /// Its log level.
    pub log_level: &'static str,
    /// More top-level TOML keys.
    pub top: String,
    /// TOML that follows the rest, such as a `[limits]` table.
    pub more: String,
}

impl GatewayConfig {
    /// Fed from a file.
    #[must_use]
    pub fn from_file(path: &Path, root: &str) -> Self {
        Self::with_feed(format!("file:{}", path.display()), root)
    }

    /// Fed by a controlplane.
    #[must_use]
    pub fn from_socket(path: &Path, root: &str) -> Self {
        Self::with_feed(format!("unix:{}", path.display()), root)
    }

    /// Fed by controlplanes far away, tried in turn; who it is stands in this folder.
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

    /// With this many workers.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }

    /// With this name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Started by this service manager, with the sockets it holds.
    #[must_use]
    pub fn service(mut self, service: &Arc<Systemd>) -> Self {
        self.service = Some(Arc::clone(service));
        self
    }

    /// With at most this many files open, if not as many as the tests.
    #[must_use]
    pub fn files(self, most: u32) -> Self {
        self.shell(&format!("ulimit -n {most}"))
    }

    /// With these lines of shell before it.
    #[must_use]
    pub fn shell(mut self, lines: &str) -> Self {
        self.shell = Some(lines.to_owned());
        self
    }

    /// As one of several: with this number.
    #[must_use]
    pub fn number(mut self, number: u8) -> Self {
        self.number = number;
        self
    }

    /// With this log level.
    #[must_use]
    pub fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    /// With more configuration: top-level TOML keys.
    #[must_use]
    pub fn top(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.top);
        self
    }

    /// Keeping what it serves in the sandbox's `cache`, its keys in `state`.
    #[must_use]
    pub fn cached(self, sandbox: &Sandbox) -> Self {
        let number = self.number;
        let dir = |name: &str| sandbox.path(&format!("{name}{number}")).display().to_string();
        self.top(&format!("cache_dir = \"{}\"\nstate_dir = \"{}\"", dir("cache"), dir("state")))
    }

    /// With more configuration: TOML tables.
    #[must_use]
    pub fn more(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.more);
        self
    }
}

impl Gateway {
    /// Starts one and waits until it is ready.
    pub async fn start(sandbox: &Sandbox, config: &GatewayConfig) -> Result<Self> {
        let mut gateway = Self::start_unready(sandbox, config)?;
        eventually("the gateway is ready", START, async || {
            gateway.process.ensure_running()?;
            gateway.ready().await
        })
        .await?;
        Ok(gateway)
    }

    /// Starts one without waiting.
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

    /// Where clients go for https.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        SocketAddr::new(self.address, HTTPS)
    }

    /// Where clients go for plain http.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.address, HTTP)
    }

    /// A client that trusts the gateway's root.
    pub fn client(&self) -> Result<Client> {
        Client::new(self.https(), &self.root)
    }

    /// The binary.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Has it read its file again.
    pub fn reload(&self) -> Result<()> {
        self.process.signal(Signal::SIGHUP)
    }

    /// Fails unless it says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        self.admin("/readyz").await.map(drop)
    }

    /// Its metrics, in the text format of Prometheus.
    pub async fn metrics(&self) -> Result<String> {
        self.admin("/metrics").await
    }

    async fn admin(&self, path: &str) -> Result<String> {
        let reply = Connection::plain(self.admin).await?.get("localhost", path).await?;
        Ok(reply.expect(200)?.text())
    }
}
