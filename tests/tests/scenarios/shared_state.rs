//! State that nodes share through the controlplane: session ticket keys and DNS answers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::HandshakeKind;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Client;
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::feed_file::BASE_DOMAIN;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::pebble::{Pebble, PebbleConfig};
use webgateway_tests::resolver::Resolver;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

scenarios![a_tls_session_resumes_on_another_node, dns_01_works_through_a_node];

const HOST: &str = "hello.gw.example";

/// Returns true if the next handshake with `gateway` is resumed.
async fn is_resumed(client: &Client, gateway: &Gateway) -> Result<bool> {
    let stream = client.at(gateway.https()).tls(HOST).await?;
    Ok(stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed))
}

/// Returns a client that has a session ticket of `gateway`.
async fn client_with_ticket(gateway: &Gateway, old: bool) -> Result<Client> {
    let client = gateway.client()?;
    let client = if old { client.tls_1_2_only() } else { client };
    client.get(HOST, "/").await?.expect(200)?;
    Ok(client)
}

async fn version(gateway: &Gateway) -> Result<u64> {
    let metrics = gateway.metrics().await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("webgateway_feed_version "));
    Ok(line.context("no version")?.parse()?)
}

async fn a_tls_session_resumes_on_another_node(sandbox: &Sandbox) -> Result<()> {
    let controlplane_config =
        ControlplaneConfig { feed: "ticket_rotation = \"4s\"".to_owned(), ..ControlplaneConfig::default() };
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    let config = controlplane.gateway_config().await?;
    let a = Gateway::start(sandbox, &config.clone().number(1)).await?;
    let b = Gateway::start(sandbox, &config.number(2)).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    alice.create_route("-s hello -b [400::1]:8080").await?;
    for gateway in [&a, &b] {
        let client = gateway.client()?;
        let there = async || client.get(HOST, "/").await?.expect(200);
        eventually("the route is there", Duration::from_secs(10), there).await?;
    }
    // Waits until just after a key rotation, so that none happens in between.
    let rotates = async |from: u64, times: u64| {
        eventually("the keys are rotated", Duration::from_secs(30), async || {
            let (on_a, on_b) = (version(&a).await?, version(&b).await?);
            ensure!(on_a >= from + times && on_b >= from + times, "{on_a}, {on_b}");
            Ok(on_a)
        })
        .await
    };
    let from = rotates(version(&a).await?, 1).await?;
    let mut clients = Vec::new();
    for old in [false, true] {
        for _ in 0..3 {
            clients.push(client_with_ticket(&a, old).await?);
        }
    }
    for at_once in [0, 3] {
        ensure!(is_resumed(&clients[at_once], &b).await?, "client {at_once} does not resume");
    }
    rotates(from, 1).await?;
    for after_one in [1, 4] {
        ensure!(is_resumed(&clients[after_one], &b).await?, "client {after_one} does not resume");
    }
    rotates(from, 3).await?;
    for after_three in [2, 5] {
        ensure!(
            !is_resumed(&clients[after_three], &b).await?,
            "client {after_three} resumes with an old key"
        );
    }
    Ok(())
}

async fn dns_01_works_through_a_node(sandbox: &Sandbox) -> Result<()> {
    let node: SocketAddr = "127.0.0.1:5300".parse()?;
    let resolver = Resolver::start(5353, BASE_DOMAIN, node).await?;
    let pebble = Pebble::start(sandbox.dir(), &resolver, &PebbleConfig::default()).await?;
    resolver.set_addresses(BASE_DOMAIN, &["127.0.0.1".parse()?])?;
    let socket = sandbox.path("controlplane").join("feed.sock");
    let config = GatewayConfig::from_socket(&socket, &pebble.root().await?);
    let config = config.more(&format!("[dns]\nlisten = [\"{node}\"]"));
    let gateway = Gateway::start_unready(sandbox, &config)?;
    let away = eventually(
        "a question is failed while the controlplane is away",
        Duration::from_secs(10),
        async || query_soa(node).await,
    );
    ensure!(away.await? == 2, "SERVFAIL");
    let controlplane_config = ControlplaneConfig {
        public_ip: "[\"127.0.0.1\"]".to_owned(),
        top: format!(
            "local_acme = \"{}\"\nlocal_acme_root = \"{}\"\n",
            Pebble::directory(),
            pebble.root_file().display()
        ),
        dns: format!("resolver = [\"{}\"]\n", resolver.address()),
        certificates: "[certificates]\nmodule = \"acme\"\n[acme]\nemail = \"ops@gw.example\"\n".to_owned(),
        ..ControlplaneConfig::default()
    };
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    eventually("the node relays", Duration::from_secs(20), async || {
        let code = query_soa(node).await?;
        ensure!(code == 0, "{code}");
        Ok(())
    })
    .await?;
    // The first attempt may have happened before the node connected.
    admin.gwctl(["certificates", "renew", "-c", BASE_DOMAIN]).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    alice.create_route("-s hello -b [400::1]:8080").await?;
    let client = gateway.client()?;
    eventually("the wildcard's certificate is there", Duration::from_secs(100), async || {
        client.get(HOST, "/").await?.expect(200)
    })
    .await?;
    ensure!(query_soa(node).await? == 0, "the zone's SOA");
    let questions = gateway.metrics().await?;
    let questions = questions.lines().find_map(|line| line.strip_prefix("webgateway_dns_questions_total "));
    ensure!(questions.context("no count")?.parse::<u32>()? > 3, "{questions:?}");
    Ok(())
}

/// Queries the zone's SOA and returns the response code (RFC 1035 §4.1).
async fn query_soa(server: SocketAddr) -> Result<u8> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let mut question = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    question.extend_from_slice(b"\x0f_acme-challenge\x02gw\x07example\x00\x00\x06\x00\x01");
    socket.send_to(&question, server).await?;
    let mut answer = [0; 512];
    let length = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut answer)).await??;
    ensure!(length >= question.len() && answer.starts_with(b"\x12\x34"), "no answer of ours");
    Ok(answer[3] & 15)
}
