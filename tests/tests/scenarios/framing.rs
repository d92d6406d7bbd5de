//! Request framing: the gateway frames every request anew, however the client framed it.

use std::convert::Infallible;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use uuid::Uuid;
use webgateway_tests::client::{exchange, rest};
use webgateway_tests::feed_server::passthrough;
use webgateway_tests::gateway::HTTP;
use webgateway_tests::netns::overlay;
use webgateway_tests::recorder::Recorder;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::feed::FeedSetup;
use crate::setup::standalone::StandaloneSetup;

scenarios![
    every_method_arrives_with_its_body_over_h1,
    every_method_arrives_with_its_body_over_h2,
    equal_content_lengths_over_h2_are_merged,
    every_challenge_arrives_with_its_body_at_port_80,
    request_trailers_obey_the_rules_of_fields,
    equivalent_authorities_are_equal,
    only_websockets_are_upgraded,
    upgrade_protocol_names_are_case_insensitive,
];

const HOST: &str = "app.gw.example";
const METHODS: [&str; 9] = ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "QUERY", "PROPFIND"];

pub(crate) type Frames = Vec<Frame<Bytes>>;
type Body = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

/// Starts a gateway with one route to a with_recorder backend.
pub(crate) async fn with_recorder(sandbox: &Sandbox) -> Result<(StandaloneSetup, Recorder)> {
    let backend = Recorder::start(overlay(1, 8080)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    Ok((setup, backend))
}

/// Sends bytes over TLS and returns everything received until the connection ends.
pub(crate) async fn send_raw(setup: &StandaloneSetup, request: &str) -> Result<String> {
    let mut stream = setup.client()?.tls(HOST).await?;
    // The gateway may cut the connection before everything is sent.
    drop(stream.write_all(request.as_bytes()).await);
    Ok(String::from_utf8_lossy(&rest(&mut stream).await?).into_owned())
}

/// An HTTP/2 connection that sends bodies frame by frame, without a known length.
pub(crate) struct H2 {
    sender: SendRequest<Body>,
    _driver: JoinSet<()>,
}

impl H2 {
    pub(crate) async fn connect(setup: &StandaloneSetup) -> Result<Self> {
        let stream = setup.client()?.h2().tls(HOST).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { sender, _driver: driver })
    }

    pub(crate) async fn send(
        &mut self,
        request: http::request::Builder,
        frames: Frames,
    ) -> Result<StatusCode> {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> = frames.into_iter().map(Ok).collect();
        let response = self.sender.send_request(request.body(StreamBody::new(stream::iter(frames)))?).await?;
        let (head, body) = response.into_parts();
        body.collect().await.context("the answer")?;
        Ok(head.status)
    }
}

pub(crate) fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

/// Fails unless the request arrived once, with this body, one framing, and the Content-Length that its method requires.
fn arrived(backend: &Recorder, method: &str, target: &str, body: &str) -> Result<()> {
    let request = backend.only(target)?;
    ensure!(request.head.starts_with(&format!("{method} ")), "{target}: {request:?}");
    ensure!(request.body == body.as_bytes(), "{target}: {request:?}");
    let (lengths, codings) = (request.values("content-length"), request.values("transfer-encoding"));
    ensure!(lengths.len() + codings.len() <= 1, "{target} is framed twice: {request:?}");
    let awaited = body.is_empty() && matches!(method, "POST" | "PUT" | "PATCH") && codings.is_empty();
    ensure!(!awaited || lengths == ["0"], "{target}: {request:?}");
    Ok(())
}

/// Bodies over HTTP/1.1: a name, the framing fields and content, and the body.
const BODIES: [(&str, &str, &str); 8] = [
    ("none", "\r\n", ""),
    ("length", "Content-Length: 5\r\n\r\nhello", "hello"),
    ("length-padded", "Content-Length: 005\r\n\r\nhello", "hello"),
    ("length-twice", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello"),
    ("length-zero", "Content-Length: 0\r\n\r\n", ""),
    ("chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    ("chunked-case", "Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
    ("chunked-empty", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
];

async fn every_method_arrives_with_its_body_over_h1(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let mut wrong = Vec::new();
    for method in METHODS {
        for (kind, tail, body) in BODIES {
            let target = format!("/{method}/{kind}");
            let head = format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
            let response = send_raw(&setup, &format!("{head}{tail}")).await?;
            ensure!(response.starts_with("HTTP/1.1 200"), "{target}: {response}");
            wrong.extend(arrived(&backend, method, &target, body).err().map(|error| error.to_string()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn every_challenge_arrives_with_its_body_at_port_80(sandbox: &Sandbox) -> Result<()> {
    let backend = Recorder::start(overlay(1, HTTP)).await?;
    // The gateway listens on 127.0.0.1 alone, as the backend uses port 80 of the overlay address.
    let (setup, mut node) = FeedSetup::start_with(sandbox, |config| config.number(1)).await?;
    setup.sync(&mut node, vec![passthrough(Uuid::now_v7(), HOST, overlay(1, 8443))]).await?;
    let path = "/.well-known/acme-challenge";
    let ask = async |method: &str, target: &str, tail: &str| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{tail}");
        let response = exchange(setup.gateway.http(), head.as_bytes()).await?;
        anyhow::Ok(String::from_utf8_lossy(&response).into_owned())
    };
    for method in ["GET", "HEAD"] {
        for (kind, tail, body) in BODIES {
            let target = format!("{path}/{method}-{kind}");
            let response = ask(method, &target, tail).await?;
            ensure!(response.starts_with("HTTP/1.1 200"), "{target}: {response}");
            arrived(&backend, method, &target, body)?;
        }
    }
    let target = format!("{path}/both");
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let fields = "Content-Length: 2\r\nTransfer-Encoding: chunked";
    backend.respond(&target, format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{chunked}"));
    let response = ask("GET", &target, "\r\n").await?;
    ensure!(response.ends_with(&format!("\r\n\r\n{chunked}")), "{response}");
    let target = format!("{path}/gzip");
    let fields = "Transfer-Encoding: gzip, chunked";
    backend.respond(&target, format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{chunked}"));
    let response = ask("GET", &target, "\r\n").await?;
    ensure!(
        response.starts_with("HTTP/1.1 502") && response.contains("http_response_transfer_coding"),
        "{response}"
    );
    Ok(())
}

async fn every_method_arrives_with_its_body_over_h2(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let mut h2 = H2::connect(&setup).await?;
    let mut plain = setup.client()?.h2().connect(HOST).await?;
    let mut wrong = Vec::new();
    for method in METHODS {
        let bodies = [
            ("length", Some("5"), vec![data("hello")], "hello"),
            ("pieces", None, vec![data("he"), data("llo")], "hello"),
            ("empty-frame", None, vec![data("")], ""),
            ("length-zero", Some("0"), vec![data("")], ""),
        ];
        for (kind, length, frames, body) in bodies {
            let target = format!("/{method}/{kind}");
            let mut request = Request::builder().method(method).uri(format!("https://{HOST}{target}"));
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let status = h2.send(request, frames).await.context(target.clone())?;
            ensure!(status == 200, "{target}: {status}");
            wrong.extend(arrived(&backend, method, &target, body).err().map(|error| error.to_string()));
        }
        let target = format!("/{method}/none");
        let request = plain.request(method.parse()?, HOST, &target).body(http_body_util::Full::default())?;
        plain.send(request).await?.expect(200)?;
        wrong.extend(arrived(&backend, method, &target, "").err().map(|error| error.to_string()));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn equal_content_lengths_over_h2_are_merged(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    for method in ["GET", "POST"] {
        for (n, (first, second, passes)) in
            [("5", "5", true), ("5", "6", false), ("6", "5", false), ("5", "x", false), ("5", "+5", false)]
                .into_iter()
                .enumerate()
        {
            // The gateway may close the connection together with a refused request.
            let mut h2 = H2::connect(&setup).await?;
            let target = format!("/{method}/{n}");
            let request = Request::builder().method(method).uri(format!("https://{HOST}{target}"));
            let request = request.header("content-length", first).header("content-length", second);
            let got = h2.send(request, vec![data("hello")]).await;
            if passes {
                ensure!(got? == 200, "{target}");
                arrived(&backend, method, &target, "hello")?;
                ensure!(backend.only(&target)?.values("content-length") == ["5"], "{target}");
            } else {
                let refused = got.as_ref().map_or(true, |status| *status == 400);
                ensure!(
                    refused && backend.requests(&target).is_empty(),
                    "{method} {first}, {second}: {got:?}"
                );
            }
        }
    }
    Ok(())
}

/// Request trailers that are removed, next to one that is forwarded.
const TRAILERS: [&str; 10] = [
    "x-sum",
    "x-forwarded-for",
    "x-real-ip",
    "forwarded",
    "x_sum",
    "host",
    "content-length",
    "transfer-encoding",
    "cdn-loop",
    "connection",
];

async fn request_trailers_obey_the_rules_of_fields(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let announced = TRAILERS.join(", ");
    let lines: String = TRAILERS.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let head = format!("POST /h1 HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: close, TE\r\n");
    let chunked =
        format!("Trailer: {announced}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{lines}\r\n");
    let response = send_raw(&setup, &format!("{head}{chunked}")).await?;
    ensure!(response.starts_with("HTTP/1.1 200"), "{response}");
    let mut h2 = H2::connect(&setup).await?;
    let mut trailers = HeaderMap::new();
    for name in TRAILERS.iter().filter(|name| !matches!(**name, "connection" | "transfer-encoding" | "host"))
    {
        trailers.insert(*name, HeaderValue::from_static("1"));
    }
    for (target, length) in [("/h2", None), ("/h2-length", Some("1"))] {
        let mut request = Request::post(format!("https://{HOST}{target}"))
            .header("trailer", &announced)
            .header("te", "trailers");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let status = h2.send(request, vec![data("x"), Frame::trailers(trailers.clone())]).await;
        ensure!(status.context(target)? == 200);
    }
    for target in ["/h1", "/h2", "/h2-length"] {
        let request = backend.only(target)?;
        ensure!(request.body == b"x" && request.trailers == "x-sum: 1\r\n\r\n", "{request:?}");
        ensure!(request.values("trailer") == ["x-sum"], "{request:?}");
        ensure!(request.values("te") == ["trailers"], "{request:?}");
        let connection = request.values("connection").join(",").to_ascii_lowercase();
        ensure!(connection.split(',').any(|named| named.trim() == "te"), "{request:?}");
    }
    // A body with only a removed trailer arrives complete.
    let response = send_raw(
        &setup,
        &format!(
            "POST /alone HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nTrailer: X-Forwarded-For\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Forwarded-For: 1\r\n\r\n"
        ),
    )
    .await?;
    ensure!(response.starts_with("HTTP/1.1 200"), "{response}");
    let request = backend.only("/alone")?;
    ensure!(request.trailers == "\r\n" && request.values("trailer").is_empty(), "{request:?}");
    Ok(())
}

async fn equivalent_authorities_are_equal(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let cases = [
        (HOST.to_owned(), HOST.to_owned(), 200),
        (format!("{HOST}:443"), HOST.to_owned(), 200),
        (HOST.to_owned(), format!("{HOST}:443"), 200),
        (HOST.to_owned(), format!("{HOST}:"), 200),
        (HOST.to_uppercase(), HOST.to_owned(), 200),
        (HOST.to_owned(), format!("{HOST}."), 200),
        (format!("{HOST}.:443"), HOST.to_uppercase(), 200),
        (format!("{HOST}:8443"), HOST.to_owned(), 400),
        (HOST.to_owned(), format!("{HOST}:80"), 400),
        (HOST.to_owned(), "other.gw.example".to_owned(), 400),
        (HOST.to_owned(), format!("user@{HOST}"), 400),
    ];
    let mut h2 = H2::connect(&setup).await?;
    let mut wrong = Vec::new();
    for (n, (authority, host, expected)) in cases.into_iter().enumerate() {
        let request = Request::get(format!("https://{authority}/h2/{n}")).header("host", &host);
        let status = h2.send(request, Vec::new()).await?;
        if status != expected {
            wrong.push(format!("h2 {authority} beside {host}: {status}"));
        }
        let head =
            format!("GET https://{authority}/h1/{n} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let response = send_raw(&setup, &head).await?;
        if !response.starts_with(&format!("HTTP/1.1 {expected}")) {
            wrong.push(format!("absolute form of {authority} beside {host}: {response}"));
        }
        ensure!(expected == 200 || backend.requests(&format!("/h1/{n}")).is_empty(), "{authority}, {host}");
    }
    // At port 80 the default port is 80.
    for (host, expected) in
        [(format!("{HOST}:80"), 308), (HOST.to_owned(), 308), (format!("{HOST}:443"), 400)]
    {
        let head = format!("GET http://{HOST}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let response = String::from_utf8(exchange(setup.gateway.http(), head.as_bytes()).await?)?;
        if !response.starts_with(&format!("HTTP/1.1 {expected}")) {
            wrong.push(format!("port 80, {host}: {response}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn upgrade(target: &str, protocol: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
}

async fn only_websockets_are_upgraded(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    for (n, protocol) in ["h2c", "TLS/1.2", "invented", "xwebsocket", "websocket2", ""].iter().enumerate() {
        let target = format!("/{n}");
        let follow = format!("GET /after HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        let response = send_raw(&setup, &format!("{}{follow}", upgrade(&target, protocol))).await?;
        ensure!(response.matches("HTTP/1.1 200").count() == 2, "{protocol}: {response}");
        let request = backend.only(&target)?;
        for name in ["upgrade", "http2-settings"] {
            ensure!(request.values(name).is_empty(), "{protocol}: {request:?}");
        }
    }
    // A backend cannot switch protocols if the upgrade was not forwarded.
    for protocol in ["h2c", "websocket"] {
        backend.respond(
            "/unasked",
            format!("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"),
        );
        let response =
            send_raw(&setup, &upgrade("/unasked", "h2c").replace("Upgrade, ", "close, Upgrade, ")).await?;
        ensure!(
            response.starts_with("HTTP/1.1 502") && response.contains("http_upgrade_failed"),
            "{response}"
        );
    }
    Ok(())
}

async fn upgrade_protocol_names_are_case_insensitive(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    for asked in ["websocket", "WebSocket", "h2c, WebSocket", "WEBSOCKET , h2c"] {
        for agreed in ["websocket", "WebSocket", "WEBSOCKET"] {
            let head = format!("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: {agreed}\r\n\r\n");
            backend.respond("/ws", format!("{head}x-connection: close"));
            let response = send_raw(&setup, &upgrade("/ws", asked)).await?;
            ensure!(response.starts_with("HTTP/1.1 101"), "{asked}, {agreed}: {response}");
            ensure!(response.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"), "{response}");
        }
    }
    for request in backend.requests("/ws") {
        ensure!(request.values("upgrade") == ["websocket"], "{request:?}");
    }
    for agreed in ["Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n", "", "Upgrade: xwebsocket\r\n"] {
        backend.respond("/other", format!("HTTP/1.1 101 X\r\nConnection: Upgrade\r\n{agreed}\r\n"));
        let mut connection = setup.client()?.connect(HOST).await?;
        let request = connection.request(http::Method::GET, HOST, "/other");
        let request = request.header("connection", "upgrade").header("upgrade", "websocket");
        connection.send(request.body(http_body_util::Full::default())?).await?.expect(502)?;
    }
    Ok(())
}
