//! Slow and stalled readers: a steady reader gets everything, and a stalled one occupies little memory.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::connection_ends::h2;
use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_slow_but_steady_reader_gets_everything,
    stalled_readers_occupy_little_memory,
    beyond_the_backlog_those_that_stall_longest_are_cut,
];

const HOST: &str = "app.gw.example";
/// The receive buffer of stalled clients, so that they do not use up the memory that the kernel has for TCP.
const RECEIVE_BUFFER: u32 = 16 * 1024;
/// The size of a response that stalls: more than the kernel holds between the client and the gateway, and little enough
/// that all of them fit into its memory for TCP, which other scenarios need too.
const STALLED: usize = 400_000;
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

/// Stalls readers over HTTP/1.1, and over HTTP/2 with an exhausted window and with a full socket buffer.
async fn stalled_readers_occupy_little_memory(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    for _ in 0..50 {
        setup.client()?.get(HOST, "/").await?.expect(200)?;
    }
    let mut stalled = Vec::new();
    for (kind, connections, streams) in [
        ("http/1.1", 150, 1),
        // Enough of them that what the process allocates once, a few MiB, matters little for each.
        ("h2, one stream", 300, 1),
        ("h2, many streams", 5, 100),
        ("h2, many streams, small windows", 13, 100),
    ] {
        let client = setup.client()?.receive_buffer(RECEIVE_BUFFER);
        let client = if kind == "http/1.1" { client } else { client.h2() };
        let path = format!("/bytes/{STALLED}");
        let mut request = match kind {
            "http/1.1" => format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes(),
            "h2, many streams, small windows" => h2::opening(),
            _ => h2::opening_wide(),
        };
        if kind != "http/1.1" {
            request.extend((0..streams).flat_map(|n| h2::get(2 * n + 1, HOST, &path)));
        }
        let before = stable_memory(&mut setup).await?;
        for _ in 0..connections {
            let mut stream = client.tls(HOST).await?;
            stream.write_all(&request).await?;
            stalled.push(stream);
        }
        let each = stable_memory(&mut setup).await?.saturating_sub(before) / u64::from(connections * streams);
        ensure!(each <= 144 * 1024, "{kind}: a stalled reader holds {each} bytes");
    }
    // Meanwhile honest readers get everything.
    for client in [setup.client()?, setup.client()?.h2()] {
        let reply = client.get(HOST, &format!("/bytes/{LENGTH}")).await?.expect(200)?;
        ensure!(reply.body.len() == LENGTH);
    }
    Ok(())
}

/// Stalls 2,000 readers, of which the limit allows a part, over HTTP/1.1 and HTTP/2.
async fn beyond_the_backlog_those_that_stall_longest_are_cut(sandbox: &Sandbox) -> Result<()> {
    const LIMIT: u64 = 16 * 1024 * 1024;
    /// A connection without a response, in a debug build.
    const CONNECTION: u64 = 88 * 1024;
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start_with(
        sandbox,
        |file| {
            file.add_terminated(HOST, &[backend.address()]);
        },
        |config| config.workers(1).more(&format!("[limits]\nbacklog_bytes = {LIMIT}")),
    )
    .await?;
    setup.client()?.get(HOST, "/").await?.expect(200)?;
    let before = stable_memory(&mut setup).await?;
    let path = &format!("/bytes/{STALLED}");
    let honest = setup.client()?;
    // It begins before the others and reads steadily while they stall.
    let mut steady = honest.tls(HOST).await?;
    steady
        .write_all(format!("GET /bytes/{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 8 * LENGTH).as_bytes())
        .await?;
    let (mut read, mut piece) = (0, vec![0; 32 * 1024]);
    let mut stalled = Vec::new();
    for n in 0..1000 {
        let one = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes();
        let many: Vec<u8> = (0..50).flat_map(|stream| h2::get(2 * stream + 1, HOST, path)).collect();
        let client = setup.client()?.receive_buffer(RECEIVE_BUFFER);
        let (client, request) = match n {
            20.. => (client, one),
            10.. => (client.h2(), [h2::opening_wide(), many].concat()),
            _ => (client.h2(), [h2::opening(), many].concat()),
        };
        let mut stream = client.tls(HOST).await?;
        stream.write_all(&request).await?;
        stalled.push(stream);
        let got =
            timeout(Duration::from_secs(10), steady.read_exact(&mut piece)).await.context("it hangs")?;
        ensure!(got.is_ok(), "the steady reader was cut after {read}, with {n} stalled: {got:?}");
        read += piece.len();
    }
    let growth = stable_memory(&mut setup).await?.saturating_sub(before);
    let bound = 2 * LIMIT + CONNECTION * u64::try_from(stalled.len())?;
    ensure!(growth <= bound, "{} stalled readers hold {growth} bytes, beyond {bound}", stalled.len());
    let cuts = setup.gateway.metrics().await?;
    let cuts = cuts.lines().find_map(|line| line.strip_prefix("webgateway_stalled_responses_cut_total "));
    ensure!(cuts.context("no such metric")?.parse::<u32>()? >= 300, "{cuts:?} responses were cut");
    let newest = rest_of(&mut stalled.pop().context("none")?).await?;
    ensure!(newest > STALLED, "the newest one was cut after {newest} bytes");
    let oldest = rest_of(&mut stalled.swap_remove(20)).await?;
    ensure!(oldest < STALLED, "the oldest one got {oldest} bytes");
    for client in [setup.client()?, setup.client()?.h2()] {
        let reply = client.get(HOST, &format!("/bytes/{LENGTH}")).await?.expect(200)?;
        ensure!(reply.body.len() == LENGTH);
    }
    Ok(())
}

/// Reads until the response of a connection is complete or the connection ends, and returns the number of bytes.
async fn rest_of(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<usize> {
    let (mut read, mut piece) = (0, vec![0; 64 * 1024]);
    loop {
        match timeout(Duration::from_secs(10), stream.read(&mut piece)).await.context("it hangs")? {
            Ok(more) if more > 0 => read += more,
            _ => return Ok(read),
        }
        if read > STALLED {
            return Ok(read);
        }
    }
}

/// Waits until the gateway's memory is stable, and returns it, in bytes.
async fn stable_memory(setup: &mut StandaloneSetup) -> Result<u64> {
    const SAME: usize = 4;
    let (mut last, mut same) = (0, 0);
    for _ in 0..200 {
        let now = setup.gateway.process().memory()?.now;
        same = if now.abs_diff(last) <= 64 * 1024 { same + 1 } else { 0 };
        if same == SAME {
            return Ok(now);
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the gateway's memory does not become stable: {last} bytes")
}
