//! Several nodes with cut, stalled and slow links to their controlplane: traffic is not affected.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use uuid::Uuid;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Connection;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::feed_server::{FeedServer, base_resources, begin, end, route};
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::gwctl::User;
use webgateway_tests::link::Link;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;

scenarios![
    a_link_cut_in_either_direction_is_detected_and_recovers,
    a_stalled_node_delays_no_other_and_catches_up,
    a_node_killed_during_a_large_batch_syncs_again,
    two_nodes_with_the_same_name_both_serve,
];

/// The time within which a dead link is detected: both sides check periodically for 15 s of silence.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(18);
const TIMEOUT: Duration = Duration::from_secs(10);
const HOST: &str = "hello.gw.example";

/// A controlplane and three nodes, each connected through a link of its own.
struct MultiNodeSetup {
    controlplane: Controlplane,
    alice: User,
    admin: User,
    nodes: Vec<(Gateway, Link)>,
    _backend: Backend,
}

impl MultiNodeSetup {
    async fn start(sandbox: &Sandbox) -> Result<Self> {
        let controlplane = Controlplane::start(sandbox).await?;
        let (alice, admin) = (
            User::create(&controlplane, sandbox.dir(), "alice").await?,
            User::create(&controlplane, sandbox.dir(), "admin").await?,
        );
        let mut nodes = Vec::new();
        for number in 1..=3 {
            let link = Link::between(&sandbox.path(&format!("link{number}.sock")), &controlplane.feed())?;
            let config = GatewayConfig::from_socket(link.path(), &controlplane.root().await?).number(number);
            nodes.push((Gateway::start(sandbox, &config).await?, link));
        }
        let setup =
            Self { controlplane, alice, admin, nodes, _backend: Backend::http(overlay(1, 8080)).await? };
        setup.alice.create_route("-s hello -b [400::1]:8080").await?;
        try_join_all((0..3).map(|node| setup.wait_until_served(node, HOST, TIMEOUT))).await?;
        Ok(setup)
    }

    fn node(&self, node: usize) -> Result<&Gateway> {
        Ok(&self.nodes.get(node).context("no such node")?.0)
    }

    async fn wait_until_served(&self, node: usize, host: &str, within: Duration) -> Result<()> {
        let client = self.node(node)?.client()?;
        eventually(&format!("node {} answers for {host}", node + 1), within, async || {
            client.get(host, "/").await?.expect(200).map(drop)
        })
        .await
    }

    /// Returns true if the node's metrics report the feed as connected.
    async fn has_feed(&self, node: usize) -> Result<bool> {
        let metrics = self.node(node)?.metrics().await?;
        let line = metrics.lines().find(|line| line.starts_with("webgateway_feed_connected "));
        Ok(line.context("no such metric")?.ends_with(" 1"))
    }

    /// Returns the nodes that the controlplane lists as connected.
    async fn connected(&self) -> Result<Vec<String>> {
        let (mut api, url) = (Connection::plain(self.controlplane.rpc()?).await?, self.controlplane.url());
        let reply = Signer::for_user(&self.admin)?.call(&mut api, &url, "nodes.list", json!({})).await?;
        let response = reply.expect(200)?.json()?;
        let nodes = response["result"]["nodes"].as_array().with_context(|| response.to_string())?;
        let live = nodes.iter().filter(|node| node["connected"] == true);
        Ok(live.filter_map(|node| node["node"].as_str().map(str::to_owned)).collect())
    }
}

async fn a_link_cut_in_either_direction_is_detected_and_recovers(sandbox: &Sandbox) -> Result<()> {
    let setup = MultiNodeSetup::start(sandbox).await?;
    ensure!(setup.connected().await? == ["node1", "node2", "node3"]);
    let cuts = [(false, false), (true, false), (false, true)];
    for ((_, link), (up, down)) in setup.nodes.iter().zip(cuts) {
        link.set_open(up, down);
    }
    let cut = Instant::now();
    let nodes_notice = try_join_all((0..3).map(|node| {
        let setup = &setup;
        eventually("a node notices", DETECTION_TIMEOUT, async move || {
            ensure!(!setup.has_feed(node).await?, "node {} counts its feed as connected", node + 1);
            Ok(())
        })
    }));
    let controlplane_notices = eventually("the controlplane notices", DETECTION_TIMEOUT, async || {
        let connected = setup.connected().await?;
        ensure!(connected.is_empty(), "{connected:?}");
        Ok(())
    });
    let traffic = async {
        while cut.elapsed() < Duration::from_secs(12) {
            for node in 0..3 {
                setup.node(node)?.client()?.get(HOST, "/").await?.expect(200)?;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    };
    tokio::try_join!(nodes_notice, controlplane_notices, traffic)?;
    setup.alice.create_route("-s second -b [400::1]:8080").await?;
    for (_, link) in &setup.nodes {
        link.set_open(true, true);
    }
    let healed = Duration::from_secs(25);
    try_join_all((0..3).map(|node| setup.wait_until_served(node, "second.gw.example", healed))).await?;
    eventually("all nodes have reconnected", TIMEOUT, async || {
        ensure!(setup.connected().await?.len() == 3);
        Ok(())
    })
    .await
}

async fn a_stalled_node_delays_no_other_and_catches_up(sandbox: &Sandbox) -> Result<()> {
    use nix::sys::signal::Signal;
    let mut setup = MultiNodeSetup::start(sandbox).await?;
    let stalled = &mut setup.nodes.get_mut(2).context("no third node")?.0;
    stalled.process().signal(Signal::SIGSTOP)?;
    for n in 0..20 {
        setup.alice.create_route(&format!("-s r{n} -b [400::1]:8080")).await?;
    }
    try_join_all((0..2).map(|node| setup.wait_until_served(node, "r19.gw.example", TIMEOUT))).await?;
    eventually("the controlplane notices", DETECTION_TIMEOUT, async || {
        let connected = setup.connected().await?;
        ensure!(connected == ["node1", "node2"], "{connected:?}");
        Ok(())
    })
    .await?;
    // The controlplane restarts while the node stalls.
    setup.controlplane.process().kill()?;
    setup.controlplane = Controlplane::start(sandbox).await?;
    setup.alice.create_route("-s last -b [400::1]:8080").await?;
    setup.nodes.get_mut(2).context("no third node")?.0.process().signal(Signal::SIGCONT)?;
    try_join_all(
        (0..3).map(|node| setup.wait_until_served(node, "last.gw.example", Duration::from_secs(20))),
    )
    .await?;
    for n in 0..20 {
        setup.node(2)?.client()?.get(&format!("r{n}.gw.example"), "/").await?.expect(200)?;
    }
    Ok(())
}

async fn a_node_killed_during_a_large_batch_syncs_again(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut server = FeedServer::listen(&sandbox.path("feed.sock"))?;
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let config = GatewayConfig::from_socket(server.path(), authority.root());
    let routes: Vec<_> =
        (0..5000).map(|n| route(Uuid::now_v7(), &format!("r{n}.gw.example"), backend.address())).collect();
    for complete in [false, true] {
        let mut gateway = Gateway::start_unready(sandbox, &config)?;
        let node = server.next_subscription().await?;
        ensure!(node.hello.held.is_none(), "half a batch is nothing: {:?}", node.hello);
        node.send([begin(Kind::Full)]).await?;
        node.send(base_resources(&base)?).await?;
        node.send(routes.clone()).await?;
        if complete {
            node.send([end(1)]).await?;
        }
        gateway.process().kill()?;
    }
    let gateway = Gateway::start_unready(sandbox, &config)?;
    let mut node = server.next_subscription().await?;
    ensure!(node.hello.held.is_none(), "{:?}", node.hello);
    node.send([begin(Kind::Full)]).await?;
    node.send(base_resources(&base)?).await?;
    node.send(routes).await?;
    node.send([end(1)]).await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 1));
    for n in [0, 2500, 4999] {
        gateway.client()?.get(&format!("r{n}.gw.example"), "/").await?.expect(200)?;
    }
    Ok(())
}

async fn two_nodes_with_the_same_name_both_serve(sandbox: &Sandbox) -> Result<()> {
    let mut controlplane = Controlplane::start(sandbox).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let config = controlplane.gateway_config().await?.name("twin");
    let started = Instant::now();
    let twins = [
        Gateway::start(sandbox, &config.clone().number(1)).await?,
        Gateway::start(sandbox, &config.number(2)).await?,
    ];
    for n in 0..3 {
        alice.create_route(&format!("-s r{n} -b [400::1]:8080")).await?;
        for twin in &twins {
            let client = twin.client()?;
            eventually("the node has the update", Duration::from_secs(15), async || {
                client.get(&format!("r{n}.gw.example"), "/").await?.expect(200)
            })
            .await?;
        }
    }
    let replaced = controlplane.process().log()?.matches("another node connected with the same name").count();
    // The backoff doubles up to 5 s, with 50 % jitter.
    let most = 14 + started.elapsed().as_secs();
    ensure!(replaced > 0, "the operator is told");
    ensure!(u64::try_from(replaced)? <= most, "they turn each other out all the time: {replaced} times");
    Ok(())
}
