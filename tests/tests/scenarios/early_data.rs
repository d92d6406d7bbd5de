//! TLS early data: it is rejected and skipped, and the handshake goes on (RFC 8446 §4.2.10).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;
use tokio::task::spawn_blocking;
use webgateway_tests::authority::{Authority, roots};
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::netns::overlay;
use webgateway_tests::process::{self, Process, installed};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    early_data_is_skipped_in_records_of_any_size,
    the_end_of_early_data_is_found_at_any_offset,
    openssl_gets_a_response_after_early_data,
    early_data_is_forwarded_on_passthrough_routes,
];

const HOST: &str = "app.gw.example";
const PASSED: &str = "pass.example";
/// The maximum early data of most servers (OpenSSL, nginx, HAProxy), in bytes.
const MAX_EARLY_DATA: usize = 16 * 1024;

/// Connects to another server of the same name, in memory, whose tickets allow early data.
fn connect_in_memory(config: &Arc<ClientConfig>, authority: &Authority, host: &str) -> Result<()> {
    let mut elsewhere = ServerConfig::clone(&*authority.issue(&[host])?.server(&["http/1.1"])?);
    elsewhere.max_early_data_size = u32::MAX;
    let mut server = ServerConnection::new(Arc::new(elsewhere))?;
    let mut client = ClientConnection::new(Arc::clone(config), ServerName::try_from(host.to_owned())?)?;
    while client.wants_write() || server.wants_write() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there)?;
        }
        let mut there = &there[..];
        while !there.is_empty() {
            server.read_tls(&mut there)?;
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back)?;
        }
        let mut back = &back[..];
        while !back.is_empty() {
            client.read_tls(&mut back)?;
            client.process_new_packets()?;
        }
    }
    Ok(())
}

/// The ways to split early data into writes.
#[derive(Debug, Clone, Copy)]
enum SendMode {
    /// One write together with the ClientHello.
    WithTheHello,
    /// A write of its own after the ClientHello.
    Behind,
    /// Small writes.
    InPieces,
}

fn config(root: &str, record: Option<usize>) -> Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder().with_root_certificates(roots(root)?).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_early_data = true;
    config.max_fragment_size = record;
    Ok(Arc::new(config))
}

/// Sends a ClientHello with `count` bytes of early data; returns the connection and the bytes sent.
fn begin(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    host: &str,
    count: usize,
    sent: SendMode,
) -> Result<(TcpStream, ClientConnection, Vec<u8>)> {
    let mut client = ClientConnection::new(Arc::clone(config), ServerName::try_from(host.to_owned())?)?;
    let mut flight = Vec::new();
    client.write_tls(&mut flight)?;
    let hello = flight.len();
    client.early_data().context("the ticket allows none")?.write_all(&vec![b'x'; count])?;
    while client.wants_write() {
        client.write_tls(&mut flight)?;
    }
    ensure!(flight.len() > hello + count, "no early data was sent");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    match sent {
        SendMode::WithTheHello => stream.write_all(&flight)?,
        SendMode::Behind => {
            stream.write_all(&flight[..hello])?;
            stream.write_all(&flight[hello..])?;
        }
        SendMode::InPieces => flight.chunks(700).try_for_each(|piece| stream.write_all(piece))?,
    }
    Ok((stream, client, flight))
}

/// Sends early data, and a request in one write with the client's Finished, to a server that rejects early data;
/// returns the response, and true if early data was accepted.
fn ask(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    count: usize,
    sent: SendMode,
) -> Result<(String, bool)> {
    let (mut stream, mut client, _) = begin(address, config, HOST, count, sent)?;
    while client.is_handshaking() {
        ensure!(client.read_tls(&mut stream)? > 0, "the server ended the handshake");
        client.process_new_packets()?;
    }
    write!(client.writer(), "GET /after HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")?;
    let mut flight = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut flight)?;
    }
    stream.write_all(&flight)?;
    let mut response = String::new();
    rustls::Stream::new(&mut client, &mut stream).read_to_string(&mut response)?;
    Ok((response, client.is_early_data_accepted()))
}

/// Fails unless early data is skipped and the request after it gets a response.
async fn is_skipped(
    setup: &StandaloneSetup,
    config: &Arc<ClientConfig>,
    count: usize,
    sent: SendMode,
) -> Result<()> {
    connect_in_memory(config, &setup.authority, HOST)?;
    let (config, address) = (Arc::clone(config), setup.gateway.https());
    let (response, accepted) = spawn_blocking(move || ask(address, &config, count, sent)).await??;
    ensure!(response.starts_with("HTTP/1.1 200") && response.contains("\"/after\""), "{response}");
    ensure!(!accepted, "early data can be replayed by anybody");
    Ok(())
}

async fn app(sandbox: &Sandbox) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    Ok((setup, backend))
}

async fn early_data_is_skipped_in_records_of_any_size(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = app(sandbox).await?;
    let mut wrong = Vec::new();
    // Up to 90 KiB including the overhead of the records.
    for (record, most) in [
        (Some(32), 2 * MAX_EARLY_DATA),
        (Some(33), 2 * MAX_EARLY_DATA),
        (Some(100), 4 * MAX_EARLY_DATA),
        (Some(1000), 4 * MAX_EARLY_DATA),
        (Some(9000), 4 * MAX_EARLY_DATA),
        (None, 4 * MAX_EARLY_DATA),
    ] {
        let config = config(setup.authority.root(), record)?;
        for count in [1, 1000, 5000, MAX_EARLY_DATA, 2 * MAX_EARLY_DATA, most] {
            for sent in [SendMode::WithTheHello, SendMode::Behind, SendMode::InPieces] {
                let skipped = is_skipped(&setup, &config, count, sent).await;
                let what = format!("{count} bytes in records of {record:?}, {sent:?}");
                wrong.extend(skipped.err().map(|error| format!("{what}: {error:#}")));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn the_end_of_early_data_is_found_at_any_offset(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = app(sandbox).await?;
    let config = config(setup.authority.root(), Some(1500))?;
    let mut wrong = Vec::new();
    // The Finished and the request cross the boundary of the TLS library's buffer.
    for count in (17_800..18_500).step_by(10) {
        let skipped = is_skipped(&setup, &config, count, SendMode::Behind).await;
        wrong.extend(skipped.err().map(|error| format!("{count} bytes: {error:#}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn openssl_gets_a_response_after_early_data(sandbox: &Sandbox) -> Result<()> {
    if installed("openssl").is_none() {
        return Ok(());
    }
    let (setup, _backend) = app(sandbox).await?;
    let issued = setup.authority.issue(&[HOST])?;
    let (chain, key) =
        (sandbox.write("elsewhere.pem", &issued.chain)?, sandbox.write("elsewhere.key", &issued.key)?);
    let early = sandbox.write("early", &"x".repeat(4 * MAX_EARLY_DATA))?;
    let (session, log) = (sandbox.path("session"), sandbox.path("elsewhere.log"));
    let server = format!(
        "s_server -accept 127.0.0.1:8444 -cert {} -key {} -tls1_3 -www -max_early_data {}",
        chain.display(),
        key.display(),
        4 * MAX_EARLY_DATA
    );
    let _elsewhere = Process::start("openssl", &server.split(' ').collect::<Vec<_>>(), &log)?;
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 8444));
    eventually("the other server accepts", Duration::from_secs(10), async || {
        Ok(TcpStream::connect(elsewhere)?)
    })
    .await?;
    let connect = |address: SocketAddr, more: String| {
        let ask = format!("printf 'GET /after HTTP/1.0\\r\\nHost: {HOST}\\r\\n\\r\\n'");
        let client =
            format!("openssl s_client -connect {address} -servername {HOST} -tls1_3 -ign_eof {more}");
        ["-c".to_owned(), format!("{ask} | {client}")]
    };
    let first =
        process::run("sh", &connect(elsewhere, format!("-sess_out {}", session.display())), &[]).await?;
    for split in ["", "-split_send_frag 600 -max_send_frag 600", "-max_send_frag 4096"] {
        let more = format!("-sess_in {} -early_data {} {split}", session.display(), early.display());
        let seen = process::run("sh", &connect(setup.gateway.https(), more), &[]).await?;
        ensure!(seen.stdout.contains("Early data was rejected"), "{first:?} {seen:?}");
        ensure!(
            seen.stdout.contains("HTTP/1.0 200") || seen.stdout.contains("HTTP/1.1 200"),
            "{split}: {seen:?}"
        );
    }
    Ok(())
}

async fn early_data_is_forwarded_on_passthrough_routes(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::raw(overlay(1, 8443), RawBehaviour::Echo).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough(PASSED, &[backend.address()]);
    })
    .await?;
    for (record, count) in [(Some(32), 1), (Some(32), MAX_EARLY_DATA), (None, MAX_EARLY_DATA)] {
        let config = config(setup.authority.root(), record)?;
        connect_in_memory(&config, &setup.authority, PASSED)?;
        let address = setup.gateway.https();
        let echoed = spawn_blocking(move || -> Result<(Vec<u8>, Vec<u8>)> {
            let (mut stream, _, flight) = begin(address, &config, PASSED, count, SendMode::WithTheHello)?;
            let mut echoed = vec![0; flight.len()];
            stream.read_exact(&mut echoed)?;
            Ok((echoed, flight))
        });
        let (echoed, flight) = echoed.await??;
        ensure!(echoed == flight, "{count} bytes in records of {record:?}");
    }
    Ok(())
}
