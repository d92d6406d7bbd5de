//! Both processes, the backends, and the load.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use nix::sys::signal::Signal;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::load;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;

use crate::changes::Changes;
use crate::interruptions::Interruptions;
use crate::sample::{Figures, ProcessFigures};
use crate::targets::{DNS, HOST, PASSTHROUGH, Targets};
use crate::{honest, hostile, hostile_http};

/// Limits that are short, so that connections end soon after the load, and long enough for clients on a busy machine.
const LIMITS: &str = "[limits]\nheader_timeout = \"30s\"\nstall_timeout = \"20s\"\nbackend_timeout = \"30s\"\ntunnel_timeout = \"30s\"\ndrain = \"5s\"\n";
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9181);
/// The timeout of settling, and the number of seconds without changes that counts as settled.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(150);
const STABLE_SAMPLES: u32 = 10;
/// The downtime of the controlplane after a kill.
const DOWNTIME: Duration = Duration::from_secs(3);

/// The running processes and servers.
pub(crate) struct Deployment {
    sandbox: Sandbox,
    controlplane_config: ControlplaneConfig,
    controlplane: Controlplane,
    gateway: Gateway,
    alice: User,
    targets: Targets,
    interruptions: Interruptions,
    _backends: Vec<Backend>,
}

impl Deployment {
    /// Starts both processes and two backends, with a route to each.
    pub(crate) async fn prepare() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let controlplane_config = ControlplaneConfig { log_level: "warn", ..ControlplaneConfig::default() };
        let controlplane = Controlplane::start_on(&sandbox, &controlplane_config).await?;
        let more = format!("{LIMITS}[dns]\nlisten = [\"{DNS}\"]\n");
        let config = controlplane.gateway_config().await?.log_level("warn").workers(2).more(&more);
        let gateway = Gateway::start(&sandbox, &config).await?;
        let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
        let authority = Authority::new()?;
        let tls = authority.issue(&[PASSTHROUGH])?.server(&["http/1.1"])?;
        let backends =
            vec![Backend::http(overlay(1, 8080)).await?, Backend::https(overlay(2, 8443), tls).await?];
        alice.create_route(&format!("-f {HOST} -b [400::1]:8080")).await?;
        alice.create_route(&format!("-f {PASSTHROUGH} -t -b [400::2]:8443")).await?;
        let targets = Targets {
            client: gateway.client()?,
            passthrough_client: Client::new(gateway.https(), authority.root())?,
            https: gateway.https(),
            http: gateway.http(),
            rpc: controlplane.rpc()?,
        };
        eventually("both routes are served", Duration::from_secs(20), async || {
            targets.client.get(HOST, "/").await?.expect(200)?;
            targets.passthrough_client.get(PASSTHROUGH, "/").await?.expect(200)
        })
        .await?;
        let interruptions = Interruptions::default();
        Ok(Self {
            sandbox,
            controlplane_config,
            controlplane,
            gateway,
            alice,
            targets,
            interruptions,
            _backends: backends,
        })
    }

    /// Reads the figures of both processes, and fails if one has ended.
    pub(crate) async fn sample(&mut self) -> Result<Figures> {
        let metrics = self.gateway.metrics().await?;
        let gateway = self.gateway.process();
        gateway.ensure_running()?;
        let dataplane = ProcessFigures::read(gateway, &metrics, "webgateway_connections_open")?;
        self.controlplane.process().ensure_running()?;
        let reply = Connection::plain(ADMIN).await?.get("localhost", "/metrics").await?;
        let metrics = reply.expect(200)?.text();
        let process = self.controlplane.process();
        let controlplane = Some(ProcessFigures::read(process, &metrics, "webgateway_api_connections_open")?);
        Ok(Figures { dataplane, controlplane })
    }

    /// Reloads both processes.
    pub(crate) fn reload(&mut self) -> Result<()> {
        self.gateway.reload()?;
        self.controlplane.process().signal(Signal::SIGHUP)
    }

    /// Kills the controlplane, and restarts it after [`DOWNTIME`].
    pub(crate) async fn interrupt(&mut self) -> Result<()> {
        self.interruptions.add();
        self.controlplane.process().kill()?;
        tokio::time::sleep(DOWNTIME).await;
        self.controlplane = Controlplane::start_on(&self.sandbox, &self.controlplane_config).await?;
        self.interruptions.add();
        Ok(())
    }

    /// Waits until there are no connections and the figures do not change any more.
    pub(crate) async fn settled(&mut self) -> Result<Figures> {
        self.settle(|_| true).await
    }

    /// Waits until the figures are those of the start; after the timeout, returns the last figures.
    pub(crate) async fn settled_as(&mut self, start: &Figures) -> Result<Figures> {
        let start = *start;
        match self.settle(|figures| figures.counts_as(&start)).await {
            Ok(figures) => Ok(figures),
            Err(_) => self.sample().await,
        }
    }

    async fn settle(&mut self, is_right: impl Fn(&Figures) -> bool) -> Result<Figures> {
        let (begun, mut last, mut same) = (std::time::Instant::now(), Figures::default(), 0);
        while same < STABLE_SAMPLES {
            ensure!(begun.elapsed() < SETTLE_TIMEOUT, "it does not come to rest; at last: {last}");
            tokio::time::sleep(Duration::from_secs(1)).await;
            let figures = self.sample().await?;
            let as_before = figures.is_idle() && figures.counts_as(&last) && is_right(&figures);
            (same, last) = (if as_before { same + 1 } else { 0 }, figures);
        }
        eprintln!("at rest: {last}");
        Ok(last)
    }

    /// Shows the last lines of the logs beside an error.
    pub(crate) fn explain(&self, error: Error) -> Error {
        eprintln!("{}", self.sandbox.logs());
        error
    }
}

/// The load: honest clients, which must all succeed, hostile ones, and changes.
pub(crate) struct Load {
    honest: load::Load,
    hostile: load::Load,
    changes: Changes,
}

impl Load {
    /// Starts the whole load.
    pub(crate) async fn start(deployment: &Deployment) -> Result<Self> {
        let (mut honest, mut hostile) = (load::Load::default(), load::Load::default());
        honest::start(&mut honest, &deployment.targets);
        hostile::start(&mut hostile, &deployment.targets);
        hostile_http::start(&mut hostile, &deployment.targets);
        let signer = Signer::for_user(&deployment.alice)?;
        let changes = Changes::start(signer, &deployment.targets, &deployment.interruptions);
        Ok(Self { honest, hostile, changes })
    }

    /// Stops the load, removes its routes, and fails if an honest request or a change failed.
    pub(crate) async fn end(self) -> Result<String> {
        let Self { honest, hostile, changes } = self;
        let changed = changes.end().await.context("changes")?;
        let (requests, slowest) = honest.end().await.context("honest clients")?;
        let (attacks, _) = hostile.end().await?;
        Ok(format!(
            "{requests} honest requests, the slowest {slowest} ms; {attacks} hostile ones; {changed}\n"
        ))
    }
}
