//! A node that starts while the controlplane is away: it serves what it kept, and nothing that was taken away.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::controller::Controller;
use webgateway_tests::feed_server::{FeedServer, begin, end, foundation, remove, route};
use webgateway_tests::gateway::{Gateway, Setup};
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;
use webgateway_tests::wait::eventually;

use crate::complete::Complete;

stories![
    a_cold_start_without_a_controlplane_serves,
    a_suspended_user_does_not_come_back,
    a_tampered_cache_is_refused,
    a_cache_that_cannot_be_written_holds_nothing_up,
];

/// A world whose gateway has a cache.
async fn start(scene: &Scene) -> Result<Complete> {
    let controller = Controller::start(scene).await?;
    let gateway = Gateway::start(scene, &controller.setup().await?.cached(scene)).await?;
    let admin = User::create(&controller, scene.dir(), "admin").await?;
    let alice = User::create(&controller, scene.dir(), "alice").await?;
    Ok(Complete { controller, gateway, admin, alice })
}

/// Kills both and starts the gateway alone.
async fn cold_start(scene: &Scene, world: &mut Complete) -> Result<Duration> {
    let setup = world.controller.setup().await?.cached(scene);
    world.controller.process().kill()?;
    world.gateway.process().kill()?;
    let started = Instant::now();
    world.gateway = Gateway::start(scene, &setup).await?;
    Ok(started.elapsed())
}

fn metric(metrics: &str, name: &str) -> Result<i64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("webgateway_{name} ")));
    Ok(line.with_context(|| format!("no {name}"))?.parse()?)
}

async fn a_cold_start_without_a_controlplane_serves(scene: &Scene) -> Result<()> {
    let mut world = start(scene).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s one -b [400::1]:8080").await?;
    let gone = world.alice.create_route("-s gone -b [400::1]:8080").await?;
    world.answers("gone.gw.example", 200).await?;
    world.alice.gwctl(["routes", "delete", "-r", &gone]).await?;
    world.answers("gone.gw.example", 503).await?;
    let took = cold_start(scene, &mut world).await?;
    ensure!(took < Duration::from_secs(5), "ready after {took:?}");
    let visitor = world.visitor()?;
    visitor.get("one.gw.example", "/").await?.expect(200)?;
    visitor.get("gone.gw.example", "/").await?.expect(503)?;
    let metrics = world.gateway.metrics().await?;
    ensure!((0..60).contains(&metric(&metrics, "config_age_seconds")?), "{metrics}");
    ensure!(world.gateway.process().logged()?.contains("serving the cached snapshot"));
    // And goes on from there.
    world.controller = Controller::start(scene).await?;
    world.alice.create_route("-s two -b [400::1]:8080").await?;
    world.answers("two.gw.example", 200).await?;
    cold_start(scene, &mut world).await?;
    world.visitor()?.get("two.gw.example", "/").await?.expect(200)?;
    Ok(())
}

/// Killed as soon as it has acknowledged the suspension, and started without a controlplane.
async fn a_suspended_user_does_not_come_back(scene: &Scene) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let mut server = FeedServer::listen(&scene.path("feed.sock"))?;
    let setup = Setup::from_socket(server.path(), authority.root()).cached(scene);
    let mut gateway = Gateway::start_unready(scene, &setup)?;
    let mut node = server.subscribed().await?;
    let ids: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    let host = |n: usize| format!("r{n}.gw.example");
    let routes = ids.iter().enumerate().map(|(n, id)| route(*id, &host(n), backend.address()));
    let all = [vec![begin(Kind::Full)], foundation(&base)?.to_vec(), routes.collect(), vec![end(1)]];
    node.send(all.concat()).await?;
    ensure!(node.answer().await? == (Vec::new(), 1));
    for (n, id) in ids.iter().enumerate() {
        let version = n as u64 + 2;
        node.send([begin(Kind::Delta), remove(*id, true), end(version)]).await?;
        ensure!(node.answer().await? == (Vec::new(), version));
        gateway.process().kill()?;
        drop((node, server));
        fs::remove_file(scene.path("feed.sock"))?;
        gateway = Gateway::start(scene, &setup).await?;
        let visitor = gateway.visitor()?;
        visitor.get(&host(n), "/").await?.expect(503)?;
        if n + 1 < ids.len() {
            visitor.get(&host(n + 1), "/").await?.expect(200)?;
        }
        server = FeedServer::listen(&scene.path("feed.sock"))?;
        node = server.subscribed().await?;
        ensure!(node.hello.held.as_ref().is_some_and(|held| held.version == version), "{:?}", node.hello);
    }
    Ok(())
}

async fn a_tampered_cache_is_refused(scene: &Scene) -> Result<()> {
    let mut world = start(scene).await?;
    let setup = world.controller.setup().await?.cached(scene);
    world.alice.create_route("-s one -b [400::1]:8080").await?;
    world.gateway.process().kill()?;
    world.controller.process().kill()?;
    let snapshot = |entry: std::io::Result<fs::DirEntry>| -> Option<PathBuf> {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.starts_with("snapshot.").then_some(path)
    };
    let path = fs::read_dir(scene.path("cache0"))?.find_map(snapshot).context("no snapshot")?;
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("empty")? ^= 1;
    fs::write(&path, bytes)?;
    world.gateway = Gateway::start_unready(scene, &setup)?;
    eventually("it says which file it refuses, and is not ready", Duration::from_secs(10), async || {
        let logged = world.gateway.process().logged()?;
        ensure!(logged.contains("refused") && logged.contains(&path.display().to_string()), "{logged}");
        ensure!(world.gateway.ready().await.is_err(), "it is ready");
        Ok(())
    })
    .await?;
    world.controller = Controller::start(scene).await?;
    eventually("it is ready", Duration::from_secs(15), async || world.gateway.ready().await).await?;
    Ok(())
}

async fn a_cache_that_cannot_be_written_holds_nothing_up(scene: &Scene) -> Result<()> {
    let controller = Controller::start(scene).await?;
    // A file stands where the folder should be.
    scene.write("cache0", "")?;
    let gateway = Gateway::start(scene, &controller.setup().await?.cached(scene)).await?;
    let alice = User::create(&controller, scene.dir(), "alice").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = alice.create_route("-s one -b [400::1]:8080").await?;
    let visitor = gateway.visitor()?;
    for (status, change) in [(200, None), (503, Some(id))] {
        if let Some(id) = change {
            alice.gwctl(["routes", "delete", "-r", &id]).await?;
        }
        eventually("the change is there", Duration::from_secs(10), async || {
            visitor.get("one.gw.example", "/").await?.expect(status)
        })
        .await?;
    }
    let metrics = gateway.metrics().await?;
    ensure!(metric(&metrics, "cache_failures_total")? > 0 && metric(&metrics, "cache_good")? == 0);
    Ok(())
}
