//! Listeners at `[::]` with `bindv6only` set, and source addresses of DNS answers.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use webgateway_tests::client::{Connection, tcp};
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::gateway::Gateway;
use webgateway_tests::netns::overlay;
use webgateway_tests::process::Process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

scenarios![
    the_wildcard_address_includes_ipv4,
    without_ipv6_the_wildcard_address_is_ipv4,
    an_unavailable_address_is_named,
    dns_answers_come_from_the_queried_address,
];

const BINDV6ONLY: &str = "/proc/sys/net/ipv6/bindv6only";
const DISABLE_IPV6: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
const DNS: u16 = 5353;
const FEED: u16 = 7443;
const ADMIN: u16 = 9180;
/// A DNS query with the id 4711 for the SOA of `_acme-challenge.gw.example`.
const QUESTION: &[u8] =
    b"\x12\x67\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0f_acme-challenge\x02gw\x07example\x00\x00\x06\x00\x01";

/// Starts both processes, with a DNS relay on every address.
async fn start(sandbox: &Sandbox) -> Result<(Controlplane, Gateway)> {
    let controlplane_config =
        ControlplaneConfig { remote: format!("[::]:{FEED}"), ..ControlplaneConfig::default() };
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    let config = controlplane.gateway_config().await?.more(&format!("[dns]\nlisten = [\"[::]:{DNS}\"]"));
    Ok((controlplane, Gateway::start(sandbox, &config).await?))
}

async fn the_wildcard_address_includes_ipv4(sandbox: &Sandbox) -> Result<()> {
    fs::write(BINDV6ONLY, "1").context(BINDV6ONLY)?;
    let (_controlplane, gateway) = start(sandbox).await?;
    for ip in ["127.0.0.1", "[::1]"] {
        for port in [443, 80, DNS, FEED] {
            tcp(format!("{ip}:{port}").parse()?).await.with_context(|| format!("{ip}, port {port}"))?;
        }
        ask(&format!("{ip}:0"), format!("{ip}:{DNS}").parse()?).await?;
    }
    let mut admin = Connection::plain(SocketAddr::new([127, 0, 0, 1].into(), ADMIN)).await?;
    admin.get("localhost", "/readyz").await?.expect(200)?;
    drop(gateway);
    Ok(())
}

/// With `net.ipv6.conf.all.disable_ipv6=1`, IPv6 sockets can be created, but there is no IPv6 address.
async fn without_ipv6_the_wildcard_address_is_ipv4(sandbox: &Sandbox) -> Result<()> {
    fs::write(DISABLE_IPV6, "1").context(DISABLE_IPV6)?;
    let controlplane_config =
        ControlplaneConfig { remote: format!("[::]:{FEED}"), ..ControlplaneConfig::default() };
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    let config = controlplane.gateway_config().await?.more(&format!("[dns]\nlisten = [\"[::]:{DNS}\"]"));
    let _gateway = Gateway::start(sandbox, &config).await?;
    for port in [443, 80, DNS, FEED] {
        tcp(format!("127.0.0.1:{port}").parse()?).await.with_context(|| format!("port {port}"))?;
    }
    ask("127.0.0.1:0", format!("127.0.0.1:{DNS}").parse()?).await
}

/// Sets every listener key to an IPv6 address while IPv6 is disabled.
async fn an_unavailable_address_is_named(sandbox: &Sandbox) -> Result<()> {
    fs::write(DISABLE_IPV6, "1").context(DISABLE_IPV6)?;
    let default = ControlplaneConfig::default;
    for (key, controlplane_config) in [
        ("feed.listen", ControlplaneConfig { remote: "[::1]:7443".to_owned(), ..default() }),
        ("admin_listen", ControlplaneConfig { top: "admin_listen = \"[::1]:9181\"".to_owned(), ..default() }),
    ] {
        let mut controlplane = Controlplane::start_unready_on(sandbox, &controlplane_config)?;
        expect_listen_error(controlplane.process(), key).await?;
    }
    let controlplane = Controlplane::start(sandbox).await?;
    let config = controlplane.gateway_config().await?;
    let dns = config.clone().more("[dns]\nlisten = [\"[::1]:5353\"]");
    expect_listen_error(Gateway::start_unready(sandbox, &dns)?.process(), "[dns] listen").await
}

/// Waits for the process to exit because of its listen address; its log must name the key, the address and a hint.
async fn expect_listen_error(process: &mut Process, key: &str) -> Result<()> {
    let status = process.end(Duration::from_secs(20)).await?;
    let logged = process.log()?;
    let last = logged.lines().last().unwrap_or_default();
    let is_told = [key, "[::1]:", "IPv4 address"].iter().all(|word| last.contains(word));
    ensure!(!status.success() && is_told, "{key}: {status}: {logged}");
    Ok(())
}

async fn dns_answers_come_from_the_queried_address(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, _gateway) = start(sandbox).await?;
    for (asker, asked) in [
        ("127.0.0.1:0".parse()?, SocketAddr::new([127, 0, 0, 5].into(), DNS)),
        ("127.0.0.9:0".parse()?, SocketAddr::new([127, 0, 0, 1].into(), DNS)),
        (overlay(1, 0), overlay(2, DNS)),
        (overlay(2, 0), overlay(1, DNS)),
    ] {
        ask(&asker.to_string(), asked).await?;
    }
    Ok(())
}

/// Sends a query as resolvers do: answers from another address are ignored.
async fn ask(asker: &str, asked: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(asker).await?;
    socket.connect(asked).await?;
    socket.send(QUESTION).await?;
    let mut answer = [0; 1500];
    let received = timeout(Duration::from_secs(5), socket.recv(&mut answer)).await;
    let length = received.with_context(|| format!("no answer from {asked} to {asker}"))??;
    ensure!(length > 12 && answer[..2] == QUESTION[..2], "{asked}: {:?}", &answer[..length]);
    Ok(())
}
