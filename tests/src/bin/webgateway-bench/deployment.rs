//! A real controlplane on free ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use webgateway_tests::client::Connection;
use webgateway_tests::feed_file::BASE_DOMAIN;
use webgateway_tests::process::{Process, cpu_ticks_of};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::wait::eventually;

/// The admin's key id.
pub(crate) const ADMIN: &str = "admin.pub";

const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(20);
/// A clock tick of proc(5).
const TICK: Duration = Duration::from_millis(10);

/// The controlplane and its files.
pub(crate) struct Deployment {
    sandbox: Sandbox,
    rpc: SocketAddr,
    controlplane: Option<Process>,
}

impl Deployment {
    /// Starts the controlplane with an empty database.
    pub(crate) async fn prepare() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let (dir, rpc, dns, admin) = (sandbox.dir().display(), free()?, free()?, free()?);
        std::fs::create_dir_all(sandbox.path("keys"))?;
        let config = format!(
            "base_domain = \"{BASE_DOMAIN}\"\npublic_ip = \"127.0.0.1\"\nadmin_listen = \"{admin}\"\n\
             admin_id = \"{ADMIN}\"\nlog_level = \"warn\"\n\
             [services_storage]\nmodule = \"sqlite\"\ndb_path = \"{dir}/gateway.db\"\n\
             [pub_key_store]\nmodule = \"directory\"\npath = \"{dir}/keys\"\n\
             [rpc]\nlisten = \"{rpc}\"\n[feed]\nlisten = \"unix:{dir}/feed.sock\"\n[dns]\nlisten = \"{dns}\"\n\
             [certificates]\nmodule = \"internal\"\n"
        );
        sandbox.write("controlplane.toml", &config)?;
        let mut deployment = Self { sandbox, rpc, controlplane: None };
        deployment.start().await?;
        Ok(deployment)
    }

    /// Starts the controlplane and waits until its API responds.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let config = self.sandbox.path("controlplane.toml").display().to_string();
        let log = self.sandbox.path("controlplane.log");
        let mut process = Process::start("webgateway-controlplane", &["--config", &config], &log)?;
        eventually("the controlplane answers", START, async || {
            process.ensure_running()?;
            Connection::plain(self.rpc).await?.get(&self.rpc.to_string(), "/openrpc.json").await?.expect(200)
        })
        .await?;
        self.controlplane = Some(process);
        Ok(())
    }

    /// Stops the controlplane gracefully.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let mut process = self.controlplane.take().context("it does not run")?;
        process.signal(Signal::SIGTERM)?;
        process.end(STOP).await?;
        Ok(())
    }

    /// Returns the address of the API.
    pub(crate) fn rpc(&self) -> SocketAddr {
        self.rpc
    }

    /// Returns the URL of the API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/rpc", self.rpc)
    }

    /// Returns the directory of the public keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.sandbox.path("keys")
    }

    /// Returns the path of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.sandbox.path("gateway.db")
    }

    /// Returns the CPU time of the controlplane.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let ticks = self.controlplane.as_ref().context("it does not run")?.cpu_ticks()?;
        Ok(TICK * u32::try_from(ticks)?)
    }
}

/// Returns the CPU time of this process.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(TICK * u32::try_from(cpu_ticks_of(std::process::id())?)?)
}

/// Returns an address that was free a moment ago.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
