//! A running controlplane, with the `internal` authority or an ACME CA.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::Connection;
use crate::feed_file::BASE_DOMAIN;
use crate::gateway::GatewayConfig;
use crate::process::Process;
use crate::sandbox::Sandbox;
use crate::systemd::Systemd;
use crate::wait::eventually;

const BINARY: &str = "webgateway-controlplane";
const START: Duration = Duration::from_secs(30);
const RPC: &str = "127.0.0.1:8080";

/// The configuration of a controlplane.
#[derive(Debug, Clone)]
pub struct ControlplaneConfig {
    /// The value of `public_ip`, in TOML.
    pub public_ip: String,
    /// The log level.
    pub log_level: &'static str,
    /// More top-level keys.
    pub top: String,
    /// More keys of `[feed]`.
    pub feed: String,
    /// More keys of `[dns]`.
    pub dns: String,
    /// The keys of `[hosts]`. By default, hosts need no proof.
    pub hosts: String,
    /// The listen address for remote nodes; none if it is empty.
    pub remote: String,
    /// The tables `[certificates]` and `[acme]`, in TOML.
    pub certificates: String,
    /// Shell commands that run first, in the process that becomes the controlplane. Ignored if `service` is set.
    pub shell: Option<String>,
    /// Additional environment variables.
    pub environment: Vec<(&'static str, String)>,
    /// The service manager that holds the sockets and starts the process; `None` to start it directly.
    pub service: Option<Arc<Systemd>>,
}

/// A running controlplane. Its state is in the sandbox, so that it can be started again.
#[derive(Debug)]
pub struct Controlplane {
    process: Process,
    state: PathBuf,
}

impl Default for ControlplaneConfig {
    fn default() -> Self {
        Self {
            public_ip: "\"127.0.0.1\"".to_owned(),
            log_level: "debug",
            top: String::new(),
            feed: String::new(),
            dns: String::new(),
            hosts: "proof = \"none\"".to_owned(),
            remote: String::new(),
            certificates: "[certificates]\nmodule = \"internal\"\n".to_owned(),
            shell: None,
            environment: Vec::new(),
            service: None,
        }
    }
}

impl Controlplane {
    /// Starts a controlplane and waits until its API responds.
    pub async fn start(sandbox: &Sandbox) -> Result<Self> {
        Self::start_with(sandbox, "").await
    }

    /// Starts a controlplane with more top-level TOML keys.
    pub async fn start_with(sandbox: &Sandbox, more: &str) -> Result<Self> {
        Self::start_on(sandbox, &ControlplaneConfig { top: more.to_owned(), ..ControlplaneConfig::default() })
            .await
    }

    /// Starts a controlplane with this configuration.
    pub async fn start_on(sandbox: &Sandbox, config: &ControlplaneConfig) -> Result<Self> {
        let mut controlplane = Self::start_unready_on(sandbox, config)?;
        eventually("the controlplane answers", START, async || {
            controlplane.process.ensure_running()?;
            let mut api = Connection::plain(controlplane.rpc()?).await?;
            api.get(RPC, "/openrpc.json").await?.expect(200)
        })
        .await?;
        Ok(controlplane)
    }

    /// Starts the process without waiting until it is ready.
    pub fn start_unready(sandbox: &Sandbox, more: &str) -> Result<Self> {
        Self::start_unready_on(
            sandbox,
            &ControlplaneConfig { top: more.to_owned(), ..ControlplaneConfig::default() },
        )
    }

    /// Starts the process with this configuration without waiting until it is ready.
    pub fn start_unready_on(sandbox: &Sandbox, config: &ControlplaneConfig) -> Result<Self> {
        let ControlplaneConfig {
            public_ip,
            log_level,
            top,
            dns,
            hosts,
            remote,
            feed,
            certificates,
            shell,
            environment,
            service,
        } = config;
        let state = sandbox.path("controlplane");
        fs::create_dir_all(state.join("keys"))?;
        let dir = state.display();
        let remote = if remote.is_empty() { String::new() } else { format!(", \"{remote}\"") };
        let config = format!(
            "base_domain = \"{BASE_DOMAIN}\"\npublic_ip = {public_ip}\nlog_level = \"{log_level}\"\n{top}\n\
             [services_storage]\nmodule = \"sqlite\"\ndb_path = \"{dir}/gateway.db\"\n\
             [pub_key_store]\nmodule = \"directory\"\npath = \"{dir}/keys\"\n\
             [rpc]\nlisten = \"{RPC}\"\n[feed]\nlisten = [\"unix:{dir}/feed.sock\"{remote}]\n{feed}\n\
             [dns]\nlisten = \"127.0.0.1:53\"\n{dns}\n[hosts]\n{hosts}\n{certificates}\n"
        );
        let config = sandbox.write("controlplane.toml", &config)?;
        let args = ["--config", config.to_str().context("a path that is text")?];
        let log = sandbox.path("controlplane.log");
        let process = match (service, shell) {
            (Some(service), _) => service.start(BINARY, &args, &log)?,
            (None, Some(shell)) => Process::start_with_shell(shell, (BINARY, &args), environment, &log)?,
            (None, None) => Process::start_with(BINARY, &args, environment, &log)?,
        };
        Ok(Self { process, state })
    }

    /// Returns the listen address of the API.
    pub fn rpc(&self) -> Result<SocketAddr> {
        Ok(RPC.parse()?)
    }

    /// Returns the URL of the API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{RPC}/rpc")
    }

    /// Returns the directory of the public keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// Returns the path of the database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state.join("gateway.db")
    }

    /// Returns the path of the feed's socket.
    #[must_use]
    pub fn feed(&self) -> PathBuf {
        self.state.join("feed.sock")
    }

    /// Returns the root certificate of the `internal` authority, PEM.
    pub async fn root(&self) -> Result<String> {
        let path = self.state.join("internal-ca.pem");
        eventually("the authority has a root", START, async || Ok(fs::read_to_string(&path)?)).await
    }

    /// Returns the configuration of a gateway that is fed by this controlplane.
    pub async fn gateway_config(&self) -> Result<GatewayConfig> {
        Ok(GatewayConfig::from_socket(&self.feed(), &self.root().await?))
    }

    /// Returns the process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
