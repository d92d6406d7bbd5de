//! Processes that die and come back: traffic goes on, what was acknowledged stays.

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

use crate::setup::full::Complete;

scenarios![
    losing_the_controlplane_changes_nothing,
    a_controlplane_that_comes_back_is_found,
    a_gateway_may_start_first,
    a_killed_gateway_learns_everything_again,
    what_was_acknowledged_survives_kill_9,
    an_orderly_stop_ends_well,
    garbage_on_the_feed_is_cut,
    a_frozen_controlplane_is_noticed,
];

async fn losing_the_controlplane_changes_nothing(sandbox: &Sandbox) -> Result<()> {
    let mut world = Complete::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.answers("hello.gw.example", 200).await?;
    let stream = world.visitor()?.tls("hello.gw.example").await?;
    let mut socket = WebSocket::open(stream, "hello.gw.example", "/ws").await?;
    world.controller.process().kill()?;
    for _ in 0..20 {
        world.visitor()?.get("hello.gw.example", "/").await?.expect(200)?;
        world.visitor()?.h2().get("hello.gw.example", "/").await?.expect(200)?;
    }
    socket.echo("still here").await?;
    world.gateway.ready().await?;
    // Only the API is away, and says so.
    let reply = world.visitor()?.get("gw.example", "/openrpc.json").await?;
    ensure!(reply.status == 503 || reply.status == 502, "{reply:?}");
    let refused = world.alice.gwctl(["routes", "list"]).await?;
    ensure!(refused.code == Some(3), "{refused:?}");
    Ok(())
}

async fn a_controlplane_that_comes_back_is_found(sandbox: &Sandbox) -> Result<()> {
    let mut world = Complete::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s one -b [400::1]:8080").await?;
    world.answers("one.gw.example", 200).await?;
    for name in ["two", "three"] {
        world.controller.process().kill()?;
        world.controller = Controlplane::start(sandbox).await?;
        world.alice.create_route(&format!("-s {name} -b [400::1]:8080")).await?;
        world.answers(&format!("{name}.gw.example"), 200).await?;
        world.answers("one.gw.example", 200).await?;
    }
    Ok(())
}

async fn a_gateway_may_start_first(sandbox: &Sandbox) -> Result<()> {
    // The root exists once the controlplane has run.
    let mut controller = Controlplane::start(sandbox).await?;
    let setup = controller.setup().await?;
    controller.process().kill()?;
    let mut gateway = Gateway::start_unready(sandbox, &setup)?;
    eventually("it runs, and is not ready", Duration::from_secs(5), async || {
        gateway.process().must_run()?;
        let error = gateway.ready().await.err();
        ensure!(error.is_some_and(|e| e.to_string().contains("503")), "it says it is ready");
        Ok(())
    })
    .await?;
    let controller = Controlplane::start(sandbox).await?;
    eventually("it is ready", Duration::from_secs(15), async || gateway.ready().await).await?;
    let alice = User::create(&controller, sandbox.dir(), "alice").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    alice.create_route("-s hello -b [400::1]:8080").await?;
    let visitor = gateway.visitor()?;
    eventually("the route works", Duration::from_secs(5), async || {
        visitor.get("hello.gw.example", "/").await?.expect(200)
    })
    .await?;
    Ok(())
}

async fn a_killed_gateway_learns_everything_again(sandbox: &Sandbox) -> Result<()> {
    let mut world = Complete::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let gone = world.alice.create_route("-s gone -b [400::1]:8080").await?;
    for n in 0..20 {
        world.alice.create_route(&format!("-s r{n} -b [400::1]:8080")).await?;
    }
    world.alice.gwctl(["routes", "delete", "-r", &gone]).await?;
    world.gateway.process().kill()?;
    world.gateway = Gateway::start(sandbox, &world.controller.setup().await?).await?;
    let visitor = world.visitor()?;
    for n in 0..20 {
        visitor.get(&format!("r{n}.gw.example"), "/").await?.expect(200)?;
    }
    visitor.get("gone.gw.example", "/").await?.expect(503)?;
    Ok(())
}

async fn what_was_acknowledged_survives_kill_9(sandbox: &Sandbox) -> Result<()> {
    let mut controller = Controlplane::start(sandbox).await?;
    let alice = User::create(&controller, sandbox.dir(), "alice").await?;
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
            controller.process().kill()
        };
        let ((), killed) = tokio::join!(writer, killer);
        killed?;
        controller = Controlplane::start(sandbox).await?;
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
        // One may have been written whose answer was lost with the process.
        ensure!(
            hosts.len() <= acknowledged.len() + 1 + usize::try_from(round)?,
            "{hosts:?} {acknowledged:?}"
        );
    }
    ensure!(!acknowledged.is_empty());
    Ok(())
}

async fn an_orderly_stop_ends_well(sandbox: &Sandbox) -> Result<()> {
    let mut world = Complete::start(sandbox).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.controller.process().signal(Signal::SIGTERM)?;
    let status = world.controller.process().end(Duration::from_secs(10)).await?;
    ensure!(status.code() == Some(0), "the controlplane: {status}");
    world.gateway.process().signal(Signal::SIGTERM)?;
    let status = world.gateway.process().end(Duration::from_secs(10)).await?;
    ensure!(status.code() == Some(0), "the dataplane: {status}");
    Ok(())
}

async fn garbage_on_the_feed_is_cut(sandbox: &Sandbox) -> Result<()> {
    let mut world = Complete::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage garbage garbage",
    ] {
        let mut stream = UnixStream::connect(world.controller.feed()).await?;
        drop(stream.write_all(bytes).await);
        let answer = webgateway_tests::client::rest(&mut stream).await;
        ensure!(answer.is_ok() || answer.is_err_and(|e| e.to_string().contains("pipe")), "it stays open");
    }
    world.controller.process().must_run()?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.answers("hello.gw.example", 200).await?;
    Ok(())
}

async fn a_frozen_controlplane_is_noticed(sandbox: &Sandbox) -> Result<()> {
    let mut world = Complete::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.answers("hello.gw.example", 200).await?;
    let reconnecting = |metrics: &str| {
        metrics
            .lines()
            .any(|line| line.contains("feed") && line.contains("connected") && line.ends_with(" 0"))
    };
    world.controller.process().signal(Signal::SIGSTOP)?;
    eventually("the half-dead stream is noticed", Duration::from_secs(17), async || {
        ensure!(reconnecting(&world.gateway.metrics().await?), "it counts as connected");
        Ok(())
    })
    .await?;
    world.visitor()?.get("hello.gw.example", "/").await?.expect(200)?;
    world.controller.process().signal(Signal::SIGCONT)?;
    world.alice.create_route("-s second -b [400::1]:8080").await?;
    world.answers("second.gw.example", 200).await?;
    Ok(())
}
