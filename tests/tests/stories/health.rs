//! Backends that are looked after: who is out, who is back, and what the nodes say of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use webgateway_tests::backend::{Backend, BlackHole, Raw};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::netns::overlay;
use webgateway_tests::recorder::Recorder;
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;
use webgateway_tests::wait::eventually;

use crate::complete::Complete;
use crate::standalone::Standalone;

stories![
    a_backend_that_dies_is_out_and_comes_back,
    when_all_are_out_all_are_asked,
    a_get_that_is_answered_500_takes_a_backend_out,
    a_head_of_many_fields_is_no_fault,
    a_black_hole_costs_one_visitor_at_most,
    a_check_asks_for_the_host_and_ends_with_its_route,
    a_route_is_explained_from_every_node,
    a_host_without_a_route_is_explained_too,
    a_change_is_waited_for,
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(20);

async fn checked(
    scene: &Scene,
    backends: &[std::net::SocketAddr],
    check: serde_json::Value,
) -> Result<Standalone> {
    let routes = |file: &mut FeedFile| {
        file.terminated(HOST, backends).checked(HOST, check);
    };
    let quick = "[limits]\nconnect_timeout = \"3s\"\nresponse_timeout = \"3s\"";
    Standalone::start_with(scene, routes, |setup| setup.more(quick)).await
}

async fn are_out(gateway: &Gateway, count: u64) -> Result<()> {
    eventually(&format!("{count} backends are out"), SOON, async || {
        let metrics = gateway.metrics().await?;
        let line = metrics.lines().find(|line| line.starts_with("webgateway_backends_down "));
        ensure!(line == Some(&*format!("webgateway_backends_down {count}")), "{line:?}");
        Ok(())
    })
    .await
}

async fn a_backend_that_dies_is_out_and_comes_back(scene: &Scene) -> Result<()> {
    let (one, two) = (Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(2, 8080)).await?);
    let check = json!({"interval": 1, "rise": 2, "fall": 2});
    let mut world = checked(scene, &[one.address(), two.address()], check).await?;
    drop(one);
    // Nobody visits: the checks alone find out.
    are_out(&world.gateway, 1).await?;
    let before = two.connections();
    let mut visitor = world.visitor()?.connect(HOST).await?;
    for _ in 0..20 {
        visitor.get(HOST, "/").await?.expect(200)?;
    }
    ensure!(two.requests() == 20 && two.connections() > before);
    ensure!(!world.gateway.metrics().await?.contains("webgateway_retries_total 1"), "it was not even tried");
    let one = Backend::http(overlay(1, 8080)).await?;
    are_out(&world.gateway, 0).await?;
    ensure!(one.connections() >= 2, "it had to rise");
    for _ in 0..20 {
        visitor.get(HOST, "/").await?.expect(200)?;
    }
    ensure!(one.requests() == 10, "{} of 20", one.requests());
    let log = world.gateway.process().logged()?;
    let said = |words: &str| log.matches(words).count();
    ensure!((said("backend unhealthy"), said("backend healthy")) == (1, 1), "each change is said once");
    Ok(())
}

async fn when_all_are_out_all_are_asked(scene: &Scene) -> Result<()> {
    // Nothing but `rise` checks of one hour could bring them back.
    let check = json!({"interval": 1, "rise": 10, "fall": 1});
    let world = checked(scene, &[overlay(1, 8080), overlay(2, 8080)], check).await?;
    are_out(&world.gateway, 2).await?;
    world.visitor()?.get(HOST, "/").await?.expect(502)?;
    let _one = Backend::http(overlay(1, 8080)).await?;
    let begun = Instant::now();
    world.visitor()?.get(HOST, "/").await?.expect(200)?;
    ensure!(begun.elapsed() < Duration::from_secs(3), "it waited for the checks: {:?}", begun.elapsed());
    Ok(())
}

async fn a_get_that_is_answered_500_takes_a_backend_out(scene: &Scene) -> Result<()> {
    let ill = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (ill, well) =
        (Backend::raw(overlay(1, 8080), Raw::Answer(ill)).await?, Backend::http(overlay(2, 8080)).await?);
    let check = json!({"path": "/healthz", "interval": 1, "rise": 1, "fall": 2});
    let mut world = checked(scene, &[ill.address(), well.address()], check).await?;
    are_out(&world.gateway, 1).await?;
    let mut visitor = world.visitor()?.connect(HOST).await?;
    for _ in 0..20 {
        visitor.get(HOST, "/").await?.expect(200)?;
    }
    let log = world.gateway.process().logged()?;
    ensure!(log.contains("GET /healthz was answered 500"), "{log}");
    Ok(())
}

async fn a_head_of_many_fields_is_no_fault(scene: &Scene) -> Result<()> {
    let backend = Recorder::start(overlay(1, 8080)).await?;
    let cookies: String = (0..150).map(|n| format!("Set-Cookie: c{n}={}\r\n", "x".repeat(200))).collect();
    backend.answer("/healthz", format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 0\r\n\r\n"));
    let check = json!({"path": "/healthz", "interval": 1, "rise": 1, "fall": 1});
    let world = checked(scene, &[backend.address()], check).await?;
    eventually("it was checked", SOON, async || {
        ensure!(backend.requests("/healthz").len() >= 3);
        Ok(())
    })
    .await?;
    are_out(&world.gateway, 0).await
}

async fn a_black_hole_costs_one_visitor_at_most(scene: &Scene) -> Result<()> {
    let hole = BlackHole::at(overlay(1, 8080))?;
    let well = Backend::http(overlay(2, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        file.terminated(HOST, &[hole.address(), well.address()]);
    };
    let quick = "[limits]\nconnect_timeout = \"1s\"";
    let world = Standalone::start_with(scene, routes, |setup| setup.workers(2).more(quick)).await?;
    let slow = async |visits: usize| -> Result<usize> {
        let mut slow = 0;
        for _ in 0..visits {
            let begun = Instant::now();
            world.visitor()?.get(HOST, "/").await?.expect(200)?;
            slow += usize::from(begun.elapsed() > Duration::from_millis(800));
        }
        Ok(slow)
    };
    let first = slow(4).await?;
    ensure!(first <= 1, "{first} visitors waited");
    are_out(&world.gateway, 1).await?;
    // Whatever worker they come to, and while it is looked at again and again.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        ensure!(slow(10).await? == 0, "a visitor paid for a backend that is known to be away");
    }
    Ok(())
}

async fn a_check_asks_for_the_host_and_ends_with_its_route(scene: &Scene) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let check = json!({"path": "/healthz", "interval": 1});
    let mut world = checked(scene, &[backend.address()], check.clone()).await?;
    world.change(|file| {
        for host in (0..50).map(|n| format!("app{n}.gw.example")) {
            file.terminated(&host, &[backend.address()]).checked(&host, check.clone());
        }
    })?;
    eventually("it is asked", SOON, async || {
        ensure!(backend.requests() >= 2);
        Ok(())
    })
    .await?;
    let (before, begun) = (backend.requests(), Instant::now());
    eventually("it is asked again", SOON, async || {
        ensure!(backend.requests() >= before + 3);
        Ok(())
    })
    .await?;
    ensure!(begun.elapsed() > Duration::from_secs(1), "51 routes are one check: {:?}", begun.elapsed());
    world.change(|file| {
        file.without(HOST);
        for n in 0..50 {
            file.without(&format!("app{n}.gw.example"));
        }
    })?;
    eventually("it is left alone", SOON, async || {
        let before = backend.requests();
        tokio::time::sleep(Duration::from_millis(2500)).await;
        ensure!(backend.requests() == before);
        Ok(())
    })
    .await
}

/// With nodes that listen on an address of their own each.
async fn two_nodes(scene: &Scene) -> Result<(Complete, Gateway)> {
    let world = Complete::start_as(scene, 3).await?;
    let second = Gateway::start(scene, &world.controller.setup().await?.number(2)).await?;
    Ok((world, second))
}

async fn a_route_is_explained_from_every_node(scene: &Scene) -> Result<()> {
    let (world, _second) = two_nodes(scene).await?;
    let _well = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s app -b [400::1]:8080 -b [400::2]:8080 --wait").await?;
    let explained = world.alice.json(["routes", "explain", HOST]).await?;
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
    let people = world.alice.gwctl(["routes", "explain", HOST]).await?;
    ensure!(people.stdout.contains("node2") && people.stdout.contains("[400::1]:8080 ok"), "{people:?}");

    let _too = Backend::http(overlay(2, 8080)).await?;
    eventually("all is well", SOON, async || {
        let people = world.alice.gwctl(["routes", "explain", HOST]).await?;
        ensure!(people.stdout.ends_with("No problem found.\n"), "{people:?}");
        Ok(())
    })
    .await?;
    world.admin.json(["admin", "suspend", "--user", "alice.pub"]).await?;
    let explained = world.admin.json(["routes", "explain", HOST]).await?;
    ensure!(explained["problem"]["message"].as_str().is_some_and(|m| m.contains("suspended")), "{explained}");
    Ok(())
}

async fn a_host_without_a_route_is_explained_too(scene: &Scene) -> Result<()> {
    let mut world = Complete::start(scene).await?;
    let bob = webgateway_tests::gwctl::User::create(&world.controller, scene.dir(), "bob").await?;
    world.alice.create_route("-s app -b [400::1]:8080 --wait").await?;
    for (user, host, nodes) in
        [(&bob, HOST, 0), (&world.alice, "nobody.gw.example", 0), (&world.admin, "nobody.gw.example", 1)]
    {
        let explained = user.json(["routes", "explain", host]).await?;
        ensure!(explained["route"].is_null(), "{explained}");
        ensure!(explained["nodes"].as_array().is_some_and(|all| all.len() == nodes), "{explained}");
        ensure!(
            explained["problem"]["message"].as_str().is_some_and(|m| m.starts_with("no route of yours")),
            "{explained}"
        );
    }
    world.gateway.process().kill()?;
    eventually("it says that there is no node", SOON, async || {
        let explained = world.alice.json(["routes", "explain", HOST]).await?;
        ensure!(
            explained["problem"]["message"].as_str().is_some_and(|m| m.contains("no dataplane")),
            "{explained}"
        );
        Ok(())
    })
    .await?;
    let waited = world.alice.gwctl(["routes", "create", "-s", "late", "-b", "[400::1]:81", "--wait"]).await?;
    ensure!(waited.code == Some(9) && waited.stderr.contains("no node is connected"), "{waited:?}");
    ensure!(waited.stdout.contains("https://late.gw.example/"), "it was done: {waited:?}");
    Ok(())
}

async fn a_change_is_waited_for(scene: &Scene) -> Result<()> {
    let (world, mut second) = two_nodes(scene).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = world.alice.create_route("-s app -b [400::1]:8080 --wait").await?;
    world.visitor()?.get(HOST, "/").await?.expect(200)?;
    second.visitor()?.get(HOST, "/").await?.expect(200)?;

    second.process().signal(Signal::SIGSTOP)?;
    let begun = Instant::now();
    let late = world.alice.gwctl(["routes", "delete", "-r", &id, "--wait", "2s"]).await?;
    ensure!(late.code == Some(9), "{late:?}");
    ensure!(late.stderr.contains("after 2 s, 1 of 2 nodes have applied version"), "{late:?}");
    ensure!(late.stderr.contains("hint: ") && late.stdout.contains("Deleted"), "{late:?}");
    let took = begun.elapsed();
    ensure!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    second.process().signal(Signal::SIGCONT)?;
    world.alice.create_route("-s other -b [400::1]:8080 --wait 15s").await?;
    second.visitor()?.get("other.gw.example", "/").await?.expect(200)?;
    let gone = world.admin.json(["admin", "suspend", "--user", "alice.pub", "--wait"]).await?;
    ensure!(gone["suspended"] == true, "{gone}");
    second.visitor()?.get("other.gw.example", "/").await?.expect(503)?;
    Ok(())
}
