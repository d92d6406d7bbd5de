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

stories![a_hangup_reloads_quotas_and_names_the_rest, a_bad_configuration_changes_nothing];

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

async fn a_bad_configuration_changes_nothing(scene: &Scene) -> Result<()> {
    let mut world = Complete::start(scene).await?;
    for (file, bad) in [("controlplane.toml", "[unknown]"), ("dataplane.toml", "= no TOML")] {
        let text = fs::read_to_string(scene.path(file))?;
        scene.write(file, &format!("{text}\n{bad}\n"))?;
    }
    let said = ["the configuration cannot be used, the one before stays"];
    hang_up(world.controller.process(), &said).await?;
    hang_up(world.gateway.process(), &said).await?;
    world.gateway.ready().await?;
    world.alice.json(["routes", "list"]).await?;
    Ok(())
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
