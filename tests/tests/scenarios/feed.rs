//! The feed protocol from a node's side: batches are atomic, and invalid resources are rejected by name.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use uuid::Uuid;
use webgateway_proto::feed::wire;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::authority::{Authority, IssuedCertificate};
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Client;
use webgateway_tests::feed_server::{
    FeedServer, Subscription, base_resources, begin, certificate, end, put, remove, route,
    with_required_option,
};
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

scenarios![
    a_batch_is_applied_atomically,
    invalid_resources_are_rejected_by_name,
    the_last_valid_version_of_a_route_stays,
    a_route_with_an_unknown_option_is_rejected_by_name,
    a_full_sync_removes_unlisted_resources,
    a_reconnecting_node_sends_its_position,
    an_incomplete_batch_changes_nothing,
    unknown_kinds_of_resources_are_skipped,
    a_suspension_closes_at_once,
    a_silent_controlplane_is_disconnected,
    no_call_is_made_without_a_stream,
];

const HOST: &str = "app.gw.example";

/// A gateway whose feed is served by the scenario.
pub(crate) struct FeedSetup {
    server: FeedServer,
    pub(crate) gateway: Gateway,
    authority: Authority,
    base: IssuedCertificate,
}

impl FeedSetup {
    pub(crate) async fn start(sandbox: &Sandbox) -> Result<(Self, Subscription)> {
        Self::start_with(sandbox, |config| config).await
    }

    /// Starts the same processes with more configuration.
    pub(crate) async fn start_with(
        sandbox: &Sandbox,
        config: impl FnOnce(GatewayConfig) -> GatewayConfig,
    ) -> Result<(Self, Subscription)> {
        let mut server = FeedServer::listen(&sandbox.path("feed.sock"))?;
        let authority = Authority::new()?;
        let base = authority.issue(&["gw.example", "*.gw.example"])?;
        let from_socket = GatewayConfig::from_socket(server.path(), authority.root());
        let gateway = Gateway::start_unready(sandbox, &config(from_socket))?;
        let subscription = server.next_subscription().await?;
        ensure!(subscription.hello.held.is_none(), "it begins with nothing");
        ensure!(!subscription.hello.node.is_empty() && !subscription.hello.build.is_empty());
        Ok((Self { server, gateway, authority, base }, subscription))
    }

    /// Sends the first full sync with these routes, as version 1.
    pub(crate) async fn sync(
        &self,
        node: &mut Subscription,
        routes: Vec<wire::feed_message::Message>,
    ) -> Result<()> {
        self.full(node, routes, 1).await?;
        self.gateway.ready().await
    }

    /// Sends a full batch with these messages, as this version.
    pub(crate) async fn full(
        &self,
        node: &mut Subscription,
        messages: Vec<wire::feed_message::Message>,
        version: u64,
    ) -> Result<()> {
        let all =
            [vec![begin(Kind::Full)], base_resources(&self.base)?.to_vec(), messages, vec![end(version)]];
        node.send(all.concat()).await?;
        ensure!(node.wait_for_ack().await? == (Vec::new(), version));
        Ok(())
    }

    pub(crate) fn client(&self) -> Result<Client> {
        self.gateway.client()
    }
}

async fn a_batch_is_applied_atomically(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    node.send([begin(Kind::Full)]).await?;
    node.send(base_resources(&setup.base)?).await?;
    node.send([route(Uuid::now_v7(), HOST, backend.address())]).await?;
    // A node does not confirm that it has read an incomplete batch, so that there is nothing to wait for.
    tokio::time::sleep(Duration::from_millis(200)).await;
    ensure!(setup.gateway.ready().await.is_err(), "it is not ready before the end of the batch");
    ensure!(setup.client()?.tls(HOST).await.is_err(), "nothing is served before the end of the batch");
    node.send([end(7)]).await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 7));
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    setup.gateway.ready().await
}

async fn invalid_resources_are_rejected_by_name(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    let [outside, nonsense, good] = [(); 3].map(|()| Uuid::now_v7());
    let mut mixed = setup.authority.issue(&["shop.example.org"])?;
    mixed.key = setup.authority.issue(&["shop.example.org"])?.key;
    node.send([begin(Kind::Full)]).await?;
    node.send(base_resources(&setup.base)?).await?;
    node.send([
        route(outside, "outside.gw.example", "127.0.0.1:80".parse()?),
        route(nonsense, "a..b", backend.address()),
        certificate("shop.example.org", &["shop.example.org"], &mixed)?,
        route(good, HOST, backend.address()),
        end(1),
    ])
    .await?;
    let (rejects, version) = node.wait_for_ack().await?;
    let mut named: Vec<_> = rejects.iter().map(|reject| reject.resource.clone()).collect();
    named.sort_unstable();
    let mut expected =
        ["certificate/shop.example.org".to_owned(), format!("route/{outside}"), format!("route/{nonsense}")];
    expected.sort_unstable();
    ensure!(named == expected && version == 1, "{rejects:?}");
    ensure!(rejects.iter().all(|reject| !reject.reason.is_empty() && reject.version == 1), "{rejects:?}");
    ensure!(!format!("{rejects:?}").contains("PRIVATE"), "{rejects:?}");
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    setup.client()?.get("outside.gw.example", "/").await?.expect(503)?;
    Ok(())
}

async fn the_last_valid_version_of_a_route_stays(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    let id = Uuid::now_v7();
    setup.sync(&mut node, vec![route(id, HOST, backend.address())]).await?;
    node.send([begin(Kind::Delta), route(id, HOST, "[2001:db8::1]:80".parse()?), end(2)]).await?;
    let (rejects, version) = node.wait_for_ack().await?;
    ensure!(
        version == 2 && rejects.len() == 1 && rejects[0].resource == format!("route/{id}"),
        "{rejects:?}"
    );
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

/// A node that is older than its controlplane does not serve a route with only some of its options.
async fn a_route_with_an_unknown_option_is_rejected_by_name(sandbox: &Sandbox) -> Result<()> {
    let (old, new) = (Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(2, 8080)).await?);
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    let (known, unknown) = (Uuid::now_v7(), Uuid::now_v7());
    let name = |id: Uuid| format!("route/{id}");
    setup.sync(&mut node, vec![route(known, HOST, old.address())]).await?;
    let changed = with_required_option("teleport", route(known, HOST, new.address()));
    let fresh = with_required_option("teleport", route(unknown, "fresh.gw.example", new.address()));
    let plain = route(Uuid::now_v7(), "plain.gw.example", new.address());
    node.send([begin(Kind::Delta), changed.clone(), fresh.clone(), plain.clone(), end(2)]).await?;
    let (rejects, acked) = node.wait_for_ack().await?;
    let named: Vec<&str> = rejects.iter().map(|reject| reject.resource.as_str()).collect();
    ensure!((named, acked) == (vec![&*name(known), &*name(unknown)], 2), "{rejects:?}");
    ensure!(rejects.iter().all(|reject| reject.reason.contains("`teleport`")), "{rejects:?}");
    let serves = async |version: u64| -> Result<()> {
        setup.client()?.get(HOST, "/").await?.expect(200)?;
        setup.client()?.get("fresh.gw.example", "/").await?.expect(503)?;
        setup.client()?.get("plain.gw.example", "/").await?.expect(200)?;
        let last_good = (old.requests(), new.requests()) == (version - 1, version - 1);
        ensure!(last_good, "{} and {} requests", old.requests(), new.requests());
        Ok(())
    };
    serves(2).await?;
    // A full sync after a reconnect does not remove the last valid version either.
    let all =
        [vec![begin(Kind::Full)], base_resources(&setup.base)?.to_vec(), vec![changed, fresh, plain, end(3)]];
    node.send(all.concat()).await?;
    ensure!(node.wait_for_ack().await?.0.len() == 2);
    serves(3).await
}

async fn a_full_sync_removes_unlisted_resources(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    let stays = Uuid::now_v7();
    let routes = vec![
        route(Uuid::now_v7(), HOST, backend.address()),
        route(stays, "stays.gw.example", backend.address()),
    ];
    setup.sync(&mut node, routes).await?;
    node.send([begin(Kind::Full)]).await?;
    node.send(base_resources(&setup.base)?).await?;
    node.send([route(stays, "stays.gw.example", backend.address()), end(2)]).await?;
    node.wait_for_ack().await?;
    setup.client()?.get(HOST, "/").await?.expect(503)?;
    setup.client()?.get("stays.gw.example", "/").await?.expect(200)?;
    Ok(())
}

async fn a_reconnecting_node_sends_its_position(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (mut setup, mut node) = FeedSetup::start(sandbox).await?;
    setup.sync(&mut node, vec![route(Uuid::now_v7(), HOST, backend.address())]).await?;
    drop(node);
    let mut node = setup.server.next_subscription().await?;
    let held = node.hello.held.clone().context("it holds something")?;
    ensure!((&*held.epoch, held.version) == ("scenario", 1), "{held:?}");
    setup.client()?.get(HOST, "/").await?.expect(200)?;

    // A version with a rejected resource does not count as held.
    let bad = route(Uuid::now_v7(), "bad.gw.example", "127.0.0.1:80".parse()?);
    node.send([begin(Kind::Delta), bad, end(2)]).await?;
    ensure!(node.wait_for_ack().await?.0.len() == 1);
    drop(node);
    let node = setup.server.next_subscription().await?;
    let held = node.hello.held.clone().context("it holds something")?;
    ensure!(held.version == 1, "{held:?}");
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn an_incomplete_batch_changes_nothing(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (mut setup, mut node) = FeedSetup::start(sandbox).await?;
    setup.sync(&mut node, vec![route(Uuid::now_v7(), HOST, backend.address())]).await?;
    node.send([begin(Kind::Full), route(Uuid::now_v7(), "half.gw.example", backend.address())]).await?;
    drop(node);
    let mut node = setup.server.next_subscription().await?;
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    setup.client()?.get("half.gw.example", "/").await?.expect(503)?;
    node.send([begin(Kind::Delta), route(Uuid::now_v7(), "next.gw.example", backend.address()), end(2)])
        .await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 2));
    setup.client()?.get("next.gw.example", "/").await?.expect(200)?;
    setup.client()?.get("half.gw.example", "/").await?.expect(503)?;
    Ok(())
}

async fn unknown_kinds_of_resources_are_skipped(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    // A newer controlplane may send kinds of resources that this build does not know.
    let future = put("weather/sunny", None);
    setup.sync(&mut node, vec![future.clone(), route(Uuid::now_v7(), HOST, backend.address())]).await?;
    node.send([begin(Kind::Delta), future, end(2)]).await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 2));
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn a_suspension_closes_at_once(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    let id = Uuid::now_v7();
    setup.sync(&mut node, vec![route(id, HOST, backend.address())]).await?;
    let mut socket = WebSocket::open(setup.client()?.tls(HOST).await?, HOST, "/ws").await?;
    socket.echo("here").await?;
    node.send([begin(Kind::Delta), remove(id, true), end(2)]).await?;
    node.wait_for_ack().await?;
    // The default drain is 30 s.
    tokio::time::timeout(Duration::from_secs(5), socket.closed()).await.context("it stays open")??;
    eventually("the backend's side is closed too", Duration::from_secs(5), async || {
        ensure!(backend.open() == 0, "{} open", backend.open());
        Ok(())
    })
    .await
}

async fn a_silent_controlplane_is_disconnected(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let (mut setup, mut node) = FeedSetup::start(sandbox).await?;
    setup.sync(&mut node, vec![route(Uuid::now_v7(), HOST, backend.address())]).await?;
    // The HTTP/2 connection answers pings, but the stream is silent.
    let started = std::time::Instant::now();
    let again = setup.server.next_subscription().await?;
    let after = started.elapsed();
    ensure!((Duration::from_secs(10)..Duration::from_secs(18)).contains(&after), "after {after:?}");
    ensure!(again.hello.held.is_some());
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn no_call_is_made_without_a_stream(sandbox: &Sandbox) -> Result<()> {
    let (setup, mut node) = FeedSetup::start(sandbox).await?;
    setup.sync(&mut node, vec![]).await?;
    // This feed server refuses calls as unimplemented.
    setup.client()?.get("gw.example", "/rpc").await?.expect(502)?;
    setup.server.refuse_streams();
    drop(node);
    eventually("the controlplane is away", Duration::from_secs(5), async || {
        let reply = setup.client()?.get("gw.example", "/rpc").await?.expect(503)?;
        ensure!(reply.text().contains("the controlplane is away"), "{reply:?}");
        Ok(())
    })
    .await
}
