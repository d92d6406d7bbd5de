//! Crashes and restarts of both processes: traffic goes on, and acknowledged changes persist.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;

scenarios![
    traffic_continues_without_the_controlplane,
    a_restarted_controlplane_is_found,
    a_gateway_may_start_first,
    a_killed_gateway_syncs_again,
    acknowledged_changes_survive_sigkill,
    a_graceful_stop_exits_with_0,
    garbage_on_the_feed_is_disconnected,
    a_frozen_controlplane_is_detected,
];

async fn traffic_continues_without_the_controlplane(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    let stream = setup.client()?.tls("hello.gw.example").await?;
    let mut socket = WebSocket::open(stream, "hello.gw.example", "/ws").await?;
    setup.controlplane.process().kill()?;
    for _ in 0..20 {
        setup.client()?.get("hello.gw.example", "/").await?.expect(200)?;
        setup.client()?.h2().get("hello.gw.example", "/").await?.expect(200)?;
    }
    socket.echo("still here").await?;
    setup.gateway.ready().await?;
    // Only the API is unavailable, with a clear error.
    let reply = setup.client()?.get("gw.example", "/openrpc.json").await?;
    ensure!(reply.status == 503 || reply.status == 502, "{reply:?}");
    let refused = setup.alice.gwctl(["routes", "list"]).await?;
    ensure!(refused.code == Some(3), "{refused:?}");
    Ok(())
}

async fn a_restarted_controlplane_is_found(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s one -b [400::1]:8080").await?;
    setup.wait_for_status("one.gw.example", 200).await?;
    for name in ["two", "three"] {
        setup.controlplane.process().kill()?;
        setup.controlplane = Controlplane::start(sandbox).await?;
        setup.alice.create_route(&format!("-s {name} -b [400::1]:8080")).await?;
        setup.wait_for_status(&format!("{name}.gw.example"), 200).await?;
        setup.wait_for_status("one.gw.example", 200).await?;
    }
    Ok(())
}

async fn a_gateway_may_start_first(sandbox: &Sandbox) -> Result<()> {
    // The root certificate exists once the controlplane has run.
    let mut controlplane = Controlplane::start(sandbox).await?;
    let config = controlplane.gateway_config().await?;
    controlplane.process().kill()?;
    let mut gateway = Gateway::start_unready(sandbox, &config)?;
    eventually("the gateway runs and is not ready", Duration::from_secs(5), async || {
        gateway.process().ensure_running()?;
        let error = gateway.ready().await.err();
        ensure!(error.is_some_and(|e| e.to_string().contains("503")), "it says it is ready");
        Ok(())
    })
    .await?;
    let controlplane = Controlplane::start(sandbox).await?;
    eventually("the gateway is ready", Duration::from_secs(15), async || gateway.ready().await).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    alice.create_route("-s hello -b [400::1]:8080").await?;
    let client = gateway.client()?;
    eventually("the route works", Duration::from_secs(5), async || {
        client.get("hello.gw.example", "/").await?.expect(200)
    })
    .await?;
    Ok(())
}

async fn a_killed_gateway_syncs_again(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let gone = setup.alice.create_route("-s gone -b [400::1]:8080").await?;
    for n in 0..20 {
        setup.alice.create_route(&format!("-s r{n} -b [400::1]:8080")).await?;
    }
    setup.alice.gwctl(["routes", "delete", "-r", &gone]).await?;
    setup.gateway.process().kill()?;
    setup.gateway = Gateway::start(sandbox, &setup.controlplane.gateway_config().await?).await?;
    let client = setup.client()?;
    for n in 0..20 {
        client.get(&format!("r{n}.gw.example"), "/").await?.expect(200)?;
    }
    client.get("gone.gw.example", "/").await?.expect(503)?;
    Ok(())
}

async fn acknowledged_changes_survive_sigkill(sandbox: &Sandbox) -> Result<()> {
    let mut controlplane = Controlplane::start(sandbox).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let writer = async {
            for n in 0.. {
                let name = format!("k{round}x{n}");
                match alice.create_route(&format!("-s {name} -b [400::1]:8080")).await {
                    Ok(_) => acknowledged.push(format!("{name}.gw.example")),
                    Err(_) => break,
                }
            }
        };
        let killer = async {
            tokio::time::sleep(Duration::from_millis(150 + 170 * round)).await;
            controlplane.process().kill()
        };
        let ((), killed) = tokio::join!(writer, killer);
        killed?;
        controlplane = Controlplane::start(sandbox).await?;
        let list = alice.json(["routes", "list"]).await?;
        let hosts: Vec<&str> = list["routes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|route| route["host"].as_str())
            .collect();
        for host in &acknowledged {
            ensure!(hosts.contains(&&**host), "{host} was acknowledged and is gone: {hosts:?}");
        }
        // One more may have been written if its response was lost in the crash.
        ensure!(
            hosts.len() <= acknowledged.len() + 1 + usize::try_from(round)?,
            "{hosts:?} {acknowledged:?}"
        );
    }
    ensure!(!acknowledged.is_empty());
    Ok(())
}

async fn a_graceful_stop_exits_with_0(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.controlplane.process().signal(Signal::SIGTERM)?;
    let status = setup.controlplane.process().end(Duration::from_secs(10)).await?;
    ensure!(status.code() == Some(0), "the controlplane: {status}");
    setup.gateway.process().signal(Signal::SIGTERM)?;
    let status = setup.gateway.process().end(Duration::from_secs(10)).await?;
    ensure!(status.code() == Some(0), "the dataplane: {status}");
    Ok(())
}

async fn garbage_on_the_feed_is_disconnected(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage garbage garbage",
    ] {
        let mut stream = UnixStream::connect(setup.controlplane.feed()).await?;
        drop(stream.write_all(bytes).await);
        let response = webgateway_tests::client::rest(&mut stream).await;
        ensure!(response.is_ok() || response.is_err_and(|e| e.to_string().contains("pipe")), "it stays open");
    }
    setup.controlplane.process().ensure_running()?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    Ok(())
}

async fn a_frozen_controlplane_is_detected(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    let reconnecting = |metrics: &str| {
        metrics
            .lines()
            .any(|line| line.contains("feed") && line.contains("connected") && line.ends_with(" 0"))
    };
    setup.controlplane.process().signal(Signal::SIGSTOP)?;
    eventually("the stalled stream is detected", Duration::from_secs(17), async || {
        ensure!(reconnecting(&setup.gateway.metrics().await?), "it counts as connected");
        Ok(())
    })
    .await?;
    setup.client()?.get("hello.gw.example", "/").await?.expect(200)?;
    setup.controlplane.process().signal(Signal::SIGCONT)?;
    setup.alice.create_route("-s second -b [400::1]:8080").await?;
    setup.wait_for_status("second.gw.example", 200).await?;
    Ok(())
}
