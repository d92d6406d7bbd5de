//! Visitors that read slowly, or not at all: a steady one is served to the end, and a stalled one holds little.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;

use crate::endings::h2;
use crate::standalone::Standalone;

stories![a_slow_but_steady_reader_is_served, stalled_readers_hold_little];

const HOST: &str = "app.gw.example";
/// More than the kernel takes ahead.
const LENGTH: usize = 8 * 1024 * 1024;

/// Reads a piece at a time, each later than the limits allow for all of them.
async fn a_slow_but_steady_reader_is_served(scene: &Scene) -> Result<()> {
    const LIMITS: &str =
        "[limits]\nheader_timeout = \"700ms\"\nstall_timeout = \"700ms\"\nhandshake_timeout = \"700ms\"";
    let backend = Backend::http(overlay(1, 8080)).await?;
    let world = Standalone::start_with(
        scene,
        |file| {
            file.terminated(HOST, &[backend.address()]);
        },
        |setup| setup.more(LIMITS),
    )
    .await?;
    for is_h2 in [false, true] {
        let visitor = world.visitor()?;
        let mut stream = if is_h2 { visitor.h2().tls(HOST).await? } else { visitor.tls(HOST).await? };
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

/// Over HTTP/1.1, and over HTTP/2 as those whose window is used up and those that take nothing from the socket.
async fn stalled_readers_hold_little(scene: &Scene) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut world = Standalone::start(scene, |file| {
        file.terminated(HOST, &[backend.address()]);
    })
    .await?;
    for _ in 0..50 {
        world.visitor()?.get(HOST, "/").await?.expect(200)?;
    }
    let mut stalled = Vec::new();
    for (kind, connections, streams) in [
        ("http/1.1", 150, 1),
        ("h2, one stream", 100, 1),
        ("h2, many streams", 5, 100),
        ("h2, many streams, small windows", 13, 100),
    ] {
        let visitor = world.visitor()?;
        let visitor = if kind == "http/1.1" { visitor } else { visitor.h2() };
        let path = format!("/bytes/{}", if streams == 1 { 1_500_000 } else { 400_000 });
        let mut request = match kind {
            "http/1.1" => format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes(),
            "h2, many streams, small windows" => h2::opening(),
            _ => h2::opening_wide(),
        };
        if kind != "http/1.1" {
            request.extend((0..streams).flat_map(|n| h2::get(2 * n + 1, HOST, &path)));
        }
        let before = settled(&mut world).await?;
        for _ in 0..connections {
            let mut stream = visitor.tls(HOST).await?;
            stream.write_all(&request).await?;
            stalled.push(stream);
        }
        let each = settled(&mut world).await?.saturating_sub(before) / u64::from(connections * streams);
        ensure!(each <= 192 * 1024, "{kind}: a stalled reader holds {each} bytes");
    }
    // Honest readers are served whole among them.
    for visitor in [world.visitor()?, world.visitor()?.h2()] {
        let reply = visitor.get(HOST, &format!("/bytes/{LENGTH}")).await?.expect(200)?;
        ensure!(reply.body.len() == LENGTH);
    }
    Ok(())
}

/// Returns the gateway's memory once it grows no more.
async fn settled(world: &mut Standalone) -> Result<u64> {
    const SAME: usize = 4;
    let (mut last, mut same) = (0, 0);
    for _ in 0..200 {
        let now = world.gateway.process().memory()?.now;
        same = if now.abs_diff(last) <= 64 * 1024 { same + 1 } else { 0 };
        if same == SAME {
            return Ok(now);
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the gateway's memory goes on growing: {last} bytes")
}
