//! Half-closed connections, early responses and cancelled requests: clients get every response completely.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::{rest, tcp};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_half_closed_client_gets_its_response,
    a_half_closed_client_gets_a_response_of_any_size,
    a_closed_client_ends_its_request,
    a_page_of_cancelled_requests_is_allowed,
    a_flood_of_cancelled_requests_ends_the_connection,
    stalled_uploads_do_not_block_other_streams,
    the_api_responds_to_half_closed_clients,
    an_early_response_is_read_completely,
    the_api_refusal_of_an_upload_is_readable,
];

const HOST: &str = "app.gw.example";
const CHALLENGE: &str = "/.well-known/acme-challenge";
/// More bytes than all buffers on the path hold.
const LARGE: usize = 20 * 1024 * 1024;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn setup(sandbox: &Sandbox, backends: &[SocketAddr]) -> Result<StandaloneSetup> {
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &backends[..1]).add_passthrough("pass.example.org", &backends[1..]);
    };
    // The gateway listens on 127.0.0.1 alone, as the backend uses port 80 of the overlay address.
    StandaloneSetup::start_with(sandbox, routes, |config| config.number(1)).await
}

/// Opens a connection to each listener that takes HTTP/1.1; returns it with the host to request and the prefix of the
/// paths that reach a backend.
async fn listeners(setup: &StandaloneSetup) -> Result<Vec<(Box<dyn Stream>, &'static str, &'static str)>> {
    Ok(vec![
        (Box::new(setup.client()?.tls(HOST).await?), HOST, ""),
        (Box::new(tcp(setup.gateway.http()).await?), "pass.example.org", CHALLENGE),
    ])
}

async fn two_backends() -> Result<[Backend; 2]> {
    Ok([Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(1, 80)).await?])
}

fn ends_with_ok(response: &[u8], status: u16, length: usize) -> Result<()> {
    let head = response.windows(4).position(|window| window == b"\r\n\r\n").context("no head")?;
    let text = String::from_utf8_lossy(&response[..head]);
    ensure!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    let body = response.len() - head - 4;
    ensure!(body == length, "{body} of {length} bytes: {text}");
    Ok(())
}

async fn a_half_closed_client_gets_its_response(sandbox: &Sandbox) -> Result<()> {
    let backends = two_backends().await?;
    let setup = setup(sandbox, &backends.each_ref().map(Backend::address)).await?;
    for round in 0..5 {
        for (mut stream, host, prefix) in listeners(&setup).await? {
            let request = format!("GET {prefix}/slow/300 HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            stream.shutdown().await?;
            ends_with_ok(&rest(&mut stream).await?, 200, 4).with_context(|| format!("{host} {round}"))?;
        }
        for (host, status) in [(HOST, 308), ("nobody.example.org", 503)] {
            let mut stream = tcp(setup.gateway.http()).await?;
            stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
            stream.shutdown().await?;
            let response = String::from_utf8(rest(&mut stream).await?)?;
            ensure!(
                response.starts_with(&format!("HTTP/1.1 {status}")) && response.ends_with('\n'),
                "{response}"
            );
        }
        let mut stream = setup.client()?.h2().tls(HOST).await?;
        stream.write_all(&h2::opening()).await?;
        stream.write_all(&h2::get(1, HOST, "/slow/300")).await?;
        stream.shutdown().await?;
        let frames = h2::frames(&rest(&mut stream).await?);
        let data: Vec<u8> =
            frames.iter().filter(|f| f.kind == h2::DATA).flat_map(|f| f.payload.clone()).collect();
        ensure!(data == b"late", "{frames:?}");
    }
    Ok(())
}

async fn a_half_closed_client_gets_a_response_of_any_size(sandbox: &Sandbox) -> Result<()> {
    let backends = two_backends().await?;
    let setup = setup(sandbox, &backends.each_ref().map(Backend::address)).await?;
    for (mut stream, host, prefix) in listeners(&setup).await? {
        let request = format!("GET {prefix}/bytes/{LARGE} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.shutdown().await?;
        // The first part fills all buffers.
        tokio::time::sleep(Duration::from_millis(300)).await;
        ends_with_ok(&rest(&mut stream).await?, 200, LARGE).context(host)?;
    }
    Ok(())
}

async fn a_closed_client_ends_its_request(sandbox: &Sandbox) -> Result<()> {
    let silent = Backend::raw(overlay(1, 8080), RawBehaviour::Silence).await?;
    let too = Backend::raw(overlay(1, 80), RawBehaviour::Silence).await?;
    let setup = setup(sandbox, &[silent.address(), too.address()]).await?;
    let open = async |expected: u64| {
        eventually("the backends have the expected connections", Duration::from_secs(5), async || {
            let open = silent.open() + too.open();
            ensure!(open == expected, "{open} open");
            Ok(())
        })
        .await
    };
    // A TCP FIN without close_notify.
    let mut stream = setup.client()?.tls(HOST).await?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
    open(1).await?;
    drop(stream);
    open(0).await?;
    // A TCP reset.
    let mut stream = tcp(setup.gateway.http()).await?;
    let request = format!("GET {CHALLENGE}/x HTTP/1.1\r\nHost: pass.example.org\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    open(1).await?;
    stream.set_zero_linger()?;
    drop(stream);
    open(0).await
}

async fn the_api_responds_to_half_closed_clients(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    for _ in 0..10 {
        let mut node = setup.client()?.tls("gw.example").await?;
        let mut direct = tcp(setup.controlplane.rpc()?).await?;
        let streams: [&mut dyn Stream; 2] = [&mut node, &mut direct];
        for stream in streams {
            let request = "POST /rpc HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 2\r\n\r\n{}";
            stream.write_all(request.as_bytes()).await?;
            stream.shutdown().await?;
            let mut stream = stream;
            let response = String::from_utf8(rest(&mut stream).await?)?;
            ensure!(response.starts_with("HTTP/1.1 200") && response.ends_with('}'), "{response}");
        }
    }
    Ok(())
}

/// Uploads at most `length` bytes, as long as the other side reads, before it reads the response.
async fn upload(stream: &mut dyn Stream, head: &str, length: usize) -> Result<Vec<u8>> {
    stream.write_all(head.as_bytes()).await?;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..length / piece.len() {
        timeout(Duration::from_secs(20), stream.write_all(&piece)).await.context("it is not read on")??;
    }
    let mut response = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut response));
    read.await.context("it stays open")?.context("it is cut").map(|_| response)
}

/// Uploads at most `length` bytes until the response arrives; a failing write is not an error.
async fn upload_meanwhile(stream: Box<dyn Stream>, head: &str, length: usize) -> Result<Vec<u8>> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        writer.write_all(head.as_bytes()).await?;
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..length / piece.len() {
            writer.write_all(&piece).await?;
        }
        writer.flush().await
    };
    let mut response = Vec::new();
    let reading = timeout(Duration::from_secs(20), reader.read_to_end(&mut response));
    let (_, read) = tokio::join!(sending, reading);
    read.context("it stays open")?.context("it is cut")?;
    Ok(response)
}

async fn an_early_response_is_read_completely(sandbox: &Sandbox) -> Result<()> {
    let mut early = format!("HTTP/1.1 413 Too Large\r\nContent-Length: {LARGE}\r\n\r\n").into_bytes();
    early.resize(early.len() + LARGE, b'x');
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::RespondAndRead(early.clone())).await?;
    let too = Backend::raw(overlay(1, 80), RawBehaviour::RespondAndRead(early)).await?;
    let setup = setup(sandbox, &[backend.address(), too.address()]).await?;
    for round in 0..3 {
        for (stream, host, prefix) in listeners(&setup).await? {
            // Challenges are requested with GET only.
            let method = if prefix.is_empty() { "POST" } else { "GET" };
            let head = format!(
                "{method} {prefix}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {LARGE}\r\n\r\n"
            );
            let response = upload_meanwhile(stream, &head, LARGE).await;
            let response = response.with_context(|| format!("{host} {round}"))?;
            ends_with_ok(&response, 413, LARGE).context(host)?;
        }
        // Responses that the gateway itself creates.
        for (mut stream, _, _) in listeners(&setup).await? {
            let head = "POST / HTTP/1.1\r\nHost: nobody.gw.example\r\nConnection: close\r\nContent-Length: 20971520\r\n\r\n";
            let response =
                upload(&mut *stream, head, LARGE).await.with_context(|| format!("ours {round}"))?;
            let response = String::from_utf8(response)?;
            ensure!(response.contains("HTTP/1.1 503") || response.contains("HTTP/1.1 421"), "{response}");
        }
        let mut connection = setup.client()?.h2().connect(HOST).await?;
        let body = Full::from(vec![b'x'; LARGE]);
        let reply =
            connection.send(connection.request(Method::POST, HOST, "/").body(body)?).await?.expect(413)?;
        ensure!(reply.body.len() == LARGE);
    }
    Ok(())
}

async fn the_api_refusal_of_an_upload_is_readable(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    for framing in ["Content-Length: 20971520\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1400000\r\n"] {
        let mut node = setup.client()?.tls("gw.example").await?;
        let mut direct = tcp(setup.controlplane.rpc()?).await?;
        let streams: [&mut dyn Stream; 2] = [&mut node, &mut direct];
        for (n, stream) in streams.into_iter().enumerate() {
            let head = format!("POST /rpc HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n{framing}");
            let response = upload(stream, &head, LARGE).await.with_context(|| format!("{n} {framing}"))?;
            let response = String::from_utf8(response)?;
            ensure!(response.starts_with("HTTP/1.1 413") && response.contains("large"), "{response}");
        }
    }
    Ok(())
}

/// Cancels requests as soon as they are sent, in bursts of `burst`; returns the number of cancelled ones.
async fn cancel(stream: &mut impl Stream, bursts: u32, burst: u32) -> Result<u32> {
    let mut discarded = vec![0; 64 * 1024];
    for round in 0..bursts {
        let of = |n: u32| 1 + 2 * (round * burst + n);
        let requests = (0..burst).flat_map(|n| [h2::get(of(n), HOST, "/slow/5000"), h2::reset(of(n))]);
        let sent = stream.write_all(&requests.flatten().collect::<Vec<u8>>()).await;
        let read =
            timeout(Duration::from_millis(if burst == 1 { 1 } else { 20 }), stream.read(&mut discarded))
                .await;
        if sent.is_err() || matches!(read, Ok(Ok(0) | Err(_))) {
            return Ok(round * burst);
        }
    }
    Ok(bursts * burst)
}

async fn a_page_of_cancelled_requests_is_allowed(sandbox: &Sandbox) -> Result<()> {
    let backends = two_backends().await?;
    let setup = setup(sandbox, &backends.each_ref().map(Backend::address)).await?;
    for burst in [25, 100] {
        let mut stream = setup.client()?.h2().tls(HOST).await?;
        stream.write_all(&h2::opening()).await?;
        ensure!(cancel(&mut stream, 2, burst).await? == 2 * burst, "cut after {burst} in one write");
        stream.write_all(&h2::get(10_001, HOST, "/slow/1")).await?;
        stream.shutdown().await?;
        let frames = h2::frames(&rest(&mut stream).await?);
        ensure!(frames.iter().any(|frame| frame.payload == b"late"), "{burst}: {frames:?}");
    }
    Ok(())
}

/// Many requests cancelled one by one count as a burst of them does (CVE-2023-44487).
async fn a_flood_of_cancelled_requests_ends_the_connection(sandbox: &Sandbox) -> Result<()> {
    let backends = two_backends().await?;
    let setup = setup(sandbox, &backends.each_ref().map(Backend::address)).await?;
    for (bursts, burst) in [(2000, 1), (40, 50), (4, 1000)] {
        let mut stream = setup.client()?.h2().tls(HOST).await?;
        stream.write_all(&h2::opening()).await?;
        let cancelled = cancel(&mut stream, bursts, burst).await?;
        // A busy node may process the last bursts after all are written.
        let is_ended =
            cancelled < bursts * burst || timeout(Duration::from_secs(20), rest(&mut stream)).await.is_ok();
        ensure!(is_ended, "{bursts} times {burst} are taken");
    }
    Ok(())
}

async fn stalled_uploads_do_not_block_other_streams(sandbox: &Sandbox) -> Result<()> {
    // The backend does not accept connections, so that the body is not read.
    let unread = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    unread.bind(&overlay(2, 8080).into())?;
    unread.listen(16)?;
    let backend = Backend::http(overlay(1, 8080)).await?;
    let other = "other.gw.example";
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]).add_terminated(other, &[overlay(2, 8080)]);
    })
    .await?;
    let mut connection = setup.client()?.h2().connect(HOST).await?;
    let body = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
    for _ in 0..6 {
        let request = connection.request(Method::POST, other, "/").body(Full::from(body.clone()))?;
        connection.begin(request)?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let request = connection.request(Method::POST, HOST, "/").body(Full::from(body.slice(..1_000_000)))?;
    let seen = connection.send(request).await?.expect(200)?.json()?;
    ensure!(seen["body"].as_str().is_some_and(|body| body.len() == 1_000_000));
    Ok(())
}

/// HTTP/2 frames, encoded by hand (RFC 9113 §4.1).
pub(crate) mod h2 {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    const WINDOW_UPDATE: u8 = 8;
    const MAX_WINDOW: u32 = (1 << 31) - 1;

    #[derive(Debug)]
    pub(super) struct Frame {
        pub(super) kind: u8,
        pub(super) payload: Vec<u8>,
    }

    pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Returns the preface with empty SETTINGS.
    pub(crate) fn opening() -> Vec<u8> {
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
    }

    /// Returns the preface with windows so large that flow control holds nothing back.
    pub(crate) fn opening_wide() -> Vec<u8> {
        let settings = [&[0, 4][..], &MAX_WINDOW.to_be_bytes()].concat();
        let update = frame(WINDOW_UPDATE, 0, 0, &(MAX_WINDOW - 65_535).to_be_bytes());
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &settings), update].concat()
    }

    /// Returns the HEADERS frame of a GET: indexed `:method` and `:scheme`, and literals (RFC 7541 §6).
    pub(crate) fn get(stream: u32, host: &str, path: &str) -> Vec<u8> {
        let literal = |index: u8, value: &str| {
            let length = u8::try_from(value.len()).unwrap_or_default();
            [&[index, length], value.as_bytes()].concat()
        };
        let block = [vec![0x82, 0x87], literal(0x01, host), literal(0x04, path)].concat();
        frame(HEADERS, 0x5, stream, &block)
    }

    pub(super) fn reset(stream: u32) -> Vec<u8> {
        frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
    }

    /// Returns the complete frames.
    pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some((&[a, b, c, kind, ..], rest)) = bytes.split_first_chunk::<9>() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            frames.push(Frame { kind, payload: payload.to_vec() });
            bytes = rest;
        }
        frames
    }
}
