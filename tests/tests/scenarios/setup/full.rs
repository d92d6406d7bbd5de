//! A setup with a controlplane, a gateway, an admin and a user.

use std::time::Duration;

use anyhow::Result;
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::wait::eventually;

/// Running processes and their users.
pub(crate) struct FullSetup {
    pub(crate) controlplane: Controlplane,
    pub(crate) gateway: Gateway,
    pub(crate) admin: User,
    pub(crate) alice: User,
}

impl FullSetup {
    /// Starts all processes.
    pub(crate) async fn start(sandbox: &Sandbox) -> Result<Self> {
        Self::start_as(sandbox, 0).await
    }

    /// Starts all processes; the gateway is one of several, with this number.
    pub(crate) async fn start_as(sandbox: &Sandbox, number: u8) -> Result<Self> {
        let controlplane = Controlplane::start(sandbox).await?;
        let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?.number(number)).await?;
        let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
        let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
        Ok(Self { controlplane, gateway, admin, alice })
    }

    /// Returns a client of the gateway that trusts its root.
    pub(crate) fn client(&self) -> Result<Client> {
        self.gateway.client()
    }

    /// Waits until a GET of this host gets `status`.
    pub(crate) async fn wait_for_status(&self, host: &str, status: u16) -> Result<Reply> {
        let client = self.client()?;
        let what = format!("{host} is answered {status}");
        eventually(&what, Duration::from_secs(10), async || client.get(host, "/").await?.expect(status)).await
    }
}
