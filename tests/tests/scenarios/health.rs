//! Health checks and outlier detection: backends leave and return, and nodes report it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use webgateway_tests::backend::{Backend, BlackHole, RawBehaviour};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::netns::overlay;
use webgateway_tests::recorder::Recorder;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_failed_backend_is_removed_and_returns,
    all_backends_are_used_if_all_are_unhealthy,
    a_500_response_to_a_check_makes_a_backend_unhealthy,
    a_large_response_head_is_healthy,
    a_black_hole_delays_at_most_one_client,
    a_check_sends_the_host_and_ends_with_its_route,
    a_route_is_explained_by_every_node,
    a_host_without_a_route_is_explained,
    a_call_can_wait_for_the_nodes,
];

const HOST: &str = "app.gw.example";
const TIMEOUT: Duration = Duration::from_secs(20);

async fn with_health_check(
    sandbox: &Sandbox,
    backends: &[std::net::SocketAddr],
    check: serde_json::Value,
) -> Result<StandaloneSetup> {
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, backends).set_health_check(HOST, check);
    };
    let quick = "[limits]\nconnect_timeout = \"3s\"\nresponse_timeout = \"3s\"";
    StandaloneSetup::start_with(sandbox, routes, |config| config.more(quick)).await
}

async fn wait_for_unhealthy(gateway: &Gateway, count: u64) -> Result<()> {
    eventually(&format!("{count} backends are unhealthy"), TIMEOUT, async || {
        let metrics = gateway.metrics().await?;
        let line = metrics.lines().find(|line| line.starts_with("webgateway_backends_down "));
        ensure!(line == Some(&*format!("webgateway_backends_down {count}")), "{line:?}");
        Ok(())
    })
    .await
}

async fn a_failed_backend_is_removed_and_returns(sandbox: &Sandbox) -> Result<()> {
    let (one, two) = (Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(2, 8080)).await?);
    let check = json!({"interval": 1, "rise": 2, "fall": 2});
    let mut setup = with_health_check(sandbox, &[one.address(), two.address()], check).await?;
    drop(one);
    // There are no requests: the health checks alone detect it.
    wait_for_unhealthy(&setup.gateway, 1).await?;
    let before = two.connections();
    let mut client = setup.client()?.connect(HOST).await?;
    for _ in 0..20 {
        client.get(HOST, "/").await?.expect(200)?;
    }
    ensure!(two.requests() == 20 && two.connections() > before);
    ensure!(
        !setup.gateway.metrics().await?.contains("webgateway_retries_total 1"),
        "the unhealthy backend was tried"
    );
    let one = Backend::http(overlay(1, 8080)).await?;
    wait_for_unhealthy(&setup.gateway, 0).await?;
    ensure!(one.connections() >= 2, "two successful checks are needed");
    for _ in 0..20 {
        client.get(HOST, "/").await?.expect(200)?;
    }
    ensure!(one.requests() == 10, "{} of 20", one.requests());
    let log = setup.gateway.process().log()?;
    let said = |words: &str| log.matches(words).count();
    ensure!((said("backend unhealthy"), said("backend healthy")) == (1, 1), "each change is logged once");
    Ok(())
}

async fn all_backends_are_used_if_all_are_unhealthy(sandbox: &Sandbox) -> Result<()> {
    // With an interval of one hour no check can mark them healthy again.
    let check = json!({"interval": 1, "rise": 10, "fall": 1});
    let setup = with_health_check(sandbox, &[overlay(1, 8080), overlay(2, 8080)], check).await?;
    wait_for_unhealthy(&setup.gateway, 2).await?;
    setup.client()?.get(HOST, "/").await?.expect(502)?;
    let _one = Backend::http(overlay(1, 8080)).await?;
    let started = Instant::now();
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    ensure!(started.elapsed() < Duration::from_secs(3), "it waited for the checks: {:?}", started.elapsed());
    Ok(())
}

async fn a_500_response_to_a_check_makes_a_backend_unhealthy(sandbox: &Sandbox) -> Result<()> {
    let failing = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (failing, healthy) = (
        Backend::raw(overlay(1, 8080), RawBehaviour::Respond(failing)).await?,
        Backend::http(overlay(2, 8080)).await?,
    );
    let check = json!({"path": "/healthz", "interval": 1, "rise": 1, "fall": 2});
    let mut setup = with_health_check(sandbox, &[failing.address(), healthy.address()], check).await?;
    wait_for_unhealthy(&setup.gateway, 1).await?;
    let mut client = setup.client()?.connect(HOST).await?;
    for _ in 0..20 {
        client.get(HOST, "/").await?.expect(200)?;
    }
    let log = setup.gateway.process().log()?;
    ensure!(log.contains("GET /healthz was answered 500"), "{log}");
    Ok(())
}

async fn a_large_response_head_is_healthy(sandbox: &Sandbox) -> Result<()> {
    let backend = Recorder::start(overlay(1, 8080)).await?;
    let cookies: String = (0..150).map(|n| format!("Set-Cookie: c{n}={}\r\n", "x".repeat(200))).collect();
    backend.respond("/healthz", format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 0\r\n\r\n"));
    let check = json!({"path": "/healthz", "interval": 1, "rise": 1, "fall": 1});
    let setup = with_health_check(sandbox, &[backend.address()], check).await?;
    eventually("the backend was checked", TIMEOUT, async || {
        ensure!(backend.requests("/healthz").len() >= 3);
        Ok(())
    })
    .await?;
    wait_for_unhealthy(&setup.gateway, 0).await
}

async fn a_black_hole_delays_at_most_one_client(sandbox: &Sandbox) -> Result<()> {
    let hole = BlackHole::at(overlay(1, 8080))?;
    let healthy = Backend::http(overlay(2, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &[hole.address(), healthy.address()]);
    };
    let quick = "[limits]\nconnect_timeout = \"1s\"";
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.workers(2).more(quick)).await?;
    let slow = async |requests: usize| -> Result<usize> {
        let mut slow = 0;
        for _ in 0..requests {
            let started = Instant::now();
            setup.client()?.get(HOST, "/").await?.expect(200)?;
            slow += usize::from(started.elapsed() > Duration::from_millis(800));
        }
        Ok(slow)
    };
    let first = slow(4).await?;
    ensure!(first <= 1, "{first} clients waited");
    wait_for_unhealthy(&setup.gateway, 1).await?;
    // This holds on each worker and while the checks go on.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        ensure!(slow(10).await? == 0, "a client was delayed by an unhealthy backend");
    }
    Ok(())
}

async fn a_check_sends_the_host_and_ends_with_its_route(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let check = json!({"path": "/healthz", "interval": 1});
    let mut setup = with_health_check(sandbox, &[backend.address()], check.clone()).await?;
    setup.change(|file| {
        for host in (0..50).map(|n| format!("app{n}.gw.example")) {
            file.add_terminated(&host, &[backend.address()]).set_health_check(&host, check.clone());
        }
    })?;
    eventually("the backend is checked", TIMEOUT, async || {
        ensure!(backend.requests() >= 2);
        Ok(())
    })
    .await?;
    let (before, started) = (backend.requests(), Instant::now());
    eventually("the backend is checked again", TIMEOUT, async || {
        ensure!(backend.requests() >= before + 3);
        Ok(())
    })
    .await?;
    ensure!(started.elapsed() > Duration::from_secs(1), "51 routes are one check: {:?}", started.elapsed());
    setup.change(|file| {
        file.remove_route(HOST);
        for n in 0..50 {
            file.remove_route(&format!("app{n}.gw.example"));
        }
    })?;
    eventually("the checks have stopped", TIMEOUT, async || {
        let before = backend.requests();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        ensure!(backend.requests() == before);
        Ok(())
    })
    .await
}

/// Starts two nodes, each with a listen address of its own.
async fn two_nodes(sandbox: &Sandbox) -> Result<(FullSetup, Gateway)> {
    let setup = FullSetup::start_as(sandbox, 3).await?;
    let second = Gateway::start(sandbox, &setup.controlplane.gateway_config().await?.number(2)).await?;
    Ok((setup, second))
}

async fn a_route_is_explained_by_every_node(sandbox: &Sandbox) -> Result<()> {
    let (setup, _second) = two_nodes(sandbox).await?;
    let _well = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s app -b [400::1]:8080 -b [400::2]:8080 --wait").await?;
    let explained = setup.alice.json(["routes", "explain", HOST]).await?;
    let nodes = explained["nodes"].as_array().context("nodes")?;
    ensure!(nodes.len() == 2, "{explained}");
    for (node, name) in nodes.iter().zip(["node2", "node3"]) {
        ensure!(node["node"] == name && node["version"].is_u64(), "{node}");
        ensure!(node["certificate"]["fingerprint"].as_str().is_some_and(|hex| hex.len() == 64), "{node}");
        ensure!(node["backends"][0]["up"] == true && node["backends"][1]["up"] == false, "{node}");
        ensure!(node["backends"][1]["reason"] == "connection refused", "{node}");
    }
    let problem = explained["problem"]["message"].as_str().unwrap_or_default();
    ensure!(
        problem == "node2: 1 of 2 backends cannot be used; [400::2]:8080: connection refused",
        "{problem}"
    );
    let explained = setup.alice.gwctl(["routes", "explain", HOST]).await?;
    ensure!(
        explained.stdout.contains("node2") && explained.stdout.contains("[400::1]:8080 ok"),
        "{explained:?}"
    );

    let _too = Backend::http(overlay(2, 8080)).await?;
    eventually("no problem is reported", TIMEOUT, async || {
        let explained = setup.alice.gwctl(["routes", "explain", HOST]).await?;
        ensure!(explained.stdout.ends_with("No problem found.\n"), "{explained:?}");
        Ok(())
    })
    .await?;
    setup.admin.json(["admin", "suspend", "--user", "alice.pub"]).await?;
    let explained = setup.admin.json(["routes", "explain", HOST]).await?;
    ensure!(explained["problem"]["message"].as_str().is_some_and(|m| m.contains("suspended")), "{explained}");
    Ok(())
}

async fn a_host_without_a_route_is_explained(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let bob = webgateway_tests::gwctl::User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    setup.alice.create_route("-s app -b [400::1]:8080 --wait").await?;
    for (user, host, nodes) in
        [(&bob, HOST, 0), (&setup.alice, "nobody.gw.example", 0), (&setup.admin, "nobody.gw.example", 1)]
    {
        let explained = user.json(["routes", "explain", host]).await?;
        ensure!(explained["route"].is_null(), "{explained}");
        ensure!(explained["nodes"].as_array().is_some_and(|all| all.len() == nodes), "{explained}");
        ensure!(
            explained["problem"]["message"].as_str().is_some_and(|m| m.starts_with("no route of yours")),
            "{explained}"
        );
    }
    setup.gateway.process().kill()?;
    eventually("the missing node is reported", TIMEOUT, async || {
        let explained = setup.alice.json(["routes", "explain", HOST]).await?;
        ensure!(
            explained["problem"]["message"].as_str().is_some_and(|m| m.contains("no dataplane")),
            "{explained}"
        );
        Ok(())
    })
    .await?;
    let waited = setup.alice.gwctl(["routes", "create", "-s", "late", "-b", "[400::1]:81", "--wait"]).await?;
    ensure!(waited.code == Some(9) && waited.stderr.contains("no node is connected"), "{waited:?}");
    ensure!(waited.stdout.contains("https://late.gw.example/"), "it was done: {waited:?}");
    Ok(())
}

async fn a_call_can_wait_for_the_nodes(sandbox: &Sandbox) -> Result<()> {
    let (setup, mut second) = two_nodes(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = setup.alice.create_route("-s app -b [400::1]:8080 --wait").await?;
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    second.client()?.get(HOST, "/").await?.expect(200)?;

    second.process().signal(Signal::SIGSTOP)?;
    let started = Instant::now();
    let late = setup.alice.gwctl(["routes", "delete", "-r", &id, "--wait", "2s"]).await?;
    ensure!(late.code == Some(9), "{late:?}");
    ensure!(late.stderr.contains("after 2 s, 1 of 2 nodes have applied version"), "{late:?}");
    ensure!(late.stderr.contains("hint: ") && late.stdout.contains("Deleted"), "{late:?}");
    let took = started.elapsed();
    ensure!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    second.process().signal(Signal::SIGCONT)?;
    setup.alice.create_route("-s other -b [400::1]:8080 --wait 15s").await?;
    second.client()?.get("other.gw.example", "/").await?.expect(200)?;
    let gone = setup.admin.json(["admin", "suspend", "--user", "alice.pub", "--wait"]).await?;
    ensure!(gone["suspended"] == true, "{gone}");
    second.client()?.get("other.gw.example", "/").await?.expect(503)?;
    Ok(())
}
