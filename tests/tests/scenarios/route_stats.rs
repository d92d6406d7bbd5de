//! The traffic of routes: exact counts on several nodes, errors, isolation of owners, and history over a restart.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::Client;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::process::Process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;

scenarios![
    traffic_on_two_nodes_is_counted_exactly,
    errors_are_counted_by_reason,
    latencies_are_those_of_the_backend,
    open_connections_and_tunnels_are_counted_while_they_last,
    passthrough_connections_are_counted,
    owners_see_their_own_traffic_and_the_admin_sees_all,
    no_outage_of_the_controlplane_loses_or_doubles_traffic,
    a_watch_shows_new_traffic,
];

const SOON: Duration = Duration::from_secs(20);
const HOST: &str = "hello.gw.example";

/// Returns the traffic of the route of a host.
async fn stats(user: &User, host: &str) -> Result<Value> {
    let list = user.json(["routes", "stats", host, "--hours", "2"]).await?;
    ensure!(list["total"] == 1, "{list}");
    Ok(list["routes"][0].clone())
}

/// Waits until the traffic of a host has this value at this pointer, and returns all of it.
async fn wait_for(user: &User, host: &str, pointer: &str, value: u64) -> Result<Value> {
    eventually(&format!("{pointer} of {host} is {value}"), SOON, async || {
        let found = stats(user, host).await?;
        ensure!(found.pointer(pointer).and_then(Value::as_u64) == Some(value), "{found:#}");
        Ok(found)
    })
    .await
}

async fn get_times(client: &Client, path: &str, times: usize) -> Result<u64> {
    let mut connection = client.connect(HOST).await?;
    let mut bytes = 0;
    for _ in 0..times {
        bytes += connection.get(HOST, path).await?.body.len() as u64;
    }
    Ok(bytes)
}

async fn traffic_on_two_nodes_is_counted_exactly(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start_as(sandbox, 1).await?;
    let config = setup.controlplane.gateway_config().await?.number(2).workers(2);
    let second = Gateway::start(sandbox, &config).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let (one, two) = (setup.client()?, second.client()?);
    let mut sent = get_times(&one, "/bytes/1000", 7).await?;
    ensure!(sent == 7000, "{sent}");
    sent += get_times(&one.clone().h2(), "/status/404", 3).await?;
    get_times(&two, "/status/301", 2).await?;
    let mut sent_by_two = get_times(&two, "/stream/5", 4).await?;
    for client in [two.clone(), two.clone().h2()] {
        let mut connection = client.connect(HOST).await?;
        let post =
            connection.request(Method::POST, HOST, "/").body(Full::new(Bytes::from(vec![b'x'; 500])))?;
        sent_by_two += connection.send(post).await?.expect(200)?.body.len() as u64;
    }
    let found = wait_for(&setup.alice, HOST, "/minute/requests", 18).await?;
    for window in ["minute", "hour", "day"] {
        let all = &found[window];
        ensure!(all["responses"] == json!({"1xx": 0, "2xx": 13, "3xx": 2, "4xx": 3, "5xx": 0}), "{found:#}");
        ensure!(all["received_bytes"] == 1000 && all["sent_bytes"] == sent + sent_by_two, "{found:#}");
        ensure!(all["errors"] == json!({}) && all["cancelled"] == 0 && all["connections"] == 0, "{found:#}");
    }
    let nodes: Vec<_> = found["nodes"].as_array().into_iter().flatten().collect();
    let by_node = |node: &Value| {
        (node["node"].clone(), node["minute"]["requests"].clone(), node["hour"]["sent_bytes"].clone())
    };
    let expected = [(json!("node1"), json!(10), json!(sent)), (json!("node2"), json!(8), json!(sent_by_two))];
    ensure!(nodes.iter().map(|node| by_node(node)).eq(expected), "{found:#}");
    ensure!(found["history"].as_array().is_some_and(|hours| (1..=2).contains(&hours.len())), "{found:#}");
    let shown = setup.alice.gwctl(["routes", "stats", HOST]).await?;
    for word in ["hello.gw.example (terminate)", "minute", "node2", "1000B", "P99"] {
        ensure!(shown.code == Some(0) && shown.stdout.contains(word), "{word}: {shown:?}");
    }
    Ok(())
}

async fn errors_are_counted_by_reason(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let _closing = Backend::raw(overlay(1, 8081), RawBehaviour::Close).await?;
    let alice = &setup.alice;
    alice.create_route("-s dead -b [400::1]:9").await?;
    alice.create_route("-s closing -b [400::1]:8081").await?;
    alice.create_route("-s denied -b [400::1]:8080 --deny ::1").await?;
    alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let client = setup.client()?;
    for (host, status, times) in [("dead", 502, 3), ("closing", 502, 2), ("denied", 403, 4)] {
        for _ in 0..times {
            client.get(&format!("{host}.gw.example"), "/").await?.expect(status)?;
        }
    }
    ensure!(client.get(HOST, "/break").await.is_err(), "the response is incomplete");
    let mut gone = client.clone().h2().connect(HOST).await?;
    let slow = gone.request(Method::GET, HOST, "/slow/600000").body(Full::default())?;
    gone.begin(slow)?;
    eventually("the request has reached the backend", SOON, async || {
        ensure!(_backend.requests() == 2);
        Ok(())
    })
    .await?;
    drop(gone);
    for (host, class, error, times) in [
        ("dead", "5xx", "connection_refused", 3),
        ("closing", "5xx", "connection_terminated", 2),
        ("denied", "4xx", "http_request_denied", 4),
    ] {
        let host = format!("{host}.gw.example");
        let found = wait_for(alice, &host, "/minute/requests", times).await?;
        ensure!(found["minute"]["responses"][class] == times, "{found:#}");
        ensure!(found["minute"]["errors"] == json!({ error: times }), "{found:#}");
    }
    let found = wait_for(alice, HOST, "/minute/cancelled", 1).await?;
    ensure!(found["minute"]["requests"] == 2 && found["minute"]["responses"]["2xx"] == 1, "{found:#}");
    ensure!(found["minute"]["errors"] == json!({ "http_response_incomplete": 1 }), "{found:#}");
    Ok(())
}

async fn latencies_are_those_of_the_backend(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s fast -b [400::1]:8080").await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let client = setup.client()?;
    for _ in 0..20 {
        client.get("fast.gw.example", "/bytes/1").await?.expect(200)?;
    }
    get_times(&client, "/bytes/1", 6).await?;
    get_times(&client, "/slow/400", 4).await?;
    let fast = wait_for(&setup.alice, "fast.gw.example", "/minute/requests", 20).await?;
    let slow = wait_for(&setup.alice, HOST, "/minute/requests", 10).await?;
    let quantiles = |found: &Value| {
        let latency = &found["minute"]["latency"];
        ["p50", "p90", "p99"].map(|name| latency[name].as_f64().unwrap_or(-1.0))
    };
    let (fast, slow) = (quantiles(&fast), quantiles(&slow));
    ensure!(fast.is_sorted() && slow.is_sorted() && fast[0] > 0.0, "{fast:?} {slow:?}");
    // The backend waits for 400 ms; an estimate is at most a quarter too small.
    ensure!(slow[1] >= 0.3 && slow[2] >= 0.3, "4 of 10 were slow: {slow:?}");
    ensure!(slow[0] < slow[1], "6 of 10 were fast: {slow:?}");
    Ok(())
}

async fn open_connections_and_tunnels_are_counted_while_they_last(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let client = setup.client()?;
    let idle = client.connect(HOST).await?;
    let mut socket = WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await?;
    wait_for(&setup.alice, HOST, "/open", 2).await?;
    drop(idle);
    wait_for(&setup.alice, HOST, "/open", 1).await?;
    socket.echo(&"x".repeat(70_000)).await?;
    let found = eventually("the bytes are counted while the tunnel is open", SOON, async || {
        let found = stats(&setup.alice, HOST).await?;
        let bytes = |name: &str| found["minute"][name].as_u64().unwrap_or_default();
        ensure!(bytes("received_bytes") > 70_000 && bytes("sent_bytes") > 70_000, "{found:#}");
        Ok(found)
    })
    .await?;
    ensure!(found["minute"]["responses"]["1xx"] == 1 && found["open"] == 1, "{found:#}");
    drop(socket);
    wait_for(&setup.alice, HOST, "/open", 0).await.map(drop)
}

async fn passthrough_connections_are_counted(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let authority = Authority::new()?;
    let tls = authority.issue(&["pass.example.org"])?.server(&["http/1.1"])?;
    let _backend = Backend::https(overlay(1, 8443), tls).await?;
    setup.alice.create_route("-f dead.example.org -t -b [400::1]:9").await?;
    setup.alice.create_route("-f closed.example.org -t -b [400::1]:8443 --deny ::1").await?;
    setup.alice.create_route("-f pass.example.org -t -b [400::1]:8443 --wait").await?;
    let client = Client::new(setup.gateway.https(), authority.root())?;
    for _ in 0..3 {
        client.get("pass.example.org", "/bytes/100000").await?.expect(200)?;
    }
    let open = client.connect("pass.example.org").await?;
    for host in ["dead.example.org", "closed.example.org"] {
        ensure!(client.get(host, "/").await.is_err());
    }
    let found = wait_for(&setup.alice, "pass.example.org", "/open", 1).await?;
    let minute = &found["minute"];
    ensure!(
        minute["connections"] == 4 && minute["requests"] == 0 && minute["errors"] == json!({}),
        "{found:#}"
    );
    let bytes = |name: &str| minute[name].as_u64().unwrap_or_default();
    ensure!((300_000..400_000).contains(&bytes("sent_bytes")), "{found:#}");
    ensure!((800..20_000).contains(&bytes("received_bytes")), "{found:#}");
    drop(open);
    wait_for(&setup.alice, "pass.example.org", "/open", 0).await?;
    for (host, error) in
        [("dead.example.org", "connection_refused"), ("closed.example.org", "http_request_denied")]
    {
        let found = wait_for(&setup.alice, host, "/minute/connections", 1).await?;
        ensure!(found["minute"]["errors"] == json!({ error: 1 }), "{found:#}");
    }
    let shown = setup.alice.gwctl(["routes", "stats", "pass.example.org"]).await?;
    ensure!(shown.stdout.contains("(passthrough)") && shown.stdout.contains("CONNECTIONS"), "{shown:?}");
    Ok(())
}

/// Returns the hosts of a list of traffic.
fn hosts(list: &Value) -> Vec<&str> {
    list["routes"].as_array().into_iter().flatten().filter_map(|route| route["host"].as_str()).collect()
}

async fn owners_see_their_own_traffic_and_the_admin_sees_all(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let bob = User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s idle -b [400::1]:8080").await?;
    setup.alice.create_route("-s few -b [400::1]:8080").await?;
    let many = setup.alice.create_route("-s many -b [400::1]:8080").await?;
    bob.create_route("-s bob -b [400::1]:8080 --wait").await?;
    let client = setup.client()?;
    for (host, path, times) in [("few", "/bytes/9000", 2), ("many", "/bytes/1", 6), ("bob", "/bytes/5", 4)] {
        for _ in 0..times {
            client.get(&format!("{host}.gw.example"), path).await?.expect(200)?;
        }
    }
    wait_for(&setup.alice, "few.gw.example", "/minute/requests", 2).await?;
    wait_for(&setup.alice, "many.gw.example", "/minute/requests", 6).await?;
    wait_for(&bob, "bob.gw.example", "/minute/requests", 4).await?;
    wait_for(&setup.admin, "bob.gw.example", "/minute/requests", 4).await?;

    let idle = stats(&setup.alice, "idle.gw.example").await?;
    ensure!(idle["day"]["requests"] == 0 && idle["day"]["latency"].is_null(), "{idle:#}");
    for host in ["many.gw.example", "nothing.gw.example"] {
        let refused = bob.gwctl(["routes", "stats", host]).await?;
        let text = format!("there is no route of yours for `{host}`");
        ensure!(refused.code == Some(6) && refused.stderr.contains(&text), "{refused:?}");
    }
    for window in ["minute", "hour", "day"] {
        let by = async |user: &User, more: &'static str| {
            let args = format!("routes stats --window {window} {more}");
            user.json(args.split_whitespace()).await
        };
        let all = by(&setup.admin, "").await?;
        ensure!(hosts(&all) == ["many.gw.example", "bob.gw.example", "few.gw.example"], "{window}: {all:#}");
        ensure!(all["total"] == 3 && all["routes"][1]["owner"] == "bob.pub", "{all:#}");
        let first = by(&setup.admin, "-n 1 --sort bytes").await?;
        ensure!(hosts(&first) == ["few.gw.example"] && first["total"] == 3, "{window}: {first:#}");
        let own = by(&setup.alice, "").await?;
        ensure!(hosts(&own) == ["many.gw.example", "few.gw.example"], "{window}: {own:#}");
        ensure!(hosts(&by(&bob, "").await?) == ["bob.gw.example"], "{window}");
    }
    let shown = setup.admin.gwctl(["routes", "stats", "-n", "2"]).await?;
    ensure!(shown.stdout.contains("1 more routes have traffic in the last hour"), "{shown:?}");

    setup.alice.json(["routes", "delete", "-r", &many]).await?;
    let gone = setup.alice.gwctl(["routes", "stats", "many.gw.example"]).await?;
    ensure!(gone.code == Some(6), "{gone:?}");
    setup.alice.create_route("-s many -b [400::1]:8080").await?;
    let fresh = stats(&setup.alice, "many.gw.example").await?;
    ensure!(fresh["day"]["requests"] == 0 && fresh["hour"]["requests"] == 0, "{fresh:#}");
    let all = setup.admin.json(["routes", "stats", "--window", "day"]).await?;
    ensure!(hosts(&all) == ["bob.gw.example", "few.gw.example"] && all["total"] == 2, "{all:#}");
    for wrong in [["--hours", "1"], ["-n", "0"], ["--window", "week"]] {
        let refused = setup.alice.gwctl(["routes", "stats"].into_iter().chain(wrong)).await?;
        ensure!(refused.code == Some(2), "{refused:?}");
    }
    Ok(())
}

async fn no_outage_of_the_controlplane_loses_or_doubles_traffic(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let client = setup.client()?;
    get_times(&client, "/bytes/10", 5).await?;
    wait_for(&setup.alice, HOST, "/day/requests", 5).await?;
    let mut requests = 5;
    for _ in 0..2 {
        // Some requests are not reported yet when the controlplane stops, others come while there is none.
        get_times(&client, "/bytes/10", 3).await?;
        setup.controlplane.process().signal(Signal::SIGTERM)?;
        setup.controlplane.process().end(SOON).await?;
        get_times(&client, "/bytes/10", 4).await?;
        setup.controlplane = Controlplane::start(sandbox).await?;
        requests += 7;
        let found = wait_for(&setup.alice, HOST, "/day/requests", requests).await?;
        ensure!(found["day"]["sent_bytes"] == 10 * requests, "{found:#}");
        let history = found["history"].as_array().context("no history")?;
        let sum: u64 = history.iter().filter_map(|hour| hour["requests"].as_u64()).sum();
        ensure!(sum == requests, "{found:#}");
    }
    let open = client.connect(HOST).await?;
    wait_for(&setup.alice, HOST, "/open", 1).await?;
    setup.controlplane.process().kill()?;
    setup.controlplane = Controlplane::start(sandbox).await?;
    wait_for(&setup.alice, HOST, "/open", 1).await?;
    drop(open);
    wait_for(&setup.alice, HOST, "/open", 0).await.map(drop)
}

async fn a_watch_shows_new_traffic(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let log = sandbox.path("watch.log");
    let args = ["routes", "stats", HOST, "--watch", "-o", "json"];
    let mut watch = Process::start_with("gwctl", &args, &setup.alice.env()?, &log)?;
    let shown = async |watch: &Process, requests: u64| {
        eventually(&format!("{requests} requests are shown"), SOON, async || {
            let lines = watch.log()?;
            let last: Value = serde_json::from_str(lines.lines().last().context("nothing")?)?;
            ensure!(last["routes"][0]["minute"]["requests"] == requests, "{last}");
            Ok(())
        })
        .await
    };
    shown(&watch, 0).await?;
    get_times(&setup.client()?, "/bytes/1", 3).await?;
    shown(&watch, 3).await?;
    watch.signal(Signal::SIGINT)?;
    let status = watch.end(SOON).await?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}
