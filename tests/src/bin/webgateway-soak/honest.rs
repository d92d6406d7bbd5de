//! Honest clients of every kind, which check every response byte by byte.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use webgateway_tests::client::{Client, Connection, exchange, rest};
use webgateway_tests::load::Load;
use webgateway_tests::websocket::WebSocket;

use crate::targets::{DNS, HOST, PASSTHROUGH, Targets, check_numbers};

/// The number of requests over one connection.
const REQUESTS_PER_CONNECTION: u64 = 100;
/// A DNS query with the id 4711 for the SOA of `_acme-challenge.gw.example`.
const QUESTION: &[u8] =
    b"\x12\x67\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0f_acme-challenge\x02gw\x07example\x00\x00\x06\x00\x01";

/// An honest client and its connection.
struct HonestClient {
    targets: Targets,
    tls_client: Client,
    connection: Option<Connection>,
    host: &'static str,
    requests: u64,
}

impl HonestClient {
    fn new(targets: &Targets, client: &Client, host: &'static str) -> Self {
        Self { targets: targets.clone(), tls_client: client.clone(), connection: None, host, requests: 0 }
    }

    /// Returns the connection, a new one after every [`REQUESTS_PER_CONNECTION`] requests.
    async fn connection(&mut self) -> Result<&mut Connection> {
        self.requests += 1;
        if self.requests.is_multiple_of(REQUESTS_PER_CONNECTION) {
            self.connection = None;
        }
        if self.connection.is_none() {
            self.connection = Some(self.tls_client.connect(self.host).await?);
        }
        self.connection.as_mut().context("it is there")
    }

    /// Returns a pseudo-random size of at most `most` bytes.
    fn size(&self, most: usize) -> usize {
        // A number below 2^32 fits.
        (self.requests.wrapping_mul(2_654_435_761) % most as u64) as usize
    }
}

/// Adds clients of every kind.
pub(crate) fn start(load: &mut Load, targets: &Targets) {
    let Targets { client, passthrough_client, .. } = targets;
    let h2 = client.clone().h2();
    let of = |client: &Client, host| HonestClient::new(targets, client, host);
    for tls in [client, client, &h2] {
        load.add_client(of(tls, HOST), get);
        load.add_client(of(tls, HOST), upload);
    }
    load.add_client(of(passthrough_client, PASSTHROUGH), get);
    load.add_client(of(passthrough_client, PASSTHROUGH), upload);
    load.add_client(of(&h2, HOST), page);
    load.add_client(of(&h2, HOST), page_that_is_left);
    load.add_client(of(client, HOST), download);
    load.add_client(of(&h2, HOST), download);
    load.add_client(of(passthrough_client, PASSTHROUGH), download);
    load.add_client(of(client, HOST), half_close);
    load.add_client(of(client, HOST), websocket);
    load.add_client(of(client, HOST), redirect);
    load.add_client(of(client, HOST), question);
}

async fn get(client: &mut HonestClient) -> Result<()> {
    sleep(Duration::from_millis(80)).await;
    let (host, size) = (client.host, client.size(16 * 1024));
    let reply = client.connection().await?.get(host, &format!("/numbers/{size}")).await;
    check_numbers(&reply.context("get")?.expect(200)?.body, size).context("get")
}

async fn upload(client: &mut HonestClient) -> Result<()> {
    sleep(Duration::from_millis(400)).await;
    let (host, size) = (client.host, client.size(512 * 1024));
    let body: String = (0..size).map(|at| char::from(b'a' + (at / 7 % 26) as u8)).collect();
    let connection = client.connection().await?;
    let request = connection.request(Method::POST, host, "/echo").body(Full::from(body.clone()))?;
    let seen = connection.send(request).await.context("upload")?.expect(200)?.json()?;
    ensure!(seen["body"].as_str() == Some(&*body), "upload: not what was sent");
    Ok(())
}

/// Sends many requests over one connection concurrently.
async fn page(client: &mut HonestClient) -> Result<()> {
    const REQUESTS: usize = 30;
    sleep(Duration::from_millis(1000)).await;
    let (host, size) = (client.host, client.size(64 * 1024));
    let connection = client.connection().await?;
    let get =
        |n| connection.request(Method::GET, host, &format!("/numbers/{}", size + n)).body(Full::default());
    let requests = (0..REQUESTS).map(get).collect::<Result<_, _>>()?;
    for (n, reply) in connection.send_concurrently(requests).await.context("page")?.into_iter().enumerate() {
        check_numbers(&reply.expect(200)?.body, size + n).context("page")?;
    }
    Ok(())
}

/// Cancels the requests of a page, and sends the next one over the same connection.
async fn page_that_is_left(client: &mut HonestClient) -> Result<()> {
    const REQUESTS: usize = 25;
    sleep(Duration::from_secs(2)).await;
    let host = client.host;
    let connection = client.connection().await?;
    let slow = |_| connection.request(Method::GET, host, "/slow/3000").body(Full::default());
    let requests = (0..REQUESTS).map(slow).collect::<Result<_, _>>()?;
    let left = timeout(Duration::from_millis(50), connection.send_concurrently(requests)).await;
    ensure!(left.is_err(), "page that is left: it was answered: {left:?}");
    let reply = connection.get(host, "/numbers/5000").await.context("page that is left")?;
    check_numbers(&reply.expect(200)?.body, 5000)
}

async fn download(client: &mut HonestClient) -> Result<()> {
    const SIZE: usize = 3 << 20;
    sleep(Duration::from_secs(2)).await;
    let host = client.host;
    let reply = client.connection().await?.get(host, &format!("/numbers/{SIZE}")).await;
    check_numbers(&reply.context("download")?.expect(200)?.body, SIZE).context("download")
}

async fn half_close(client: &mut HonestClient) -> Result<()> {
    sleep(Duration::from_millis(300)).await;
    let mut stream = client.tls_client.tls(client.host).await?;
    let request = format!("GET /slow/50 HTTP/1.1\r\nHost: {}\r\n\r\n", client.host);
    stream.write_all(request.as_bytes()).await?;
    stream.shutdown().await?;
    let answer = String::from_utf8(rest(&mut stream).await?)?;
    ensure!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"), "half-close: {answer:?}");
    Ok(())
}

async fn websocket(client: &mut HonestClient) -> Result<()> {
    let stream = client.tls_client.tls(client.host).await?;
    let mut socket = WebSocket::open(stream, client.host, "/ws").await.context("websocket")?;
    for n in 0..10 {
        socket.echo(&format!("{n} {}", "x".repeat(n * 500))).await.context("websocket")?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn redirect(client: &mut HonestClient) -> Result<()> {
    sleep(Duration::from_millis(200)).await;
    let request = format!("GET /a?b HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(exchange(client.targets.http, request.as_bytes()).await?)?;
    let location = format!("location: https://{HOST}/a?b\r\n");
    let is_right = answer.starts_with("HTTP/1.1 308") && answer.to_ascii_lowercase().contains(&location);
    ensure!(is_right, "redirect: {answer:?}");
    Ok(())
}

/// Sends a DNS query to the dataplane, which answers also while the controlplane is down.
async fn question(_: &mut HonestClient) -> Result<()> {
    sleep(Duration::from_millis(200)).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(DNS).await?;
    socket.send(QUESTION).await?;
    let mut answer = [0; 1500];
    let received = timeout(Duration::from_secs(10), socket.recv(&mut answer)).await;
    let length = received.context("no answer to a DNS question")??;
    ensure!(length >= 12 && answer[..2] == QUESTION[..2], "DNS: {:?}", &answer[..length]);
    Ok(())
}
