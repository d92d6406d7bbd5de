//! A setup with a real ACME CA, a RESOLVER_PORT resolver, a controlplane, gateways and users.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webgateway_tests::acme_proxy::{AcmeProxy, BEHIND};
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::feed_file::BASE_DOMAIN;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::gwctl::User;
use webgateway_tests::pebble::{Pebble, PebbleConfig};
use webgateway_tests::resolver::Resolver;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::wait::eventually;

/// A custom host of alice.
pub(crate) const CUSTOM_HOST: &str = "shop.example.org";
/// The port of the resolver.
const RESOLVER_PORT: u16 = 5353;
const NAME_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// The timeout of issuing a certificate.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Running processes with an ACME CA.
pub(crate) struct AcmeSetup {
    pub(crate) resolver: Resolver,
    pub(crate) pebble: Pebble,
    pub(crate) controlplane_config: ControlplaneConfig,
    pub(crate) controlplane: Controlplane,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) admin: User,
    pub(crate) alice: User,
}

/// Options of the setup: the CA, the number of gateways, keys of `[acme]`, and the controlplane's environment.
pub(crate) struct AcmeOptions {
    pub(crate) pebble_config: PebbleConfig,
    pub(crate) gateways: u8,
    pub(crate) acme: String,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Default for AcmeOptions {
    fn default() -> Self {
        Self {
            pebble_config: PebbleConfig::default(),
            gateways: 1,
            acme: String::new(),
            environment: Vec::new(),
        }
    }
}

impl AcmeSetup {
    /// Starts one gateway and a CA with default behaviour.
    pub(crate) async fn start(sandbox: &Sandbox) -> Result<Self> {
        Self::with(sandbox, AcmeOptions::default()).await
    }

    /// Starts one gateway and a CA with this configuration.
    pub(crate) async fn with_pebble(sandbox: &Sandbox, pebble_config: PebbleConfig) -> Result<Self> {
        Self::with(sandbox, AcmeOptions { pebble_config, ..AcmeOptions::default() }).await
    }

    /// Starts a setup with these options.
    pub(crate) async fn with(sandbox: &Sandbox, options: AcmeOptions) -> Result<Self> {
        let dns_and_ca = dns_and_ca(sandbox, &options.pebble_config).await?;
        Self::with_dns_and_ca(sandbox, dns_and_ca, options).await
    }

    /// Starts a setup with these options, this resolver and this CA.
    pub(crate) async fn with_dns_and_ca(
        sandbox: &Sandbox,
        dns_and_ca: (Resolver, Pebble),
        options: AcmeOptions,
    ) -> Result<Self> {
        let (resolver, pebble) = dns_and_ca;
        let addresses: Vec<IpAddr> =
            (1..=options.gateways).map(|n| Ipv4Addr::new(127, 0, 0, n).into()).collect();
        resolver.set_addresses(BASE_DOMAIN, &addresses)?;
        let controlplane_config = controlplane_config(&resolver, &pebble, &addresses, &options.acme);
        let controlplane_config =
            ControlplaneConfig { environment: options.environment, ..controlplane_config };
        let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
        let config = GatewayConfig::from_socket(&controlplane.feed(), &pebble.root().await?);
        let mut gateways = Vec::new();
        for n in 1..=options.gateways {
            gateways.push(Gateway::start(sandbox, &config.clone().number(n)).await?);
        }
        let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
        let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
        Ok(Self { resolver, pebble, controlplane_config, controlplane, gateways, admin, alice })
    }

    /// Kills the controlplane and starts it again.
    pub(crate) async fn restart(&mut self, sandbox: &Sandbox) -> Result<()> {
        self.controlplane.process().kill()?;
        self.controlplane = Controlplane::start_on(sandbox, &self.controlplane_config).await?;
        Ok(())
    }

    /// Returns a client of the first gateway that trusts the CA.
    pub(crate) fn client(&self) -> Result<Client> {
        self.gateways.first().context("no gateway")?.client()
    }

    /// Makes `host` a CNAME of the base domain.
    pub(crate) fn point_to_gateway(&self, host: &str) -> Result<()> {
        self.resolver.set_alias(host, BASE_DOMAIN)
    }

    /// Waits until every gateway responds to a GET of this host with `status` and a certificate from the CA.
    pub(crate) async fn wait_for_status(&self, host: &str, status: u16) -> Result<()> {
        for gateway in &self.gateways {
            let client = gateway.client()?;
            let what = format!("{host} is answered {status}");
            let answered: Result<Reply> =
                eventually(&what, TIMEOUT, async || client.get(host, "/").await?.expect(status)).await;
            if answered.is_err() {
                let seen = self.admin.gwctl(["certificates", "list"]).await?;
                return answered.map(drop).context(format!("certificates:\n{}{}", seen.stdout, seen.stderr));
            }
        }
        Ok(())
    }

    /// Returns a certificate, as listed for the admin.
    pub(crate) async fn certificate(&self, id: &str) -> Result<Value> {
        self.admin.json(["certificates", "get", "-c", id]).await
    }

    /// Waits until a certificate satisfies `is`.
    pub(crate) async fn wait_for_certificate(&self, id: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(&format!("the certificate of {id} has the expected state"), TIMEOUT, async || {
            let seen = self.certificate(id).await?;
            ensure!(is(&seen), "{seen}");
            Ok(seen)
        })
        .await
    }
}

fn controlplane_config(
    resolver: &Resolver,
    pebble: &Pebble,
    addresses: &[IpAddr],
    acme: &str,
) -> ControlplaneConfig {
    let quoted: Vec<String> = addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
    ControlplaneConfig {
        public_ip: format!("[{}]", quoted.join(", ")),
        top: format!(
            "local_acme = \"{}\"\nlocal_acme_root = \"{}\"\n",
            Pebble::directory(),
            pebble.root_file().display()
        ),
        dns: format!("resolver = [\"{}\"]\n", resolver.address()),
        feed: String::new(),
        certificates: format!(
            "[certificates]\nmodule = \"acme\"\n[acme]\nemail = \"ops@{BASE_DOMAIN}\"\n{acme}\n"
        ),
        ..ControlplaneConfig::default()
    }
}

/// Starts a resolver and a CA that uses it.
pub(crate) async fn dns_and_ca(
    sandbox: &Sandbox,
    pebble_config: &PebbleConfig,
) -> Result<(Resolver, Pebble)> {
    let resolver = Resolver::start(RESOLVER_PORT, BASE_DOMAIN, NAME_SERVER).await?;
    let pebble = Pebble::start(sandbox.dir(), &resolver, pebble_config).await?;
    Ok((resolver, pebble))
}

/// Starts a setup whose CA is behind an [`AcmeProxy`] that `configure` has prepared.
pub(crate) async fn with_acme_proxy(
    sandbox: &Sandbox,
    configure: impl FnOnce(&AcmeProxy),
) -> Result<(AcmeSetup, AcmeProxy)> {
    let pebble_config = PebbleConfig { port: BEHIND, ..PebbleConfig::default() };
    let (resolver, pebble) = dns_and_ca(sandbox, &pebble_config).await?;
    let ca = AcmeProxy::start(&pebble).await?;
    configure(&ca);
    let setup = AcmeSetup::with_dns_and_ca(
        sandbox,
        (resolver, pebble),
        AcmeOptions { pebble_config, ..AcmeOptions::default() },
    )
    .await?;
    Ok((setup, ca))
}
