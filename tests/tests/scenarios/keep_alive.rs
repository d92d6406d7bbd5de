//! Backends that close idle connections soon, and say so, behind a long way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use webgateway_tests::delay::Delay;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![no_request_meets_a_connection_that_its_backend_is_closing];

const HOST: &str = "app.gw.example";
const ROUND_TRIP: Duration = Duration::from_millis(150);
const IDLE: Duration = Duration::from_secs(2);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nok";

/// Answers requests over one connection, until none comes for [`IDLE`].
async fn serve(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if timeout(IDLE, stream.read_line(&mut line)).await?? == 0 {
                return Ok(());
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        stream.write_all(ANSWER).await?;
    }
}

/// Clients that pause for about as long as the backend waits, so that some come just before it closes, some just after.
async fn no_request_meets_a_connection_that_its_backend_is_closing(sandbox: &Sandbox) -> Result<()> {
    const CLIENTS: u64 = 50;
    const POSTS: u64 = 5;
    let listener = TcpListener::bind(overlay(2, 8080)).await?;
    let relay = Delay::between(overlay(1, 8080), overlay(2, 8080), ROUND_TRIP).await?;
    let mut backend = JoinSet::new();
    backend.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            // It ends when nothing came for long enough.
            connections.spawn(async move { drop(serve(stream).await) });
        }
    });
    let setup = StandaloneSetup::start_with(
        sandbox,
        |file| {
            file.add_terminated(HOST, &[relay.address()]);
        },
        // Only what the backend says makes it give up a connection sooner.
        |config| config.more("[limits]\nbackend_idle = \"60s\""),
    )
    .await?;
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let client = setup.client()?;
        clients.spawn(async move {
            let mut connection = client.connect(HOST).await?;
            let mut failed = 0;
            for round in 0..POSTS {
                let request = connection.request(Method::POST, HOST, "/").body(Full::from("hello"))?;
                failed += u64::from(connection.send(request).await?.status != 200);
                // From 1.6 s to 2.2 s.
                sleep(Duration::from_millis(1600 + (n * 7 + round * 131) % 600)).await;
            }
            anyhow::Ok(failed)
        });
    }
    let mut failed = 0;
    while let Some(ended) = clients.join_next().await {
        failed += ended?.context("a client")?;
    }
    ensure!(failed == 0, "{failed} of {} POSTs failed", CLIENTS * POSTS);
    Ok(())
}
