//! Limits on the requests and connections of each client network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Connection, Reply};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_network_has_one_allowance_on_all_workers,
    each_stream_of_http2_counts,
    a_change_of_the_route_keeps_the_count,
    concurrent_requests_are_limited_until_they_end,
    open_websockets_count_as_requests,
    connections_of_a_passthrough_route_are_limited,
    gwctl_sets_a_limit_and_refuses_an_unsuitable_one,
];

const SOON: Duration = Duration::from_secs(10);
const HOST: &str = "app.gw.example";
/// The gateway, reached from any loopback address of IPv4.
const IPV4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
/// So few requests per second that none is added during a scenario.
const SLOW: f64 = 0.001;

async fn limited(sandbox: &Sandbox, limit: Value) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &[backend.address()]).set_option(HOST, "rate_limit", limit);
        file.add_terminated("free.gw.example", &[backend.address()]);
    };
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.workers(2)).await?;
    Ok((setup, backend))
}

fn client_at(setup: &StandaloneSetup, source: [u8; 4]) -> Result<Client> {
    Ok(setup.client()?.at(IPV4).from(source.into()))
}

/// Fails unless the reply is a 429 that says when to try again.
fn expect_limited(reply: Reply, seconds: std::ops::RangeInclusive<u32>) -> Result<()> {
    let reply = reply.expect(429)?;
    let retry_after: u32 = reply.header("retry-after").parse()?;
    ensure!(seconds.contains(&retry_after), "{retry_after} s");
    ensure!(reply.header("proxy-status") == "webgateway; error=http_request_denied");
    Ok(())
}

async fn a_network_has_one_allowance_on_all_workers(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = limited(sandbox, json!({"requests": SLOW, "burst": 12})).await?;
    let sources = |last: u8| [127, 0, 0, 1 + last];
    for n in 0..12 {
        // Each connection may come to another worker.
        client_at(&setup, sources(n))?.get(HOST, "/").await?.expect(200)?;
    }
    for n in 0..12 {
        let refused = client_at(&setup, sources(n))?.get(HOST, "/").await?;
        expect_limited(refused, 900..=1000)?;
        client_at(&setup, sources(n))?.get("free.gw.example", "/").await?.expect(200)?;
    }
    ensure!(backend.requests() == 24, "{} requests reached the backend", backend.requests());
    let elsewhere = client_at(&setup, [127, 0, 1, 1])?;
    elsewhere.get(HOST, "/").await?.expect(200)?;
    let by_ipv6 = setup.client()?;
    by_ipv6.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn each_stream_of_http2_counts(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = limited(sandbox, json!({"requests": SLOW, "burst": 7})).await?;
    let mut connection = setup.client()?.h2().connect(HOST).await?;
    let request = |_| Ok(connection.request(Method::GET, HOST, "/").body(Full::default())?);
    let requests: Vec<_> = (0..30).map(request).collect::<Result<_>>()?;
    let replies = connection.send_concurrently(requests).await?;
    let admitted = replies.iter().filter(|reply| reply.status == 200).count();
    ensure!(admitted == 7, "{admitted} were admitted");
    replies
        .into_iter()
        .filter(|reply| reply.status != 200)
        .try_for_each(|reply| expect_limited(reply, 900..=1000))
}

async fn a_change_of_the_route_keeps_the_count(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, backend) = limited(sandbox, json!({"requests": SLOW, "burst": 2})).await?;
    let client = setup.client()?;
    for _ in 0..2 {
        client.get(HOST, "/").await?.expect(200)?;
    }
    expect_limited(client.get(HOST, "/").await?, 900..=1000)?;
    setup.change(|file| {
        file.set_balance(HOST, "random").set_option("free.gw.example", "deny", json!(["::/0"]));
    })?;
    eventually("the change applies", SOON, async || {
        client.get("free.gw.example", "/").await?.expect(403).map(drop)
    })
    .await?;
    expect_limited(client.get(HOST, "/").await?, 900..=1000)?;
    ensure!(backend.requests() == 2, "{} requests reached the backend", backend.requests());
    setup.change(|file| {
        file.set_option(HOST, "rate_limit", json!({"requests": 1000, "burst": 100}));
    })?;
    eventually("the raised limit applies", SOON, async || client.get(HOST, "/").await?.expect(200).map(drop))
        .await
}

async fn concurrent_requests_are_limited_until_they_end(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = limited(sandbox, json!({"connections": 3})).await?;
    let client = setup.client()?;
    for is_h2 in [false, true] {
        let client = if is_h2 { client.clone().h2() } else { client.clone() };
        let before = backend.requests();
        // An unread response is still under way.
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut connection = client.connect(HOST).await?;
            let request = connection.request(Method::GET, HOST, "/numbers/50000000").body(Full::default())?;
            let response = connection.open(request).await?;
            open.push((connection, response));
        }
        expect_limited(client.get(HOST, "/").await?, 1..=1)?;
        client_at(&setup, [127, 0, 1, 1])?.get(HOST, "/").await?.expect(200)?;
        ensure!(backend.requests() == before + 4);
        open.pop();
        eventually("one has ended", SOON, async || client.get(HOST, "/").await?.expect(200).map(drop))
            .await?;
        open.clear();
        // What has ended does not count: many requests, one after the other, are admitted.
        let mut connection = client.connect(HOST).await?;
        eventually("all have ended", SOON, async || connection.get(HOST, "/").await?.expect(200).map(drop))
            .await?;
        for _ in 0..20 {
            connection.get(HOST, "/").await?.expect(200)?;
        }
    }
    Ok(())
}

async fn open_websockets_count_as_requests(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = limited(sandbox, json!({"connections": 2})).await?;
    let client = setup.client()?;
    let mut first = WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await?;
    let mut second = WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await?;
    for socket in [&mut first, &mut second] {
        socket.echo("hello").await?;
    }
    expect_limited(client.get(HOST, "/").await?, 1..=1)?;
    ensure!(WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await.is_err(), "a third is open");
    drop(first);
    eventually("one has ended", SOON, async || client.get(HOST, "/").await?.expect(200).map(drop)).await?;
    second.echo("still open").await
}

async fn connections_of_a_passthrough_route_are_limited(sandbox: &Sandbox) -> Result<()> {
    const PASS: &str = "pass.example.org";
    let authority = Authority::new()?;
    let tls = authority.issue(&[PASS])?.server(&["http/1.1"])?;
    let backend = Backend::https(overlay(1, 8443), tls).await?;
    let routes = |file: &mut FeedFile| {
        file.add_passthrough(PASS, &[backend.address()]).set_option(
            PASS,
            "rate_limit",
            json!({"connections": 2}),
        );
    };
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.workers(2)).await?;
    let from =
        |source: [u8; 4]| Ok::<_, anyhow::Error>(Client::new(IPV4, authority.root())?.from(source.into()));
    let near = from([127, 0, 0, 2])?;
    let mut open: Vec<Connection> = Vec::new();
    for _ in 0..2 {
        let mut connection = near.connect(PASS).await?;
        connection.get(PASS, "/").await?.expect(200)?;
        open.push(connection);
    }
    let Err(error) = near.get(PASS, "/").await else { anyhow::bail!("a third connection is admitted") };
    ensure!(format!("{error:#}").contains("AccessDenied"), "{error:#}");
    let counted = "webgateway_connections_refused_total{reason=\"RateLimited\"} 1";
    ensure!(setup.gateway.metrics().await?.contains(counted), "it is not counted");
    from([127, 0, 1, 2])?.get(PASS, "/").await?.expect(200)?;
    for connection in &mut open {
        // Requests are not limited.
        for _ in 0..10 {
            connection.get(PASS, "/").await?.expect(200)?;
        }
    }
    open.pop();
    eventually("one has ended", SOON, async || near.get(PASS, "/").await?.expect(200).map(drop)).await
}

async fn gwctl_sets_a_limit_and_refuses_an_unsuitable_one(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id =
        setup.alice.create_route("-s app -b [400::1]:8080 --rate-limit 0.001 --rate-limit-burst 3").await?;
    let client = setup.client()?;
    eventually("the route is served", SOON, async || client.get(HOST, "/").await?.expect(200).map(drop))
        .await?;
    eventually("the burst is spent", SOON, async || expect_limited(client.get(HOST, "/").await?, 900..=1000))
        .await?;
    let shown = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(shown["rate_limit"] == json!({"requests": 0.001, "burst": 3}), "{shown}");
    setup.alice.json(["routes", "update", "-r", &id, "--reset", "rate_limit"]).await?;
    eventually("the limit is removed", SOON, async || client.get(HOST, "/").await?.expect(200).map(drop))
        .await?;
    for (flags, flag) in [
        ("-s two --rate-limit 0", "--rate-limit:"),
        ("-s two --rate-limit=-1", "--rate-limit:"),
        ("-s two --rate-limit NaN", "--rate-limit:"),
        ("-s two --rate-limit 1 --rate-limit-burst 0", "--rate-limit-burst"),
        ("-s two --rate-limit-burst 5", "--rate-limit <N>"),
        ("-s two --rate-limit-connections 0", "--rate-limit-connections"),
        ("-f two.example.org -t --rate-limit 5", "`requests`"),
    ] {
        let args = format!("routes create -b [400::1]:8080 {flags}");
        let output = setup.alice.gwctl(args.split(' ')).await?;
        ensure!(output.code == Some(2) && output.stderr.contains(flag), "{flags}: {output:?}");
    }
    setup.alice.create_route("-f two.example.org -t --rate-limit-connections 5 -b [400::1]:8443").await?;
    Ok(())
}
