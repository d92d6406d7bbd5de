//! Clients of the API that do not read responses, send endless bodies, or hold connections: a client network gets its
//! fair share of memory and connections, over a node and at `[rpc]`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use webgateway_tests::client::{Connection, rest};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::seed;
use webgateway_tests::signer::{SignatureParams, Signer, call};

use crate::setup::full::FullSetup;

scenarios![
    slow_readers_do_not_block_the_api_of_a_node,
    slow_readers_do_not_block_the_rpc_listener,
    endless_bodies_do_not_block_the_rpc_listener,
    connections_of_one_network_do_not_block_the_rpc_listener,
];

const BASE: &str = "gw.example";
/// The number of routes on one page.
const ROUTES: u64 = 1000;
/// The number of calls in one batch, whose response has megabytes.
const CALLS: usize = 90;
/// The number of readers, whose responses exceed the memory limit.
const READERS: usize = 9;
/// The memory limit of all responses, in bytes.
const MEMORY: usize = 64 << 20;
const LIMIT: Duration = Duration::from_secs(60);

async fn slow_readers_do_not_block_the_api_of_a_node(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let client = setup.client()?;
    let from = |address: SocketAddr| {
        let client = client.at(address);
        async move { client.tls(BASE).await }
    };
    let others = "127.0.0.1:443".parse()?;
    slow_readers(&setup, &format!("https://{BASE}/rpc"), || from(setup.gateway.https()), || from(others))
        .await
}

async fn slow_readers_do_not_block_the_rpc_listener(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let (rpc, url) = (setup.controlplane.rpc()?, setup.controlplane.url());
    slow_readers(&setup, &url, || from_address("127.0.0.1", rpc), || from_address("127.0.9.1", rpc)).await
}

/// Readers that connect with `slow` stop after the first byte; one from another network, with `honest`, reads
/// everything.
async fn slow_readers<S: AsyncRead + AsyncWrite + Unpin>(
    setup: &FullSetup,
    url: &str,
    slow: impl AsyncFn() -> Result<S>,
    honest: impl AsyncFn() -> Result<S>,
) -> Result<()> {
    seed::routes(&setup.controlplane.database(), ROUTES, 1)?;
    let signer = Signer::for_user(&setup.admin)?;
    let mut flood = Vec::new();
    for _ in 0..READERS {
        let mut stream = slow().await?;
        stream.write_all(&raw(&large(&signer, url)?)).await?;
        let mut first = [0; 1];
        timeout(LIMIT, stream.read_exact(&mut first)).await.context("no answer")??;
        ensure!(first == *b"H", "{first:?}");
        flood.push(stream);
    }
    let mut honest = honest().await?;
    let list = call("routes.list", json!({"limit": ROUTES})).to_string();
    let list = signer.post(url, &list, &SignatureParams::fresh())?;
    honest.write_all(&raw(&list)).await?;
    let (announced, read) = read_response(&mut honest).await?;
    ensure!(announced == read && read > 100_000, "{read} of {announced} were read");
    // The first slow reader has lost its response, as the memory limit is exceeded.
    let (announced, read) = read_response(&mut flood.swap_remove(0)).await?;
    ensure!(announced * READERS > MEMORY && read < announced, "{read} of {announced} were held");
    Ok(())
}

async fn endless_bodies_do_not_block_the_rpc_listener(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let rpc = setup.controlplane.rpc()?;
    let announced = 1 << 20;
    let head = format!("POST /rpc HTTP/1.1\r\nhost: {rpc}\r\ncontent-type: application/json\r\n");
    let bytes = [format!("{head}content-length: {announced}\r\n\r\n").as_bytes(), &vec![b' '; announced - 1]]
        .concat();
    let mut flood = Vec::new();
    for _ in 0..70 {
        let mut stream = webgateway_tests::client::tcp(rpc).await?;
        // The gateway closes some of them to admit other clients.
        let _ = stream.write_all(&bytes).await;
        flood.push(stream);
    }
    is_served(rpc).await?;
    let first = String::from_utf8_lossy(&rest(flood.first_mut().context("none")?).await?).into_owned();
    ensure!(first.starts_with("HTTP/1.1 503"), "the oldest gives way: {first}");
    Ok(())
}

async fn connections_of_one_network_do_not_block_the_rpc_listener(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let rpc = setup.controlplane.rpc()?;
    let mut flood = Vec::new();
    for _ in 0..600 {
        flood.push(webgateway_tests::client::tcp(rpc).await?);
    }
    is_served(rpc).await
}

/// Calls `version` from another client network.
async fn is_served(rpc: SocketAddr) -> Result<()> {
    let stream = from_address("127.0.9.1", rpc).await?;
    let mut api = Connection::over(stream, false, "http").await?;
    api.get(&rpc.to_string(), "/openrpc.json").await?.expect(200)?;
    Ok(())
}

async fn from_address(from: &str, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse::<IpAddr>()?, 0))?;
    timeout(LIMIT, socket.connect(to)).await.context("connecting hangs")?.context("cannot connect")
}

/// Returns a signed request whose response is large.
fn large(signer: &Signer, url: &str) -> Result<Request<Bytes>> {
    let batch: Vec<Value> = (0..CALLS).map(|_| call("rpc.discover", json!({}))).collect();
    signer.post(url, &json!(batch).to_string(), &SignatureParams::fresh())
}

/// Encodes a request as HTTP/1.1.
fn raw(request: &Request<Bytes>) -> Vec<u8> {
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let mut head = format!("POST /rpc HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    head += &format!("content-length: {}\r\n\r\n", request.body().len());
    [head.as_bytes(), request.body()].concat()
}

/// Reads a response to its end; returns the announced and the received length of its body.
async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> Result<(usize, usize)> {
    let all = rest(stream).await?;
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.with_context(|| format!("no length: {head}"))?.parse()?;
    Ok((length, all.len() - end - 4))
}
