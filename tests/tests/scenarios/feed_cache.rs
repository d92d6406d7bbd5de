//! Cold starts from the feed cache while the controlplane is down: removed and suspended routes stay away.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::feed_server::{FeedServer, base_resources, begin, end, remove, route};
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;

scenarios![
    a_cold_start_without_a_controlplane_serves_from_the_cache,
    a_suspended_user_does_not_come_back,
    a_tampered_cache_is_refused,
    an_unwritable_cache_does_not_stop_the_gateway,
];

/// Starts a setup whose gateway has a cache.
async fn start(sandbox: &Sandbox) -> Result<FullSetup> {
    let controlplane = Controlplane::start(sandbox).await?;
    let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?.cached(sandbox)).await?;
    let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    Ok(FullSetup { controlplane, gateway, admin, alice })
}

/// Kills both processes and starts the gateway alone.
async fn cold_start(sandbox: &Sandbox, setup: &mut FullSetup) -> Result<Duration> {
    let config = setup.controlplane.gateway_config().await?.cached(sandbox);
    setup.controlplane.process().kill()?;
    setup.gateway.process().kill()?;
    let started = Instant::now();
    setup.gateway = Gateway::start(sandbox, &config).await?;
    Ok(started.elapsed())
}

fn metric(metrics: &str, name: &str) -> Result<i64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("webgateway_{name} ")));
    Ok(line.with_context(|| format!("no {name}"))?.parse()?)
}

async fn a_cold_start_without_a_controlplane_serves_from_the_cache(sandbox: &Sandbox) -> Result<()> {
    let mut setup = start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s one -b [400::1]:8080").await?;
    let gone = setup.alice.create_route("-s gone -b [400::1]:8080").await?;
    setup.wait_for_status("gone.gw.example", 200).await?;
    setup.alice.gwctl(["routes", "delete", "-r", &gone]).await?;
    setup.wait_for_status("gone.gw.example", 503).await?;
    let took = cold_start(sandbox, &mut setup).await?;
    ensure!(took < Duration::from_secs(5), "ready after {took:?}");
    let client = setup.client()?;
    client.get("one.gw.example", "/").await?.expect(200)?;
    client.get("gone.gw.example", "/").await?.expect(503)?;
    let metrics = setup.gateway.metrics().await?;
    ensure!((0..60).contains(&metric(&metrics, "config_age_seconds")?), "{metrics}");
    ensure!(setup.gateway.process().log()?.contains("serving the cached snapshot"));
    // The feed resumes at the cached version.
    setup.controlplane = Controlplane::start(sandbox).await?;
    setup.alice.create_route("-s two -b [400::1]:8080").await?;
    setup.wait_for_status("two.gw.example", 200).await?;
    cold_start(sandbox, &mut setup).await?;
    setup.client()?.get("two.gw.example", "/").await?.expect(200)?;
    Ok(())
}

/// The gateway is killed as soon as it has acknowledged the suspension, and started without a controlplane.
async fn a_suspended_user_does_not_come_back(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let mut server = FeedServer::listen(&sandbox.path("feed.sock"))?;
    let config = GatewayConfig::from_socket(server.path(), authority.root()).cached(sandbox);
    let mut gateway = Gateway::start_unready(sandbox, &config)?;
    let mut node = server.next_subscription().await?;
    let ids: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    let host = |n: usize| format!("r{n}.gw.example");
    let routes = ids.iter().enumerate().map(|(n, id)| route(*id, &host(n), backend.address()));
    let all = [vec![begin(Kind::Full)], base_resources(&base)?.to_vec(), routes.collect(), vec![end(1)]];
    node.send(all.concat()).await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 1));
    for (n, id) in ids.iter().enumerate() {
        let version = n as u64 + 2;
        node.send([begin(Kind::Delta), remove(*id, true), end(version)]).await?;
        ensure!(node.wait_for_ack().await? == (Vec::new(), version));
        gateway.process().kill()?;
        drop((node, server));
        fs::remove_file(sandbox.path("feed.sock"))?;
        gateway = Gateway::start(sandbox, &config).await?;
        let client = gateway.client()?;
        client.get(&host(n), "/").await?.expect(503)?;
        if n + 1 < ids.len() {
            client.get(&host(n + 1), "/").await?.expect(200)?;
        }
        server = FeedServer::listen(&sandbox.path("feed.sock"))?;
        node = server.next_subscription().await?;
        ensure!(node.hello.held.as_ref().is_some_and(|held| held.version == version), "{:?}", node.hello);
    }
    Ok(())
}

async fn a_tampered_cache_is_refused(sandbox: &Sandbox) -> Result<()> {
    let mut setup = start(sandbox).await?;
    let config = setup.controlplane.gateway_config().await?.cached(sandbox);
    setup.alice.create_route("-s one -b [400::1]:8080").await?;
    setup.gateway.process().kill()?;
    setup.controlplane.process().kill()?;
    let snapshot = |entry: std::io::Result<fs::DirEntry>| -> Option<PathBuf> {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.starts_with("snapshot.").then_some(path)
    };
    let path = fs::read_dir(sandbox.path("cache0"))?.find_map(snapshot).context("no snapshot")?;
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("empty")? ^= 1;
    fs::write(&path, bytes)?;
    setup.gateway = Gateway::start_unready(sandbox, &config)?;
    eventually(
        "the refused file is logged, and the gateway is not ready",
        Duration::from_secs(10),
        async || {
            let logged = setup.gateway.process().log()?;
            ensure!(logged.contains("refused") && logged.contains(&path.display().to_string()), "{logged}");
            ensure!(setup.gateway.ready().await.is_err(), "it is ready");
            Ok(())
        },
    )
    .await?;
    setup.controlplane = Controlplane::start(sandbox).await?;
    eventually("the gateway is ready", Duration::from_secs(15), async || setup.gateway.ready().await).await?;
    Ok(())
}

async fn an_unwritable_cache_does_not_stop_the_gateway(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    // A file has the path of the cache folder.
    sandbox.write("cache0", "")?;
    let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?.cached(sandbox)).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = alice.create_route("-s one -b [400::1]:8080").await?;
    let client = gateway.client()?;
    for (status, change) in [(200, None), (503, Some(id))] {
        if let Some(id) = change {
            alice.gwctl(["routes", "delete", "-r", &id]).await?;
        }
        eventually("the change is there", Duration::from_secs(10), async || {
            client.get("one.gw.example", "/").await?.expect(status)
        })
        .await?;
    }
    let metrics = gateway.metrics().await?;
    ensure!(metric(&metrics, "cache_failures_total")? > 0 && metric(&metrics, "cache_good")? == 0);
    Ok(())
}
