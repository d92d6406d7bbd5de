//! Start, graceful shutdown and crashes: open requests are finished until a deadline.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::{BodyExt as _, Full};
use nix::sys::signal::Signal;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::tcp;
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig, HTTPS};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    open_requests_are_finished,
    the_drain_deadline_ends_open_requests,
    a_second_signal_stops_at_once,
    an_idle_gateway_stops_at_once,
    a_killed_gateway_starts_again,
    a_port_in_use_fails_the_start,
    without_file_descriptors_accepting_pauses,
    descriptors_are_reserved_for_backends,
];

const HOST: &str = "app.gw.example";

async fn with_drain(sandbox: &Sandbox, drain: &str) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let limits = format!("[limits]\ndrain = \"{drain}\"");
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.more(&limits)).await?;
    Ok((setup, backend))
}

async fn open_requests_are_finished(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_drain(sandbox, "20s").await?;
    let mut h1 = setup.client()?.connect(HOST).await?;
    let mut h2 = setup.client()?.h2().connect(HOST).await?;
    let mut running = Vec::new();
    for connection in [&mut h1, &mut h2] {
        let request = connection.request(Method::GET, HOST, "/stream/30").body(Full::default())?;
        let mut response = connection.open(request).await?;
        response.body_mut().frame().await.context("no first chunk")??;
        running.push(response);
    }
    setup.gateway.process().signal(Signal::SIGTERM)?;
    let https = setup.gateway.https();
    eventually("new connections are refused", Duration::from_secs(5), async || {
        ensure!(tcp(https).await.is_err(), "it still accepts");
        Ok(())
    })
    .await?;
    ensure!(setup.gateway.metrics().await?.contains("webgateway_"), "a draining process can be watched");
    ensure!(setup.gateway.ready().await.is_err(), "and is not ready");
    for response in running {
        let rest = response.into_body().collect().await.context("a request was cut")?.to_bytes();
        ensure!(rest.ends_with(b"chunk 29\n"));
    }
    let status = setup.gateway.process().end(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

async fn the_drain_deadline_ends_open_requests(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_drain(sandbox, "1s").await?;
    let mut socket = WebSocket::open(setup.client()?.tls(HOST).await?, HOST, "/ws").await?;
    socket.echo("here").await?;
    let started = Instant::now();
    setup.gateway.process().signal(Signal::SIGTERM)?;
    socket.closed().await?;
    let status = setup.gateway.process().end(Duration::from_secs(5)).await?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(4), "{status} after {took:?}");
    Ok(())
}

async fn a_second_signal_stops_at_once(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_drain(sandbox, "60s").await?;
    let mut socket = WebSocket::open(setup.client()?.tls(HOST).await?, HOST, "/ws").await?;
    socket.echo("here").await?;
    setup.gateway.process().signal(Signal::SIGTERM)?;
    let https = setup.gateway.https();
    eventually("new connections are refused", Duration::from_secs(5), async || {
        ensure!(tcp(https).await.is_err(), "it still accepts");
        Ok(())
    })
    .await?;
    setup.gateway.process().signal(Signal::SIGTERM)?;
    setup.gateway.process().end(Duration::from_secs(3)).await?;
    Ok(())
}

async fn an_idle_gateway_stops_at_once(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_drain(sandbox, "60s").await?;
    let mut h1 = setup.client()?.connect(HOST).await?;
    let mut h2 = setup.client()?.h2().connect(HOST).await?;
    for connection in [&mut h1, &mut h2] {
        connection.get(HOST, "/").await?.expect(200)?;
    }
    setup.gateway.process().signal(Signal::SIGINT)?;
    h1.closed().await?;
    h2.closed().await?;
    let status = setup.gateway.process().end(Duration::from_secs(3)).await?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

async fn a_killed_gateway_starts_again(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_drain(sandbox, "1s").await?;
    let _open = setup.client()?.connect(HOST).await?;
    setup.gateway.process().kill()?;
    let config = GatewayConfig::from_file(&sandbox.path("feed.json"), setup.authority.root());
    setup.gateway = Gateway::start(sandbox, &config).await?;
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn a_port_in_use_fails_the_start(sandbox: &Sandbox) -> Result<()> {
    let _taken = tokio::net::TcpListener::bind(("::", HTTPS)).await?;
    let authority = webgateway_tests::authority::Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let mut file = FeedFile::new(&sandbox.path("feed.json"), &base);
    let config = GatewayConfig::from_file(file.write()?, authority.root());
    let mut gateway = Gateway::start_unready(sandbox, &config)?;
    let status = gateway.process().end(Duration::from_secs(10)).await?;
    let log = gateway.process().log()?;
    ensure!(status.code() == Some(1), "{status}: {log}");
    ensure!(log.contains(":443") && log.contains("https_port"), "it names the port and its key: {log}");
    Ok(())
}

async fn without_file_descriptors_accepting_pauses(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_drain(sandbox, "1s").await?;
    let mut kept = setup.client()?.connect(HOST).await?;
    kept.get(HOST, "/").await?.expect(200)?;
    setup.gateway.process().limit_files(20)?;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(tcp(setup.gateway.https()).await?);
    }
    let before = setup.gateway.process().cpu_ticks()?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = setup.gateway.process().cpu_ticks()? - before;
    ensure!(used < 30, "it spins: {used} of 100 ticks");
    kept.get(HOST, "/").await?.expect(200)?;
    drop(silent);
    setup.gateway.process().limit_files(10_000)?;
    let client = setup.client()?;
    eventually("the gateway accepts again", Duration::from_secs(10), async || {
        client.get(HOST, "/").await?.expect(200)
    })
    .await?;
    let metrics = setup.gateway.metrics().await?;
    let counted =
        metrics.lines().any(|line| line.starts_with("webgateway_accept_errors") && !line.ends_with(" 0"));
    ensure!(counted, "it is counted");
    Ok(())
}

async fn descriptors_are_reserved_for_backends(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let mut setup = StandaloneSetup::start_with(sandbox, routes, |config| config.files(256)).await?;
    let mut kept = setup.client()?.connect(HOST).await?;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(tcp(setup.gateway.https()).await?);
    }
    eventually("clients have all connections that they may", Duration::from_secs(5), async || {
        let metrics = setup.gateway.metrics().await?;
        let open =
            metrics.lines().find_map(|line| line.strip_prefix("webgateway_connections_open{worker=\"0\"} "));
        ensure!(open.context("no metric")?.parse::<u64>()? > 90, "{open:?}");
        Ok(())
    })
    .await?;
    kept.get(HOST, "/").await?.expect(200)?;
    let log = setup.gateway.process().log()?;
    let said = log.lines().filter(|line| line.contains("cannot accept")).count();
    ensure!(said <= 1, "it says so {said} times");
    ensure!(log.contains("the limit on open files allows fewer connections"), "{log}");
    Ok(())
}
