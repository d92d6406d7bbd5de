//! Backends that speak HTTP/2: the form of requests, and the connections that requests share.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::time::timeout;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::http2::{Http2Backend, Http2Config};
use webgateway_tests::backend::{Backend, number_at};
use webgateway_tests::client::Connection;
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::load::Load;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

scenarios![
    requests_have_the_form_of_the_protocol,
    large_bodies_pass_in_both_directions,
    concurrent_requests_share_connections,
    a_limit_of_streams_is_respected,
    requests_survive_graceful_shutdowns_of_the_backend,
    a_response_that_is_not_read_delays_no_other,
    idle_connections_are_closed,
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(10);
const MIB: usize = 1024 * 1024;

/// A feed with one route to a backend at `port`.
fn feed(sandbox: &Sandbox, authority: &Authority, protocol: &str, port: u16) -> Result<FeedFile> {
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let mut feed = FeedFile::new(&sandbox.path("feed.json"), &base);
    feed.add_terminated(HOST, &[overlay(1, port)]).set_option(HOST, "backend_protocol", json!(protocol));
    if protocol.starts_with("https") {
        feed.set_option(HOST, "backend_tls", json!({ "ca": authority.root() }));
    }
    Ok(feed)
}

async fn h2c(sandbox: &Sandbox, port: u16, streams: u32) -> Result<(Gateway, Http2Backend)> {
    let authority = Authority::new()?;
    let config = Http2Config { streams, ..Http2Config::default() };
    let backend = Http2Backend::start(overlay(1, port), config).await?;
    let mut feed = feed(sandbox, &authority, "h2c", port)?;
    let config = GatewayConfig::from_file(feed.write()?, authority.root());
    Ok((Gateway::start(sandbox, &config).await?, backend))
}

/// A backend of any protocol.
enum AnyBackend {
    Http1(Backend),
    Http2(Http2Backend),
}

impl AnyBackend {
    fn counted(&self) -> &Backend {
        match self {
            Self::Http1(backend) => backend,
            Self::Http2(backend) => backend.counted(),
        }
    }
}

async fn any_backend(authority: &Authority, protocol: &str, port: u16) -> Result<AnyBackend> {
    let (address, issued) = (overlay(1, port), authority.issue(&["*.gw.example"])?);
    Ok(match protocol {
        "http1" => AnyBackend::Http1(Backend::http(address).await?),
        "https" => AnyBackend::Http1(Backend::https(address, issued.server(&[])?).await?),
        _ => {
            let tls = (protocol == "https-h2").then(|| issued.server(&["h2"])).transpose()?;
            let config = Http2Config { tls, ..Http2Config::default() };
            AnyBackend::Http2(Http2Backend::start(address, config).await?)
        }
    })
}

async fn connect(gateway: &Gateway, is_h2: bool) -> Result<Connection> {
    let client = gateway.client()?;
    if is_h2 { client.h2() } else { client }.connect(HOST).await
}

async fn requests_have_the_form_of_the_protocol(sandbox: &Sandbox) -> Result<()> {
    for (protocol, port) in [("http1", 8000), ("h2c", 8001), ("https", 8002), ("https-h2", 8003)] {
        let authority = Authority::new()?;
        let _backend = any_backend(&authority, protocol, port).await?;
        let is_http2 = matches!(protocol, "h2c" | "https-h2");
        for host_header in ["preserve", "backend"] {
            let mut feed = feed(sandbox, &authority, protocol, port)?;
            feed.set_option(HOST, "host_header", json!(host_header));
            let config = GatewayConfig::from_file(feed.write()?, authority.root());
            let gateway = Gateway::start(sandbox, &config).await?;
            let authority =
                if host_header == "backend" { overlay(1, port).to_string() } else { HOST.to_owned() };
            for client_h2 in [false, true] {
                let case = format!("h2 client: {client_h2}, {protocol}, {host_header}");
                let mut connection = connect(&gateway, client_h2).await?;
                let mut request = connection.request(Method::POST, HOST, "/echo/a%20b?c=d");
                for (name, value) in
                    [("te", "trailers"), ("x-own", "1"), ("cookie", "a=1"), ("cookie", "b=2")]
                {
                    request = request.header(name, value);
                }
                if !client_h2 {
                    request =
                        request.header("connection", "te, keep-alive").header("keep-alive", "timeout=5");
                }
                let reply = connection.send(request.body(Full::from("content"))?).await?.expect(200)?;
                let seen = reply.json()?;
                let scheme = if protocol == "h2c" { "http" } else { "https" };
                let (target, host) = match is_http2 {
                    true => (format!("{scheme}://{authority}/echo/a%20b?c=d"), Vec::new()),
                    false => ("/echo/a%20b?c=d".to_owned(), vec![authority.clone()]),
                };
                ensure!(seen["target"] == target && seen["body"] == "content", "{case}: {seen}");
                ensure!(values(&seen, "host") == host, "{case}: {seen}");
                ensure!(values(&seen, "content-length") == ["7"], "{case}: {seen}");
                ensure!(values(&seen, "cookie") == ["a=1; b=2"], "{case}: {seen}");
                ensure!(values(&seen, "te") == ["trailers"], "{case}: {seen}");
                ensure!(values(&seen, "x-forwarded-host") == [HOST], "{case}: {seen}");
                ensure!(values(&seen, "x-forwarded-proto") == ["https"], "{case}: {seen}");
                for name in ["connection", "keep-alive", "transfer-encoding"] {
                    ensure!(!is_http2 || values(&seen, name).is_empty(), "{case}: {name} in {seen}");
                }
                let head = connection.request(Method::HEAD, HOST, "/bytes/1000").body(Full::default())?;
                let reply = connection.send(head).await?.expect(200)?;
                ensure!(reply.header("content-length") == "1000" && reply.body.is_empty(), "{case}: HEAD");
                for (path, status) in [("/status/204", 204), ("/status/304", 304), ("/status/500", 500)] {
                    connection.get(HOST, path).await?.expect(status).with_context(|| case.clone())?;
                }
                let trailers = connection.request(Method::GET, HOST, "/trailers").header("te", "trailers");
                let trailers = if client_h2 { trailers } else { trailers.header("connection", "te") };
                let reply = connection.send(trailers.body(Full::default())?).await?.expect(200)?;
                ensure!(reply.trailers.get("x-sum").is_some_and(|sum| sum == "42"), "{case}: {reply:?}");
                let broken = connection.get(HOST, "/break").await;
                ensure!(broken.is_err(), "{case}: the client sees that the response broke off: {broken:?}");
            }
        }
    }
    Ok(())
}

/// Returns the values of a field that the backend saw.
fn values(seen: &Value, name: &str) -> Vec<String> {
    let fields = seen["headers"].as_array().into_iter().flatten();
    let values = fields.filter(|field| field[0] == name).filter_map(|field| field[1].as_str());
    values.map(str::to_owned).collect()
}

async fn large_bodies_pass_in_both_directions(sandbox: &Sandbox) -> Result<()> {
    const SIZE: usize = 24 * MIB;
    for (protocol, port) in [("h2c", 8000), ("https", 8001), ("https-h2", 8002)] {
        let authority = Authority::new()?;
        let backend = any_backend(&authority, protocol, port).await?;
        let mut feed = feed(sandbox, &authority, protocol, port)?;
        let config = GatewayConfig::from_file(feed.write()?, authority.root());
        let gateway = Gateway::start(sandbox, &config).await?;
        for client_h2 in [false, true] {
            let case = format!("h2 client: {client_h2}, {protocol}");
            let mut connection = connect(&gateway, client_h2).await?;
            let reply = connection.get(HOST, &format!("/numbers/{SIZE}")).await?.expect(200)?;
            ensure!(reply.body.len() == SIZE, "{case}: {} bytes", reply.body.len());
            let wrong = reply.body.iter().enumerate().find(|(place, byte)| **byte != number_at(*place));
            ensure!(wrong.is_none(), "{case}: wrong at {wrong:?}");
            let (path, expected) = match backend {
                AnyBackend::Http1(_) => ("/echo", None),
                AnyBackend::Http2(_) => ("/upload", Some(SIZE.to_string())),
            };
            let content = Bytes::from(vec![b'x'; SIZE]);
            let request = connection.request(Method::PUT, HOST, path).body(Full::new(content))?;
            let reply = connection.send(request).await?.expect(200)?;
            match expected {
                Some(expected) => ensure!(reply.text() == expected, "{case}: {}", reply.text()),
                None => ensure!(reply.json()?["body"].as_str().map(str::len) == Some(SIZE), "{case}"),
            }
        }
        let connections = backend.counted().connections();
        ensure!(connections <= 2, "{protocol}: {connections} connections");
    }
    Ok(())
}

fn gets(connection: &Connection, path: &str, count: usize) -> Result<Vec<Request<Full<Bytes>>>> {
    let get = || Ok(connection.request(Method::GET, HOST, path).body(Full::default())?);
    (0..count).map(|_| get()).collect()
}

async fn concurrent_requests_share_connections(sandbox: &Sandbox) -> Result<()> {
    let (gateway, backend) = h2c(sandbox, 8000, 100).await?;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(connect(&gateway, true).await?);
    }
    for (path, count) in [("/slow/300", 64), ("/bytes/100000", 100)] {
        let sent = clients.iter_mut().map(async |client| {
            let requests = gets(client, path, count)?;
            client.send_concurrently(requests).await
        });
        for replies in try_join_all(sent).await? {
            ensure!(replies.len() == count && replies.iter().all(|reply| reply.status == 200), "{path}");
        }
    }
    let connections = backend.counted().connections();
    ensure!(connections <= 5, "{connections} connections for up to 400 concurrent requests");
    Ok(())
}

async fn a_limit_of_streams_is_respected(sandbox: &Sandbox) -> Result<()> {
    for (streams, port) in [(1, 8000), (3, 8001)] {
        let (gateway, backend) = h2c(sandbox, port, streams).await?;
        let mut client = connect(&gateway, true).await?;
        let requests = gets(&client, "/slow/200", 100)?;
        let replies = client.send_concurrently(requests).await?;
        ensure!(replies.iter().all(|reply| reply.status == 200 && reply.text() == "late"), "{streams}");
        let connections = backend.counted().connections();
        ensure!(connections <= 64, "{connections} connections, each for {streams} streams");
    }
    Ok(())
}

async fn requests_survive_graceful_shutdowns_of_the_backend(sandbox: &Sandbox) -> Result<()> {
    let (gateway, backend) = h2c(sandbox, 8000, 100).await?;
    let mut load = Load::default();
    for is_h2 in [false, true, true, true] {
        let client = connect(&gateway, is_h2).await?;
        load.add_client(client, async |client| client.get(HOST, "/bytes/100").await?.expect(200).map(drop));
    }
    for _ in 0..20 {
        load.wait_for_more(50).await?;
        backend.drain();
    }
    load.wait_for_more(50).await?;
    load.end().await.map(drop)
}

async fn a_response_that_is_not_read_delays_no_other(sandbox: &Sandbox) -> Result<()> {
    let (mut gateway, backend) = h2c(sandbox, 8000, 100).await?;
    let before = gateway.process().memory()?;
    let (mut stalled, mut held) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let mut connection = connect(&gateway, true).await?;
        let request = connection.request(Method::GET, HOST, "/numbers/67108864").body(Full::default())?;
        held.push(connection.open(request).await?);
        stalled.push(connection);
    }
    let mut reader = connect(&gateway, true).await?;
    for _ in 0..20 {
        let reply =
            timeout(SOON, reader.get(HOST, &format!("/numbers/{MIB}"))).await.context("it is delayed")??;
        ensure!(reply.body.len() == MIB, "{} bytes", reply.body.len());
    }
    ensure!(backend.counted().connections() == 1, "all share one connection");
    let after = gateway.process().memory()?;
    ensure!(after.now < before.now + 40 * MIB as u64, "{before:?}, {after:?}");
    // A stalled response goes on once it is read.
    let response = held.pop().context("a response")?;
    let body = timeout(SOON * 3, response.into_body().collect()).await.context("it hangs")??;
    ensure!(body.to_bytes().len() == 64 * MIB);
    Ok(())
}

async fn idle_connections_are_closed(sandbox: &Sandbox) -> Result<()> {
    let (gateway, backend) = h2c(sandbox, 8000, 100).await?;
    gateway.client()?.get(HOST, "/status/204").await?.expect(204)?;
    ensure!(backend.counted().open() == 1);
    eventually("the idle connection is closed", SOON, async || {
        ensure!(backend.counted().open() == 0);
        Ok(())
    })
    .await?;
    gateway.client()?.get(HOST, "/status/204").await?.expect(204)?;
    // A backend that is restarted leaves a dead connection.
    drop(backend);
    let backend = eventually("the port is free", SOON, async || {
        Http2Backend::start(overlay(1, 8000), Http2Config::default()).await
    })
    .await?;
    for _ in 0..3 {
        gateway.client()?.get(HOST, "/status/204").await?.expect(204)?;
    }
    ensure!(backend.counted().connections() == 1);
    Ok(())
}
