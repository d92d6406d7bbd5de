//! A database that goes back in time: what was lost with it is gone on the nodes too, and what follows is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::full::Complete;

scenarios![
    a_restored_backup_is_what_the_nodes_hold,
    a_node_that_slept_through_a_restore_is_not_fooled_by_the_numbers,
    a_restart_costs_a_node_nothing,
];

const STOP: Duration = Duration::from_secs(10);

async fn stop(world: &mut Complete) -> Result<()> {
    world.controller.process().signal(Signal::SIGTERM)?;
    world.controller.process().end(STOP).await?;
    Ok(())
}

/// The files of the database and of its log.
fn files(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", database.display())))
}

/// Puts the files of one database in the place of another's.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for (from, to) in files(from).into_iter().zip(files(to)) {
        if to.exists() {
            fs::remove_file(&to)?;
        }
        if from.exists() {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}

/// A gateway with the route `kept`, and a backup that has it.
async fn backed_up(sandbox: &Sandbox) -> Result<(Complete, Backend, PathBuf)> {
    let mut world = Complete::start(sandbox).await?;
    let backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s kept -b [400::1]:8080").await?;
    world.answers("kept.gw.example", 200).await?;
    let backup = sandbox.path("backup.db");
    // Taken while it runs: the log goes along, and the epoch outlives the copy.
    copy(&world.controller.database(), &backup)?;
    world.controller.process().must_run()?;
    Ok((world, backend, backup))
}

async fn a_restored_backup_is_what_the_nodes_hold(sandbox: &Sandbox) -> Result<()> {
    let (mut world, _backend, backup) = backed_up(sandbox).await?;
    world.alice.create_route("-s lost -b [400::1]:8080").await?;
    world.answers("lost.gw.example", 200).await?;
    stop(&mut world).await?;
    copy(&backup, &world.controller.database())?;
    world.controller = Controlplane::start(sandbox).await?;
    world.answers("lost.gw.example", 503).await?;
    world.answers("kept.gw.example", 200).await?;
    world.alice.create_route("-s later -b [400::1]:8080").await?;
    world.answers("later.gw.example", 200).await?;
    let said = world.controller.process().logged()?;
    ensure!(said.contains("the database went back in time"), "the operator is not told");
    Ok(())
}

async fn a_node_that_slept_through_a_restore_is_not_fooled_by_the_numbers(sandbox: &Sandbox) -> Result<()> {
    let (mut world, _backend, backup) = backed_up(sandbox).await?;
    world.alice.create_route("-s lost -b [400::1]:8080").await?;
    world.answers("lost.gw.example", 200).await?;
    world.gateway.process().signal(Signal::SIGSTOP)?;
    world.controller.process().kill()?;
    copy(&backup, &world.controller.database())?;
    world.controller = Controlplane::start(sandbox).await?;
    // As many changes as were lost, and more: the node's version means something else now.
    for n in 0..4 {
        world.alice.create_route(&format!("-s later{n} -b [400::1]:8080")).await?;
    }
    world.gateway.process().signal(Signal::SIGCONT)?;
    world.answers("lost.gw.example", 503).await?;
    for n in 0..4 {
        world.answers(&format!("later{n}.gw.example"), 200).await?;
    }
    Ok(())
}

async fn a_restart_costs_a_node_nothing(sandbox: &Sandbox) -> Result<()> {
    let mut world = Complete::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s kept -b [400::1]:8080").await?;
    let gone = world.alice.create_route("-s gone -b [400::1]:8080").await?;
    world.answers("gone.gw.example", 200).await?;
    for round in 0..3 {
        stop(&mut world).await?;
        world.controller = Controlplane::start(sandbox).await?;
        world.alice.create_route(&format!("-s r{round} -b [400::1]:8080")).await?;
        world.answers(&format!("r{round}.gw.example"), 200).await?;
    }
    world.alice.gwctl(["routes", "delete", "-r", &gone]).await?;
    world.answers("gone.gw.example", 503).await?;
    let metrics = world.gateway.metrics().await?;
    let full = metrics.lines().find(|line| line.contains("feed_full_syncs_total"));
    ensure!(full.is_some_and(|line| line.ends_with(" 1")), "the first sync alone is full: {full:?}");
    Ok(())
}
