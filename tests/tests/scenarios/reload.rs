//! Reload with SIGHUP: reloadable keys change, the log names the others, and no connection ends.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::process::Process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;

scenarios![
    sighup_reloads_quotas_and_names_the_other_keys,
    new_limits_apply_to_new_connections,
    the_key_store_can_be_replaced,
    an_invalid_configuration_changes_nothing,
];

const FIRST: &str = "app.gw.example";
const LIMIT: Duration = Duration::from_secs(10);

async fn sighup_reloads_quotas_and_names_the_other_keys(sandbox: &Sandbox) -> Result<()> {
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let controlplane = Controlplane::start(sandbox).await?;
    let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?).await?;
    let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let mut setup = FullSetup { controlplane, gateway, admin, alice };
    setup.alice.create_route(&format!("-f {FIRST} -b [400::1]:8080")).await?;
    setup.wait_for_status(FIRST, 200).await?;
    let more = "[quotas]\nroutes = 1\n[certificates]";
    edit(
        sandbox,
        "controlplane.toml",
        &[("[certificates]", more), ("debug", "info"), ("127.0.0.1:53", "127.0.0.1:54")],
    )?;
    edit(sandbox, "dataplane.toml", &[("debug", "info"), ("workers = 1", "workers = 2")])?;
    let changed = ["changed=\"log_level, quotas.routes\"", "keys=\"dns.listen\""];
    reload(setup.controlplane.process(), &changed).await?;
    reload(setup.gateway.process(), &["changed=\"log_level\"", "keys=\"workers\""]).await?;
    let refused =
        setup.alice.gwctl(["routes", "create", "-f", "b.gw.example", "-b", "[400::1]:8080"]).await?;
    ensure!(refused.code != Some(0) && refused.stderr.contains("1 of 1 routes"), "{refused:?}");
    setup.wait_for_status(FIRST, 200).await?;
    for process in [setup.controlplane.process(), setup.gateway.process()] {
        let log = process.log()?;
        let after = log.rsplit("configuration reloaded").next().unwrap_or_default();
        ensure!(!after.contains("DEBUG"), "the log level is the old one: {after}");
    }
    Ok(())
}

async fn new_limits_apply_to_new_connections(sandbox: &Sandbox) -> Result<()> {
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = FullSetup::start(sandbox).await?;
    setup.alice.create_route(&format!("-f {FIRST} -b [400::1]:8080")).await?;
    setup.wait_for_status(FIRST, 200).await?;
    let mut old = setup.client()?.connect(FIRST).await?;
    old.get(FIRST, "/old").await?.expect(200)?;
    ensure!(!has_access(setup.gateway.process(), "/old")?, "there is an access log");
    let limits = "[limits]\nheader_timeout = \"700ms\"\nconnections = 40\n[feed]";
    let access = "log_level = \"debug\"\naccess_log = true";
    edit(sandbox, "dataplane.toml", &[("[feed]", limits), ("log_level = \"debug\"", access)])?;
    let changed = ["changed=\"access_log, limits.connections, limits.header_timeout\""];
    reload(setup.gateway.process(), &changed).await?;
    eventually("a new connection is closed when it is idle for long", LIMIT, async || {
        let mut new = setup.client()?.connect(FIRST).await?;
        new.get(FIRST, "/new").await?.expect(200)?;
        tokio::time::timeout(Duration::from_secs(3), new.closed()).await?
    })
    .await?;
    old.get(FIRST, "/still").await?.expect(200)?;
    let process = setup.gateway.process();
    ensure!(has_access(process, "/new")? && !has_access(process, "/still")?, "the log is of new connections");
    // Connections above the new limit wait.
    let mut open = Vec::new();
    for _ in 0..45 {
        open.push(webgateway_tests::client::tcp(setup.gateway.https()).await?);
    }
    eventually("the connection limit is reached", LIMIT, async || {
        let metrics = setup.gateway.metrics().await?;
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

async fn the_key_store_can_be_replaced(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let bob = User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    let (keys, other) = (setup.controlplane.keys(), sandbox.path("controlplane/other"));
    let keys = keys.to_str().unwrap_or_default().to_owned();
    fs::create_dir_all(&other)?;
    fs::rename(format!("{keys}/bob.pub"), other.join("bob.pub"))?;
    ensure!(bob.gwctl(["routes", "list"]).await?.code != Some(0));
    let missing = format!("{keys}/missing");
    let path = |path: &str| format!("path = \"{path}\"");
    edit(
        sandbox,
        "controlplane.toml",
        &[(&path(&keys), &path(&missing)), ("[certificates]", "[quotas]\nroutes = 0\n[certificates]")],
    )?;
    let said = ["configuration reload failed, keeping the previous configuration", "pub_key_store.path"];
    reload(setup.controlplane.process(), &said).await?;
    setup.alice.json(["routes", "list"]).await?;
    setup.alice.create_route(&format!("-f {FIRST} -b [400::1]:8080")).await?;
    edit(sandbox, "controlplane.toml", &[(&path(&missing), &path(other.to_str().unwrap_or_default()))])?;
    let changed = ["changed=\"pub_key_store.path, quotas.routes\""];
    reload(setup.controlplane.process(), &changed).await?;
    bob.json(["routes", "list"]).await?;
    let refused = setup.alice.gwctl(["routes", "list"]).await?;
    ensure!(refused.code != Some(0) && refused.stderr.contains("alice.pub"), "{refused:?}");
    Ok(())
}

async fn an_invalid_configuration_changes_nothing(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    for (file, bad) in [("controlplane.toml", "[unknown]"), ("dataplane.toml", "= no TOML")] {
        let text = fs::read_to_string(sandbox.path(file))?;
        sandbox.write(file, &format!("{text}\n{bad}\n"))?;
    }
    let said = ["configuration reload failed, keeping the previous configuration"];
    reload(setup.controlplane.process(), &said).await?;
    reload(setup.gateway.process(), &said).await?;
    setup.gateway.ready().await?;
    setup.alice.json(["routes", "list"]).await?;
    Ok(())
}

/// Returns true if the access log has a request for this path.
fn has_access(process: &mut Process, path: &str) -> Result<bool> {
    Ok(process.log()?.lines().any(|line| line.contains("access") && line.contains(path)))
}

fn edit(sandbox: &Sandbox, file: &str, changes: &[(&str, &str)]) -> Result<()> {
    let mut text = fs::read_to_string(sandbox.path(file))?;
    for (old, new) in changes {
        ensure!(text.contains(old), "no {old} in {file}");
        text = text.replacen(old, new, 1);
    }
    sandbox.write(file, &text).map(drop)
}

/// Sends SIGHUP and waits for these texts in the log.
async fn reload(process: &mut Process, said: &[&str]) -> Result<()> {
    process.signal(Signal::SIGHUP)?;
    eventually("the reload is logged", LIMIT, async || {
        process.ensure_running()?;
        let log = process.log()?;
        let missing: Vec<_> = said.iter().filter(|words| !log.contains(**words)).collect();
        ensure!(missing.is_empty(), "the log does not say {missing:?}");
        Ok(())
    })
    .await
}
