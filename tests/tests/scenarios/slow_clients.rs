//! Slow clients: the gateway waits as long as there is progress, and closes stalled connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::rest;
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_slow_head_is_closed_after_the_timeout,
    an_idle_connection_is_closed,
    a_stalled_upload_is_closed,
    a_slow_upload_is_finished,
    a_stalled_download_is_closed,
    a_stalled_handshake_is_closed,
    an_early_response_is_forwarded,
];

const HOST: &str = "app.gw.example";
const LIMITS: &str =
    "[limits]\nheader_timeout = \"700ms\"\nstall_timeout = \"700ms\"\nhandshake_timeout = \"700ms\"";

async fn with_app(sandbox: &Sandbox) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.more(LIMITS)).await?;
    Ok((setup, backend))
}

async fn wait_until_closed(backend: &Backend) -> Result<()> {
    eventually("the backend's connection is closed too", Duration::from_secs(10), async || {
        ensure!(backend.open() == 0, "{} open", backend.open());
        Ok(())
    })
    .await
}

async fn a_slow_head_is_closed_after_the_timeout(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let started = Instant::now();
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: {}\r\n\r\n", "x".repeat(200));
    for byte in head.bytes() {
        if started.elapsed() > Duration::from_secs(4) || stream.write_all(&[byte]).await.is_err() {
            break;
        }
        drop(stream.flush().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let response = String::from_utf8_lossy(&rest(&mut stream).await?).into_owned();
    ensure!(response.is_empty() || response.starts_with("HTTP/1.1 408"), "{response}");
    ensure!(started.elapsed() < Duration::from_secs(4), "after {:?}", started.elapsed());
    ensure!(backend.requests() == 0);
    Ok(())
}

async fn an_idle_connection_is_closed(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut h1 = setup.client()?.connect(HOST).await?;
    h1.get(HOST, "/").await?.expect(200)?;
    timeout(Duration::from_secs(4), h1.closed()).await.context("h1 stays open")??;
    let mut h2 = setup.client()?.h2().connect(HOST).await?;
    h2.get(HOST, "/").await?.expect(200)?;
    timeout(Duration::from_secs(4), h2.closed()).await.context("h2 stays open")??;
    Ok(())
}

async fn a_stalled_upload_is_closed(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let started = Instant::now();
    let begin = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n0123456789");
    stream.write_all(begin.as_bytes()).await?;
    let response = String::from_utf8_lossy(&rest(&mut stream).await?).into_owned();
    ensure!(response.is_empty() || response.starts_with("HTTP/1.1 408"), "{response}");
    ensure!(started.elapsed() < Duration::from_secs(4), "after {:?}", started.elapsed());
    wait_until_closed(&backend).await
}

async fn a_slow_upload_is_finished(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 20\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(b"x").await?;
        stream.flush().await?;
    }
    let response = String::from_utf8_lossy(&rest(&mut stream).await?).into_owned();
    ensure!(
        response.starts_with("HTTP/1.1 200") && response.contains("\"xxxxxxxxxxxxxxxxxxxx\""),
        "{response}"
    );
    Ok(())
}

async fn a_stalled_download_is_closed(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let request = connection.request(Method::GET, HOST, "/bytes/50000000").body(Full::default())?;
        let unread = connection.open(request).await?;
        wait_until_closed(&backend).await?;
        drop(unread);
    }
    Ok(())
}

async fn a_stalled_handshake_is_closed(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let started = Instant::now();
    // A ClientHello for a terminated host without a Finished.
    let mut hello = rustls::ClientConnection::new(
        std::sync::Arc::new(
            rustls::ClientConfig::builder()
                .with_root_certificates(webgateway_tests::authority::roots(setup.authority.root())?)
                .with_no_client_auth(),
        ),
        HOST.try_into()?,
    )?;
    let mut bytes = Vec::new();
    hello.write_tls(&mut bytes)?;
    let mut stream = webgateway_tests::client::tcp(setup.gateway.https()).await?;
    stream.write_all(&bytes).await?;
    let response = rest(&mut stream).await?;
    ensure!(response.first() == Some(&0x16), "it answers the hello");
    ensure!(started.elapsed() < Duration::from_secs(4), "after {:?}", started.elapsed());
    Ok(())
}

async fn an_early_response_is_forwarded(sandbox: &Sandbox) -> Result<()> {
    let raw =
        b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n".to_vec();
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::Respond(raw)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let request = connection.request(Method::POST, HOST, "/").body(Full::from(vec![b'x'; 3_000_000]))?;
        let reply = connection.send(request).await?.expect(413)?;
        ensure!(reply.text() == "no\n", "{reply:?}");
    }
    Ok(())
}
