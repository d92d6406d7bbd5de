//! Requests to terminated routes and their responses.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::rest;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_page_is_served_over_h1_and_h2,
    a_connection_serves_many_requests,
    bodies_are_forwarded_in_both_directions,
    the_backend_gets_the_client_address,
    forged_forwarding_headers_are_replaced,
    hop_by_hop_headers_are_removed,
    the_target_is_forwarded_unchanged,
    a_stream_is_not_buffered,
    trailers_are_forwarded,
    http_1_0_is_served,
    alpn_chooses_the_protocol,
    expect_continue_is_answered,
    head_has_no_body,
    host_names_are_case_insensitive,
    tls_1_2_is_served,
    several_workers_accept,
];

const HOST: &str = "app.gw.example";

async fn with_app(sandbox: &Sandbox) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    Ok((setup, backend))
}

/// Returns all values of a header that the backend received.
pub(crate) fn header<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let pairs = seen["headers"].as_array().into_iter().flatten();
    pairs.filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).collect()
}

async fn a_page_is_served_over_h1_and_h2(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    let client = setup.client()?;
    for (client, version) in
        [(client.clone(), http::Version::HTTP_11), (client.alpn(&["h2", "http/1.1"]), http::Version::HTTP_2)]
    {
        let reply = client.get(HOST, "/hello?x=1").await?.expect(200)?;
        ensure!(reply.version == version, "{:?}", reply.version);
        let seen = reply.json()?;
        ensure!(seen["method"] == "GET" && seen["target"] == "/hello?x=1", "{seen}");
        ensure!(header(&seen, "host") == [HOST], "{seen}");
    }
    ensure!(backend.requests() == 2);
    Ok(())
}

async fn a_connection_serves_many_requests(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_app(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        for _ in 0..50 {
            connection.get(HOST, "/").await?.expect(200)?;
        }
    }
    ensure!(backend.requests() == 100);
    ensure!(backend.connections() <= 2, "backend connections are pooled, not {}", backend.connections());
    Ok(())
}

async fn bodies_are_forwarded_in_both_directions(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let sent = "0123456789abcdef".repeat(40_000);
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let post = connection.request(Method::POST, HOST, "/").body(Full::from(sent.clone()))?;
        let seen = connection.send(post).await?.expect(200)?.json()?;
        ensure!(seen["method"] == "POST" && seen["body"] == sent.as_str(), "the upload arrives whole");
        let download = connection.get(HOST, "/bytes/5000000").await?.expect(200)?;
        ensure!(download.body.len() == 5_000_000 && download.body.iter().all(|&b| b == b'x'));
    }
    Ok(())
}

async fn the_backend_gets_the_client_address(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let seen = client.get(HOST, "/").await?.expect(200)?.json()?;
        ensure!(header(&seen, "x-forwarded-for") == ["::1"], "{seen}");
        ensure!(header(&seen, "x-forwarded-proto") == ["https"], "{seen}");
        ensure!(header(&seen, "x-forwarded-host") == [HOST], "{seen}");
    }
    Ok(())
}

async fn forged_forwarding_headers_are_replaced(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    let forged = connection
        .request(Method::GET, HOST, "/")
        .header("x-forwarded-for", "9.9.9.9")
        .header("x-forwarded-proto", "ftp")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-server", "evil")
        .header("x-real-ip", "9.9.9.9")
        .header("forwarded", "for=9.9.9.9")
        .header("x_forwarded_for", "9.9.9.9")
        .header("connection", "x-forwarded-for, x-forwarded-proto, x-kept")
        .header("x-kept", "no")
        .header("x-own", "yes")
        .body(Full::default())?;
    let seen = connection.send(forged).await?.expect(200)?.json()?;
    ensure!(!seen["headers"].to_string().contains("9.9.9.9"), "{seen}");
    ensure!(!seen["headers"].to_string().contains("evil"), "{seen}");
    ensure!(header(&seen, "x-forwarded-for") == ["::1"], "{seen}");
    ensure!(header(&seen, "x-forwarded-proto") == ["https"], "{seen}");
    ensure!(header(&seen, "x-kept").is_empty(), "named in Connection: {seen}");
    ensure!(header(&seen, "x-own") == ["yes"], "{seen}");
    Ok(())
}

async fn hop_by_hop_headers_are_removed(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    let request = connection
        .request(Method::GET, HOST, "/")
        .header("proxy-authorization", "Basic eA==")
        .header("proxy-connection", "keep-alive")
        .header("keep-alive", "timeout=5")
        .header("te", "trailers, deflate")
        .body(Full::default())?;
    let seen = connection.send(request).await?.expect(200)?.json()?;
    for name in ["proxy-authorization", "proxy-connection", "keep-alive"] {
        ensure!(header(&seen, name).is_empty(), "{name}: {seen}");
    }
    Ok(())
}

async fn the_target_is_forwarded_unchanged(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let target = "/a%2fb//c/../d/./%7Euser?q=%20+a&b=%2F/../";
    for client in [setup.client()?, setup.client()?.h2()] {
        let seen = client.get(HOST, target).await?.expect(200)?.json()?;
        ensure!(seen["target"] == target, "{seen}");
    }
    Ok(())
}

async fn a_stream_is_not_buffered(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let request = connection.request(Method::GET, HOST, "/stream/40").body(Full::default())?;
        let mut response = connection.open(request).await?;
        let first = response.body_mut().frame().await.context("no frame")??;
        let first = first.into_data().ok().context("no data")?;
        ensure!(first == Bytes::from_static(b"chunk 0\n"), "the first chunk comes alone: {first:?}");
        let all = response.into_body().collect().await?.to_bytes();
        ensure!(all.ends_with(b"chunk 39\n"));
    }
    Ok(())
}

async fn trailers_are_forwarded(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.h2().connect(HOST).await?;
    let request =
        connection.request(Method::GET, HOST, "/trailers").header("te", "trailers").body(Full::default())?;
    let reply = connection.send(request).await?.expect(200)?;
    ensure!(reply.trailers.get("x-sum").is_some_and(|v| v == "42"), "{reply:?}");
    Ok(())
}

async fn http_1_0_is_served(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    stream.write_all(b"GET /old HTTP/1.0\r\n\r\n").await?;
    let answer = String::from_utf8(rest(&mut stream).await?)?;
    ensure!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    ensure!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
    ensure!(answer.contains("\"/old\""), "{answer}");
    Ok(())
}

async fn alpn_chooses_the_protocol(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    for (offered, expected) in [
        (&[][..], None),
        (&["http/1.0"], Some("http/1.0")),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.0", "http/1.1"], Some("http/1.1")),
        (&["http/1.0", "h2"], Some("h2")),
        (&["spdy/3", "http/1.0"], Some("http/1.0")),
    ] {
        for client in [setup.client()?, setup.client()?.tls_1_2_only()] {
            let client = client.alpn(offered);
            let mut stream = client.tls(HOST).await.with_context(|| format!("{offered:?}"))?;
            let agreed = stream.get_ref().1.alpn_protocol().map(String::from_utf8_lossy).map(String::from);
            ensure!(agreed.as_deref() == expected, "{offered:?}: {agreed:?}");
            if expected != Some("h2") {
                stream.write_all(format!("GET /old HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
                let answer = String::from_utf8(rest(&mut stream).await?)?;
                ensure!(answer.contains(" 200 ") && answer.contains("\"/old\""), "{offered:?}: {answer}");
            }
        }
    }
    for offered in [&["spdy/3"][..], &["h2c"], &["http/0.9"]] {
        ensure!(setup.client()?.alpn(offered).tls(HOST).await.is_err(), "{offered:?} is not spoken");
    }
    Ok(())
}

async fn expect_continue_is_answered(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut started = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut started);
    tokio::time::timeout(std::time::Duration::from_secs(5), read).await.context("no 100")??;
    ensure!(&started == b"HTTP/1.1 100", "{}", String::from_utf8_lossy(&started));
    stream.write_all(b"body").await?;
    let answer = String::from_utf8(rest(&mut stream).await?)?;
    ensure!(answer.contains("\"body\":\"body\""), "{answer}");
    Ok(())
}

async fn head_has_no_body(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let head = connection.request(Method::HEAD, HOST, "/bytes/1000").body(Full::default())?;
        let reply = connection.send(head).await?.expect(200)?;
        ensure!(reply.body.is_empty() && reply.header("content-length") == "1000", "{reply:?}");
        connection.get(HOST, "/").await?.expect(200)?;
    }
    Ok(())
}

async fn host_names_are_case_insensitive(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let mut connection = setup.client()?.connect("APP.gw.EXAMPLE").await?;
    for host in ["App.GW.example", "app.gw.example.", "app.gw.example:443"] {
        connection.get(host, "/").await?.expect(200).context(host)?;
    }
    Ok(())
}

async fn tls_1_2_is_served(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = with_app(sandbox).await?;
    let client = setup.client()?.tls_1_2_only();
    client.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn several_workers_accept(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.workers(4)).await?;
    let client = setup.client()?;
    for _ in 0..40 {
        client.get(HOST, "/").await?.expect(200)?;
    }
    ensure!(backend.requests() == 40);
    Ok(())
}
