//! The timeouts of a route.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::{Backend, BlackHole, RawBehaviour};
use webgateway_tests::client::{Client, rest};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::websocket::WebSocket;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    connect_bounds_each_attempt,
    first_byte_bounds_the_wait_for_a_response,
    a_paused_upload_is_no_wait_for_a_response,
    idle_bounds_a_silent_response,
    idle_bounds_tunnels,
    total_bounds_a_response_that_never_ends,
    websockets_outlast_first_byte_and_total,
    a_short_limit_of_one_route_takes_no_backend_from_another,
];

const HOST: &str = "app.gw.example";
const PASS: &str = "pass.example.org";
/// Much longer than the timeouts of the routes, much shorter than those of the node.
const SOON: Duration = Duration::from_secs(8);

async fn with_timeouts(sandbox: &Sandbox, backend: SocketAddr, timeouts: Value) -> Result<StandaloneSetup> {
    StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend]).set_options(HOST, &json!({ "timeouts": timeouts }));
    })
    .await
}

/// Fails unless a GET gets 504 with this error type, long before the node's own timeout.
async fn expect_504(setup: &StandaloneSetup, path: &str, error: &str) -> Result<()> {
    for client in [setup.client()?, setup.client()?.h2()] {
        let begun = Instant::now();
        let reply = client.get(HOST, path).await?.expect(504)?;
        ensure!(reply.header("proxy-status").contains(&format!("error={error}")), "{reply:?}");
        ensure!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
    }
    Ok(())
}

async fn connect_bounds_each_attempt(sandbox: &Sandbox) -> Result<()> {
    let hole = BlackHole::at(overlay(1, 8080))?;
    let options = json!({ "timeouts": { "connect": 0.3 } });
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[hole.address()])
            .set_options(HOST, &options)
            .add_passthrough(PASS, &[hole.address()])
            .set_options(PASS, &options);
    })
    .await?;
    expect_504(&setup, "/", "connection_timeout").await?;
    let begun = Instant::now();
    let refused = setup.client()?.tls(PASS).await;
    ensure!(refused.is_err() && begun.elapsed() < SOON, "{refused:?} after {:?}", begun.elapsed());
    Ok(())
}

async fn first_byte_bounds_the_wait_for_a_response(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = with_timeouts(sandbox, backend.address(), json!({ "first_byte": 0.4 })).await?;
    expect_504(&setup, "/slow/60000", "http_response_timeout").await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        connection.get(HOST, "/slow/10").await?.expect(200)?;
        let reply = connection.get(HOST, "/stream/20").await?.expect(200)?;
        ensure!(reply.text().ends_with("chunk 19\n"), "a body may take longer: {}", reply.text());
    }
    Ok(())
}

async fn a_paused_upload_is_no_wait_for_a_response(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = with_timeouts(sandbox, backend.address(), json!({ "first_byte": 0.2 })).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let head =
        format!("POST /upload HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 4\r\n\r\nab");
    stream.write_all(head.as_bytes()).await?;
    sleep(Duration::from_millis(700)).await;
    stream.write_all(b"cd").await?;
    let response = String::from_utf8_lossy(&rest(&mut stream).await?).into_owned();
    ensure!(response.starts_with("HTTP/1.1 200") && response.contains("abcd"), "{response}");
    Ok(())
}

async fn idle_bounds_a_silent_response(sandbox: &Sandbox) -> Result<()> {
    for (n, framing) in
        (1..).zip(["Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"])
    {
        let half = format!("HTTP/1.1 200 OK\r\n{framing}").into_bytes();
        let backend = Backend::raw(overlay(n, 8080), RawBehaviour::RespondAndRead(half)).await?;
        let setup = with_timeouts(sandbox, backend.address(), json!({ "idle": 0.3 })).await?;
        for client in [setup.client()?, setup.client()?.h2()] {
            let begun = Instant::now();
            let reply = client.get(HOST, "/").await;
            ensure!(reply.is_err(), "half a body came as a whole: {reply:?}");
            ensure!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
        }
    }
    let backend = Backend::http(overlay(3, 8080)).await?;
    let setup = with_timeouts(sandbox, backend.address(), json!({ "idle": 0.3 })).await?;
    let reply = setup.client()?.get(HOST, "/stream/20").await?.expect(200)?;
    ensure!(reply.text().ends_with("chunk 19\n"), "a body that goes on is not idle: {}", reply.text());
    Ok(())
}

async fn idle_bounds_tunnels(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let authority = Authority::new()?;
    let tls = authority.issue(&[PASS])?.server(&["http/1.1"])?;
    let secure = Backend::https(overlay(1, 8443), tls).await?;
    let options = json!({ "timeouts": { "idle": 0.4 } });
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()])
            .set_options(HOST, &options)
            .add_passthrough(PASS, &[secure.address()])
            .set_options(PASS, &options);
    })
    .await?;
    let begun = Instant::now();
    let mut socket = WebSocket::open(setup.client()?.tls(HOST).await?, HOST, "/ws").await?;
    socket.echo("open").await?;
    socket.closed().await?;
    let mut pass = Client::new(setup.gateway.https(), authority.root())?.connect(PASS).await?;
    pass.get(PASS, "/").await?.expect(200)?;
    pass.closed().await?;
    ensure!(begun.elapsed() < 2 * SOON, "after {:?}", begun.elapsed());
    Ok(())
}

async fn total_bounds_a_response_that_never_ends(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = with_timeouts(sandbox, backend.address(), json!({ "total": 0.6 })).await?;
    expect_504(&setup, "/slow/60000", "http_response_timeout").await?;
    let mut h2 = setup.client()?.h2().connect(HOST).await?;
    for path in ["/stream/4000", "/stream/4000"] {
        let begun = Instant::now();
        let reply = setup.client()?.get(HOST, path).await;
        ensure!(reply.is_err(), "HTTP/1.1: a part of a body came as a whole: {reply:?}");
        let reply = h2.get(HOST, path).await;
        ensure!(reply.is_err(), "HTTP/2: a part of a body came as a whole: {reply:?}");
        ensure!(begun.elapsed() < 2 * SOON, "after {:?}", begun.elapsed());
    }
    h2.get(HOST, "/stream/2").await?.expect(200)?;
    ensure!(h2.is_open().await, "only the stream is reset");
    Ok(())
}

async fn websockets_outlast_first_byte_and_total(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let timeouts = json!({ "first_byte": 0.4, "total": 0.5 });
    let setup = with_timeouts(sandbox, backend.address(), timeouts).await?;
    let mut socket = WebSocket::open(setup.client()?.tls(HOST).await?, HOST, "/ws").await?;
    sleep(Duration::from_millis(1200)).await;
    socket.echo("still here").await?;
    let late = WebSocket::open(setup.client()?.tls(HOST).await?, HOST, "/ws/60000").await;
    ensure!(late.is_err_and(|error| format!("{error:#}").contains("504")), "the handshake is bounded");
    Ok(())
}

async fn a_short_limit_of_one_route_takes_no_backend_from_another(sandbox: &Sandbox) -> Result<()> {
    const OTHER: &str = "other.gw.example";
    let [slow, good] = [Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(2, 8080)).await?];
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[slow.address()])
            .set_options(HOST, &json!({ "timeouts": { "first_byte": 0.05 } }))
            .add_terminated(OTHER, &[slow.address(), good.address()]);
    })
    .await?;
    // More than enough to make a backend unhealthy that does not respond within the limit of the node.
    for _ in 0..8 {
        setup.client()?.get(HOST, "/slow/400").await?.expect(504)?;
    }
    let before = slow.requests();
    let mut connection = setup.client()?.connect(OTHER).await?;
    for _ in 0..10 {
        connection.get(OTHER, "/").await?.expect(200)?;
    }
    ensure!(slow.requests() == before + 5, "{} of 10", slow.requests() - before);
    Ok(())
}
