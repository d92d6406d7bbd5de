//! Honest clients, of every kind: each checks what it gets, byte for byte.

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
const EACH: u64 = 100;
/// The id 4711, one question: `_acme-challenge.gw.example`, SOA.
const QUESTION: &[u8] =
    b"\x12\x67\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0f_acme-challenge\x02gw\x07example\x00\x00\x06\x00\x01";

/// One client, and its connection.
struct Visitor {
    targets: Targets,
    client: Client,
    connection: Option<Connection>,
    host: &'static str,
    requests: u64,
}

impl Visitor {
    fn new(targets: &Targets, client: &Client, host: &'static str) -> Self {
        Self { targets: targets.clone(), client: client.clone(), connection: None, host, requests: 0 }
    }

    /// Returns its connection, a new one after every [`EACH`] requests.
    async fn connection(&mut self) -> Result<&mut Connection> {
        self.requests += 1;
        if self.requests.is_multiple_of(EACH) {
            self.connection = None;
        }
        if self.connection.is_none() {
            self.connection = Some(self.client.connect(self.host).await?);
        }
        self.connection.as_mut().context("it is there")
    }

    /// A size that is another one each time, of at most `most` bytes.
    fn size(&self, most: usize) -> usize {
        // A number below 2^32 fits.
        (self.requests.wrapping_mul(2_654_435_761) % most as u64) as usize
    }
}

/// Adds every kind of them.
pub(crate) fn start(load: &mut Load, targets: &Targets) {
    let Targets { visitor, insider, .. } = targets;
    let h2 = visitor.clone().h2();
    let of = |client: &Client, host| Visitor::new(targets, client, host);
    for client in [visitor, visitor, &h2] {
        load.visitor(of(client, HOST), get);
        load.visitor(of(client, HOST), upload);
    }
    load.visitor(of(insider, PASSTHROUGH), get);
    load.visitor(of(insider, PASSTHROUGH), upload);
    load.visitor(of(&h2, HOST), page);
    load.visitor(of(&h2, HOST), page_that_is_left);
    load.visitor(of(visitor, HOST), download);
    load.visitor(of(&h2, HOST), download);
    load.visitor(of(insider, PASSTHROUGH), download);
    load.visitor(of(visitor, HOST), half_close);
    load.visitor(of(visitor, HOST), websocket);
    load.visitor(of(visitor, HOST), redirect);
    load.visitor(of(visitor, HOST), question);
}

async fn get(visitor: &mut Visitor) -> Result<()> {
    sleep(Duration::from_millis(80)).await;
    let (host, size) = (visitor.host, visitor.size(16 * 1024));
    let reply = visitor.connection().await?.get(host, &format!("/numbers/{size}")).await;
    check_numbers(&reply.context("get")?.expect(200)?.body, size).context("get")
}

async fn upload(visitor: &mut Visitor) -> Result<()> {
    sleep(Duration::from_millis(400)).await;
    let (host, size) = (visitor.host, visitor.size(512 * 1024));
    let body: String = (0..size).map(|at| char::from(b'a' + (at / 7 % 26) as u8)).collect();
    let connection = visitor.connection().await?;
    let request = connection.request(Method::POST, host, "/echo").body(Full::from(body.clone()))?;
    let seen = connection.send(request).await.context("upload")?.expect(200)?.json()?;
    ensure!(seen["body"].as_str() == Some(&*body), "upload: not what was sent");
    Ok(())
}

/// Many requests over one connection at once.
async fn page(visitor: &mut Visitor) -> Result<()> {
    const REQUESTS: usize = 30;
    sleep(Duration::from_millis(1000)).await;
    let (host, size) = (visitor.host, visitor.size(64 * 1024));
    let connection = visitor.connection().await?;
    let get =
        |n| connection.request(Method::GET, host, &format!("/numbers/{}", size + n)).body(Full::default());
    let requests = (0..REQUESTS).map(get).collect::<Result<_, _>>()?;
    for (n, reply) in connection.send_together(requests).await.context("page")?.into_iter().enumerate() {
        check_numbers(&reply.expect(200)?.body, size + n).context("page")?;
    }
    Ok(())
}

/// A page whose requests are cancelled, and the next one over the same connection.
async fn page_that_is_left(visitor: &mut Visitor) -> Result<()> {
    const REQUESTS: usize = 25;
    sleep(Duration::from_secs(2)).await;
    let host = visitor.host;
    let connection = visitor.connection().await?;
    let slow = |_| connection.request(Method::GET, host, "/slow/3000").body(Full::default());
    let requests = (0..REQUESTS).map(slow).collect::<Result<_, _>>()?;
    let left = timeout(Duration::from_millis(50), connection.send_together(requests)).await;
    ensure!(left.is_err(), "page that is left: it was answered: {left:?}");
    let reply = connection.get(host, "/numbers/5000").await.context("page that is left")?;
    check_numbers(&reply.expect(200)?.body, 5000)
}

async fn download(visitor: &mut Visitor) -> Result<()> {
    const SIZE: usize = 3 << 20;
    sleep(Duration::from_secs(2)).await;
    let host = visitor.host;
    let reply = visitor.connection().await?.get(host, &format!("/numbers/{SIZE}")).await;
    check_numbers(&reply.context("download")?.expect(200)?.body, SIZE).context("download")
}

async fn half_close(visitor: &mut Visitor) -> Result<()> {
    sleep(Duration::from_millis(300)).await;
    let mut stream = visitor.client.tls(visitor.host).await?;
    let request = format!("GET /slow/50 HTTP/1.1\r\nHost: {}\r\n\r\n", visitor.host);
    stream.write_all(request.as_bytes()).await?;
    stream.shutdown().await?;
    let answer = String::from_utf8(rest(&mut stream).await?)?;
    ensure!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"), "half-close: {answer:?}");
    Ok(())
}

async fn websocket(visitor: &mut Visitor) -> Result<()> {
    let stream = visitor.client.tls(visitor.host).await?;
    let mut socket = WebSocket::open(stream, visitor.host, "/ws").await.context("websocket")?;
    for n in 0..10 {
        socket.echo(&format!("{n} {}", "x".repeat(n * 500))).await.context("websocket")?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn redirect(visitor: &mut Visitor) -> Result<()> {
    sleep(Duration::from_millis(200)).await;
    let request = format!("GET /a?b HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(exchange(visitor.targets.http, request.as_bytes()).await?)?;
    let location = format!("location: https://{HOST}/a?b\r\n");
    let is_right = answer.starts_with("HTTP/1.1 308") && answer.to_ascii_lowercase().contains(&location);
    ensure!(is_right, "redirect: {answer:?}");
    Ok(())
}

/// A question to the dataplane, which answers it also while the controlplane is away.
async fn question(_: &mut Visitor) -> Result<()> {
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
