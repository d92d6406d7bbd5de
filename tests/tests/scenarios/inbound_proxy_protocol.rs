//! The PROXY protocol from load balancers in front of the gateway: `[proxy_protocol] trusted`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncWriteExt as _, BufStream};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Connection, rest, tcp_from};
use webgateway_tests::gateway::{HTTP, HTTPS};
use webgateway_tests::netns::overlay;
use webgateway_tests::proxied_backend::ProxiedBackend;
use webgateway_tests::proxy_header::{v1, v2, v2_raw};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;
use crate::terminated_routes::header;

scenarios![
    the_announced_client_is_the_client_on_both_ports,
    a_header_may_arrive_in_any_pieces,
    a_trusted_balancer_must_send_a_valid_header,
    a_header_from_anybody_else_is_garbage,
    every_use_of_the_clients_address_has_the_announced_one,
    the_api_sees_the_announced_client,
    trust_can_be_changed_while_the_gateway_runs,
];

pub(crate) const HOST: &str = "app.gw.example";
const PASS: &str = "pass.example.org";
const CHALLENGE: &str = "/.well-known/acme-challenge/token";
const SOON: Duration = Duration::from_secs(10);
/// The load balancer, and an address beside it that is not trusted.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 10, 1));
const TRUSTED: &str = "[proxy_protocol]\ntrusted = [\"127.0.9.0/24\"]\n[limits]\nhello_timeout = \"700ms\"\n";

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().with_context(|| text.to_owned())
}

fn https() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), HTTPS)
}

fn http() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), HTTP)
}

/// Returns valid headers, and the address that each announces; the balancer's own for one without a client.
fn valid() -> Result<Vec<(Vec<u8>, IpAddr)>> {
    let (v4, v4_to) = (address("192.0.2.7:40000")?, address("198.51.100.1:443")?);
    let (v6, v6_to) = (address("[2001:db8::7]:40000")?, address("[2001:db8::1]:443")?);
    let mapped = (address("[::ffff:192.0.2.7]:1")?, address("[::ffff:198.51.100.1]:443")?);
    let large = [&[0xe0, 0x0f, 0xa0][..], &[7; 4000]].concat();
    Ok(vec![
        (v1(v4, v4_to), v4.ip()),
        (v1(v6, v6_to), v6.ip()),
        (v1(mapped.0, mapped.1), v4.ip()),
        (b"PROXY UNKNOWN\r\n".to_vec(), BALANCER),
        (b"PROXY UNKNOWN ::1 ::2 3 4\r\n".to_vec(), BALANCER),
        (v2(v4, v4_to, &[]), v4.ip()),
        (v2(v6, v6_to, &[]), v6.ip()),
        (v2(mapped.0, mapped.1, &[]), v4.ip()),
        (v2(v4, v4_to, b"\x02\0\x0eapp.gw.example\x04\0\x02\0\0"), v4.ip()),
        (v2(v4, v4_to, &large), v4.ip()),
        (v2_raw(0x20, 0, &[]), BALANCER),
        (v2_raw(0x20, 0x11, &[1; 12]), BALANCER),
        (v2_raw(0x21, 0, &[]), BALANCER),
        (v2_raw(0x21, 0x31, &[0; 216]), BALANCER),
    ])
}

/// Starts a gateway that trusts [`BALANCER`], with a terminated route and the challenges of a passthrough route, whose
/// backends show the request.
pub(crate) async fn start(sandbox: &Sandbox) -> Result<(StandaloneSetup, [Backend; 2])> {
    let backends = [Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(2, HTTP)).await?];
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &[overlay(1, 8080)]).add_passthrough(PASS, &[overlay(2, 8443)]);
    };
    // The overlay address needs port 80 for the backend.
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.number(1).more(TRUSTED)).await?;
    Ok((setup, backends))
}

/// Sends a header and a request for [`HOST`] over TLS from `source`; returns the client that the backend saw.
async fn seen_over_tls(
    setup: &StandaloneSetup,
    source: IpAddr,
    header: &[u8],
    is_h2: bool,
) -> Result<IpAddr> {
    let mut stream = tcp_from(source, https()).await?;
    stream.write_all(header).await?;
    let client = setup.client()?;
    let client = if is_h2 { client.h2() } else { client };
    let mut connection = Connection::over(client.tls_over(stream, HOST).await?, is_h2, "https").await?;
    forwarded_for(&connection.get(HOST, "/").await?.expect(200)?.json()?)
}

pub(crate) fn forwarded_for(seen: &serde_json::Value) -> Result<IpAddr> {
    let [value] = header(seen, "x-forwarded-for")[..] else { anyhow::bail!("{seen}") };
    Ok(value.parse()?)
}

/// Sends these pieces to port 80 from `source`, which end with a request; returns the client that the backend saw.
async fn seen_over_http(source: IpAddr, pieces: &[&[u8]]) -> Result<IpAddr> {
    let reply = exchange(source, http(), pieces).await?;
    let text = String::from_utf8(reply)?;
    let (_, body) = text.split_once("\r\n\r\n").with_context(|| format!("no response: {text:?}"))?;
    forwarded_for(&serde_json::from_str(body).with_context(|| text.clone())?)
}

async fn exchange(source: IpAddr, to: SocketAddr, pieces: &[&[u8]]) -> Result<Vec<u8>> {
    let mut stream = tcp_from(source, to).await?;
    stream.set_nodelay(true)?;
    for piece in pieces {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    rest(&mut stream).await
}

pub(crate) fn request() -> Vec<u8> {
    format!("GET {CHALLENGE} HTTP/1.1\r\nhost: {PASS}\r\nconnection: close\r\n\r\n").into_bytes()
}

async fn the_announced_client_is_the_client_on_both_ports(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backends) = start(sandbox).await?;
    for (header, client) in valid()? {
        let shown = String::from_utf8_lossy(&header[..header.len().min(60)]).into_owned();
        for is_h2 in [false, true] {
            let seen = seen_over_tls(&setup, BALANCER, &header, is_h2).await.context(shown.clone())?;
            ensure!(seen == client, "{seen} for {shown:?}");
        }
        let seen = seen_over_http(BALANCER, &[&header, &request()]).await.context(shown.clone())?;
        ensure!(seen == client, "{seen} for {shown:?} on port 80");
    }
    Ok(())
}

async fn a_header_may_arrive_in_any_pieces(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backends) = start(sandbox).await?;
    for (header, client) in valid()?.into_iter().filter(|(header, _)| header.len() < 120) {
        let all = [&header[..], &request()].concat();
        for at in 0..=header.len() + 1 {
            let (first, second) = all.split_at(at);
            let seen = seen_over_http(BALANCER, &[first, second]).await?;
            ensure!(seen == client, "{seen} after {at} of {header:?}");
        }
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        let seen = seen_over_http(BALANCER, &bytes).await?;
        ensure!(seen == client, "{seen} byte by byte");
        // In one segment with the ClientHello.
        let mut stream = BufStream::new(tcp_from(BALANCER, https()).await?);
        stream.write_all(&header).await?;
        let stream = setup.client()?.tls_over(stream, HOST).await?;
        let mut connection = Connection::over(stream, false, "https").await?;
        let seen = forwarded_for(&connection.get(HOST, "/").await?.expect(200)?.json()?)?;
        ensure!(seen == client, "{seen} with the ClientHello");
        // Byte by byte before the ClientHello.
        let mut stream = tcp_from(BALANCER, https()).await?;
        stream.set_nodelay(true)?;
        for byte in &header {
            stream.write_all(&[*byte]).await?;
            tokio::task::yield_now().await;
        }
        let stream = setup.client()?.tls_over(stream, HOST).await?;
        let mut connection = Connection::over(stream, false, "https").await?;
        let seen = forwarded_for(&connection.get(HOST, "/").await?.expect(200)?.json()?)?;
        ensure!(seen == client, "{seen} byte by byte before the ClientHello");
    }
    Ok(())
}

async fn a_trusted_balancer_must_send_a_valid_header(sandbox: &Sandbox) -> Result<()> {
    let (setup, backends) = start(sandbox).await?;
    let (v4, to) = (address("192.0.2.7:40000")?, address("198.51.100.1:443")?);
    let whole = v2(v4, to, &[]);
    let malformed: Vec<Vec<u8>> = vec![
        request(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.777 198.51.100.1 40000 443\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 443\r\n".to_vec(),
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 40000 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 99999\r\n".to_vec(),
        [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat(),
        v2_raw(0x11, 0x11, &[0; 12]),
        v2_raw(0x2f, 0x11, &[0; 12]),
        v2_raw(0x21, 0x91, &[0; 12]),
        v2_raw(0x21, 0x11, &[0; 11]),
        v2_raw(0x21, 0x21, &[0; 12]),
        v2(v4, to, &[2, 0, 9, b'a']),
        v2(v4, to, &vec![0; 20_000]),
        v2_raw(0x20, 0, &[0; 0xffff]),
    ];
    let mut counted = 0;
    for (number, header) in malformed.iter().enumerate() {
        for port in [https(), http()] {
            let reply = exchange(BALANCER, port, &[header, &request()]).await?;
            ensure!(reply.is_empty(), "{number} at {port} is answered {:?}", String::from_utf8_lossy(&reply));
            counted += 1;
        }
    }
    refusals(&setup, "ProxyHeader", counted).await?;
    // Incomplete ones: the sender closes, or waits for too long.
    for end in [1, 12, whole.len() - 1] {
        let mut stream = tcp_from(BALANCER, https()).await?;
        stream.write_all(&whole[..end]).await?;
        stream.shutdown().await?;
        ensure!(rest(&mut stream).await?.is_empty());
        counted += 1;
    }
    refusals(&setup, "ProxyHeader", counted).await?;
    for (timeouts, end) in (1..).zip([0, 1, 12, whole.len() - 1]) {
        let mut stream = tcp_from(BALANCER, http()).await?;
        stream.write_all(&whole[..end]).await?;
        ensure!(rest(&mut stream).await?.is_empty());
        refusals(&setup, "ProxyHeaderTimeout", timeouts).await?;
    }
    ensure!(backends.iter().all(|backend| backend.requests() == 0), "no request was forwarded");
    eventually("all refused connections have ended", SOON, async || {
        let metrics = setup.gateway.metrics().await?;
        ensure!(metrics.contains("webgateway_connections_open{worker=\"0\"} 0"), "{metrics}");
        Ok(())
    })
    .await
}

/// Waits until this many connections were refused for `reason`.
async fn refusals(setup: &StandaloneSetup, reason: &str, count: usize) -> Result<()> {
    let line = format!("webgateway_connections_refused_total{{reason=\"{reason}\"}} {count}\n");
    eventually(&format!("{count} connections are refused for {reason}"), SOON, async || {
        let metrics = setup.gateway.metrics().await?;
        ensure!(metrics.contains(&line), "{metrics}");
        Ok(())
    })
    .await
}

async fn a_header_from_anybody_else_is_garbage(sandbox: &Sandbox) -> Result<()> {
    let (setup, backends) = start(sandbox).await?;
    for (header, _) in valid()? {
        ensure!(seen_over_tls(&setup, OTHER, &header, false).await.is_err(), "{header:?} is honoured");
        let reply = exchange(OTHER, http(), &[&header, &request()]).await?;
        ensure!(
            reply.is_empty() || reply.starts_with(b"HTTP/1.1 400"),
            "{:?}",
            String::from_utf8_lossy(&reply)
        );
    }
    ensure!(backends.iter().all(|backend| backend.requests() == 0), "no request was forwarded");
    ensure!(seen_over_tls(&setup, OTHER, b"", false).await? == OTHER);
    // Nor does a second header behind a trusted one.
    let (first, second) = (v1(address("192.0.2.7:1")?, address("192.0.2.8:443")?), b"PROXY UNKNOWN\r\n");
    let twice = [&first[..], second].concat();
    ensure!(seen_over_tls(&setup, BALANCER, &twice, false).await.is_err());
    Ok(())
}

async fn every_use_of_the_clients_address_has_the_announced_one(sandbox: &Sandbox) -> Result<()> {
    let told = ProxiedBackend::start(overlay(3, 8080), None).await?;
    let plain = Backend::http(overlay(1, 8080)).await?;
    let authority = Authority::new()?;
    let tls = authority.issue(&[PASS])?.server(&["http/1.1"])?;
    let _passed = Backend::https(overlay(2, 8443), tls).await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &[plain.address()]).set_option(HOST, "deny", json!(["192.0.2.0/24"]));
        file.add_terminated("told.gw.example", &[overlay(3, 8080)]);
        file.set_option("told.gw.example", "proxy_protocol", json!("v2"));
        file.add_passthrough(PASS, &[overlay(2, 8443)]).set_option(PASS, "deny", json!(["192.0.2.0/24"]));
    };
    let access = |config: webgateway_tests::gateway::GatewayConfig| {
        config.number(1).more(TRUSTED).top("access_log = true")
    };
    let mut setup = StandaloneSetup::start_with(sandbox, routes, access).await?;
    let to = address("198.51.100.1:443")?;
    for (client, is_denied) in [("192.0.2.7:40001", true), ("203.0.113.7:40002", false)] {
        let header = v2(address(client)?, to, &[]);
        let over = async |host: &str, roots: &StandaloneSetup| {
            let mut stream = tcp_from(BALANCER, https()).await?;
            stream.write_all(&header).await?;
            let client = webgateway_tests::client::Client::new(
                https(),
                match host {
                    PASS => authority.root(),
                    _ => roots.authority.root(),
                },
            )?;
            let stream = client.tls_over(stream, host).await?;
            Connection::over(stream, false, "https").await?.get(host, "/").await
        };
        ensure!(over(HOST, &setup).await?.status == if is_denied { 403 } else { 200 }, "{client}");
        ensure!(over(PASS, &setup).await.is_err() == is_denied, "{client}");
        let text = over("told.gw.example", &setup).await?.expect(200)?.text();
        ensure!(text == client, "{text}");
        let announced = told.announced()?.pop().and_then(|header| header.endpoints);
        ensure!(announced == Some((address(client)?, to)), "{announced:?}");
        let log = setup.gateway.process().log()?;
        let (ip, _) = client.split_once(':').context("a port")?;
        ensure!(
            log.lines().any(|line| line.contains("access") && line.contains(&format!("client={ip} "))),
            "{log}"
        );
        ensure!(log.contains(&format!("client={client} ")), "the span: {log}");
    }
    Ok(())
}

async fn the_api_sees_the_announced_client(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    trust(&mut setup, sandbox, "127.0.9.1").await?;
    let header = v1(address("192.0.2.77:40000")?, address("198.51.100.1:443")?);
    let mut stream = tcp_from(BALANCER, https()).await?;
    stream.write_all(&header).await?;
    let stream = setup.client()?.tls_over(stream, "gw.example").await?;
    let mut connection = Connection::over(stream, false, "https").await?;
    let params = json!({"subdomain": "app", "backends": ["[400::1]:8080"]});
    let signer = Signer::for_user(&setup.alice)?;
    let url = "https://gw.example/rpc";
    signer.call(&mut connection, url, "routes.create", params).await?.expect(200)?;
    let audit = setup.admin.json(["audit", "list"]).await?;
    ensure!(audit.to_string().contains("\"client\":\"192.0.2.77\""), "{audit}");
    Ok(())
}

/// Adds a trusted network to the gateway's configuration and reloads it.
async fn trust(setup: &mut FullSetup, sandbox: &Sandbox, network: &str) -> Result<()> {
    let text = fs::read_to_string(sandbox.path("dataplane.toml"))?;
    let text = text.split("[proxy_protocol]").next().unwrap_or_default();
    let section = format!("{text}[proxy_protocol]\ntrusted = \"{network}\"\n");
    sandbox.write("dataplane.toml", &section)?;
    let count = |log: &str| log.matches("configuration reloaded").count();
    let before = count(&setup.gateway.process().log()?);
    setup.gateway.reload()?;
    eventually("the gateway reloads", SOON, async || {
        let log = setup.gateway.process().log()?;
        ensure!(count(&log) > before && log.contains("changed=\"proxy_protocol.trusted\""), "{log}");
        Ok(())
    })
    .await
}

async fn trust_can_be_changed_while_the_gateway_runs(sandbox: &Sandbox) -> Result<()> {
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = FullSetup::start(sandbox).await?;
    setup.alice.create_route("-s app -b [400::1]:8080").await?;
    setup.wait_for_status(HOST, 200).await?;
    let seen = async |setup: &FullSetup, source: IpAddr| {
        let mut stream = tcp_from(source, https()).await?;
        stream.write_all(&v1(address("192.0.2.7:1")?, address("192.0.2.8:443")?)).await?;
        let stream = setup.client()?.tls_over(stream, HOST).await?;
        let mut connection = Connection::over(stream, false, "https").await?;
        forwarded_for(&connection.get(HOST, "/").await?.expect(200)?.json()?)
    };
    for (network, balancer, other) in [("127.0.9.0/24", BALANCER, OTHER), ("127.0.10.1", OTHER, BALANCER)] {
        trust(&mut setup, sandbox, network).await?;
        eventually(&format!("{network} is trusted"), SOON, async || {
            ensure!(seen(&setup, balancer).await?.to_string() == "192.0.2.7");
            ensure!(seen(&setup, other).await.is_err(), "{other} is trusted");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
