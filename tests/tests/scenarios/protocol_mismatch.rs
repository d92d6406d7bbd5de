//! Bytes that are not TLS on :443 or not HTTP on :80: the connection is closed and counted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{exchange, rest, tcp};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    garbage_is_closed_and_other_clients_are_served,
    a_silent_connection_is_closed_after_the_timeout,
    a_slow_client_hello_is_closed_after_the_timeout,
    an_endless_client_hello_is_closed,
    garbage_on_port_80_is_refused,
    an_early_close_is_ignored,
    a_refused_client_hello_is_counted,
];

const HOST: &str = "app.gw.example";

async fn with_app(sandbox: &Sandbox) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let limits = "[limits]\nhello_timeout = \"700ms\"\nheader_timeout = \"700ms\"";
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.more(limits)).await?;
    Ok((setup, backend))
}

async fn garbage_is_closed_and_other_clients_are_served(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_app(sandbox).await?;
    let mut kept = setup.client()?.connect(HOST).await?;
    let zeros = vec![0; 100_000];
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: app.gw.example\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        &zeros,
    ];
    for bytes in garbage {
        let response = exchange(setup.gateway.https(), bytes).await?;
        ensure!(response.len() < 300, "{}", String::from_utf8_lossy(&response));
        kept.get(HOST, "/").await?.expect(200)?;
    }
    setup.gateway.process().ensure_running()?;
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn a_silent_connection_is_closed_after_the_timeout(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let started = Instant::now();
    let mut silent = tcp(setup.gateway.https()).await?;
    rest(&mut silent).await?;
    let took = started.elapsed();
    ensure!((Duration::from_millis(500)..Duration::from_secs(3)).contains(&took), "cut after {took:?}");
    Ok(())
}

async fn a_slow_client_hello_is_closed_after_the_timeout(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let started = Instant::now();
    let mut dripping = tcp(setup.gateway.https()).await?;
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 500]].concat();
    for byte in hello {
        // Progress does not extend the deadline.
        if started.elapsed() > Duration::from_secs(3) || dripping.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(started.elapsed() < Duration::from_secs(3), "still open after {:?}", started.elapsed());
    Ok(())
}

async fn an_endless_client_hello_is_closed(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    // A handshake message with a length of 16 MiB, in full records.
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    record.extend([1, 0xff, 0xff, 0xff]);
    record.resize(5 + 0x4000, 7);
    let mut follow = vec![0x16, 3, 1, 0x40, 0];
    follow.resize(5 + 0x4000, 7);
    let started = Instant::now();
    let mut stream = tcp(setup.gateway.https()).await?;
    let mut written = stream.write_all(&record).await;
    let mut sent = record.len();
    while written.is_ok() && sent < 64 << 20 {
        written = stream.write_all(&follow).await;
        sent += follow.len();
    }
    ensure!(written.is_err(), "64 MiB of hello were taken");
    ensure!(started.elapsed() < Duration::from_secs(5));
    Ok(())
}

async fn garbage_on_port_80_is_refused(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_app(sandbox).await?;
    let zeros = vec![0; 200_000];
    let garbage: [&[u8]; 4] = [b"\x16\x03\x01\x00\x05hello", b"SSH-2.0-x\r\n\r\n", b"GET\r\n\r\n", &zeros];
    for bytes in garbage {
        let response = exchange(setup.gateway.http(), bytes).await?;
        let response = String::from_utf8_lossy(&response).into_owned();
        ensure!(response.is_empty() || response.starts_with("HTTP/1.1 4"), "{response}");
    }
    let started = Instant::now();
    rest(&mut tcp(setup.gateway.http()).await?).await?;
    ensure!(started.elapsed() < Duration::from_secs(3), "silence is cut");
    setup.gateway.process().ensure_running()?;
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn an_early_close_is_ignored(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = with_app(sandbox).await?;
    for _ in 0..200 {
        drop(tcp(setup.gateway.https()).await?);
        drop(tcp(setup.gateway.http()).await?);
    }
    setup.gateway.process().ensure_running()?;
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn a_refused_client_hello_is_counted(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let before = setup.gateway.metrics().await?;
    exchange(setup.gateway.https(), b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").await?;
    drop(setup.client()?.tls("unknown.example.org").await);
    let after = setup.gateway.metrics().await?;
    let changed: Vec<&str> = after.lines().filter(|line| !before.contains(*line)).collect();
    let counts = changed.iter().filter(|line| line.contains("hello") || line.contains("refus")).count();
    ensure!(counts >= 2, "no counter has changed: {changed:#?}");
    Ok(())
}
