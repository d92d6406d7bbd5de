//! Restored database backups: nodes drop the lost changes, and later changes are applied correctly.

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

use crate::setup::full::FullSetup;

scenarios![
    nodes_hold_a_restored_backup,
    a_node_that_missed_a_restore_syncs_in_full,
    a_restart_causes_no_full_sync,
];

const STOP: Duration = Duration::from_secs(10);

async fn stop(setup: &mut FullSetup) -> Result<()> {
    setup.controlplane.process().signal(Signal::SIGTERM)?;
    setup.controlplane.process().end(STOP).await?;
    Ok(())
}

/// Returns the files of the database and of its write-ahead log.
fn files(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", database.display())))
}

/// Replaces the files of one database with those of another.
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

/// Starts a setup with the route `kept`, and makes a backup that contains it.
async fn backed_up(sandbox: &Sandbox) -> Result<(FullSetup, Backend, PathBuf)> {
    let mut setup = FullSetup::start(sandbox).await?;
    let backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s kept -b [400::1]:8080").await?;
    setup.wait_for_status("kept.gw.example", 200).await?;
    let backup = sandbox.path("backup.db");
    // The backup is taken while the controlplane runs: the write-ahead log is part of it, and so is the epoch.
    copy(&setup.controlplane.database(), &backup)?;
    setup.controlplane.process().ensure_running()?;
    Ok((setup, backend, backup))
}

async fn nodes_hold_a_restored_backup(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend, backup) = backed_up(sandbox).await?;
    setup.alice.create_route("-s lost -b [400::1]:8080").await?;
    setup.wait_for_status("lost.gw.example", 200).await?;
    stop(&mut setup).await?;
    copy(&backup, &setup.controlplane.database())?;
    setup.controlplane = Controlplane::start(sandbox).await?;
    setup.wait_for_status("lost.gw.example", 503).await?;
    setup.wait_for_status("kept.gw.example", 200).await?;
    setup.alice.create_route("-s later -b [400::1]:8080").await?;
    setup.wait_for_status("later.gw.example", 200).await?;
    let said = setup.controlplane.process().log()?;
    ensure!(said.contains("node is ahead of the database"), "the operator is not told");
    Ok(())
}

async fn a_node_that_missed_a_restore_syncs_in_full(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend, backup) = backed_up(sandbox).await?;
    setup.alice.create_route("-s lost -b [400::1]:8080").await?;
    setup.wait_for_status("lost.gw.example", 200).await?;
    setup.gateway.process().signal(Signal::SIGSTOP)?;
    setup.controlplane.process().kill()?;
    copy(&backup, &setup.controlplane.database())?;
    setup.controlplane = Controlplane::start(sandbox).await?;
    // More changes than were lost: the node's version number now denotes another state.
    for n in 0..4 {
        setup.alice.create_route(&format!("-s later{n} -b [400::1]:8080")).await?;
    }
    setup.gateway.process().signal(Signal::SIGCONT)?;
    setup.wait_for_status("lost.gw.example", 503).await?;
    for n in 0..4 {
        setup.wait_for_status(&format!("later{n}.gw.example"), 200).await?;
    }
    Ok(())
}

async fn a_restart_causes_no_full_sync(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s kept -b [400::1]:8080").await?;
    let gone = setup.alice.create_route("-s gone -b [400::1]:8080").await?;
    setup.wait_for_status("gone.gw.example", 200).await?;
    for round in 0..3 {
        stop(&mut setup).await?;
        setup.controlplane = Controlplane::start(sandbox).await?;
        setup.alice.create_route(&format!("-s r{round} -b [400::1]:8080")).await?;
        setup.wait_for_status(&format!("r{round}.gw.example"), 200).await?;
    }
    setup.alice.gwctl(["routes", "delete", "-r", &gone]).await?;
    setup.wait_for_status("gone.gw.example", 503).await?;
    let metrics = setup.gateway.metrics().await?;
    let full = metrics.lines().find(|line| line.contains("feed_full_syncs_total"));
    ensure!(full.is_some_and(|line| line.ends_with(" 1")), "the first sync alone is full: {full:?}");
    Ok(())
}
