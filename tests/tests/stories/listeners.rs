//! Listeners at `[::]` where the system keeps IPv6 sockets to IPv6, and answers from the address that was asked.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use webgateway_tests::client::{Connection, tcp};
use webgateway_tests::controller::{Controller, Terms};
use webgateway_tests::gateway::Gateway;
use webgateway_tests::netns::overlay;
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;

stories![every_address_is_every_address, dns_answers_come_from_where_they_were_asked];

const BINDV6ONLY: &str = "/proc/sys/net/ipv6/bindv6only";
const DNS: u16 = 5353;
const FEED: u16 = 7443;
const ADMIN: u16 = 9180;
/// The id 4711, one question: `_acme-challenge.gw.example`, SOA.
const QUESTION: &[u8] =
    b"\x12\x67\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0f_acme-challenge\x02gw\x07example\x00\x00\x06\x00\x01";

/// Both processes, with a relay of DNS questions on every address.
async fn start(scene: &Scene) -> Result<(Controller, Gateway)> {
    let terms = Terms { remote: format!("[::]:{FEED}"), ..Terms::default() };
    let controller = Controller::start_on(scene, &terms).await?;
    let setup = controller.setup().await?.more(&format!("[dns]\nlisten = [\"[::]:{DNS}\"]"));
    Ok((controller, Gateway::start(scene, &setup).await?))
}

async fn every_address_is_every_address(scene: &Scene) -> Result<()> {
    fs::write(BINDV6ONLY, "1").context(BINDV6ONLY)?;
    let (_controller, gateway) = start(scene).await?;
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

async fn dns_answers_come_from_where_they_were_asked(scene: &Scene) -> Result<()> {
    let (_controller, _gateway) = start(scene).await?;
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

/// Asks as resolvers do: what comes from another address is no answer.
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
