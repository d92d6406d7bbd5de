//! Forwarding of trailers, announced or not, over every pair of protocols.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use webgateway_tests::recorder::Recorder;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::framing::{H2, data, send_raw, with_recorder};

scenarios![
    request_trailers_are_forwarded,
    response_trailers_are_forwarded,
    a_client_without_te_gets_no_trailers,
    a_slow_reader_gets_the_trailers,
];

const HOST: &str = "app.gw.example";

/// A test case: its name, relevant fields of the head, the trailers sent, and those forwarded.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [Field], &'static [Field]);
type Field = (&'static str, &'static str);

const SUM: Field = ("x-sum", "1");
const MORE: Field = ("x-more", "two words");
const CASES: [Case; 9] = [
    ("unannounced", &[], &[SUM], &[SUM]),
    ("announced", &[("trailer", "x-sum")], &[SUM], &[SUM]),
    ("another", &[("trailer", "x-sum")], &[MORE], &[MORE]),
    ("one-of-two", &[("trailer", "X-More")], &[SUM, MORE], &[SUM, MORE]),
    ("repeated", &[], &[SUM, SUM, ("x-sum", "2")], &[SUM, SUM, ("x-sum", "2")]),
    (
        "grpc",
        &[],
        &[("grpc-status", "0"), ("grpc-message", "")],
        &[("grpc-status", "0"), ("grpc-message", "")],
    ),
    ("forbidden", &[], &[("content-length", "7"), SUM, ("set-cookie", "a=b")], &[SUM]),
    ("nothing-left", &[], &[("content-type", "x"), ("range", "x")], &[]),
    ("none", &[("trailer", "x-sum")], &[], &[]),
];
/// Cases for HTTP/1.1 alone, as HTTP/2 has no Connection field.
const NAMED: [Case; 2] = [
    ("named", &[("connection", "close, X-Sum")], &[SUM, MORE], &[MORE]),
    ("named-and-announced", &[("connection", "x-sum"), ("trailer", "x-sum, x-more")], &[SUM], &[]),
];

fn lines(fields: &[Field]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

fn map(fields: &[Field]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::try_from(*name)?, HeaderValue::from_static(value));
    }
    Ok(map)
}

/// Contents: none, a little, or more than one write.
fn contents() -> [(&'static str, String); 3] {
    [("empty", String::new()), ("short", "0\r\n\r\n".to_owned()), ("long", "0\r\n\r\n".repeat(60_000))]
}

fn chunked(content: &str, trailers: &[Field]) -> String {
    let chunk =
        if content.is_empty() { String::new() } else { format!("{:x}\r\n{content}\r\n", content.len()) };
    format!("{chunk}0\r\n{}\r\n", lines(trailers))
}

async fn request_trailers_are_forwarded(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let mut wrong = Vec::new();
    for (content_name, content) in contents() {
        for (name, fields, sent, passed) in CASES.into_iter().chain(NAMED) {
            let target = format!("/h1/{content_name}/{name}");
            let head = format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n{}", lines(fields));
            // The next request proves that the message ended where announced.
            let after = format!("GET /after HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
            let request =
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{}{after}", chunked(&content, sent));
            let response = send_raw(&setup, &request).await?;
            let expected = if lines(fields).contains("close") { 1 } else { 2 };
            if response.matches("HTTP/1.1 200").count() != expected {
                wrong.push(format!("{target}: {response}"));
            }
            wrong.extend(arrived(&backend, &target, &content, passed).err().map(|error| error.to_string()));
        }
        let mut h2 = H2::connect(&setup).await?;
        for (name, fields, sent, passed) in CASES {
            let target = format!("/h2/{content_name}/{name}");
            let mut request = Request::post(format!("https://{HOST}{target}"));
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let mut frames = vec![Frame::trailers(map(sent)?)];
            if !content.is_empty() {
                frames.insert(0, Frame::data(content.clone().into()));
            }
            let status = timeout(Duration::from_secs(10), h2.send(request, frames)).await;
            ensure!(status.context(target.clone())?.context(target.clone())? == 200, "{target}");
            wrong.extend(arrived(&backend, &target, &content, passed).err().map(|error| error.to_string()));
        }
        // Content of a known length is not chunked unless trailers were announced.
        let request =
            Request::post(format!("https://{HOST}/known/{content_name}")).header("content-length", 1);
        h2.send(request, vec![data("x"), Frame::trailers(map(&[SUM])?)]).await?;
        let known = backend.only(&format!("/known/{content_name}"))?;
        ensure!(known.body == b"x" && known.values("content-length") == ["1"], "{known:?}");
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn arrived(backend: &Recorder, target: &str, content: &str, passed: &[Field]) -> Result<()> {
    let request = backend.only(target)?;
    ensure!(request.body == content.as_bytes(), "{target}: another body of {} bytes", request.body.len());
    let expected = format!("{}\r\n", lines(passed));
    ensure!(request.trailers == expected, "{target}: {:?} instead of {expected:?}", request.trailers);
    Ok(())
}

async fn response_trailers_are_forwarded(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    backend.respond("/after", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter");
    let mut wrong = Vec::new();
    for (content_name, content) in contents() {
        for (name, fields, sent, passed) in CASES.into_iter().chain(NAMED) {
            let target = format!("/{content_name}/{name}");
            let head = format!("HTTP/1.1 200 OK\r\n{}Transfer-Encoding: chunked\r\n\r\n", lines(fields));
            backend.respond(&target, format!("{head}{}", chunked(&content, sent)));
            let ask = |target: &str, more: &str| {
                format!(
                    "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: {more}TE\r\n\r\n"
                )
            };
            let response =
                send_raw(&setup, &format!("{}{}", ask(&target, ""), ask("/after", "close, "))).await?;
            let end = format!("\r\n0\r\n{}\r\nHTTP/1.1 200 OK\r\n", lines(passed));
            if !response.contains(&end) || !response.ends_with("\r\n\r\nafter") {
                wrong.push(format!(
                    "h1 {target}: {}",
                    response.get(response.len().saturating_sub(400)..).unwrap_or(&response)
                ));
            }
            let mut h2 = setup.client()?.h2().connect(HOST).await?;
            let request = h2.request(Method::GET, HOST, &target).body(Full::default())?;
            let reply = h2.send(request).await?.expect(200)?;
            if reply.trailers != map(passed)? || reply.body != content {
                wrong.push(format!("h2 {target}: {:?}", reply.trailers));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn a_client_without_te_gets_no_trailers(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let head = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    backend.respond("/", format!("{head}{}", chunked("hello", &[SUM, MORE])));
    for (version, fields, end) in [
        ("1.1", "", "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("1.1", "TE: deflate\r\n", "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        // The response is not chunked.
        ("1.0", "TE: trailers\r\n", "\r\n\r\nhello"),
    ] {
        let request = format!("GET / HTTP/{version}\r\nHost: {HOST}\r\n{fields}Connection: close\r\n\r\n");
        let response = send_raw(&setup, &request).await?;
        ensure!(response.ends_with(end), "HTTP/{version} {fields:?}: {response}");
    }
    // No rest of them remains on the connection.
    let ask = |method| format!("{method} / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\n");
    let response =
        send_raw(&setup, &format!("{}\r\n{}Connection: close\r\n\r\n", ask("HEAD"), ask("HEAD"))).await?;
    ensure!(response.matches("HTTP/1.1 200").count() == 2 && !response.contains("x-more"), "{response}");
    Ok(())
}

async fn a_slow_reader_gets_the_trailers(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let content = "0\r\n\r\n".repeat(1_000_000);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    backend.respond("/", format!("{head}{}", chunked(&content, &[SUM])));
    let mut stream = setup.client()?.tls(HOST).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut response, mut buffer) = (Vec::new(), vec![0; 3000]);
    while let count @ 1.. = stream.read(&mut buffer).await? {
        response.extend_from_slice(&buffer[..count]);
        tokio::task::yield_now().await;
    }
    let response = String::from_utf8(response)?;
    ensure!(response.len() > content.len(), "{} bytes", response.len());
    ensure!(response.ends_with("\r\n0\r\nx-sum: 1\r\n\r\n"), "{}", &response[response.len() - 100..]);
    Ok(())
}
