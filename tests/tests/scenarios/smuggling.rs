//! Request smuggling: requests of ambiguous length are refused and never forwarded.

use anyhow::{Result, ensure};
use http::{Method, Request};
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::rest;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    ambiguous_requests_are_refused,
    a_large_head_is_refused,
    too_many_header_fields_are_refused,
    a_large_head_over_h2_is_refused,
    connect_over_h2_is_refused,
];

const HOST: &str = "app.gw.example";

async fn with_app(sandbox: &Sandbox) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    Ok((setup, backend))
}

/// Sends these bytes, followed by a request that must not be served, and returns the response.
async fn send_raw(setup: &StandaloneSetup, request: &str) -> Result<String> {
    let mut stream = setup.client()?.tls(HOST).await?;
    let follow = format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    // The gateway may cut the connection before everything is sent.
    drop(stream.write_all(format!("{request}{follow}").as_bytes()).await);
    Ok(String::from_utf8_lossy(&rest(&mut stream).await?).into_owned())
}

async fn ambiguous_requests_are_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let doubtful = [
        ("both lengths", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody"),
        ("a signed length", "Content-Length: +4\r\n\r\nbody"),
        ("a length in hex", "Content-Length: 0x4\r\n\r\nbody"),
        ("a list of lengths", "Content-Length: 4, 5\r\n\r\nbody"),
        ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a list of codings", "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("a folded line", "X-A: b\r\n c\r\n\r\n"),
        ("a bare CR", "X-A: b\rc\r\n\r\n"),
        ("a zero byte", "X-A: b\0c\r\n\r\n"),
        ("a second host", "Host: evil.example\r\n\r\n"),
        ("a bad chunk", "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"),
    ];
    let mut taken = Vec::new();
    for (what, tail) in doubtful {
        let response = send_raw(&setup, &format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{tail}")).await?;
        let refused = response.starts_with("HTTP/1.1 400") || response.is_empty();
        if !refused || response.matches("HTTP/1.1 ").count() > 1 || response.contains("smuggled") {
            taken.push(format!("{what}: {response}"));
        }
    }
    ensure!(taken.is_empty(), "{}", taken.join("\n"));
    let first_lines = [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET /",
        "GET / HTTP/2.0",
        " GET / HTTP/1.1",
        "G\0T / HTTP/1.1",
    ];
    for line in first_lines {
        let response = send_raw(&setup, &format!("{line}\r\nHost: {HOST}\r\n\r\n")).await?;
        let refused = ["400", "505"].iter().any(|status| response.starts_with(&format!("HTTP/1.1 {status}")));
        ensure!(refused || response.is_empty(), "{line:?}: {response}");
    }
    // A request with an invalid chunk is already being forwarded; the request after it does not reach the backend.
    ensure!(backend.requests() <= 1, "{} requests reached the backend", backend.requests());
    Ok(())
}

async fn a_large_head_is_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let response =
        send_raw(&setup, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: {}\r\n\r\n", "x".repeat(1 << 20)))
            .await?;
    ensure!(
        response.starts_with("HTTP/1.1 431") || response.starts_with("HTTP/1.1 400") || response.is_empty(),
        "{response}"
    );
    ensure!(backend.requests() == 0);
    Ok(())
}

async fn too_many_header_fields_are_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let response =
        send_raw(&setup, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "a: b\r\n".repeat(5000)))
            .await?;
    ensure!(response.starts_with("HTTP/1.1 4") || response.is_empty(), "{response}");
    ensure!(backend.requests() == 0);
    Ok(())
}

async fn a_large_head_over_h2_is_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.h2().connect(HOST).await?;
    let large = connection.request(Method::GET, HOST, "/").header("x-a", "x".repeat(200_000));
    let reply = connection.send(large.body(Full::default())?).await;
    ensure!(reply.as_ref().map_or(true, |reply| reply.status == 431), "{reply:?}");
    let mut many = connection.request(Method::GET, HOST, "/");
    for n in 0..2000 {
        many = many.header(format!("x-{n}"), "y");
    }
    let reply = setup.client()?.h2().connect(HOST).await?.send(many.body(Full::default())?).await;
    ensure!(reply.as_ref().map_or(true, |reply| reply.status == 431), "{reply:?}");
    ensure!(backend.requests() == 0);
    Ok(())
}

async fn connect_over_h2_is_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.h2().connect(HOST).await?;
    let connect =
        Request::builder().method(Method::CONNECT).uri(format!("{HOST}:443")).body(Full::default())?;
    let refused = connection.send(connect).await;
    ensure!(
        refused.as_ref().map_or(true, |reply| reply.status.is_client_error() || reply.status == 501),
        "{refused:?}"
    );
    ensure!(backend.connections() == 0);
    Ok(())
}
