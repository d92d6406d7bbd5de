//! Hostile clients below HTTP and of the API: garbage, silence, failing handshakes, and unfinished messages.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};
use webgateway_tests::authority::Authority;
use webgateway_tests::client::{Client, rest, tcp};
use webgateway_tests::load::Load;

use crate::targets::{DNS, HOST, PASSTHROUGH, Targets, from_elsewhere};

/// Bytes that no listener expects.
const GARBAGE: [&[u8]; 8] = [
    b"GET / HTTP/1.1\r\nHost: app.gw.example\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    b"\x16\x03\x01\xff\xff",
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"GET\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    &[0; 20_000],
    b"",
];
/// Invalid requests to the API.
const CALLS: [&str; 6] = [
    "POST /rpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 2\r\n\r\n{}",
    "POST /rpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 9\r\n\r\n[1,2,3,4]",
    "POST /rpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 16\r\n\r\n{\"jsonrpc\":\"2.0\"",
    "POST /rpc HTTP/1.1\r\nHost: gw.example\r\nSignature: x=:AAAA:\r\nSignature-Input: x=()\r\nContent-Length: 2\r\n\r\n{}",
    "POST /rpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 999999999\r\n\r\n",
    "GET /../../etc/passwd HTTP/1.1\r\nHost: gw.example\r\n\r\n",
];

/// Adds copies of an attack: each repeats it, whatever its result, with a pause in between.
pub(crate) fn add<A>(load: &mut Load, targets: &Targets, copies: usize, pause: Duration, attack: A)
where
    A: AsyncFn(&Targets, usize) -> Result<()> + Copy + 'static,
{
    for copy in 0..copies {
        load.add_client((targets.clone(), copy), async move |(targets, n)| {
            *n += 1;
            // Attacks are expected to fail.
            drop(attack(targets, *n).await);
            sleep(pause).await;
            Ok(())
        });
    }
}

/// Adds clients of every kind.
pub(crate) fn start(load: &mut Load, targets: &Targets) {
    let millis = Duration::from_millis;
    add(load, targets, 2, millis(100), garbage);
    add(load, targets, 4, millis(200), silence);
    add(load, targets, 4, millis(200), a_hello_that_stops);
    add(load, targets, 1, millis(200), a_certificate_refused);
    add(load, targets, 1, millis(100), a_name_unknown);
    add(load, targets, 1, millis(200), a_tunnel_cut);
    add(load, targets, 10, millis(1000), a_tunnel_stalled);
    add(load, targets, 4, millis(1000), a_tunnel_half_closed);
    add(load, targets, 1, millis(200), dns_garbage);
    add(load, targets, 2, millis(200), api_garbage);
    add(load, targets, 4, millis(500), an_api_body_that_stalls);
}

async fn garbage(targets: &Targets, n: usize) -> Result<()> {
    let mut stream = tcp(if n.is_multiple_of(2) { targets.https } else { targets.http }).await?;
    stream.write_all(GARBAGE[n % GARBAGE.len()]).await?;
    if n.is_multiple_of(3) {
        stream.shutdown().await?;
    }
    rest(&mut stream).await.map(drop)
}

async fn silence(targets: &Targets, n: usize) -> Result<()> {
    let mut stream = tcp(if n.is_multiple_of(2) { targets.https } else { targets.http }).await?;
    // Port scans do not wait.
    if n.is_multiple_of(4) { Ok(()) } else { rest(&mut stream).await.map(drop) }
}

/// Sends the first `length` bytes of a ClientHello for `host`.
async fn hello(targets: &Targets, host: &'static str, length: usize) -> Result<TcpStream> {
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(config.into(), host.try_into()?)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    let mut stream = tcp(targets.https).await?;
    stream.write_all(&bytes[..length.min(bytes.len())]).await?;
    Ok(stream)
}

async fn a_hello_that_stops(targets: &Targets, n: usize) -> Result<()> {
    let host = if n.is_multiple_of(3) { PASSTHROUGH } else { HOST };
    let length = if n.is_multiple_of(2) { usize::MAX } else { n % 300 };
    rest(&mut hello(targets, host, length).await?).await.map(drop)
}

async fn a_certificate_refused(targets: &Targets, n: usize) -> Result<()> {
    let other = Client::new(targets.https, Authority::new()?.root())?;
    let other = if n.is_multiple_of(2) { other.tls_1_2_only() } else { other };
    other.tls(if n.is_multiple_of(3) { PASSTHROUGH } else { HOST }).await.map(drop)
}

async fn a_name_unknown(targets: &Targets, n: usize) -> Result<()> {
    let (client, name) = (&targets.client, format!("nobody{n}.example.org"));
    match n % 3 {
        0 => client.clone().without_sni().tls(HOST).await.map(drop),
        1 => client.tls(&name).await.map(drop),
        _ => client.get(&format!("nobody{n}.gw.example"), "/").await.map(drop),
    }
}

/// Resets a download through a tunnel in the middle.
async fn a_tunnel_cut(targets: &Targets, n: usize) -> Result<()> {
    let mut stream = tunnel(targets).await?;
    stream.read_exact(&mut vec![0; 1 + n * 997 % 500_000]).await?;
    stream.get_ref().0.set_zero_linger()?;
    Ok(())
}

async fn a_tunnel_stalled(targets: &Targets, _: usize) -> Result<()> {
    let stream = tunnel(targets).await?;
    sleep(Duration::from_secs(8)).await;
    drop(stream);
    Ok(())
}

async fn a_tunnel_half_closed(targets: &Targets, n: usize) -> Result<()> {
    let mut stream = targets.passthrough_client.tls(PASSTHROUGH).await?;
    stream.shutdown().await?;
    let waits = timeout(Duration::from_secs(if n.is_multiple_of(4) { 40 } else { 1 }), rest(&mut stream));
    waits.await?.map(drop)
}

async fn tunnel(targets: &Targets) -> Result<webgateway_tests::client::TlsStream<TcpStream>> {
    let mut stream = targets.passthrough_client.tls(PASSTHROUGH).await?;
    let request = format!("GET /numbers/3000000 HTTP/1.1\r\nHost: {PASSTHROUGH}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

async fn dns_garbage(_: &Targets, n: usize) -> Result<()> {
    let socket = UdpSocket::bind("127.77.0.1:0").await?;
    socket.send_to(&GARBAGE[n % GARBAGE.len()][..12.min(GARBAGE[n % GARBAGE.len()].len())], DNS).await?;
    let mut stream = from_elsewhere(DNS).await?;
    stream.write_all(&[0xff; 300]).await?;
    timeout(Duration::from_secs(2), rest(&mut stream)).await?.map(drop)
}

/// Sends invalid requests to the API directly and through a node.
async fn api_garbage(targets: &Targets, n: usize) -> Result<()> {
    let call = CALLS[n % CALLS.len()].as_bytes();
    if n.is_multiple_of(2) {
        let mut stream = from_elsewhere(targets.rpc).await?;
        stream.write_all(if n.is_multiple_of(8) { GARBAGE[n / 8 % GARBAGE.len()] } else { call }).await?;
        return timeout(Duration::from_secs(2), rest(&mut stream)).await?.map(drop);
    }
    let mut stream = targets.client.tls("gw.example").await?;
    stream.write_all(call).await?;
    timeout(Duration::from_secs(2), rest(&mut stream)).await?.map(drop)
}

async fn an_api_body_that_stalls(targets: &Targets, n: usize) -> Result<()> {
    let head = "POST /rpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 50000\r\n\r\n{";
    let mut stream = from_elsewhere(targets.rpc).await?;
    stream.write_all(head.as_bytes()).await?;
    timeout(Duration::from_secs(if n.is_multiple_of(5) { 20 } else { 2 }), rest(&mut stream)).await?.map(drop)
}
