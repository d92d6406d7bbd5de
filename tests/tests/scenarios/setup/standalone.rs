//! What most stories of the dataplane begin with: a gateway fed from a file, and its authority.

use anyhow::Result;
use webgateway_tests::authority::Authority;
use webgateway_tests::client::Client;
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, Setup};
use webgateway_tests::sandbox::Sandbox;

/// A gateway without a controlplane.
pub(crate) struct Standalone {
    pub(crate) authority: Authority,
    pub(crate) file: FeedFile,
    pub(crate) gateway: Gateway,
}

impl Standalone {
    /// Starts one with these routes.
    pub(crate) async fn start(sandbox: &Sandbox, routes: impl FnOnce(&mut FeedFile)) -> Result<Self> {
        Self::start_with(sandbox, routes, |setup| setup).await
    }

    /// The same with more configuration.
    pub(crate) async fn start_with(
        sandbox: &Sandbox,
        routes: impl FnOnce(&mut FeedFile),
        setup: impl FnOnce(Setup) -> Setup,
    ) -> Result<Self> {
        let authority = Authority::new()?;
        let base = authority.issue(&["gw.example", "*.gw.example"])?;
        let mut file = FeedFile::new(&sandbox.path("feed.json"), &base);
        routes(&mut file);
        let from_file = Setup::from_file(file.write()?, authority.root());
        let gateway = Gateway::start(sandbox, &setup(from_file)).await?;
        Ok(Self { authority, file, gateway })
    }

    /// Changes the routes and has the gateway read them.
    pub(crate) fn change(&mut self, routes: impl FnOnce(&mut FeedFile)) -> Result<()> {
        routes(&mut self.file);
        self.file.write()?;
        self.gateway.reload()
    }

    /// A visitor.
    pub(crate) fn visitor(&self) -> Result<Client> {
        self.gateway.visitor()
    }
}
