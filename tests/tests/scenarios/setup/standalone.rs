//! A setup with a gateway that is fed from a file, and its certificate authority.

use anyhow::Result;
use webgateway_tests::authority::Authority;
use webgateway_tests::client::Client;
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::sandbox::Sandbox;

/// A running gateway without a controlplane.
pub(crate) struct StandaloneSetup {
    pub(crate) authority: Authority,
    pub(crate) file: FeedFile,
    pub(crate) gateway: Gateway,
}

impl StandaloneSetup {
    /// Starts a gateway with these routes.
    pub(crate) async fn start(sandbox: &Sandbox, routes: impl FnOnce(&mut FeedFile)) -> Result<Self> {
        Self::start_with(sandbox, routes, |config| config).await
    }

    /// Starts a gateway with these routes and the configuration that `config` returns.
    pub(crate) async fn start_with(
        sandbox: &Sandbox,
        routes: impl FnOnce(&mut FeedFile),
        config: impl FnOnce(GatewayConfig) -> GatewayConfig,
    ) -> Result<Self> {
        let authority = Authority::new()?;
        let base = authority.issue(&["gw.example", "*.gw.example"])?;
        let mut file = FeedFile::new(&sandbox.path("feed.json"), &base);
        routes(&mut file);
        let from_file = GatewayConfig::from_file(file.write()?, authority.root());
        let gateway = Gateway::start(sandbox, &config(from_file)).await?;
        Ok(Self { authority, file, gateway })
    }

    /// Changes the routes and reloads the gateway.
    pub(crate) fn change(&mut self, routes: impl FnOnce(&mut FeedFile)) -> Result<()> {
        routes(&mut self.file);
        self.file.write()?;
        self.gateway.reload()
    }

    /// Returns a client of the gateway that trusts its root.
    pub(crate) fn client(&self) -> Result<Client> {
        self.gateway.client()
    }
}
