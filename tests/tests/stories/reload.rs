//! SIGHUP: what can change without a restart does, the log names the rest, and nothing ends.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use webgateway_tests::backend::Backend;
use webgateway_tests::controller::Controller;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::process::Process;
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;
use webgateway_tests::wait::eventually;

use crate::complete::Complete;

stories![
    a_hangup_reloads_quotas_and_names_the_rest,
    new_connections_have_new_limits_and_old_ones_keep_theirs,
    the_key_store_is_another_one,
    a_bad_configuration_changes_nothing,
];

const FIRST: &str = "app.gw.example";
const LIMIT: Duration = Duration::from_secs(10);

async fn a_hangup_reloads_quotas_and_names_the_rest(scene: &Scene) -> Result<()> {
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let controller = Controller::start(scene).await?;
    let gateway = Gateway::start(scene, &controller.setup().await?).await?;
    let admin = User::create(&controller, scene.dir(), "admin").await?;
    let alice = User::create(&controller, scene.dir(), "alice").await?;
    let mut world = Complete { controller, gateway, admin, alice };
    world.alice.create_route(&format!("-f {FIRST} -b [400::1]:8080")).await?;
    world.answers(FIRST, 200).await?;
    let more = "[quotas]\nroutes = 1\n[certificates]";
    edit(
        scene,
        "controlplane.toml",
        &[("[certificates]", more), ("debug", "info"), ("127.0.0.1:53", "127.0.0.1:54")],
    )?;
    edit(scene, "dataplane.toml", &[("debug", "info"), ("workers = 1", "workers = 2")])?;
    let changed = ["changed=\"log_level, quotas.routes\"", "keys=\"dns.listen\""];
    hang_up(world.controller.process(), &changed).await?;
    hang_up(world.gateway.process(), &["changed=\"log_level\"", "keys=\"workers\""]).await?;
    let refused =
        world.alice.gwctl(["routes", "create", "-f", "b.gw.example", "-b", "[400::1]:8080"]).await?;
    ensure!(refused.code != Some(0) && refused.stderr.contains("1 of 1 routes"), "{refused:?}");
    world.answers(FIRST, 200).await?;
    for process in [world.controller.process(), world.gateway.process()] {
        let log = process.logged()?;
        let after = log.rsplit("configuration reloaded").next().unwrap_or_default();
        ensure!(!after.contains("DEBUG"), "the log level is the old one: {after}");
    }
    Ok(())
}

async fn new_connections_have_new_limits_and_old_ones_keep_theirs(scene: &Scene) -> Result<()> {
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut world = Complete::start(scene).await?;
    world.alice.create_route(&format!("-f {FIRST} -b [400::1]:8080")).await?;
    world.answers(FIRST, 200).await?;
    let mut old = world.visitor()?.connect(FIRST).await?;
    old.get(FIRST, "/old").await?.expect(200)?;
    ensure!(!accesses(world.gateway.process(), "/old")?, "there is an access log");
    let limits = "[limits]\nheader_timeout = \"700ms\"\nconnections = 40\n[feed]";
    let access = "log_level = \"debug\"\naccess_log = true";
    edit(scene, "dataplane.toml", &[("[feed]", limits), ("log_level = \"debug\"", access)])?;
    let changed = ["changed=\"access_log, limits.connections, limits.header_timeout\""];
    hang_up(world.gateway.process(), &changed).await?;
    eventually("a new connection is closed when it is idle for long", LIMIT, async || {
        let mut new = world.visitor()?.connect(FIRST).await?;
        new.get(FIRST, "/new").await?.expect(200)?;
        tokio::time::timeout(Duration::from_secs(3), new.closed()).await?
    })
    .await?;
    old.get(FIRST, "/still").await?.expect(200)?;
    let process = world.gateway.process();
    ensure!(accesses(process, "/new")? && !accesses(process, "/still")?, "the log is of new connections");
    // More connections than there may be now wait.
    let mut open = Vec::new();
    for _ in 0..45 {
        open.push(webgateway_tests::client::tcp(world.gateway.https()).await?);
    }
    eventually("as many are open as may be", LIMIT, async || {
        let metrics = world.gateway.metrics().await?;
        let count: u64 = metrics
            .lines()
            .filter(|line| line.starts_with("webgateway_connections_open"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        ensure!((39..=40).contains(&count), "{count} are open");
        Ok(())
    })
    .await
}

async fn the_key_store_is_another_one(scene: &Scene) -> Result<()> {
    let mut world = Complete::start(scene).await?;
    let bob = User::create(&world.controller, scene.dir(), "bob").await?;
    let (keys, other) = (world.controller.keys(), scene.path("controlplane/other"));
    let keys = keys.to_str().unwrap_or_default().to_owned();
    fs::create_dir_all(&other)?;
    fs::rename(format!("{keys}/bob.pub"), other.join("bob.pub"))?;
    ensure!(bob.gwctl(["routes", "list"]).await?.code != Some(0));
    let missing = format!("{keys}/missing");
    let path = |path: &str| format!("path = \"{path}\"");
    edit(
        scene,
        "controlplane.toml",
        &[(&path(&keys), &path(&missing)), ("[certificates]", "[quotas]\nroutes = 0\n[certificates]")],
    )?;
    let said = ["configuration reload failed, keeping the previous configuration", "pub_key_store.path"];
    hang_up(world.controller.process(), &said).await?;
    world.alice.json(["routes", "list"]).await?;
    world.alice.create_route(&format!("-f {FIRST} -b [400::1]:8080")).await?;
    edit(scene, "controlplane.toml", &[(&path(&missing), &path(other.to_str().unwrap_or_default()))])?;
    let changed = ["changed=\"pub_key_store.path, quotas.routes\""];
    hang_up(world.controller.process(), &changed).await?;
    bob.json(["routes", "list"]).await?;
    let refused = world.alice.gwctl(["routes", "list"]).await?;
    ensure!(refused.code != Some(0) && refused.stderr.contains("alice.pub"), "{refused:?}");
    Ok(())
}

async fn a_bad_configuration_changes_nothing(scene: &Scene) -> Result<()> {
    let mut world = Complete::start(scene).await?;
    for (file, bad) in [("controlplane.toml", "[unknown]"), ("dataplane.toml", "= no TOML")] {
        let text = fs::read_to_string(scene.path(file))?;
        scene.write(file, &format!("{text}\n{bad}\n"))?;
    }
    let said = ["configuration reload failed, keeping the previous configuration"];
    hang_up(world.controller.process(), &said).await?;
    hang_up(world.gateway.process(), &said).await?;
    world.gateway.ready().await?;
    world.alice.json(["routes", "list"]).await?;
    Ok(())
}

/// Returns whether the access log has a request for this path.
fn accesses(process: &mut Process, path: &str) -> Result<bool> {
    Ok(process.logged()?.lines().any(|line| line.contains("access") && line.contains(path)))
}

fn edit(scene: &Scene, file: &str, changes: &[(&str, &str)]) -> Result<()> {
    let mut text = fs::read_to_string(scene.path(file))?;
    for (old, new) in changes {
        ensure!(text.contains(old), "no {old} in {file}");
        text = text.replacen(old, new, 1);
    }
    scene.write(file, &text).map(drop)
}

/// Sends a SIGHUP and waits until the log says this.
async fn hang_up(process: &mut Process, said: &[&str]) -> Result<()> {
    process.signal(Signal::SIGHUP)?;
    eventually("it reloads", LIMIT, async || {
        process.must_run()?;
        let log = process.logged()?;
        let missing: Vec<_> = said.iter().filter(|words| !log.contains(**words)).collect();
        ensure!(missing.is_empty(), "the log does not say {missing:?}");
        Ok(())
    })
    .await
}
