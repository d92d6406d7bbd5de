//! Operators: suspension, listing, and what only the admin may do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Connection;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;

scenarios![
    routes_of_a_suspended_user_are_not_served,
    a_suspension_persists_over_a_restart,
    a_suspension_closes_open_connections,
    only_the_admin_may_suspend,
    nodes_are_listed,
    health_and_version_need_no_key,
    every_mutation_is_audited,
];

async fn admin(setup: &FullSetup, verb: &str) -> Result<serde_json::Value> {
    setup.admin.json(["admin", verb, "--user", "alice.pub"]).await
}

async fn routes_of_a_suspended_user_are_not_served(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;

    let state = admin(&setup, "suspend").await?;
    ensure!(state["suspended"] == true && state["routes"] == 1, "{state}");
    setup.wait_for_status("hello.gw.example", 503).await?;
    for args in [
        vec!["routes", "create", "-s", "more", "-b", "[400::1]:8080"],
        vec!["routes", "update", "-r", &id, "-b", "[400::2]:8080"],
        vec!["routes", "delete", "-r", &id],
    ] {
        let refused = setup.alice.gwctl(&args).await?;
        ensure!(refused.code == Some(5) && refused.stderr.contains("suspend"), "{args:?}: {refused:?}");
    }
    let shown = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(shown["state"] == "suspended", "{shown}");
    admin(&setup, "suspend").await.context("a second time is no error")?;

    let state = admin(&setup, "unsuspend").await?;
    ensure!(state["suspended"] == false, "{state}");
    setup.wait_for_status("hello.gw.example", 200).await?;
    setup.alice.create_route("-s more -b [400::1]:8080").await?;
    Ok(())
}

async fn a_suspension_persists_over_a_restart(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    admin(&setup, "suspend").await?;
    setup.wait_for_status("hello.gw.example", 503).await?;
    setup.controlplane.process().kill()?;
    setup.gateway.process().kill()?;
    setup.controlplane = webgateway_tests::controlplane::Controlplane::start(sandbox).await?;
    setup.gateway = Gateway::start(sandbox, &setup.controlplane.gateway_config().await?).await?;
    setup.wait_for_status("hello.gw.example", 503).await?;
    admin(&setup, "unsuspend").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    Ok(())
}

async fn a_suspension_closes_open_connections(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    let stream = setup.client()?.tls("hello.gw.example").await?;
    let mut socket = WebSocket::open(stream, "hello.gw.example", "/ws").await?;
    socket.echo("here").await?;
    admin(&setup, "suspend").await?;
    // The drain of 30 s does not apply to suspensions.
    tokio::time::timeout(Duration::from_secs(5), socket.closed()).await.context("it stays open")??;
    Ok(())
}

async fn only_the_admin_may_suspend(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let refused = setup.alice.gwctl(["admin", "suspend", "--user", "admin.pub"]).await?;
    ensure!(refused.code == Some(5), "{refused:?}");
    let claimed =
        setup.alice.claiming("admin.pub").gwctl(["admin", "suspend", "--user", "alice.pub"]).await?;
    ensure!(claimed.code == Some(4), "somebody else's key id: {claimed:?}");
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    Ok(())
}

async fn nodes_are_listed(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 502).await?;
    let signer = Signer::for_user(&setup.admin)?;
    eventually("the node stands at the store's version", Duration::from_secs(10), async || {
        let mut api = Connection::plain(setup.controlplane.rpc()?).await?;
        let reply =
            signer.call(&mut api, &setup.controlplane.url(), "nodes.list", json!({})).await?.expect(200)?;
        let list = reply.json()?["result"].clone();
        let node = &list["nodes"][0];
        ensure!(node["node"] == "scenario" && node["connected"] == true, "{list}");
        ensure!(node["version"] == list["version"] && node["rejects"] == json!([]), "{list}");
        Ok(())
    })
    .await
}

async fn health_and_version_need_no_key(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let url = setup.controlplane.url();
    for command in ["health", "version"] {
        let args = ["-u", &url, command].map(str::to_owned);
        let output = webgateway_tests::process::run("gwctl", &args, &[]).await?;
        ensure!(output.code == Some(0), "{output:?}");
        ensure!(!output.stdout.trim().is_empty(), "{output:?}");
    }
    Ok(())
}

async fn every_mutation_is_audited(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let id = setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.alice.json(["routes", "update", "-r", &id, "-b", "[400::2]:8080"]).await?;
    setup.alice.gwctl(["routes", "delete", "-r", &id]).await?;
    admin(&setup, "suspend").await?;
    // Refused mutations leave no record.
    setup.alice.gwctl(["routes", "create", "-s", "more", "-b", "[400::1]:8080"]).await?;
    let database = setup.controlplane.database();
    setup.controlplane.process().kill()?;
    let dump = std::fs::read(&database)?.into_iter().chain(std::fs::read(database.with_extension("db-wal"))?);
    let dump = String::from_utf8_lossy(&dump.collect::<Vec<_>>()).into_owned();
    for word in ["routes.create", "routes.update", "routes.delete", "admin.suspend"] {
        ensure!(dump.contains(word), "no trace of {word}");
    }
    Ok(())
}
