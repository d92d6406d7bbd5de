//! Slow and stalled readers: a steady reader gets everything, and a stalled one occupies little memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::connection_ends::h2;
use crate::setup::standalone::StandaloneSetup;

scenarios![a_slow_but_steady_reader_gets_everything, stalled_readers_occupy_little_memory];

const HOST: &str = "app.gw.example";
/// More bytes than the kernel buffers.
const LENGTH: usize = 8 * 1024 * 1024;

/// Reads piece by piece; the whole download takes longer than the stall timeout.
async fn a_slow_but_steady_reader_gets_everything(sandbox: &Sandbox) -> Result<()> {
    const LIMITS: &str =
        "[limits]\nheader_timeout = \"700ms\"\nstall_timeout = \"700ms\"\nhandshake_timeout = \"700ms\"";
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = StandaloneSetup::start_with(
        sandbox,
        |file| {
            file.add_terminated(HOST, &[backend.address()]);
        },
        |config| config.more(LIMITS),
    )
    .await?;
    for is_h2 in [false, true] {
        let client = setup.client()?;
        let mut stream = if is_h2 { client.h2().tls(HOST).await? } else { client.tls(HOST).await? };
        let path = format!("/bytes/{LENGTH}");
        let request = if is_h2 {
            [h2::opening_wide(), h2::get(1, HOST, &path)].concat()
        } else {
            format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes()
        };
        stream.write_all(&request).await?;
        let (mut read, mut piece) = (0, vec![0; 64 * 1024]);
        while read < LENGTH {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let more = timeout(Duration::from_secs(10), stream.read(&mut piece)).await.context("it hangs")?;
            let more = more.with_context(|| format!("h2 {is_h2}: cut after {read}"))?;
            ensure!(more > 0, "h2 {is_h2}: ended after {read}");
            read += more;
        }
    }
    Ok(())
}

async fn stalled_readers_occupy_little_memory(sandbox: &Sandbox) -> Result<()> {
    const READERS: u64 = 300;
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    let client = setup.client()?;
    for _ in 0..50 {
        client.get(HOST, "/").await?.expect(200)?;
    }
    let before = setup.gateway.process().memory()?.now;
    let mut stalled = Vec::new();
    for _ in 0..READERS {
        let mut stream = client.tls(HOST).await?;
        stream.write_all(format!("GET /numbers/2000000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
        stalled.push(stream);
    }
    // Meanwhile an honest reader gets everything.
    let reply = client.get(HOST, &format!("/bytes/{LENGTH}")).await?.expect(200)?;
    ensure!(reply.body.len() == LENGTH);
    let each = (setup.gateway.process().memory()?.now.saturating_sub(before)) / READERS;
    ensure!(each <= 192 * 1024, "a stalled reader holds {each} bytes");
    Ok(())
}
