//! WebSockets and other upgrades through terminated routes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::{Client, TlsStream, rest};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::websocket::WebSocket;

use crate::setup::standalone::StandaloneSetup;
use crate::terminated_routes::header;

scenarios![
    a_websocket_echoes,
    bytes_sent_before_the_101_arrive,
    a_refused_upgrade_is_a_response,
    an_upgrade_on_a_broken_reused_connection_is_retried,
    a_request_with_a_body_is_not_upgraded,
    connect_is_refused,
    a_change_closes_none_of_1000_websockets,
    websockets_of_a_removed_route_are_closed,
    the_backends_close_reaches_the_client,
    open_websockets_count_as_connections,
];

const HOST: &str = "app.gw.example";

async fn with_app(sandbox: &Sandbox) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let setup =
        StandaloneSetup::start_with(sandbox, routes, |config| config.more("[limits]\ndrain = \"1s\""))
            .await?;
    Ok((setup, backend))
}

async fn open(client: &Client) -> Result<WebSocket<TlsStream<TcpStream>>> {
    WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await
}

async fn a_websocket_echoes(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut socket = open(&setup.client()?).await?;
    for text in ["a", "hello", &"x".repeat(200_000)] {
        socket.echo(text).await?;
    }
    Ok(())
}

async fn bytes_sent_before_the_101_arrive(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    // A masked text frame with two line ends that no head may have, sent before the 101 response.
    let mut early = format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    early.extend([0x81, 0x82, 0, 0, 0, 0, b'\n', b'\n']);
    stream.write_all(&early).await?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"\x81\x02\n\n") {
        let mut buffer = [0; 1024];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer));
        let read = read.await.with_context(|| format!("{}", String::from_utf8_lossy(&seen)))??;
        ensure!(read > 0, "closed after {}", String::from_utf8_lossy(&seen));
        seen.extend(&buffer[..read]);
    }
    ensure!(seen.starts_with(b"HTTP/1.1 101"));
    ensure!(String::from_utf8_lossy(&seen).contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    Ok(())
}

async fn a_refused_upgrade_is_a_response(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    let request = connection
        .request(Method::GET, HOST, "/status/403")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Full::default())?;
    connection.send(request).await?.expect(403)?;
    connection.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn an_upgrade_on_a_broken_reused_connection_is_retried(sandbox: &Sandbox) -> Result<()> {
    // The backend responds to the first request of each connection and breaks at the second.
    let refusal = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::RespondTimes(refusal, 1)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    connection.get(HOST, "/").await?.expect(200)?;
    let upgrade = connection
        .request(Method::GET, HOST, "/ws")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Full::from(""))?;
    connection.send(upgrade).await?.expect(200)?;
    ensure!(backend.requests() == 3, "{} requests", backend.requests());
    Ok(())
}

async fn a_request_with_a_body_is_not_upgraded(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    let request = connection
        .request(Method::POST, HOST, "/ws")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Full::from("abc"))?;
    let reply = connection.send(request).await?;
    ensure!(reply.status == 400 || reply.status == 200, "{reply:?}");
    ensure!(reply.status == 400 || header(&reply.json()?, "upgrade").is_empty(), "{reply:?}");
    ensure!(backend.requests() <= 1);
    Ok(())
}

async fn connect_is_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let request = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let response = String::from_utf8_lossy(&rest(&mut stream).await?).into_owned();
    ensure!(response.starts_with("HTTP/1.1 4") || response.starts_with("HTTP/1.1 501"), "{response}");
    ensure!(backend.requests() == 0);
    Ok(())
}

async fn a_change_closes_none_of_1000_websockets(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, backend) = with_app(sandbox).await?;
    let client = setup.client()?;
    let mut opening = JoinSet::new();
    let mut sockets = Vec::new();
    for started in 0..1000 {
        let client = client.clone();
        opening.spawn(async move { open(&client).await });
        if started >= 50 {
            sockets.push(opening.join_next().await.context("none")???);
        }
    }
    while let Some(opened) = opening.join_next().await {
        sockets.push(opened??);
    }
    ensure!(sockets.len() == 1000 && backend.open() >= 1000, "{} open", backend.open());

    let begun = Instant::now();
    let address = backend.address();
    for n in 0..10 {
        setup.change(|file| {
            file.add_terminated(&format!("new{n}.gw.example"), &[address]);
        })?;
        webgateway_tests::wait::eventually("the change is applied", Duration::from_secs(5), async || {
            client.get(&format!("new{n}.gw.example"), "/").await?.expect(200)
        })
        .await?;
    }
    eprintln!("10 changes with 1,000 open WebSockets took {:?}", begun.elapsed());
    for socket in &mut sockets {
        socket.echo("still here").await?;
    }
    Ok(())
}

async fn websockets_of_a_removed_route_are_closed(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, backend) = with_app(sandbox).await?;
    let address = backend.address();
    setup.change(|file| {
        file.add_terminated("stays.gw.example", &[address]);
    })?;
    let client = setup.client()?;
    webgateway_tests::wait::eventually("both routes are served", Duration::from_secs(5), async || {
        client.get("stays.gw.example", "/").await?.expect(200)
    })
    .await?;
    let stream = client.tls("stays.gw.example").await?;
    let mut stays = WebSocket::open(stream, "stays.gw.example", "/ws").await?;
    let mut goes = open(&client).await?;
    goes.echo("here").await?;
    setup.change(|file| {
        file.remove_route(HOST);
    })?;
    goes.closed().await?;
    stays.echo("still here").await?;
    client.get(HOST, "/").await?.expect(503)?;
    Ok(())
}

async fn the_backends_close_reaches_the_client(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let mut socket = open(&setup.client()?).await?;
    socket.echo("here").await?;
    drop(backend);
    socket.closed().await?;
    Ok(())
}

async fn open_websockets_count_as_connections(sandbox: &Sandbox) -> Result<()> {
    const LIMIT: usize = 6;
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let limits = format!("[limits]\nconnections = {LIMIT}");
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.more(&limits)).await?;
    let client = setup.client()?;
    let mut sockets = Vec::new();
    // A connection above the limit waits in the kernel's queue until another one closes.
    while let Ok(opened) = tokio::time::timeout(Duration::from_secs(1), open(&client)).await {
        sockets.push(opened?);
        ensure!(sockets.len() <= LIMIT, "{} are open, of {LIMIT} allowed", sockets.len());
    }
    ensure!(!sockets.is_empty());
    for socket in &mut sockets {
        socket.echo("here").await?;
    }
    drop(sockets.pop());
    open(&client).await.context("a place that became free")?.echo("here").await
}
