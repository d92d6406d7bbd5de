//! Failing backends: errors, retries and balancing over the healthy ones.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::Method;
use http_body_util::Full;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::{Backend, BlackHole, RawBehaviour};
use webgateway_tests::client::Client;
use webgateway_tests::netns::{overlay, remove_address};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::websocket::WebSocket;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    round_robin_uses_each_backend_in_turn,
    random_uses_every_backend,
    a_dead_backend_is_skipped,
    refused_connections_give_502,
    a_connect_timeout_gives_504,
    a_response_timeout_gives_504,
    a_garbage_response_gives_502,
    a_close_without_a_response_gives_502,
    a_truncated_response_is_reported_to_the_client,
    a_recovered_backend_is_used,
    a_post_is_not_sent_twice,
    closed_idle_connections_cause_no_error,
    the_dataplane_refuses_addresses_outside_the_overlay,
    only_idempotent_requests_are_retried,
    an_idle_connection_is_closed_before_the_backend_closes_it,
    unsolicited_bytes_on_an_idle_connection_are_no_response,
    a_vanished_backend_host_is_detected_within_seconds,
    log_lines_name_the_connection_and_request,
];

const HOST: &str = "app.gw.example";
const SHORT_TIMEOUTS: &str = "[limits]\nconnect_timeout = \"400ms\"\nresponse_timeout = \"400ms\"";

async fn with_short_timeouts(
    sandbox: &Sandbox,
    backends: &[std::net::SocketAddr],
) -> Result<StandaloneSetup> {
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, backends);
    };
    StandaloneSetup::start_with(sandbox, routes, |config| config.more(SHORT_TIMEOUTS)).await
}

async fn count_by_backend(setup: &StandaloneSetup, requests: usize) -> Result<BTreeMap<String, usize>> {
    let mut connection = setup.client()?.connect(HOST).await?;
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let seen = connection.get(HOST, "/").await?.expect(200)?.json()?;
        *counts.entry(seen["backend"].to_string()).or_default() += 1;
    }
    Ok(counts)
}

async fn three_backends() -> Result<[Backend; 3]> {
    Ok([
        Backend::http(overlay(1, 8080)).await?,
        Backend::http(overlay(2, 8080)).await?,
        Backend::http(overlay(3, 8080)).await?,
    ])
}

async fn round_robin_uses_each_backend_in_turn(sandbox: &Sandbox) -> Result<()> {
    let backends = three_backends().await?;
    let setup = with_short_timeouts(sandbox, &backends.each_ref().map(Backend::address)).await?;
    let counts = count_by_backend(&setup, 30).await?;
    ensure!(counts.values().all(|&n| n == 10), "{counts:?}");
    Ok(())
}

async fn random_uses_every_backend(sandbox: &Sandbox) -> Result<()> {
    let backends = three_backends().await?;
    let mut setup = with_short_timeouts(sandbox, &[backends[0].address()]).await?;
    let addresses = backends.each_ref().map(Backend::address);
    setup.change(|file| {
        file.set_backends(HOST, &addresses).set_balance(HOST, "random");
    })?;
    webgateway_tests::wait::eventually("all three are used", Duration::from_secs(20), async || {
        let counts = count_by_backend(&setup, 30).await?;
        ensure!(counts.len() == 3, "{counts:?}");
        Ok(())
    })
    .await
}

async fn a_dead_backend_is_skipped(sandbox: &Sandbox) -> Result<()> {
    let alive = Backend::http(overlay(2, 8080)).await?;
    let setup = with_short_timeouts(sandbox, &[overlay(1, 8080), alive.address()]).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        for _ in 0..20 {
            connection.get(HOST, "/").await?.expect(200)?;
        }
    }
    let mut connection = setup.client()?.connect(HOST).await?;
    let post = connection.request(Method::POST, HOST, "/").body(Full::from("body"))?;
    let seen = connection.send(post).await?.expect(200)?.json()?;
    ensure!(seen["body"] == "body", "nothing was sent yet, so the body is whole: {seen}");
    Ok(())
}

async fn expect_error(setup: &StandaloneSetup, status: u16, word: &str) -> Result<()> {
    for client in [setup.client()?, setup.client()?.h2()] {
        let reply = client.get(HOST, "/").await?.expect(status)?;
        let says = reply.header("proxy-status").to_owned();
        ensure!(says.contains(&format!("error={word}")), "Proxy-Status says {says:?}, not {word}");
        ensure!(
            !says.contains("400::") && !reply.text().contains("400::"),
            "the backend stays private: {reply:?}"
        );
    }
    Ok(())
}

async fn refused_connections_give_502(sandbox: &Sandbox) -> Result<()> {
    let setup = with_short_timeouts(sandbox, &[overlay(1, 8080), overlay(2, 8080)]).await?;
    expect_error(&setup, 502, "connection_refused").await
}

async fn a_connect_timeout_gives_504(sandbox: &Sandbox) -> Result<()> {
    let hole = BlackHole::at(overlay(1, 8080))?;
    let setup = with_short_timeouts(sandbox, &[hole.address()]).await?;
    let started = Instant::now();
    expect_error(&setup, 504, "connection_timeout").await?;
    ensure!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    Ok(())
}

async fn a_response_timeout_gives_504(sandbox: &Sandbox) -> Result<()> {
    let silent = Backend::raw(overlay(1, 8080), RawBehaviour::Silence).await?;
    let setup = with_short_timeouts(sandbox, &[silent.address()]).await?;
    expect_error(&setup, 504, "http_response_timeout").await
}

async fn a_garbage_response_gives_502(sandbox: &Sandbox) -> Result<()> {
    let garbage =
        Backend::raw(overlay(1, 8080), RawBehaviour::Respond(b"\x00\x01 this is no HTTP\r\n\r\n".to_vec()))
            .await?;
    let setup = with_short_timeouts(sandbox, &[garbage.address()]).await?;
    expect_error(&setup, 502, "http_protocol_error").await
}

async fn a_close_without_a_response_gives_502(sandbox: &Sandbox) -> Result<()> {
    let closing = Backend::raw(overlay(1, 8080), RawBehaviour::Close).await?;
    let setup = with_short_timeouts(sandbox, &[closing.address()]).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let reply = client.get(HOST, "/").await?.expect(502)?;
        ensure!(reply.header("proxy-status").contains("error="), "{reply:?}");
    }
    Ok(())
}

async fn a_truncated_response_is_reported_to_the_client(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let raw = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let resetting = Backend::raw(overlay(2, 8080), RawBehaviour::RespondAndReset(raw)).await?;
    let mut setup = with_short_timeouts(sandbox, &[backend.address()]).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let reply = client.get(HOST, "/break").await;
        ensure!(reply.is_err(), "half a body came as a whole: {reply:?}");
    }
    setup.change(|file| {
        file.add_terminated("resets.gw.example", &[resetting.address()]);
    })?;
    let client = setup.client()?;
    webgateway_tests::wait::eventually("the route is there", Duration::from_secs(5), async || {
        let reply = client.get("resets.gw.example", "/").await;
        ensure!(reply.is_err(), "half a body came as a whole: {reply:?}");
        Ok(())
    })
    .await?;
    client.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn a_recovered_backend_is_used(sandbox: &Sandbox) -> Result<()> {
    let setup = with_short_timeouts(sandbox, &[overlay(1, 8080)]).await?;
    let client = setup.client()?;
    client.get(HOST, "/").await?.expect(502)?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    webgateway_tests::wait::eventually("the backend is used", Duration::from_secs(10), async || {
        client.get(HOST, "/").await?.expect(200)
    })
    .await?;
    Ok(())
}

async fn a_post_is_not_sent_twice(sandbox: &Sandbox) -> Result<()> {
    let first = Backend::raw(overlay(1, 8080), RawBehaviour::Close).await?;
    let second = Backend::raw(overlay(2, 8080), RawBehaviour::Close).await?;
    let setup = with_short_timeouts(sandbox, &[first.address(), second.address()]).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    let post = connection.request(Method::POST, HOST, "/pay").body(Full::from("once"))?;
    connection.send(post).await?.expect(502)?;
    ensure!(first.requests() + second.requests() == 1, "{} and {}", first.requests(), second.requests());
    Ok(())
}

async fn closed_idle_connections_cause_no_error(sandbox: &Sandbox) -> Result<()> {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    // The backend announces keep-alive and closes after each response.
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::Respond(response)).await?;
    let setup = with_short_timeouts(sandbox, &[backend.address()]).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    for _ in 0..50 {
        ensure!(connection.get(HOST, "/").await?.expect(200)?.text() == "ok");
    }
    Ok(())
}

async fn the_dataplane_refuses_addresses_outside_the_overlay(sandbox: &Sandbox) -> Result<()> {
    let inside = Backend::http(overlay(1, 8080)).await?;
    let outside = Backend::http("127.0.0.1:8081".parse()?).await?;
    let mut setup = with_short_timeouts(sandbox, &[inside.address()]).await?;
    setup.change(|file| {
        file.add_terminated("local.gw.example", &[outside.address()]);
    })?;
    let client = setup.client()?;
    webgateway_tests::wait::eventually("the log names the route", Duration::from_secs(5), async || {
        let log = setup.gateway.process().log()?;
        ensure!(log.contains("local.gw.example") && log.contains("127.0.0.1:8081"), "{log}");
        Ok(())
    })
    .await?;
    client.get(HOST, "/").await?.expect(200)?;
    client.get("local.gw.example", "/").await?.expect(503)?;
    ensure!(outside.connections() == 0);
    Ok(())
}

async fn only_idempotent_requests_are_retried(sandbox: &Sandbox) -> Result<()> {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (n, (method, body, repeated)) in (1..).zip([
        (Method::GET, "", true),
        (Method::HEAD, "", true),
        (Method::OPTIONS, "", true),
        (Method::TRACE, "", true),
        (Method::PUT, "", true),
        (Method::DELETE, "", true),
        (Method::PUT, "once", false),
        (Method::DELETE, "once", false),
        (Method::GET, "once", false),
        (Method::POST, "", false),
        (Method::POST, "once", false),
        (Method::PATCH, "", false),
        (Method::PATCH, "once", false),
    ]) {
        let what = format!("{method} {body:?}");
        // Each connection breaks at its second request.
        let backend = Backend::raw(overlay(n, 8080), RawBehaviour::RespondTimes(response.clone(), 1)).await?;
        let setup = with_short_timeouts(sandbox, &[backend.address()]).await?;
        let mut connection = setup.client()?.connect(HOST).await?;
        connection.get(HOST, "/").await?.expect(200)?;
        let request = connection.request(method, HOST, "/again").body(Full::from(body))?;
        let reply = connection.send(request).await?;
        let (status, requests) = if repeated { (200, 3) } else { (502, 2) };
        ensure!(reply.status.as_u16() == status, "{what}: {reply:?}");
        ensure!(backend.requests() == requests, "{what} came {} times", backend.requests() - 1);
        ensure!(backend.connections() == requests - 1, "{what}: {} connections", backend.connections());
    }
    Ok(())
}

async fn an_idle_connection_is_closed_before_the_backend_closes_it(sandbox: &Sandbox) -> Result<()> {
    const LONG: &str = "[limits]\nbackend_idle = \"1h\"";
    let response = |keep: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{keep}\r\n").into_bytes();
    for (n, (keep, connections, is_given_up)) in (1..).zip([
        ("Keep-Alive: timeout=1\r\n", 1, true),
        ("Connection: keep-alive\r\nkeep-alive: max=100, Timeout=1\r\n", 1, true),
        ("Keep-Alive: max=5\r\nKeep-Alive: timeout=1\r\n", 1, true),
        ("Keep-Alive: timeout=0\r\n", 2, true),
        ("Keep-Alive: timeout=60, max=0\r\n", 2, true),
        ("Connection: close\r\n", 2, true),
        ("Keep-Alive: timeout=60\r\n", 1, false),
        ("Keep-Alive: timeout=soon\r\n", 1, false),
        ("", 1, false),
    ]) {
        let backend =
            Backend::raw(overlay(n, 8080), RawBehaviour::RespondTimes(response(keep), u64::MAX)).await?;
        let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
            file.add_terminated(HOST, &[backend.address()]);
        };
        let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.more(LONG)).await?;
        let mut connection = setup.client()?.connect(HOST).await?;
        for _ in 0..2 {
            let post = connection.request(Method::POST, HOST, "/").body(Full::from("x"))?;
            ensure!(connection.send(post).await?.expect(200)?.header("keep-alive").is_empty(), "{keep:?}");
        }
        ensure!(backend.connections() == connections, "{keep:?}: {} connections", backend.connections());
        let closed =
            webgateway_tests::wait::eventually("the gateway hangs up", Duration::from_secs(3), async || {
                ensure!(backend.open() == 0, "{} open", backend.open());
                Ok(())
            });
        ensure!(closed.await.is_ok() == is_given_up, "{keep:?}");
    }
    Ok(())
}

async fn unsolicited_bytes_on_an_idle_connection_are_no_response(sandbox: &Sandbox) -> Result<()> {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright";
    for (n, beyond) in (1..).zip([
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "\r\n",
        "x",
    ]) {
        let raw = RawBehaviour::RespondTimes([ANSWER, beyond].concat().into_bytes(), u64::MAX);
        let backend = Backend::raw(overlay(n, 8080), raw).await?;
        let setup = with_short_timeouts(sandbox, &[backend.address()]).await?;
        let mut connection = setup.client()?.connect(HOST).await?;
        for method in [Method::GET, Method::POST, Method::GET, Method::POST] {
            let request = connection.request(method, HOST, "/").body(Full::from(""))?;
            ensure!(connection.send(request).await?.expect(200)?.text() == "right", "{beyond:?}");
        }
        ensure!(backend.connections() == 4, "{beyond:?}: {} connections", backend.connections());
    }
    Ok(())
}

/// Tests requests over pooled connections, a WebSocket and a passthrough connection.
async fn a_vanished_backend_host_is_detected_within_seconds(sandbox: &Sandbox) -> Result<()> {
    const PASSED: &str = "pass.example";
    const TIMEOUT: Duration = Duration::from_secs(8);
    // Each has its own address, which is removed while the connection is idle.
    let [get, post, socket] = three_backends().await?;
    let tls = Authority::new()?;
    let server = tls.issue(&[PASSED])?.server(&["http/1.1"])?;
    let passed = Backend::https(overlay(4, 8443), server).await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated("get.gw.example", &[get.address()])
            .add_terminated("post.gw.example", &[post.address()])
            .add_terminated("ws.gw.example", &[socket.address()])
            .add_passthrough(PASSED, &[passed.address()]);
    };
    let limits = "[limits]\nack_timeout = \"1s\"\nconnect_timeout = \"1s\"\nbackend_idle = \"1h\"";
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.more(limits)).await?;
    for (n, host, method) in [(1, "get.gw.example", Method::GET), (2, "post.gw.example", Method::POST)] {
        let mut connection = setup.client()?.connect(host).await?;
        connection.get(host, "/").await?.expect(200)?;
        remove_address(n)?;
        let started = Instant::now();
        let request = connection.request(method, host, "/").body(Full::from(""))?;
        let reply = connection.send(request).await?;
        ensure!([502, 504].contains(&reply.status.as_u16()), "{host}: {reply:?}");
        ensure!(started.elapsed() < TIMEOUT, "{host}: {:?}", started.elapsed());
    }
    for (n, host, client) in
        [(3, "ws.gw.example", setup.client()?), (4, PASSED, Client::new(setup.gateway.https(), tls.root())?)]
    {
        let mut websocket = WebSocket::open(client.tls(host).await?, host, "/ws").await?;
        websocket.echo("before").await?;
        remove_address(n)?;
        let started = Instant::now();
        ensure!(websocket.echo("after").await.is_err(), "{host}: it is gone");
        ensure!(started.elapsed() < TIMEOUT, "{host}: {:?}", started.elapsed());
    }
    Ok(())
}

async fn log_lines_name_the_connection_and_request(sandbox: &Sandbox) -> Result<()> {
    let mut setup = with_short_timeouts(sandbox, &[overlay(1, 8080)]).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        connection.get(HOST, "/").await?.expect(502)?;
        connection.get(HOST, "/").await?.expect(502)?;
    }
    let log = setup.gateway.process().log()?;
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("backend request failed")).collect();
    ensure!(failed.len() == 4, "{log}");
    for (line, request) in failed.iter().zip([1, 2, 1, 2]) {
        let of_connection = line.contains("connection{id=")
            && line.contains("client=[::1]:")
            && line.contains(&format!("sni=\"{HOST}\""));
        let of_request = line.contains(&format!("request{{id={request} host=\"{HOST}\" route="));
        ensure!(of_connection && of_request, "{line}");
    }
    Ok(())
}
