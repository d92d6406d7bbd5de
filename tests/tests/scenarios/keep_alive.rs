//! Distant backends that announce a short keep-alive timeout.

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

scenarios![no_request_uses_a_connection_that_the_backend_is_closing];

const HOST: &str = "app.gw.example";
const ROUND_TRIP: Duration = Duration::from_millis(150);
const IDLE: Duration = Duration::from_secs(2);
/// The time that the backend waits beyond its announced timeout, as a busy machine delays requests.
const GRACE: Duration = Duration::from_millis(300);
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nok";

/// Responds to requests on one connection until none arrives for [`IDLE`] and [`GRACE`].
async fn serve(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if timeout(IDLE + GRACE, stream.read_line(&mut line)).await?? == 0 {
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
        stream.write_all(RESPONSE).await?;
    }
}

/// Tests clients that pause for about the backend's timeout, so that some requests arrive just before it closes, some
/// just after.
async fn no_request_uses_a_connection_that_the_backend_is_closing(sandbox: &Sandbox) -> Result<()> {
    const CLIENTS: u64 = 50;
    const POSTS: u64 = 5;
    let listener = TcpListener::bind(overlay(2, 8080)).await?;
    let relay = Delay::between(overlay(1, 8080), overlay(2, 8080), ROUND_TRIP).await?;
    let mut backend = JoinSet::new();
    backend.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            // An idle timeout ends the connection.
            connections.spawn(async move { drop(serve(stream).await) });
        }
    });
    let setup = StandaloneSetup::start_with(
        sandbox,
        |file| {
            file.add_terminated(HOST, &[relay.address()]);
        },
        // Only the backend's Keep-Alive field shortens the idle timeout.
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
                // Pauses are between 1.6 s and 2.6 s.
                sleep(Duration::from_millis(1600 + (n * 17 + round * 131) % 1000)).await;
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
