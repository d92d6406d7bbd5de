//! The route option `proxy_protocol`: backends are told each client's address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::net::TcpStream;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Connection, TlsStream};
use webgateway_tests::gateway::HTTPS;
use webgateway_tests::netns::overlay;
use webgateway_tests::proxied_backend::ProxiedBackend;
use webgateway_tests::proxy_header::ReceivedHeader;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_backend_is_told_each_client_of_a_terminated_route,
    a_backend_is_told_each_client_of_a_passthrough_route,
    clients_never_share_a_connection_that_names_one_of_them,
    the_option_can_be_changed_while_clients_are_connected,
    health_checks_name_no_client,
];

const HOST: &str = "app.gw.example";
const PASS: &str = "pass.example.org";
const SOON: Duration = Duration::from_secs(10);
const IPV4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), HTTPS);
const IPV6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), HTTPS);
pub(crate) const VERSIONS: [(&str, u8); 2] = [("v1", 1), ("v2", 2)];

/// The address of the gateway that a client connects to, and the client's own.
pub(crate) fn clients() -> [(SocketAddr, IpAddr); 4] {
    [
        (IPV4, [127, 0, 0, 1].into()),
        (IPV4, [127, 1, 2, 3].into()),
        (IPV6, Ipv6Addr::LOCALHOST.into()),
        (overlay(3, HTTPS), overlay(4, 0).ip()),
    ]
}

pub(crate) fn local(stream: &TlsStream<TcpStream>) -> Result<SocketAddr> {
    Ok(stream.get_ref().0.local_addr()?)
}

fn expected(version: u8, source: SocketAddr, destination: SocketAddr, host: &str) -> ReceivedHeader {
    let authority = (version == 2).then(|| host.to_owned());
    ReceivedHeader { version, endpoints: Some((source, destination)), authority }
}

async fn a_backend_is_told_each_client_of_a_terminated_route(sandbox: &Sandbox) -> Result<()> {
    for (number, (word, version)) in (1..).zip(VERSIONS) {
        let backend = ProxiedBackend::start(overlay(number, 8080), None).await?;
        let setup = StandaloneSetup::start(sandbox, |file| {
            file.add_terminated(HOST, &[overlay(number, 8080)]);
            file.set_option(HOST, "proxy_protocol", json!(word));
        })
        .await?;
        for is_h2 in [false, true] {
            for (gateway, source) in clients() {
                let before = backend.headers().len();
                let client = setup.client()?.at(gateway).from(source);
                let client = if is_h2 { client.h2() } else { client };
                let stream = client.tls(HOST).await?;
                let own = local(&stream)?;
                let mut connection = Connection::over(stream, is_h2, "https").await?;
                for _ in 0..3 {
                    let reply = connection.get(HOST, "/").await?.expect(200)?;
                    ensure!(reply.text() == own.to_string(), "{word}: {} for {own}", reply.text());
                }
                let headers = backend.announced()?.split_off(before);
                ensure!(headers == [expected(version, own, gateway, HOST)], "{word} from {own}: {headers:?}");
            }
        }
    }
    Ok(())
}

async fn a_backend_is_told_each_client_of_a_passthrough_route(sandbox: &Sandbox) -> Result<()> {
    for (number, (word, version)) in (1..).zip(VERSIONS) {
        let mut setup = StandaloneSetup::start(sandbox, |_| {}).await?;
        let tls = setup.authority.issue(&[PASS])?.server(&["http/1.1"])?;
        let backend = ProxiedBackend::start(overlay(number, 8443), Some(tls)).await?;
        setup.change(|file| {
            file.add_passthrough(PASS, &[overlay(number, 8443)]);
            file.set_option(PASS, "proxy_protocol", json!(word));
        })?;
        let client = setup.client()?;
        eventually("the route is known", SOON, async || client.get(PASS, "/").await?.expect(200)).await?;
        for (gateway, source) in clients() {
            let before = backend.headers().len();
            let stream = setup.client()?.at(gateway).from(source).tls(PASS).await?;
            let own = local(&stream)?;
            let reply = Connection::over(stream, false, "https").await?.get(PASS, "/").await?.expect(200)?;
            ensure!(reply.text() == own.to_string(), "{word}: {} for {own}", reply.text());
            let headers = backend.announced()?.split_off(before);
            ensure!(headers == [expected(version, own, gateway, PASS)], "{word} from {own}: {headers:?}");
        }
    }
    Ok(())
}

async fn clients_never_share_a_connection_that_names_one_of_them(sandbox: &Sandbox) -> Result<()> {
    let _backend = ProxiedBackend::start(overlay(1, 8080), None).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[overlay(1, 8080)]);
        file.set_option(HOST, "proxy_protocol", json!("v2"));
    })
    .await?;
    let mut clients = Vec::new();
    for n in 1..=12 {
        let client = setup.client()?.at(IPV4).from([127, 0, 0, 1 + n % 3].into());
        let client = if n % 2 == 0 { client.h2() } else { client };
        let stream = client.tls(HOST).await?;
        let own = local(&stream)?;
        clients.push((own, Connection::over(stream, n % 2 == 0, "https").await?));
    }
    for round in 0..20 {
        for (own, connection) in &mut clients {
            let reply = connection.get(HOST, "/").await?.expect(200)?;
            ensure!(reply.text() == own.to_string(), "round {round}: {} for {own}", reply.text());
        }
    }
    Ok(())
}

async fn the_option_can_be_changed_while_clients_are_connected(sandbox: &Sandbox) -> Result<()> {
    let (_with, _without) =
        (ProxiedBackend::start(overlay(1, 8080), None).await?, Backend::http(overlay(2, 8080)).await?);
    let setup = FullSetup::start(sandbox).await?;
    let id = setup.alice.create_route("-s app -b [400::1]:8080 --proxy-protocol v1").await?;
    setup.wait_for_status(HOST, 200).await?;
    let mut open = setup.client()?.connect(HOST).await?;
    for (flags, is_told) in [
        ("-b [400::2]:8080 --reset proxy_protocol", false),
        ("-b [400::1]:8080 --proxy-protocol v2", true),
        ("-b [400::2]:8080 --proxy-protocol off", false),
        ("-b [400::1]:8080 --proxy-protocol v1", true),
    ] {
        let update = ["routes", "update", "-r", &id].into_iter().chain(flags.split(' '));
        setup.alice.json(update).await?;
        eventually(&format!("`{flags}` applies"), SOON, async || {
            let text = open.get(HOST, "/").await?.expect(200)?.text();
            ensure!(text.parse::<SocketAddr>().is_ok() == is_told, "{text}");
            Ok(())
        })
        .await?;
    }
    let route = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(route["proxy_protocol"] == "v1", "{route}");
    Ok(())
}

async fn health_checks_name_no_client(sandbox: &Sandbox) -> Result<()> {
    let mut number = 0;
    let mut backends = Vec::new();
    let mut setup = StandaloneSetup::start(sandbox, |_| {}).await?;
    for (word, version) in VERSIONS {
        for check in [json!({"path": "/up", "interval": 1}), json!({"interval": 1})] {
            number += 1;
            let host = format!("h{number}.gw.example");
            backends.push((ProxiedBackend::start(overlay(number, 8080), None).await?, version, host.clone()));
            setup.file.add_terminated(&host, &[overlay(number, 8080)]);
            setup.file.set_health_check(&host, check).set_option(&host, "proxy_protocol", json!(word));
        }
    }
    setup.change(|_| {})?;
    for (backend, version, host) in &backends {
        let local = Ok(ReceivedHeader { version: *version, endpoints: None, authority: None });
        eventually(&format!("{host} is checked"), SOON, async || {
            let headers = backend.headers();
            ensure!(headers.len() >= 3 && headers.iter().all(|header| *header == local), "{headers:?}");
            Ok(())
        })
        .await?;
        setup.client()?.get(host, "/").await?.expect(200)?;
    }
    let metrics = setup.gateway.metrics().await?;
    ensure!(metrics.contains("webgateway_backends_down 0"), "{metrics}");
    Ok(())
}
