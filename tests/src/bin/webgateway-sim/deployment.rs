//! A real controlplane, a real dataplane, and a user.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use webgateway_tests::client::Connection;
use webgateway_tests::feed_file::BASE_DOMAIN;
use webgateway_tests::process::{self, Memory, Process};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;

const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(20);
const USER: &str = "sim.pub";

/// The running processes and servers.
pub(crate) struct Deployment {
    sandbox: Sandbox,
    ports: Ports,
    signer: Signer,
    controlplane: Option<Process>,
    dataplane: Option<Process>,
    api: Option<Connection>,
}

struct Ports {
    rpc: SocketAddr,
    dns: SocketAddr,
    admin: SocketAddr,
    node_admin: SocketAddr,
}

/// The creation of a route.
pub(crate) struct Change {
    /// The version of the change.
    pub(crate) version: u64,
    /// The time of the response.
    pub(crate) answered: Instant,
    /// The response time.
    pub(crate) took: Duration,
}

/// The memory of both processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemoryUsage {
    /// The figures of the controlplane.
    pub(crate) controlplane: Memory,
    /// The figures of the dataplane.
    pub(crate) dataplane: Memory,
}

/// The dataplane's metrics of applied batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApplyMetrics {
    seconds: f64,
    batches: f64,
}

impl ApplyMetrics {
    /// Returns the mean duration of the batches since `earlier`.
    pub(crate) fn mean_since(self, earlier: Self) -> Duration {
        Duration::from_secs_f64((self.seconds - earlier.seconds) / (self.batches - earlier.batches).max(1.0))
    }
}

impl Deployment {
    /// Starts both processes with an empty database, and creates a user.
    pub(crate) async fn prepare() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let keys = sandbox.path("keys");
        std::fs::create_dir_all(&keys)?;
        let stem = sandbox.path("sim").display().to_string();
        let made = process::run("gwctl", &["keys", "generate", &stem].map(str::to_owned), &[]).await?;
        ensure!(made.code == Some(0), "gwctl keys generate: {made:?}");
        std::fs::copy(sandbox.path(USER), keys.join(USER))?;
        let signer = Signer::new(&std::fs::read_to_string(sandbox.path("sim.priv"))?, USER)?;
        let [rpc, dns, admin, node_admin] = [free()?, free()?, free()?, free()?];
        let ports = Ports { rpc, dns, admin, node_admin };
        let mut deployment = Self { sandbox, ports, signer, controlplane: None, dataplane: None, api: None };
        deployment.configure()?;
        deployment.start_controlplane().await?;
        deployment.start_dataplane().await?;
        Ok(deployment)
    }

    /// Returns the path of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.sandbox.path("gateway.db")
    }

    /// Returns the path of the feed's socket.
    pub(crate) fn feed(&self) -> PathBuf {
        self.sandbox.path("feed.sock")
    }

    /// Starts the controlplane and waits until its API responds.
    pub(crate) async fn start_controlplane(&mut self) -> Result<()> {
        let mut process = self.process("webgateway-controlplane", "controlplane")?;
        let rpc = self.ports.rpc;
        let answers = eventually("the controlplane answers", START, async || {
            process.ensure_running()?;
            let mut api = Connection::plain(rpc).await?;
            api.get(&rpc.to_string(), "/openrpc.json").await?.expect(200)?;
            Ok(api)
        });
        self.api = Some(answers.await?);
        self.controlplane = Some(process);
        Ok(())
    }

    /// Starts the dataplane and waits until it has the first sync.
    pub(crate) async fn start_dataplane(&mut self) -> Result<()> {
        let mut process = self.process("webgateway-dataplane", "dataplane")?;
        eventually("the dataplane is ready", START, async || {
            process.ensure_running()?;
            self.node("/readyz").await
        })
        .await?;
        self.dataplane = Some(process);
        Ok(())
    }

    /// Stops both processes gracefully.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.api = None;
        for process in [self.dataplane.take(), self.controlplane.take()] {
            let mut process = process.context("it does not run")?;
            process.signal(Signal::SIGTERM)?;
            process.end(STOP).await?;
        }
        Ok(())
    }

    /// Creates the `n`th route and waits for the response.
    pub(crate) async fn create(&mut self, n: usize) -> Result<Change> {
        let params = json!({"subdomain": format!("new-{n}"), "backends": ["[54f::1]:8080"]});
        let url = format!("http://{}/rpc", self.ports.rpc);
        let api = self.api.as_mut().context("there is no API")?;
        let begun = Instant::now();
        let reply = self.signer.call(api, &url, "routes.create", params).await?.expect(200)?;
        let answered = Instant::now();
        let reply = reply.json()?;
        let version =
            reply["result"]["version"].as_u64().with_context(|| format!("no version in {reply}"))?;
        Ok(Change { version, answered, took: answered - begun })
    }

    /// Returns the current and maximum memory of both processes.
    pub(crate) fn memory(&self) -> Result<MemoryUsage> {
        let of = |process: &Option<Process>| process.as_ref().context("it does not run")?.memory();
        Ok(MemoryUsage { controlplane: of(&self.controlplane)?, dataplane: of(&self.dataplane)? })
    }

    /// Reads the dataplane's metrics of applied batches.
    pub(crate) async fn applied(&self) -> Result<ApplyMetrics> {
        let metrics = self.node("/metrics").await?;
        let value = |name: &str| -> Result<f64> {
            let line = metrics.lines().find(|line| line.split(' ').next().is_some_and(|n| n.ends_with(name)));
            Ok(line.and_then(|line| line.rsplit(' ').next()).with_context(|| name.to_owned())?.parse()?)
        };
        Ok(ApplyMetrics {
            seconds: value("feed_apply_seconds_sum")?,
            batches: value("feed_apply_seconds_count")?,
        })
    }

    async fn node(&self, path: &str) -> Result<String> {
        let reply = Connection::plain(self.ports.node_admin).await?.get("localhost", path).await?;
        Ok(reply.expect(200)?.text())
    }

    fn process(&self, binary: &str, name: &str) -> Result<Process> {
        let config = self.sandbox.path(&format!("{name}.toml")).display().to_string();
        Process::start(binary, &["--config", &config], &self.sandbox.path(&format!("{name}.log")))
    }

    fn configure(&self) -> Result<()> {
        let (dir, Ports { rpc, dns, admin, node_admin }) = (self.sandbox.dir().display(), &self.ports);
        let controlplane = format!(
            "base_domain = \"{BASE_DOMAIN}\"\npublic_ip = \"127.0.0.1\"\nadmin_listen = \"{admin}\"\nlog_level = \"warn\"\n\
             [services_storage]\nmodule = \"sqlite\"\ndb_path = \"{dir}/gateway.db\"\n\
             [pub_key_store]\nmodule = \"directory\"\npath = \"{dir}/keys\"\n\
             [rpc]\nlisten = \"{rpc}\"\n[feed]\nlisten = \"unix:{dir}/feed.sock\"\n[dns]\nlisten = \"{dns}\"\n\
             [certificates]\nmodule = \"internal\"\n"
        );
        let dataplane = format!(
            "node = \"real\"\nhttps_port = {}\nhttp_port = {}\nlisten = [\"127.0.0.1\"]\nlog_level = \"warn\"\n\
             admin_listen = \"{node_admin}\"\n[feed]\nendpoint = \"unix:{dir}/feed.sock\"\n",
            free()?.port(),
            free()?.port()
        );
        self.sandbox.write("controlplane.toml", &controlplane)?;
        self.sandbox.write("dataplane.toml", &dataplane)?;
        Ok(())
    }
}

/// Returns an address that was free a moment ago.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
