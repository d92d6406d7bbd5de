//! What most stories of the whole begin with: a controlplane, a gateway it feeds, an admin and a user.

use std::time::Duration;

use anyhow::Result;
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::wait::eventually;

/// Every part, real.
pub(crate) struct Complete {
    pub(crate) controller: Controlplane,
    pub(crate) gateway: Gateway,
    pub(crate) admin: User,
    pub(crate) alice: User,
}

impl Complete {
    /// Starts all of it.
    pub(crate) async fn start(sandbox: &Sandbox) -> Result<Self> {
        Self::start_as(sandbox, 0).await
    }

    /// The same; the gateway is one of several, with this number.
    pub(crate) async fn start_as(sandbox: &Sandbox, number: u8) -> Result<Self> {
        let controller = Controlplane::start(sandbox).await?;
        let gateway = Gateway::start(sandbox, &controller.setup().await?.number(number)).await?;
        let admin = User::create(&controller, sandbox.dir(), "admin").await?;
        let alice = User::create(&controller, sandbox.dir(), "alice").await?;
        Ok(Self { controller, gateway, admin, alice })
    }

    /// A visitor.
    pub(crate) fn visitor(&self) -> Result<Client> {
        self.gateway.visitor()
    }

    /// Waits until a GET of this host is answered so.
    pub(crate) async fn answers(&self, host: &str, status: u16) -> Result<Reply> {
        let visitor = self.visitor()?;
        let what = format!("{host} is answered {status}");
        eventually(&what, Duration::from_secs(10), async || visitor.get(host, "/").await?.expect(status))
            .await
    }
}
