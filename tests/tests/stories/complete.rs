//! What most stories of the whole begin with: a controlplane, a gateway it feeds, an admin and a user.

use std::time::Duration;

use anyhow::Result;
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::controller::Controller;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::scene::Scene;
use webgateway_tests::wait::eventually;

/// Every part, real.
pub(crate) struct Complete {
    pub(crate) controller: Controller,
    pub(crate) gateway: Gateway,
    pub(crate) admin: User,
    pub(crate) alice: User,
}

impl Complete {
    /// Starts all of it.
    pub(crate) async fn start(scene: &Scene) -> Result<Self> {
        Self::start_as(scene, 0).await
    }

    /// The same; the gateway is one of several, with this number.
    pub(crate) async fn start_as(scene: &Scene, number: u8) -> Result<Self> {
        let controller = Controller::start(scene).await?;
        let gateway = Gateway::start(scene, &controller.setup().await?.number(number)).await?;
        let admin = User::create(&controller, scene.dir(), "admin").await?;
        let alice = User::create(&controller, scene.dir(), "alice").await?;
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
