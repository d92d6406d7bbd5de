//! What the stories of certificates begin with: a real CA, the DNS as it sees us, a controlplane, gateways, users.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webgateway_tests::acme_proxy::{AcmeProxy, BEHIND};
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::controlplane::{Controlplane, Terms};
use webgateway_tests::feed_file::BASE_DOMAIN;
use webgateway_tests::gateway::{Gateway, Setup};
use webgateway_tests::gwctl::User;
use webgateway_tests::pebble::{Pebble, Temper};
use webgateway_tests::resolver::Resolver;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::wait::eventually;

/// A host of alice's own.
pub(crate) const OWN: &str = "shop.example.org";
/// The port of the world's DNS.
const DNS: u16 = 5353;
const OURS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// How long a certificate may take.
const SOON: Duration = Duration::from_secs(30);

/// A world in which certificates are issued.
pub(crate) struct Certified {
    pub(crate) resolver: Resolver,
    pub(crate) pebble: Pebble,
    pub(crate) terms: Terms,
    pub(crate) controller: Controlplane,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) admin: User,
    pub(crate) alice: User,
}

/// How many gateways there are, what is in `[acme]` and in the controlplane's environment.
pub(crate) struct Wish {
    pub(crate) temper: Temper,
    pub(crate) gateways: u8,
    pub(crate) acme: String,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Default for Wish {
    fn default() -> Self {
        Self { temper: Temper::default(), gateways: 1, acme: String::new(), environment: Vec::new() }
    }
}

impl Certified {
    /// One gateway and a friendly CA.
    pub(crate) async fn start(sandbox: &Sandbox) -> Result<Self> {
        Self::with(sandbox, Wish::default()).await
    }

    /// One gateway and a CA of this temper.
    pub(crate) async fn under(sandbox: &Sandbox, temper: Temper) -> Result<Self> {
        Self::with(sandbox, Wish { temper, ..Wish::default() }).await
    }

    /// As wished.
    pub(crate) async fn with(sandbox: &Sandbox, wish: Wish) -> Result<Self> {
        let outside = world(sandbox, &wish.temper).await?;
        Self::before(sandbox, outside, wish).await
    }

    /// As wished, with this DNS and this CA.
    pub(crate) async fn before(sandbox: &Sandbox, outside: (Resolver, Pebble), wish: Wish) -> Result<Self> {
        let (resolver, pebble) = outside;
        let addresses: Vec<IpAddr> =
            (1..=wish.gateways).map(|n| Ipv4Addr::new(127, 0, 0, n).into()).collect();
        resolver.points(BASE_DOMAIN, &addresses)?;
        let terms = terms(&resolver, &pebble, &addresses, &wish.acme);
        let terms = Terms { environment: wish.environment, ..terms };
        let controller = Controlplane::start_on(sandbox, &terms).await?;
        let setup = Setup::from_socket(&controller.feed(), &pebble.root().await?);
        let mut gateways = Vec::new();
        for n in 1..=wish.gateways {
            gateways.push(Gateway::start(sandbox, &setup.clone().number(n)).await?);
        }
        let admin = User::create(&controller, sandbox.dir(), "admin").await?;
        let alice = User::create(&controller, sandbox.dir(), "alice").await?;
        Ok(Self { resolver, pebble, terms, controller, gateways, admin, alice })
    }

    /// Kills the controlplane and starts it again.
    pub(crate) async fn restart(&mut self, sandbox: &Sandbox) -> Result<()> {
        self.controller.process().kill()?;
        self.controller = Controlplane::start_on(sandbox, &self.terms).await?;
        Ok(())
    }

    /// A visitor of the first gateway who trusts the CA.
    pub(crate) fn visitor(&self) -> Result<Client> {
        self.gateways.first().context("no gateway")?.visitor()
    }

    /// Makes `host` another name of the base domain.
    pub(crate) fn leads_here(&self, host: &str) -> Result<()> {
        self.resolver.alias(host, BASE_DOMAIN)
    }

    /// Waits until every gateway answers a GET of this host so, with a certificate from the CA.
    pub(crate) async fn answers(&self, host: &str, status: u16) -> Result<()> {
        for gateway in &self.gateways {
            let visitor = gateway.visitor()?;
            let what = format!("{host} is answered {status}");
            let answered: Result<Reply> =
                eventually(&what, SOON, async || visitor.get(host, "/").await?.expect(status)).await;
            if answered.is_err() {
                let seen = self.admin.gwctl(["certificates", "list"]).await?;
                return answered.map(drop).context(format!("certificates:\n{}{}", seen.stdout, seen.stderr));
            }
        }
        Ok(())
    }

    /// A certificate, as the admin sees it.
    pub(crate) async fn certificate(&self, id: &str) -> Result<Value> {
        self.admin.json(["certificates", "get", "-c", id]).await
    }

    /// Waits until a certificate is as `is` says.
    pub(crate) async fn certificate_is(&self, id: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually(&format!("the certificate of {id} is as it should be"), SOON, async || {
            let seen = self.certificate(id).await?;
            ensure!(is(&seen), "{seen}");
            Ok(seen)
        })
        .await
    }
}

fn terms(resolver: &Resolver, pebble: &Pebble, addresses: &[IpAddr], acme: &str) -> Terms {
    let quoted: Vec<String> = addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
    Terms {
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
        ..Terms::default()
    }
}

/// The DNS and a CA that asks it.
pub(crate) async fn world(sandbox: &Sandbox, temper: &Temper) -> Result<(Resolver, Pebble)> {
    let resolver = Resolver::start(DNS, BASE_DOMAIN, OURS).await?;
    let pebble = Pebble::start(sandbox.dir(), &resolver, temper).await?;
    Ok((resolver, pebble))
}

/// A CA of which one can wish what pebble lacks.
pub(crate) async fn wished(
    sandbox: &Sandbox,
    wish: impl FnOnce(&AcmeProxy),
) -> Result<(Certified, AcmeProxy)> {
    let temper = Temper { port: BEHIND, ..Temper::default() };
    let (resolver, pebble) = world(sandbox, &temper).await?;
    let ca = AcmeProxy::before(&pebble).await?;
    wish(&ca);
    let world = Certified::before(sandbox, (resolver, pebble), Wish { temper, ..Wish::default() }).await?;
    Ok((world, ca))
}
