//! Passthrough routes: bytes are relayed unchanged in both directions.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::{Client, exchange, rest, tcp};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::websocket::WebSocket;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    the_backend_terminates_tls,
    real_client_hellos_arrive_unchanged,
    a_client_hello_may_arrive_in_pieces,
    a_client_hello_may_span_records,
    a_client_hello_that_the_gateway_cannot_use_is_forwarded,
    bytes_are_relayed_in_both_directions,
    the_clients_fin_is_forwarded,
    the_backends_fin_is_forwarded,
    a_reset_is_forwarded,
    bytes_before_the_backend_accepts_arrive,
    large_streams_arrive_unchanged,
    the_next_backend_is_tried,
    without_a_backend_the_connection_is_closed,
];

const HOST: &str = "app.gateway.example.com";

async fn with_raw(sandbox: &Sandbox, behaviour: RawBehaviour) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::raw(overlay(1, 8443), behaviour).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough(HOST, &[backend.address()]);
    })
    .await?;
    Ok((setup, backend))
}

/// Returns ClientHellos of real clients that request [`HOST`].
fn hellos() -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clienthellos");
    let mut hellos = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        if bytes.windows(HOST.len()).any(|window| window == HOST.as_bytes()) {
            hellos.push((path, bytes));
        }
    }
    ensure!(hellos.len() >= 7, "only {} hellos ask for {HOST}", hellos.len());
    Ok(hellos)
}

fn chromium() -> Result<Vec<u8>> {
    let found = hellos()?.into_iter().find(|(path, _)| path.ends_with("chromium-pq-ech-grease.bin"));
    Ok(found.context("no chromium")?.1)
}

async fn the_backend_terminates_tls(sandbox: &Sandbox) -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.issue(&["pass.example.org"])?.server(&["http/1.1"])?;
    let backend = Backend::https(overlay(1, 8443), server).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough("pass.example.org", &[backend.address()]);
    })
    .await?;
    let client = Client::new(setup.gateway.https(), authority.root())?;
    let seen = client.get("pass.example.org", "/a?b").await?.expect(200)?.json()?;
    ensure!(seen["target"] == "/a?b", "{seen}");
    ensure!(!seen.to_string().contains("x-forwarded"), "the gateway adds nothing: {seen}");
    let stream = client.tls("pass.example.org").await?;
    WebSocket::open(stream, "pass.example.org", "/ws").await?.echo("through").await?;
    ensure!(
        setup.client()?.tls("pass.example.org").await.is_err(),
        "the gateway shows no certificate of its own"
    );
    Ok(())
}

async fn real_client_hellos_arrive_unchanged(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_raw(sandbox, RawBehaviour::Echo).await?;
    for (path, hello) in hellos()? {
        let mut stream = tcp(setup.gateway.https()).await?;
        stream.write_all(&hello).await?;
        stream.shutdown().await?;
        let mut expected = hello.clone();
        expected.extend(b"bye");
        ensure!(rest(&mut stream).await? == expected, "{}", path.display());
    }
    Ok(())
}

async fn a_client_hello_may_arrive_in_pieces(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_raw(sandbox, RawBehaviour::Echo).await?;
    let hello = chromium()?;
    for size in [1, 7, 100, 1000] {
        let mut stream = tcp(setup.gateway.https()).await?;
        for piece in hello.chunks(size) {
            stream.write_all(piece).await?;
            stream.flush().await?;
            tokio::task::yield_now().await;
        }
        let mut echoed = vec![0; hello.len()];
        timeout(Duration::from_secs(10), stream.read_exact(&mut echoed)).await.context("no echo")??;
        ensure!(echoed == hello, "pieces of {size}");
    }
    Ok(())
}

/// Splits one record into records of `size` bytes (RFC 8446 §5.1: a message may span records).
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let (header, payload) = hello.split_at(5);
    let mut records = Vec::new();
    for piece in payload.chunks(size) {
        let [high, low] = u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes();
        records.extend([header[0], header[1], header[2], high, low]);
        records.extend(piece);
    }
    records
}

async fn a_client_hello_may_span_records(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_raw(sandbox, RawBehaviour::Echo).await?;
    for size in [1, 50, 400, 1900] {
        let hello = in_records(&chromium()?, size);
        let mut stream = tcp(setup.gateway.https()).await?;
        stream.write_all(&hello).await?;
        stream.shutdown().await?;
        let mut expected = hello.clone();
        expected.extend(b"bye");
        ensure!(rest(&mut stream).await? == expected, "records of {size}");
    }
    Ok(())
}

/// Returns ClientHellos for TLS 1.1 and older, with the server name replaced by `host` of the same length.
fn old_hellos(host: &str) -> Result<Vec<Vec<u8>>> {
    let old = hellos()?.into_iter().filter(|(path, _)| path.to_string_lossy().contains("openssl-tls1"));
    let old = old.filter(|(path, _)| !path.ends_with("openssl-tls12.bin")).map(|(_, mut hello)| {
        let at = hello.windows(HOST.len()).position(|window| window == HOST.as_bytes()).unwrap_or_default();
        hello[at..at + host.len()].copy_from_slice(host.as_bytes());
        hello
    });
    Ok(old.collect())
}

async fn a_client_hello_that_the_gateway_cannot_use_is_forwarded(sandbox: &Sandbox) -> Result<()> {
    const ALERT: u8 = 21;
    let backend = Backend::raw(overlay(1, 8443), RawBehaviour::Echo).await?;
    let (passed, ended, unknown) = (HOST, "abcdefghijklmnop.gw.example", "nobody.knows.example.co");
    let ended = &ended[ended.len() - HOST.len()..];
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough(passed, &[backend.address()]).add_terminated(ended, &[backend.address()]);
    })
    .await?;
    let [tls_1_0, tls_1_1] = &old_hellos(passed)?[..] else { anyhow::bail!("two old hellos") };
    for hello in [tls_1_0, tls_1_1] {
        for sent in [hello.clone(), in_records(hello, 1), in_records(hello, 50)] {
            for piece in [1, 7, sent.len()] {
                let mut stream = tcp(setup.gateway.https()).await?;
                for piece in sent.chunks(piece) {
                    stream.write_all(piece).await?;
                }
                stream.shutdown().await?;
                let expected = [&sent[..], b"bye"].concat();
                ensure!(rest(&mut stream).await? == expected, "{} bytes by {piece}", sent.len());
            }
        }
    }
    let reached = backend.connections();
    for host in [ended, unknown] {
        for hello in old_hellos(host)? {
            let response = exchange(setup.gateway.https(), &hello).await?;
            ensure!(response.len() == 7 && response[0] == ALERT, "{host}: {response:?}");
        }
    }
    ensure!(backend.connections() == reached, "only a passthrough's are passed on");
    Ok(())
}

async fn bytes_are_relayed_in_both_directions(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_raw(sandbox, RawBehaviour::Echo).await?;
    let mut stream = tcp(setup.gateway.https()).await?;
    let hello = chromium()?;
    stream.write_all(&hello).await?;
    let mut echoed = vec![0; hello.len()];
    stream.read_exact(&mut echoed).await?;
    for round in 0..20_u8 {
        stream.write_all(&[round; 100]).await?;
        let mut echoed = [0; 100];
        timeout(Duration::from_secs(5), stream.read_exact(&mut echoed)).await.context("no echo")??;
        ensure!(echoed == [round; 100]);
    }
    Ok(())
}

async fn the_clients_fin_is_forwarded(sandbox: &Sandbox) -> Result<()> {
    // The backend sends `bye` only after it has seen the client's FIN; the other direction is still open then.
    let (setup, _backend) = with_raw(sandbox, RawBehaviour::Echo).await?;
    let mut stream = tcp(setup.gateway.https()).await?;
    stream.write_all(&chromium()?).await?;
    stream.write_all(b"last words").await?;
    stream.shutdown().await?;
    let response = rest(&mut stream).await?;
    ensure!(response.ends_with(b"last wordsbye"), "{}", response.len());
    Ok(())
}

async fn the_backends_fin_is_forwarded(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_raw(sandbox, RawBehaviour::Respond(b"and no more".to_vec())).await?;
    let mut stream = tcp(setup.gateway.https()).await?;
    stream.write_all(&chromium()?).await?;
    ensure!(rest(&mut stream).await? == b"and no more");
    ensure!(backend.open() == 1, "the client's direction is still open");
    drop(stream);
    webgateway_tests::wait::eventually("the backend sees the end", Duration::from_secs(5), async || {
        ensure!(backend.open() == 0, "{} open", backend.open());
        Ok(())
    })
    .await
}

async fn a_reset_is_forwarded(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_raw(sandbox, RawBehaviour::RespondAndReset(Vec::new())).await?;
    let mut stream = tcp(setup.gateway.https()).await?;
    stream.write_all(&chromium()?).await?;
    let mut response = Vec::new();
    let ended =
        timeout(Duration::from_secs(5), stream.read_to_end(&mut response)).await.context("it hangs")?;
    let error = ended.err().context("an orderly end instead of a reset")?;
    ensure!(error.kind() == std::io::ErrorKind::ConnectionReset, "{error}");
    Ok(())
}

async fn bytes_before_the_backend_accepts_arrive(sandbox: &Sandbox) -> Result<()> {
    // The client has sent everything and half-closed before the backend accepts.
    let listener = TcpListener::bind(overlay(1, 8443)).await?;
    let address = listener.local_addr()?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough(HOST, &[address]);
    })
    .await?;
    let hello = chromium()?;
    let mut client = tcp(setup.gateway.https()).await?;
    client.write_all(&hello).await?;
    client.shutdown().await?;
    let (mut accepted, _) =
        timeout(Duration::from_secs(10), listener.accept()).await.context("not dialled")??;
    ensure!(rest(&mut accepted).await? == hello);
    accepted.write_all(b"after the end").await?;
    accepted.shutdown().await?;
    ensure!(rest(&mut client).await? == b"after the end");
    Ok(())
}

async fn large_streams_arrive_unchanged(sandbox: &Sandbox) -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.issue(&[HOST])?.server(&["http/1.1"])?;
    let backend = Backend::https(overlay(1, 8443), server).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough(HOST, &[backend.address()]);
    })
    .await?;
    let client = Client::new(setup.gateway.https(), authority.root())?;
    let reply = client.get(HOST, "/bytes/30000000").await?.expect(200)?;
    ensure!(reply.body.len() == 30_000_000 && reply.body.iter().all(|&b| b == b'x'));
    Ok(())
}

async fn the_next_backend_is_tried(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::raw(overlay(2, 8443), RawBehaviour::Respond(b"here".to_vec())).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough(HOST, &[overlay(1, 8443), backend.address()]);
    })
    .await?;
    for _ in 0..4 {
        ensure!(exchange(setup.gateway.https(), &chromium()?).await? == b"here");
    }
    Ok(())
}

async fn without_a_backend_the_connection_is_closed(sandbox: &Sandbox) -> Result<()> {
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough(HOST, &[overlay(1, 8443)]);
    })
    .await?;
    let response = exchange(setup.gateway.https(), &chromium()?).await?;
    ensure!(response.len() <= 7, "an alert at most: {response:?}");
    Ok(())
}
