//! Stress: repeated kills, thousands of changes, and nodes that do not read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;
use webgateway_proto::feed::FromNode;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::{Backend, number_at};
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::feed_node::FeedNode;
use webgateway_tests::feed_server::{FeedServer, base_resources, begin, end, remove, route};
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;

scenarios![
    acknowledged_changes_survive_repeated_kills,
    traffic_is_not_affected_by_10000_changes,
    stalled_nodes_do_not_grow_the_controlplane,
];

const HOST: &str = "app.gw.example";

/// Returns the number in an environment variable, or a smaller default that a run of all scenarios has time for.
pub(crate) fn env_number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The expected routes, by the responses to their mutations.
#[derive(Default)]
struct ExpectedRoutes {
    existing: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Routes whose last mutation got no response.
    uncertain: BTreeSet<String>,
    created: usize,
}

/// Creates a route, and deletes every third one again.
async fn mutate(
    api: &mut Connection,
    url: &str,
    signer: &Signer,
    expected: &mut ExpectedRoutes,
) -> Result<()> {
    expected.created += 1;
    let (name, delete) = (format!("k{}", expected.created), expected.created.is_multiple_of(3));
    let host = format!("{name}.gw.example");
    expected.uncertain.insert(host.clone());
    let params = json!({"subdomain": name, "backends": ["[400::1]:8080"]});
    let reply = signer.call(api, url, "routes.create", params).await?.expect(200)?.json()?;
    if delete {
        let id = reply["result"]["id"].as_str().with_context(|| format!("no id in {reply}"))?;
        let reply = signer.call(api, url, "routes.delete", json!({"id": id})).await?.expect(200)?.json()?;
        ensure!(reply["error"].is_null(), "{reply}");
    }
    expected.uncertain.remove(&host);
    if delete {
        expected.deleted.insert(host)
    } else {
        expected.existing.insert(host)
    };
    Ok(())
}

async fn acknowledged_changes_survive_repeated_kills(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let signer = Signer::for_user(&setup.alice)?;
    let kills = env_number("WEBGATEWAY_SCENARIO_KILLS", 25);
    let mut expected = ExpectedRoutes::default();
    for round in 0..kills {
        let (url, mut api) = (setup.controlplane.url(), Connection::plain(setup.controlplane.rpc()?).await?);
        for _ in 0..1 + round % 5 {
            mutate(&mut api, &url, &signer, &mut expected).await?;
        }
        // The kill happens at a random point of the next mutations.
        let moment = Duration::from_millis((round as u64 * 7) % 40);
        let stream = async {
            loop {
                if let Err(error) = mutate(&mut api, &url, &signer, &mut expected).await {
                    return error;
                }
            }
        };
        tokio::select! {
            error = stream => return Err(error),
            () = tokio::time::sleep(moment) => {}
        }
        setup.controlplane.process().kill()?;
        setup.controlplane = Controlplane::start(sandbox).await?;
    }
    println!(
        "{kills} kills, {} routes there, {} deleted, {} open",
        expected.existing.len(),
        expected.deleted.len(),
        expected.uncertain.len()
    );
    ensure!(!expected.existing.is_empty() && !expected.deleted.is_empty());
    let listed = setup.alice.json(["routes", "list"]).await?;
    let listed: BTreeSet<String> = listed["routes"]
        .as_array()
        .context("no list")?
        .iter()
        .filter_map(|route| Some(route["host"].as_str()?.to_owned()))
        .collect();
    ensure!(expected.existing.is_subset(&listed), "lost: {:?}", expected.existing.difference(&listed));
    ensure!(expected.deleted.is_disjoint(&listed), "back: {:?}", expected.deleted.intersection(&listed));
    let whole: BTreeSet<_> = expected.existing.union(&expected.uncertain).cloned().collect();
    ensure!(listed.is_subset(&whole), "from nowhere: {:?}", listed.difference(&whole));
    expect_on_node(&setup, &listed, &expected).await
}

async fn expect_on_node(
    setup: &FullSetup,
    listed: &BTreeSet<String>,
    expected: &ExpectedRoutes,
) -> Result<()> {
    let count = format!("webgateway_routes {}", listed.len());
    eventually("the node has as many routes", Duration::from_secs(20), async || {
        let metrics = setup.gateway.metrics().await?;
        let line = metrics.lines().find(|line| line.starts_with("webgateway_routes ")).unwrap_or_default();
        ensure!(line == count, "{line}, not {count}");
        Ok(())
    })
    .await?;
    let client = setup.client()?;
    let mut connection = client.connect("gw.example").await?;
    for host in listed {
        connection.get(host, "/").await?.expect(200)?;
    }
    for host in &expected.deleted {
        connection.get(host, "/").await?.expect(503)?;
    }
    Ok(())
}

/// Reads a body of numbers to its end and fails at the first wrong byte.
async fn download(client: Client, bytes: usize) -> Result<()> {
    let mut connection = client.connect(HOST).await?;
    let request =
        connection.request(http::Method::GET, HOST, &format!("/numbers/{bytes}")).body(Full::default())?;
    let mut body = connection.open(request).await?.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        for (at, byte) in (read..).zip(&data) {
            ensure!(*byte == number_at(at), "byte {at} is {byte}");
        }
        read += data.len();
    }
    ensure!(read == bytes, "{read} of {bytes} bytes");
    Ok(())
}

async fn sockets(
    client: &Client,
    count: usize,
) -> Result<Vec<WebSocket<webgateway_tests::client::TlsStream<tokio::net::TcpStream>>>> {
    let (mut opening, mut sockets) = (JoinSet::new(), Vec::new());
    for started in 0..count {
        let client = client.clone();
        opening.spawn(async move { WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await });
        if started >= 50 {
            sockets.push(opening.join_next().await.context("none")???);
        }
    }
    while let Some(opened) = opening.join_next().await {
        sockets.push(opened??);
    }
    Ok(sockets)
}

async fn traffic_is_not_affected_by_10000_changes(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut server = FeedServer::listen(&sandbox.path("feed.sock"))?;
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let gateway =
        Gateway::start_unready(sandbox, &GatewayConfig::from_socket(server.path(), authority.root()))?;
    let mut node = server.next_subscription().await?;
    let app = route(Uuid::now_v7(), HOST, backend.address());
    node.send([vec![begin(Kind::Full)], base_resources(&base)?.to_vec(), vec![app, end(1)]].concat()).await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 1));

    let client = gateway.client()?;
    let mut sockets = sockets(&client, 1000).await?;
    let bytes = env_number("WEBGATEWAY_SCENARIO_DOWNLOAD_MIB", 64) * 1024 * 1024;
    let begun = Instant::now();
    let mut downloading = JoinSet::new();
    downloading.spawn(download(client.clone(), bytes));
    let ids: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    for n in 0..10_000_u32 {
        let (id, version) = (ids[n as usize % ids.len()], u64::from(n) + 2);
        let host = format!("other{}.gw.example", n as usize % ids.len());
        let change = if n % 300 < 200 { route(id, &host, overlay(2, 80)) } else { remove(id, n % 2 == 0) };
        node.send([begin(Kind::Delta), change, end(version)]).await?;
        ensure!(node.wait_for_ack().await? == (Vec::new(), version));
    }
    println!("10,000 changes in {:?}", begun.elapsed());
    downloading.join_next().await.context("a download")???;
    println!("and a download of {bytes} bytes in {:?}", begun.elapsed());
    for socket in &mut sockets {
        socket.echo("still here").await?;
    }
    Ok(())
}

async fn stalled_nodes_do_not_grow_the_controlplane(sandbox: &Sandbox) -> Result<()> {
    const STALLED: usize = 300;
    const CHANGES: usize = 400;
    let mut controlplane = Controlplane::start(sandbox).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let mut nodes = Vec::new();
    for n in 0..STALLED {
        let mut node = FeedNode::connect(&controlplane.feed(), &format!("stalled{n}"), None).await?;
        let first = node.batch().await?;
        nodes.push((node, first));
    }
    let (signer, url) = (Signer::for_user(&alice)?, controlplane.url());
    let mut api = Connection::plain(controlplane.rpc()?).await?;
    let mut create = async |n: usize| {
        let params = json!({"subdomain": format!("r{n}"), "backends": ["[400::1]:8080"]});
        signer.call(&mut api, &url, "routes.create", params).await?.expect(200)
    };
    create(0).await?;
    let before = controlplane.process().memory()?.now;
    for n in 1..CHANGES {
        create(n).await?;
        // The nodes send heartbeats, but do not acknowledge.
        if n % 20 == 0 {
            for (node, _) in &nodes {
                node.send(FromNode::Heartbeat).await?;
            }
        }
    }
    let grown = controlplane.process().memory()?.now.saturating_sub(before);
    println!("{STALLED} stalled nodes, {CHANGES} changes: {} KiB more", grown / 1024);
    // Memory for each change of each node would be far more than this.
    ensure!(grown < (STALLED * CHANGES * 150) as u64, "it has grown by {grown} bytes");
    // Missed changes arrive merged, each resource once; the last changes may still be pending.
    for (node, first) in &mut nodes {
        node.acknowledge(first).await?;
        let (mut delivered, mut batches) = (0, 0);
        while delivered < CHANGES {
            let next = node.batch().await?;
            (delivered, batches) = (delivered + next.changes, batches + 1);
            ensure!(!next.full && batches <= 5, "{next:?}");
            node.acknowledge(&next).await?;
        }
        ensure!(delivered == CHANGES, "{delivered} changes in {batches} batches");
    }
    Ok(())
}
