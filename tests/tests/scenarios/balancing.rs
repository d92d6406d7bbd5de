//! Balancing policies and weights, over real backends.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use serde_json::json;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    weights_are_exact_in_turn_and_proportional_at_random,
    a_drained_backend_gets_nothing_even_if_the_others_fail,
    least_connections_avoids_the_busy_backend_on_every_worker,
    least_connections_counts_tunnels,
    client_hash_is_the_same_on_every_node,
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(10);

/// Returns the address of the backend that responds.
async fn backend_of(connection: &mut Connection, host: &str) -> Result<String> {
    let seen = connection.get(host, "/").await?.expect(200)?.json()?;
    Ok(seen["backend"].as_str().context("no backend")?.to_owned())
}

async fn counts(client: &Client, host: &str, requests: usize) -> Result<BTreeMap<String, usize>> {
    let mut connection = client.connect(host).await?;
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(backend_of(&mut connection, host).await?).or_default() += 1;
    }
    Ok(counts)
}

async fn backends() -> Result<[Backend; 3]> {
    Ok([
        Backend::http(overlay(1, 8080)).await?,
        Backend::http(overlay(2, 8080)).await?,
        Backend::http(overlay(3, 8080)).await?,
    ])
}

async fn weights_are_exact_in_turn_and_proportional_at_random(sandbox: &Sandbox) -> Result<()> {
    const RANDOM: &str = "random.gw.example";
    let backends = backends().await?;
    let addresses = backends.each_ref().map(Backend::address);
    let [one, two, three] = addresses.map(|address| address.to_string());
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &addresses)
            .set_options(HOST, &json!({ "weights": { &one: 5, &three: 3 } }))
            .add_terminated(RANDOM, &addresses)
            .set_options(RANDOM, &json!({ "balance": "random", "weights": { &two: 3, &three: 0 } }));
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let counts = counts(&client, HOST, 27).await?;
        ensure!(counts == [(one.clone(), 15), (two.clone(), 3), (three.clone(), 9)].into(), "{counts:?}");
    }
    // Of 1200 requests 300 in expectation, with a standard deviation of 15.
    let counts = counts(&setup.client()?, RANDOM, 1200).await?;
    ensure!(counts[&one].abs_diff(300) < 90 && counts[&one] + counts[&two] == 1200, "{counts:?}");
    Ok(())
}

async fn a_drained_backend_gets_nothing_even_if_the_others_fail(sandbox: &Sandbox) -> Result<()> {
    let drained = Backend::http(overlay(2, 8080)).await?;
    let weights = json!({ "weights": { drained.address().to_string(): 0 } });
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[overlay(1, 8080), drained.address()]).set_options(HOST, &weights);
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        for _ in 0..10 {
            client.get(HOST, "/").await?.expect(502)?;
        }
    }
    ensure!(drained.requests() == 0 && drained.connections() == 0);
    Ok(())
}

async fn least_connections_avoids_the_busy_backend_on_every_worker(sandbox: &Sandbox) -> Result<()> {
    let [one, two, _] = backends().await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &[one.address(), two.address()]).set_balance(HOST, "least_connections");
    };
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.workers(2)).await?;
    let client = setup.client()?;
    let mut slow = client.clone().h2().connect(HOST).await?;
    let request = slow.request(Method::GET, HOST, "/slow/60000").body(Full::default())?;
    slow.begin(request)?;
    eventually("a backend has the slow request", SOON, async || {
        ensure!(one.requests() + two.requests() == 1);
        Ok(())
    })
    .await?;
    let (busy, idle) = if one.requests() == 1 { (&one, &two) } else { (&two, &one) };
    for _ in 0..20 {
        client.get(HOST, "/").await?.expect(200)?;
    }
    ensure!((busy.requests(), idle.requests()) == (1, 21 - 1), "{} {}", busy.requests(), idle.requests());
    drop(slow);
    eventually("the cancelled request no longer counts", SOON, async || {
        client.get(HOST, "/").await?.expect(200)?;
        ensure!(busy.requests() > 1);
        Ok(())
    })
    .await
}

async fn least_connections_counts_tunnels(sandbox: &Sandbox) -> Result<()> {
    const PASS: &str = "pass.example.org";
    let [one, two, _] = backends().await?;
    let authority = webgateway_tests::authority::Authority::new()?;
    let tls = authority.issue(&[PASS])?.server(&["http/1.1"])?;
    let secure = [
        Backend::https(overlay(1, 8443), std::sync::Arc::clone(&tls)).await?,
        Backend::https(overlay(2, 8443), tls).await?,
    ];
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[one.address(), two.address()])
            .set_balance(HOST, "least_connections")
            .add_passthrough(PASS, &secure.each_ref().map(Backend::address))
            .set_balance(PASS, "least_connections");
    })
    .await?;
    let client = setup.client()?;
    let mut socket = WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await?;
    socket.echo("open").await?;
    let busy = if one.requests() == 1 { one.address() } else { two.address() }.to_string();
    let seen = counts(&client, HOST, 10).await?;
    ensure!(seen.len() == 1 && !seen.contains_key(&busy), "{seen:?} while a WebSocket is at {busy}");
    let pass = Client::new(setup.gateway.https(), authority.root())?;
    let mut open = pass.connect(PASS).await?;
    let busy = backend_of(&mut open, PASS).await?;
    for _ in 0..10 {
        let seen = counts(&pass, PASS, 1).await?;
        ensure!(!seen.contains_key(&busy), "{seen:?} while a tunnel is at {busy}");
        let ended = |backend: &Backend| backend.address().to_string() == busy || backend.open() == 0;
        eventually("the tunnel has ended", SOON, async || {
            ensure!(secure.iter().all(ended));
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Asks for the backend of each client address, at the node at `node`.
async fn backend_by_client(setup: &StandaloneSetup, node: SocketAddr) -> Result<BTreeMap<IpAddr, String>> {
    let mut seen = BTreeMap::new();
    for network in 0..12 {
        for host in [2, 9] {
            let source = IpAddr::V4(Ipv4Addr::new(127, 0, network, host));
            let client = setup.client()?.at(node).from(source);
            let mut connection = client.connect(HOST).await?;
            let backend = backend_of(&mut connection, HOST).await?;
            ensure!(backend == backend_of(&mut connection, HOST).await?, "{source} changes its backend");
            seen.insert(source, backend);
        }
    }
    Ok(seen)
}

async fn client_hash_is_the_same_on_every_node(sandbox: &Sandbox) -> Result<()> {
    let backends = backends().await?;
    let addresses = backends.each_ref().map(Backend::address);
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &addresses).set_balance(HOST, "client_hash");
    };
    let mut setup = StandaloneSetup::start_with(sandbox, routes, |config| config.number(1)).await?;
    let config = GatewayConfig::from_file(setup.file.write()?, setup.authority.root()).number(2);
    let other = Gateway::start(sandbox, &config).await?;
    let before = backend_by_client(&setup, setup.gateway.https()).await?;
    ensure!(before == backend_by_client(&setup, other.https()).await?, "the nodes differ");
    let used: std::collections::BTreeSet<&String> = before.values().collect();
    ensure!(used.len() == 3, "{before:?}");
    for network in 0..12 {
        let of = |host| &before[&IpAddr::V4(Ipv4Addr::new(127, 0, network, host))];
        ensure!(of(2) == of(9), "a network has two backends: {before:?}");
    }
    setup.change(|file| {
        file.set_backends(HOST, &addresses[1..]);
    })?;
    let removed = addresses[0].to_string();
    eventually("only the clients of the removed backend move", SOON, async || {
        let after = backend_by_client(&setup, setup.gateway.https()).await?;
        ensure!(!after.values().any(|backend| *backend == removed), "{after:?}");
        let stay = before.iter().filter(|(_, backend)| **backend != removed);
        for (client, backend) in stay {
            ensure!(after[client] == *backend, "{client} moved");
        }
        Ok(())
    })
    .await
}
