//! The limits on each client network: connections, and handshakes per second.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::{TlsStream, rest, tcp_from};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig, HTTP, HTTPS};
use webgateway_tests::netns::overlay;
use webgateway_tests::proxy_header::{v1, v2_raw};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    the_connections_of_a_network_are_limited_over_all_workers,
    upgraded_and_passed_through_connections_count_until_they_end,
    the_handshakes_of_a_network_are_limited,
    an_announced_client_is_limited_and_its_balancer_is_not,
    thousands_of_connections_leave_nothing_behind,
    new_limits_apply_after_a_reload,
];

const HOST: &str = "app.gw.example";
const PASS: &str = "pass.example.org";
const SOON: Duration = Duration::from_secs(10);
/// Two addresses of one network, and one of another.
const NEAR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 7, 1)), IpAddr::V4(Ipv4Addr::new(127, 0, 7, 200))];
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 8, 1));

fn at(port: u16, source: IpAddr) -> SocketAddr {
    let ip: IpAddr = if source.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(ip, port)
}

async fn start(sandbox: &Sandbox, more: &str) -> Result<(StandaloneSetup, [Backend; 2])> {
    let backends = [
        Backend::http(overlay(1, 8080)).await?,
        Backend::raw(overlay(2, 8443), RawBehaviour::RespondAndRead(b"hello".to_vec())).await?,
    ];
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &[overlay(1, 8080)]).add_passthrough(PASS, &[overlay(2, 8443)]);
    };
    let config = |config: GatewayConfig| config.workers(2).more(more);
    Ok((StandaloneSetup::start_with(sandbox, routes, config).await?, backends))
}

/// Opens a TLS connection from `source` after sending `header`.
async fn open(setup: &StandaloneSetup, source: IpAddr, header: &[u8]) -> Result<TlsStream<TcpStream>> {
    let mut stream = tcp_from(source, at(HTTPS, source)).await?;
    stream.write_all(header).await?;
    setup.client()?.tls_over(stream, HOST).await
}

/// Returns the sum of the values of a metric whose line begins like this.
async fn metric(gateway: &Gateway, start: &str) -> Result<u64> {
    let metrics = gateway.metrics().await?;
    let lines = metrics.lines().filter(|line| line.starts_with(start));
    lines.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<u64>()?)).sum()
}

async fn refused(gateway: &Gateway, reason: &str) -> Result<u64> {
    metric(gateway, &format!("webgateway_connections_refused_total{{reason=\"{reason}\"}}")).await
}

/// Waits until no connection is open.
async fn all_released(gateway: &Gateway) -> Result<()> {
    eventually("every connection is released", SOON, async || {
        let open = metric(gateway, "webgateway_connections_open").await?;
        let networks = metric(gateway, "webgateway_client_networks").await?;
        ensure!((open, networks) == (0, 0), "{open} connections of {networks} networks");
        Ok(())
    })
    .await
}

async fn the_connections_of_a_network_are_limited_over_all_workers(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backends) = start(sandbox, "[limits]\nconnections_per_network = 6").await?;
    let v6 = [IpAddr::from(Ipv6Addr::LOCALHOST); 2];
    for (near, far) in [(NEAR, FAR), (v6, overlay(4, 0).ip())] {
        let before = refused(&setup.gateway, "NetworkConnections").await?;
        let mut held = Vec::new();
        for n in 0..6 {
            held.push(open(&setup, near[n % 2], b"").await?);
        }
        for n in 0..20 {
            ensure!(open(&setup, near[n % 2], b"").await.is_err(), "a seventh one is served");
            let plain = tcp_from(near[n % 2], at(HTTP, near[0])).await;
            let reply = match plain {
                Ok(mut stream) => {
                    // The reset may come before or after this.
                    drop(stream.write_all(b"GET / HTTP/1.1\r\nhost: app.gw.example\r\n\r\n").await);
                    rest(&mut stream).await.unwrap_or_default()
                }
                Err(_) => Vec::new(),
            };
            ensure!(reply.is_empty(), "a seventh one is served at port 80");
        }
        let after = refused(&setup.gateway, "NetworkConnections").await?;
        ensure!(after - before == 40, "{before} {after}");
        let other = tcp_from(
            far,
            SocketAddr::new(if far.is_ipv4() { at(HTTPS, far).ip() } else { overlay(3, 0).ip() }, HTTPS),
        )
        .await?;
        setup.client()?.tls_over(other, HOST).await?;
        held.pop();
        eventually("one that ended makes room for another", SOON, async || open(&setup, near[0], b"").await)
            .await?;
        drop(held);
        all_released(&setup.gateway).await?;
    }
    Ok(())
}

async fn upgraded_and_passed_through_connections_count_until_they_end(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backends) = start(sandbox, "[limits]\nconnections_per_network = 2").await?;
    let mut socket = WebSocket::open(open(&setup, NEAR[0], b"").await?, HOST, "/ws").await?;
    let mut passed = tcp_from(NEAR[0], at(HTTPS, NEAR[0])).await?;
    passed.write_all(&hello(PASS)?).await?;
    for _ in 0..5 {
        socket.echo("still").await?;
        ensure!(open(&setup, NEAR[1], b"").await.is_err(), "a third one is served");
    }
    drop(passed);
    let room = async || open(&setup, NEAR[1], b"").await;
    let third = eventually("a tunnel that ended makes room", SOON, room).await?;
    ensure!(room().await.is_err());
    drop(socket);
    let fourth = eventually("a WebSocket that ended makes room", SOON, room).await?;
    drop((third, fourth));
    all_released(&setup.gateway).await
}

/// Returns a ClientHello for this server name.
fn hello(name: &str) -> Result<Vec<u8>> {
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from(name.to_owned())?;
    let mut hello = Vec::new();
    rustls::ClientConnection::new(config.into(), name)?.write_tls(&mut hello)?;
    Ok(hello)
}

async fn the_handshakes_of_a_network_are_limited(sandbox: &Sandbox) -> Result<()> {
    let limits = "[limits]\nhandshakes_per_network = 1\nhandshake_burst_per_network = 8";
    let (setup, _backends) = start(sandbox, limits).await?;
    let begun = std::time::Instant::now();
    let mut served = 0;
    for n in 0..40 {
        served += u64::from(open(&setup, NEAR[n % 2], b"").await.is_ok());
    }
    let most = 8 + begun.elapsed().as_secs() + 1;
    ensure!((8..=most).contains(&served), "{served} of 40 are served in {:?}", begun.elapsed());
    ensure!(refused(&setup.gateway, "NetworkHandshakes").await? == 40 - served);
    // Port 80 has no handshakes, and other networks have their own.
    let mut plain = tcp_from(NEAR[0], at(HTTP, NEAR[0])).await?;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: app.gw.example\r\nconnection: close\r\n\r\n").await?;
    ensure!(rest(&mut plain).await?.starts_with(b"HTTP/1.1 308"));
    open(&setup, FAR, b"").await?;
    eventually("a second later there is another one", SOON, async || open(&setup, NEAR[0], b"").await)
        .await?;
    all_released(&setup.gateway).await
}

async fn an_announced_client_is_limited_and_its_balancer_is_not(sandbox: &Sandbox) -> Result<()> {
    let config = "[proxy_protocol]\ntrusted = [\"127.0.7.0/24\"]\n[limits]\nconnections_per_network = 2\n\
                  handshakes_per_network = 1\nhandshake_burst_per_network = 20";
    let (setup, _backends) = start(sandbox, config).await?;
    let to = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), HTTPS);
    let header = |network: u8, host: u8| v1(SocketAddr::new([192, 0, network, host].into(), 1), to);
    let mut held = Vec::new();
    for network in 0..10 {
        for host in 1..=2 {
            held.push(open(&setup, NEAR[0], &header(network, host)).await?);
        }
        ensure!(open(&setup, NEAR[1], &header(network, 3)).await.is_err(), "a third one is served");
    }
    // The load balancer's own connections, and those that wait for their header.
    let mut waiting = Vec::new();
    for _ in 0..40 {
        held.push(open(&setup, NEAR[0], &v2_raw(0x20, 0, &[])).await?);
        waiting.push(tcp_from(NEAR[0], at(HTTPS, NEAR[0])).await?);
    }
    ensure!(metric(&setup.gateway, "webgateway_client_networks").await? == 10);
    drop((held, waiting));
    all_released(&setup.gateway).await
}

async fn thousands_of_connections_leave_nothing_behind(sandbox: &Sandbox) -> Result<()> {
    let limits = "[limits]\nhello_timeout = \"500ms\"\nconnections_per_network = 40\n[proxy_protocol]\ntrusted = \"127.0.9.1\"";
    let (setup, _backends) = start(sandbox, limits).await?;
    let balancer = IpAddr::from([127, 0, 9, 1]);
    let to = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), HTTPS);
    for round in 0..500_u16 {
        let [high, low] = round.to_be_bytes();
        let own = IpAddr::from([127, 3 + high, low, 1]);
        // Served, closed at once, garbage, an unknown name, an unfinished ClientHello, and a reset.
        if round % 10 == 0 {
            drop(open(&setup, own, b"").await?);
        }
        drop(tcp_from(own, at(HTTPS, own)).await?);
        for bytes in [&b"SSH-2.0-x\r\n"[..], &hello("nobody.example")?, &hello(HOST)?[..40], &hello(PASS)?] {
            let mut stream = tcp_from(own, at(HTTPS, own)).await?;
            drop(stream.write_all(bytes).await);
            if round % 2 == 0 {
                stream.set_zero_linger()?;
            }
        }
        drop(tcp_from(own, at(HTTP, own)).await?);
        let client = SocketAddr::new([10, 1, high, low].into(), 1);
        for bytes in
            [v1(client, to), b"PROXY TCP4 garbage\r\n".to_vec(), [&v1(client, to)[..], b"garbage"].concat()]
        {
            let mut stream = tcp_from(balancer, at(HTTPS, balancer)).await?;
            drop(stream.write_all(&bytes).await);
        }
    }
    let accepted = metric(&setup.gateway, "webgateway_connections_accepted_total").await?;
    ensure!(accepted >= 4500, "{accepted}");
    all_released(&setup.gateway).await?;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(open(&setup, NEAR[0], b"").await?);
    }
    ensure!(open(&setup, NEAR[0], b"").await.is_err(), "the limit still holds");
    Ok(())
}

async fn new_limits_apply_after_a_reload(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backends) = start(sandbox, "[limits]\nconnections_per_network = 0").await?;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(open(&setup, NEAR[0], b"").await?);
    }
    for (limit, is_served) in [("5", false), ("11", true), ("10", false), ("0", true)] {
        let text = std::fs::read_to_string(sandbox.path("dataplane.toml"))?;
        let (start, _) = text.split_once("connections_per_network").context("the key")?;
        sandbox.write("dataplane.toml", &format!("{start}connections_per_network = {limit}\n"))?;
        setup.gateway.reload()?;
        eventually(&format!("the limit is {limit}"), SOON, async || {
            let served = open(&setup, NEAR[1], b"").await.is_ok();
            ensure!(served == is_served, "served: {served}");
            Ok(())
        })
        .await?;
    }
    let log = setup.gateway.process().log()?;
    ensure!(
        log.matches("the client's network is over its limit").count() == 1,
        "one warning a minute: {log}"
    );
    Ok(())
}
