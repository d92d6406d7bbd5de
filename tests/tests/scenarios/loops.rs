//! Routing loops: routes to the gateway's own listeners, directly or over another gateway.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig, HTTP, HTTPS};
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::{self, overlay};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::wait::eventually;
use webgateway_tests::{scenarios, seed};

use crate::setup::standalone::StandaloneSetup;

scenarios![
    every_listener_of_the_gateway_is_refused,
    a_listener_of_the_controlplane_is_refused_as_a_backend,
    a_route_that_became_a_loop_says_why_it_is_not_served,
    the_loopback_of_a_remote_node_is_separate,
    two_gateways_that_route_to_each_other_are_a_loop,
    a_chain_of_gateways_is_allowed
];

const LOOP_HOST: &str = "round.example";
const TIMEOUT: Duration = Duration::from_secs(20);

async fn accepted(gateway: &Gateway) -> Result<u64> {
    let metrics = gateway.metrics().await?;
    let counts = metrics.lines().filter(|line| line.contains("accepted") && line.contains("https"));
    counts.map(|line| line.rsplit(' ').next().context("no count")?.parse::<u64>().context("a count")).sum()
}

async fn every_listener_of_the_gateway_is_refused(sandbox: &Sandbox) -> Result<()> {
    let listeners = [
        ("https", overlay(1, HTTPS)),
        ("http", overlay(2, HTTP)),
        ("https of IPv4", format!("127.0.0.1:{HTTPS}").parse()?),
        ("http of another address of the loopback", format!("127.0.0.2:{HTTP}").parse()?),
        ("DNS", overlay(3, 53)),
        ("DNS of IPv4", "127.0.0.1:53".parse()?),
        ("metrics", "127.0.0.1:9180".parse()?),
    ];
    let hosts = |n: usize| (format!("h{n}.gw.example"), format!("h{n}.example"));
    let routes = |file: &mut FeedFile| {
        file.allow_prefix("127.0.0.0/8");
        for (n, (_, address)) in listeners.iter().enumerate() {
            let (terminated, passed) = hosts(n);
            file.add_terminated(&terminated, &[*address]).add_passthrough(&passed, &[*address]);
        }
    };
    let setup =
        StandaloneSetup::start_with(sandbox, routes, |config| config.more("[dns]\nlisten = [\"[::]:53\"]"))
            .await?;
    for (n, (what, _)) in listeners.iter().enumerate() {
        let (terminated, passed) = hosts(n);
        for client in [setup.client()?, setup.client()?.h2()] {
            let reply = client.get(&terminated, "/metrics").await?.expect(508).context(*what)?;
            let says = reply.header("proxy-status");
            ensure!(says.contains("error=proxy_loop_detected"), "{what}: {says:?}");
        }
        let before = accepted(&setup.gateway).await?;
        ensure!(setup.client()?.tls(&passed).await.is_err(), "{what}");
        // The client's connection, and the gateway's own one if the route points to https.
        let more = accepted(&setup.gateway).await? - before;
        ensure!(more <= 2, "{what}: one client became {more} connections");
    }
    Ok(())
}

/// Returns the configuration of a controlplane with a remote feed on every address; backends may be on loopback.
fn controlplane_config(remote: &str) -> ControlplaneConfig {
    let top = "allowed_backends = [\"400::/7\", \"127.0.0.0/8\"]";
    ControlplaneConfig { top: top.to_owned(), remote: remote.to_owned(), ..ControlplaneConfig::default() }
}

async fn a_listener_of_the_controlplane_is_refused_as_a_backend(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config("[::]:7443")).await?;
    let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = alice.create_route("-f app.gw.example -b [400::1]:8080").await?;
    for (what, address) in [
        ("the API", "127.0.0.1:8080"),
        ("DNS", "127.0.0.1:53"),
        ("metrics", "127.0.0.1:9181"),
        ("the feed, at an overlay address", "[400::2]:7443"),
        ("the feed, at the loopback", "127.0.0.1:7443"),
        ("the feed, at the loopback of IPv6's mapping", "[::ffff:127.0.0.1]:7443"),
        ("https of the node", "[400::3]:443"),
        ("http of the node", "127.0.0.1:80"),
        ("metrics of the node", "127.0.0.1:9180"),
    ] {
        for command in
            [format!("create -f back.example -b {address}"), format!("update --route {id} -b {address}")]
        {
            eventually(what, TIMEOUT, async || {
                let refused = alice.gwctl(format!("routes {command}").split_whitespace()).await?;
                let says = refused.stderr.contains("is a listener of this gateway itself");
                ensure!(refused.code != Some(0) && says, "{what}: {command}: {refused:?}");
                Ok(())
            })
            .await?;
        }
    }
    gateway.client()?.get("app.gw.example", "/").await?.expect(200)?;
    alice.create_route("-f other.gw.example -b [400::2]:8080").await?;
    Ok(())
}

async fn a_route_that_became_a_loop_says_why_it_is_not_served(sandbox: &Sandbox) -> Result<()> {
    const BACKENDS: [&str; 3] = ["[400::1]:7443", "127.0.0.1:7443", "127.0.0.1:9181"];
    // The admin port is another one at first.
    let mut before = controlplane_config("");
    before.top += "\nadmin_listen = \"127.0.0.1:9182\"";
    let controlplane = Controlplane::start_on(sandbox, &before).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    for (n, backend) in BACKENDS.iter().enumerate() {
        alice.create_route(&format!("-f h{n}.gw.example -b {backend}")).await?;
    }
    let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?).await?;
    for n in 0..BACKENDS.len() {
        gateway.client()?.get(&format!("h{n}.gw.example"), "/").await?.expect(502)?;
    }
    drop(controlplane);
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config("[::]:7443")).await?;
    for (n, backend) in BACKENDS.iter().enumerate() {
        let host = format!("h{n}.gw.example");
        eventually("the node is told", TIMEOUT, async || {
            let reply = gateway.client()?.get(&host, "/metrics").await?.expect(508)?;
            ensure!(reply.header("proxy-status").contains("proxy_loop_detected"), "{backend}: {reply:?}");
            Ok(())
        })
        .await?;
        let says = format!("its backend {backend} is a listener of this gateway itself");
        for command in [format!("routes explain {host}"), "routes list -o json".to_owned()] {
            let output = alice.gwctl(command.split_whitespace()).await?;
            ensure!(output.stdout.contains(&says) || output.stderr.contains(&says), "{command}: {output:?}");
        }
    }
    drop(controlplane);
    Ok(())
}

/// A node in another network namespace, connected by a unix socket: its loopback is another one, but the overlay is
/// shared.
async fn the_loopback_of_a_remote_node_is_separate(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config("[400::1]:7443")).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let config = controlplane.gateway_config().await?;
    let elsewhere = async || -> Result<()> {
        let gateway = Gateway::start(sandbox, &config).await?;
        let _api = Backend::http("127.0.0.1:8080".parse()?).await?;
        let _feed = Backend::http(overlay(1, 7443)).await?;
        for (host, status) in [("loopback.gw.example", 200), ("overlay.gw.example", 508)] {
            let client = gateway.client()?;
            eventually(host, TIMEOUT, async || client.get(host, "/").await?.expect(status)).await?;
        }
        Ok(())
    };
    // A node that has not reported its location counts as on this machine.
    let refused = alice.gwctl("routes create -f loopback.gw.example -b 127.0.0.1:8080".split(' ')).await?;
    ensure!(refused.code != Some(0), "{refused:?}");
    seed::route(&controlplane.database(), "overlay.gw.example", "[400::1]:7443")?;
    seed::route(&controlplane.database(), "loopback.gw.example", "127.0.0.1:8080")?;
    drop(controlplane);
    let _controlplane = Controlplane::start_on(sandbox, &controlplane_config("[400::1]:7443")).await?;
    std::thread::scope(|threads| {
        let other = threads.spawn(|| {
            netns::enter()?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(elsewhere())
        });
        other.join().map_err(|_| anyhow::anyhow!("it panicked"))?
    })
}

/// Starts two gateways with two workers each; the first routes to the second, and the second to `second`.
async fn two(sandbox: &Sandbox, second: std::net::SocketAddr) -> Result<(Authority, [Gateway; 2])> {
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let mut gateways = Vec::new();
    for (number, next) in [(1, format!("127.0.0.2:{HTTPS}").parse()?), (2, second)] {
        let mut file = FeedFile::new(&sandbox.path(&format!("feed{number}.json")), &base);
        file.allow_prefix("127.0.0.0/8").add_passthrough(LOOP_HOST, &[next]);
        let config = GatewayConfig::from_file(file.write()?, authority.root()).workers(2).number(number);
        gateways.push(Gateway::start(sandbox, &config).await?);
    }
    let gateways = <[Gateway; 2]>::try_from(gateways).ok().context("two gateways")?;
    Ok((authority, gateways))
}

async fn two_gateways_that_route_to_each_other_are_a_loop(sandbox: &Sandbox) -> Result<()> {
    let (authority, gateways) = two(sandbox, format!("127.0.0.1:{HTTPS}").parse()?).await?;
    for gateway in &gateways {
        ensure!(Client::new(gateway.https(), authority.root())?.tls(LOOP_HOST).await.is_err());
        let mut plain = Connection::plain(gateway.http()).await?;
        plain.get(LOOP_HOST, "/.well-known/acme-challenge/token").await?.expect(508)?;
    }
    for gateway in &gateways {
        let count = accepted(gateway).await?;
        ensure!((2..40).contains(&count), "two clients became {count} connections");
    }
    Ok(())
}

async fn a_chain_of_gateways_is_allowed(sandbox: &Sandbox) -> Result<()> {
    let tls = Authority::new()?;
    let backend = Backend::https(overlay(1, 8443), tls.issue(&[LOOP_HOST])?.server(&["http/1.1"])?).await?;
    let (_, [first, _second]) = two(sandbox, backend.address()).await?;
    let client = Client::new(first.https(), tls.root())?;
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut connection = client.connect(LOOP_HOST).await?;
        connection.get(LOOP_HOST, "/").await?.expect(200)?;
        open.push(connection);
    }
    ensure!(backend.open() == 40);
    Ok(())
}
