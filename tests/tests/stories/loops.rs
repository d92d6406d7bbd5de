//! Routes that lead back to a gateway: to any of its own listeners, or round over another gateway.

use anyhow::{Context, Result, ensure};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, HTTP, HTTPS, Setup};
use webgateway_tests::netns::overlay;
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;

use crate::standalone::Standalone;

stories![
    every_listener_of_the_gateway_is_refused,
    two_gateways_that_lead_to_each_other,
    a_chain_of_gateways_is_no_loop
];

const ROUND: &str = "round.example";

async fn accepted(gateway: &Gateway) -> Result<u64> {
    let metrics = gateway.metrics().await?;
    let counts = metrics.lines().filter(|line| line.contains("accepted") && line.contains("https"));
    counts.map(|line| line.rsplit(' ').next().context("no count")?.parse::<u64>().context("a count")).sum()
}

async fn every_listener_of_the_gateway_is_refused(scene: &Scene) -> Result<()> {
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
        file.allowed("127.0.0.0/8");
        for (n, (_, address)) in listeners.iter().enumerate() {
            let (terminated, passed) = hosts(n);
            file.terminated(&terminated, &[*address]).passthrough(&passed, &[*address]);
        }
    };
    let world =
        Standalone::start_with(scene, routes, |setup| setup.more("[dns]\nlisten = [\"[::]:53\"]")).await?;
    for (n, (what, _)) in listeners.iter().enumerate() {
        let (terminated, passed) = hosts(n);
        for client in [world.visitor()?, world.visitor()?.h2()] {
            let reply = client.get(&terminated, "/metrics").await?.expect(508).context(*what)?;
            let says = reply.header("proxy-status");
            ensure!(says.contains("error=proxy_loop_detected"), "{what}: {says:?}");
        }
        let before = accepted(&world.gateway).await?;
        ensure!(world.visitor()?.tls(&passed).await.is_err(), "{what}");
        // The one visitor, and the gateway's own connection where it leads to https.
        let more = accepted(&world.gateway).await? - before;
        ensure!(more <= 2, "{what}: one visitor became {more} connections");
    }
    Ok(())
}

/// Two gateways with two workers each; the second one's routes lead to `second`, the first one's to the second gateway.
async fn two(scene: &Scene, second: std::net::SocketAddr) -> Result<(Authority, [Gateway; 2])> {
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let mut gateways = Vec::new();
    for (number, next) in [(1, format!("127.0.0.2:{HTTPS}").parse()?), (2, second)] {
        let mut file = FeedFile::new(&scene.path(&format!("feed{number}.json")), &base);
        file.allowed("127.0.0.0/8").passthrough(ROUND, &[next]);
        let setup = Setup::from_file(file.write()?, authority.root()).workers(2).number(number);
        gateways.push(Gateway::start(scene, &setup).await?);
    }
    let gateways = <[Gateway; 2]>::try_from(gateways).ok().context("two gateways")?;
    Ok((authority, gateways))
}

async fn two_gateways_that_lead_to_each_other(scene: &Scene) -> Result<()> {
    let (authority, gateways) = two(scene, format!("127.0.0.1:{HTTPS}").parse()?).await?;
    for gateway in &gateways {
        ensure!(Client::new(gateway.https(), authority.root())?.tls(ROUND).await.is_err());
        let mut plain = Connection::plain(gateway.http()).await?;
        plain.get(ROUND, "/.well-known/acme-challenge/token").await?.expect(508)?;
    }
    for gateway in &gateways {
        let count = accepted(gateway).await?;
        ensure!((2..40).contains(&count), "two visitors became {count} connections");
    }
    Ok(())
}

async fn a_chain_of_gateways_is_no_loop(scene: &Scene) -> Result<()> {
    let tls = Authority::new()?;
    let backend = Backend::https(overlay(1, 8443), tls.issue(&[ROUND])?.server(&["http/1.1"])?).await?;
    let (_, [first, _second]) = two(scene, backend.address()).await?;
    let visitor = Client::new(first.https(), tls.root())?;
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut connection = visitor.connect(ROUND).await?;
        connection.get(ROUND, "/").await?.expect(200)?;
        open.push(connection);
    }
    ensure!(backend.open() == 40);
    Ok(())
}
