//! Hostile HTTP clients: aborted, stalled, slow and contradictory requests, and stalled readers.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use webgateway_tests::client::{TlsStream, rest, tcp};
use webgateway_tests::load::Load;
use webgateway_tests::websocket::WebSocket;

use crate::hostile::add;
use crate::targets::{HOST, Targets};

/// Contradictory heads.
const CONTRADICTIONS: [&str; 4] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Content-Length : 5\r\n\r\nhello",
];

/// Adds clients of every kind.
pub(crate) fn start(load: &mut Load, targets: &Targets) {
    let millis = Duration::from_millis;
    add(load, targets, 2, millis(100), an_aborted_request);
    add(load, targets, 2, millis(200), an_aborted_upload);
    add(load, targets, 30, millis(1000), a_stalled_reader);
    add(load, targets, 10, millis(1000), a_stalled_h2_reader);
    add(load, targets, 20, millis(1000), a_stalled_upload);
    add(load, targets, 10, millis(1000), a_dripping_head);
    add(load, targets, 2, millis(500), a_cancelled_burst);
    add(load, targets, 2, millis(200), an_aborted_websocket);
    add(load, targets, 1, millis(100), a_contradiction);
}

async fn request(targets: &Targets, head: &str) -> Result<TlsStream<TcpStream>> {
    let mut stream = targets.client.tls(HOST).await?;
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
}

/// Resets the connection before or during the response.
async fn an_aborted_request(targets: &Targets, n: usize) -> Result<()> {
    let path = if n.is_multiple_of(2) { "/slow/2000" } else { "/numbers/3000000" };
    let mut stream = request(targets, &get(path)).await?;
    if n.is_multiple_of(3) {
        timeout(Duration::from_secs(1), stream.read_exact(&mut vec![0; 1 + n * 997 % 500_000])).await??;
    }
    stream.get_ref().0.set_zero_linger()?;
    Ok(())
}

async fn an_aborted_upload(targets: &Targets, n: usize) -> Result<()> {
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n");
    let mut stream = request(targets, &head).await?;
    stream.write_all(&vec![b'x'; n * 997 % 900_000]).await?;
    if n.is_multiple_of(2) {
        stream.get_ref().0.set_zero_linger()?;
    }
    Ok(())
}

/// Does not read the response until the gateway closes the connection, or for some seconds.
async fn a_stalled_reader(targets: &Targets, n: usize) -> Result<()> {
    let stream = request(targets, &get("/numbers/3000000")).await?;
    sleep(Duration::from_secs(if n.is_multiple_of(3) { 25 } else { 2 })).await;
    drop(stream);
    Ok(())
}

async fn a_stalled_h2_reader(targets: &Targets, n: usize) -> Result<()> {
    let mut connection = targets.client.clone().h2().connect(HOST).await?;
    let mut unread = Vec::new();
    for _ in 0..5 {
        let request = connection.request(Method::GET, HOST, "/numbers/3000000").body(Full::default())?;
        unread.push(connection.open(request).await?);
    }
    sleep(Duration::from_secs(if n.is_multiple_of(3) { 25 } else { 2 })).await;
    Ok(())
}

async fn a_stalled_upload(targets: &Targets, n: usize) -> Result<()> {
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\nhello");
    let mut stream = request(targets, &head).await?;
    timeout(Duration::from_secs(if n.is_multiple_of(3) { 25 } else { 2 }), rest(&mut stream)).await?.map(drop)
}

/// Sends a byte every tenth of a second, on both ports.
async fn a_dripping_head(targets: &Targets, n: usize) -> Result<()> {
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: {}", "x".repeat(50 + n % 100));
    let mut plain = tcp(targets.http).await?;
    let mut stream = targets.client.tls(HOST).await?;
    for byte in head.bytes() {
        plain.write_all(&[byte]).await?;
        stream.write_all(&[byte]).await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Sends bursts of requests and cancels them, until the connection is closed or a few times.
async fn a_cancelled_burst(targets: &Targets, n: usize) -> Result<()> {
    const BURST: usize = 100;
    let mut connection = targets.client.clone().h2().connect(HOST).await?;
    for _ in 0..1 + n % 10 {
        let slow = |_| connection.request(Method::GET, HOST, "/slow/3000").body(Full::default());
        let requests = (0..BURST).map(slow).collect::<Result<_, _>>()?;
        if let Ok(ended) = timeout(Duration::from_millis(20), connection.send_concurrently(requests)).await {
            return ended.map(drop);
        }
    }
    Ok(())
}

async fn an_aborted_websocket(targets: &Targets, n: usize) -> Result<()> {
    let stream = targets.client.tls(HOST).await?;
    let mut socket =
        WebSocket::open(stream, HOST, if n.is_multiple_of(3) { "/ws/1000" } else { "/ws" }).await?;
    socket.echo(&"x".repeat(n % 5000)).await
}

async fn a_contradiction(targets: &Targets, n: usize) -> Result<()> {
    let head = CONTRADICTIONS[n % CONTRADICTIONS.len()];
    let mut stream = request(targets, &format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{head}")).await?;
    timeout(Duration::from_secs(2), rest(&mut stream)).await?.map(drop)
}
