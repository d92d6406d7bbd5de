//! Response framing: backends' responses are framed anew, or refused with a reason.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use http_body_util::Full;
use webgateway_tests::recorder::Recorder;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::framing::{send_raw, with_recorder};
use crate::setup::standalone::StandaloneSetup;

scenarios![
    responses_arrive_completely,
    ambiguous_responses_are_refused,
    response_heads_are_parsed_as_strictly_as_request_heads,
    a_connection_with_an_ambiguous_response_is_not_reused,
    response_trailers_obey_the_rules_of_fields,
    response_heads_are_limited_by_size,
];

const HOST: &str = "app.gw.example";

/// Accepted responses: the method, the response after its status line, the length and the body that clients get.
const ACCEPTED: [(&str, &str, Option<&str>, &str); 19] = [
    ("GET", "200 OK\r\nContent-Length: 5\r\n\r\nhello", Some("5"), "hello"),
    ("GET", "200 OK\r\nContent-Length: 005\r\n\r\nhello", Some("5"), "hello"),
    ("GET", "200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Some("5"), "hello"),
    ("GET", "200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Some("5"), "hello"),
    ("GET", "200 OK\r\nContent-Length: 5,5\r\ncontent-length: 5\r\n\r\nhello", Some("5"), "hello"),
    ("GET", "200 OK\r\nContent-Length: 0\r\n\r\n", Some("0"), ""),
    ("GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", None, "hello"),
    ("GET", "200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", None, ""),
    (
        "GET",
        "200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        None,
        "hello",
    ),
    (
        "GET",
        "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        None,
        "hello",
    ),
    (
        "GET",
        "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        None,
        "hello",
    ),
    ("GET", "200 OK\r\nConnection: close\r\n\r\nhello", None, "hello"),
    (
        "GET",
        "200 OK\r\nConnection: close, content-length\r\nContent-Length: 5\r\n\r\nhello",
        Some("5"),
        "hello",
    ),
    ("GET", "204 No Content\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", None, ""),
    ("GET", "204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None, ""),
    ("HEAD", "200 OK\r\nContent-Length: 5\r\n\r\n", Some("5"), ""),
    ("HEAD", "200 OK\r\nContent-Length: 5, 5\r\n\r\n", Some("5"), ""),
    ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, ""),
    ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", None, ""),
];

async fn responses_arrive_completely(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let mut wrong = Vec::new();
    for client in [setup.client()?, setup.client()?.h2()] {
        for (method, tail, length, body) in ACCEPTED {
            // Repeated requests reuse connections to the backend.
            backend.respond("/", format!("HTTP/1.1 {tail}"));
            let mut connection = client.connect(HOST).await?;
            let request = connection.request(method.parse()?, HOST, "/").body(Full::default())?;
            let got = connection.send(request).await;
            let Ok(reply) = got else {
                wrong.push(format!("{method} {tail:?}: {got:?}"));
                continue;
            };
            let lengths: Vec<_> = reply.headers.get_all("content-length").iter().collect();
            // The gateway may add the right Content-Length if the length is known.
            let fits = match length {
                Some(length) => lengths == [length],
                None if method == "HEAD" || reply.status == 204 => lengths.is_empty(),
                None => lengths.is_empty() || lengths == [body.len().to_string().as_str()],
            };
            if !reply.status.is_success() || !fits || reply.body != body {
                wrong.push(format!("{method} {tail:?}: {reply:?}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Refused responses, the ambiguous field, and the error type of RFC 9209.
const AMBIGUOUS: [(&str, &str, &str); 13] = [
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        CODING,
        "transfer-encoding",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nConnection: close\r\n\r\nhello",
        CODING,
        "transfer-encoding",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        CODING,
        "transfer-encoding",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CODING,
        "transfer-encoding",
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", CODING, "transfer-encoding"),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CODING,
        "transfer-encoding",
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\nConnection: close\r\n\r\nhello",
        CODING,
        "transfer-encoding",
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\nConnection: close\r\n\r\nhello", CODING, "transfer-encoding"),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", PROTOCOL, "transfer-encoding"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", PROTOCOL, "content-length"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello", PROTOCOL, "content-length"),
    ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", PROTOCOL, "content-length"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", PROTOCOL, "content-length"),
];
const CODING: &str = "http_response_transfer_coding";
const PROTOCOL: &str = "http_protocol_error";

async fn ambiguous_responses_are_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let mut wrong = Vec::new();
    for (n, (bytes, error, field)) in AMBIGUOUS.iter().enumerate() {
        for client in [setup.client()?, setup.client()?.h2()] {
            for method in [Method::GET, Method::HEAD] {
                let path = format!("/{n}");
                backend.respond(&path, *bytes);
                let mut connection = client.connect(HOST).await?;
                let request = connection.request(method, HOST, &path).body(Full::default())?;
                let got = connection.send(request).await;
                let refused = got.as_ref().is_ok_and(|reply| {
                    reply.status == 502
                        && reply.header("proxy-status") == format!("webgateway; error={error}")
                });
                if !refused {
                    wrong.push(format!("{bytes:?}: {got:?}"));
                }
                wait_for_log(sandbox, |log| {
                    let mut lines = log.lines();
                    let names = |line: &str| line.to_ascii_lowercase().contains(field);
                    ensure!(
                        lines.any(|line| line.contains("backend") && names(line)),
                        "{field} is not named"
                    );
                    Ok(())
                })
                .await?;
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Refused response heads, the label of the reason, and the words that name it.
const INVALID_HEADS: [(&str, &str, &str); 20] = [
    ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "line_end", "ends in LF without CR"),
    ("HTTP/1.1 200 OK\r\nX-One: y\nContent-Length: 0\r\n\r\n", "line_end", "CR (`X-One`)"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", "line_end", "CR (`Content-Length`)"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", "line_end", "ends in LF without CR"),
    ("\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "line_end", "ends in LF without CR"),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\n\r\n0\r\n\r\n", "line_end", "CR (`Transfer-Encoding`)"),
    (
        "HTTP/1.1 103 X\r\nX-Early: y\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "line_end",
        "CR (`X-Early`)",
    ),
    (
        "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nX-Late: y\nContent-Length: 0\r\n\r\n",
        "line_end",
        "CR (`X-Late`)",
    ),
    ("HTTP/1.1 200 OK\r\nX-Fold: a\r\n b\r\nContent-Length: 0\r\n\r\n", "folded_line", "a line is folded"),
    ("HTTP/1.1 200 OK\r\nX-Fold: a\r\n\tb: c\r\nContent-Length: 0\r\n\r\n", "folded_line", "folded (`\\tb`)"),
    ("HTTP/1.1 200 OK\r\n X-First: a\r\nContent-Length: 0\r\n\r\n", "folded_line", "folded (` X-First`)"),
    ("HTTP/1.1 200 OK\r\nX-Space : a\r\nContent-Length: 0\r\n\r\n", "field_name", "malformed (`X-Space `)"),
    ("HTTP/1.1 200 OK\r\nContent-Length\t: 0\r\n\r\n", "field_name", "malformed (`Content-Length\\t`)"),
    (
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        "field_name",
        "name of a field is malformed",
    ),
    (
        "HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n",
        "control_character",
        "NUL or a CR (`X-Nul`)",
    ),
    (
        "HTTP/1.1 200 OK\r\nX-Cr: a\rb\r\nContent-Length: 0\r\n\r\n",
        "control_character",
        "NUL or a CR (`X-Cr`)",
    ),
    (
        "HTTP/1.1 200 OK\r\nX-Crs: a\r\r\nContent-Length: 0\r\n\r\n",
        "control_character",
        "NUL or a CR (`X-Crs`)",
    ),
    ("HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 0\r\n\r\n", "syntax", "invalid HTTP header parsed"),
    ("HTTP/1.1 200 OK\r\nX-Bell: \x07\r\nContent-Length: 0\r\n\r\n", "syntax", "invalid HTTP header parsed"),
    ("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", "syntax", "invalid HTTP status-code parsed"),
];

async fn response_heads_are_parsed_as_strictly_as_request_heads(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let mut wrong = Vec::new();
    for (n, (bytes, _, words)) in INVALID_HEADS.iter().enumerate() {
        for (client, over) in [(setup.client()?, "h1"), (setup.client()?.h2(), "h2")] {
            let path = format!("/{over}/{n}");
            backend.respond(&path, *bytes);
            let got = client.get(HOST, &path).await;
            let refused = got.as_ref().is_ok_and(|reply| {
                reply.status == 502
                    && reply.header("proxy-status") == format!("webgateway; error={PROTOCOL}")
                    && reply.text().contains(words)
            });
            if !refused || backend.requests(&path).len() != 1 {
                wrong.push(format!("{over} {bytes:?}: {got:?}"));
            }
            client.get(HOST, "/fine").await?.expect(200)?;
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    wait_for_log(sandbox, expect_rate_limited_warnings).await
}

/// Fails unless each reason is logged as a warning once, and not for each response.
fn expect_rate_limited_warnings(log: &str) -> Result<()> {
    for (_, reason, _) in INVALID_HEADS {
        let warned = log.lines().filter(|line| {
            line.contains(" WARN ")
                && line.contains("backend response refused")
                && line.contains(&format!("reason=\"{reason}\""))
        });
        let refused = 2 * INVALID_HEADS.iter().filter(|(_, other, _)| *other == reason).count();
        let warned = warned.count();
        ensure!((1..refused).contains(&warned), "{reason}: {warned} lines for {refused} answers");
    }
    Ok(())
}

/// Waits until the log passes `check`: a separate thread writes the lines.
async fn wait_for_log(sandbox: &Sandbox, check: impl Fn(&str) -> Result<()>) -> Result<()> {
    let probe = async || {
        let log = std::fs::read(sandbox.path("dataplane.log"))?;
        check(&String::from_utf8_lossy(&log))
    };
    eventually("the log passes the check", Duration::from_secs(10), probe).await
}

async fn a_connection_with_an_ambiguous_response_is_not_reused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let head = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    backend.respond("/both", format!("HTTP/1.1 200 OK\r\n{head}"));
    backend.respond("/204", format!("HTTP/1.1 204 No Content\r\n{head}"));
    backend.respond("/old", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello");
    let (mut connection, mut expected) = (setup.client()?.connect(HOST).await?, 1);
    for _ in 0..3 {
        for path in ["/both", "/204", "/old"] {
            connection.get(HOST, "/fine").await?.expect(200)?;
            connection.get(HOST, path).await?;
            ensure!(backend.connections() == expected, "{path}: {} of {expected}", backend.connections());
            expected += 1;
        }
    }
    Ok(())
}

/// Response trailers that are removed, before one that is forwarded.
const TRAILERS: &str = "Connection: x\r\nContent-Length: 1\r\nSet-Cookie: a=b\r\nTransfer-Encoding: gzip\r\n\
                        Proxy-Authenticate: x\r\nKeep-Alive: x\r\nUpgrade: x\r\nX-Sum: 42\r\n";

async fn response_trailers_obey_the_rules_of_fields(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let body = format!("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{TRAILERS}\r\n");
    backend.respond(
        "/announced",
        format!("HTTP/1.1 200 OK\r\nTrailer: Set-Cookie, X-Sum, Connection\r\n{body}"),
    );
    backend.respond("/unannounced", format!("HTTP/1.1 200 OK\r\n{body}"));
    let mut h2 = setup.client()?.h2().connect(HOST).await?;
    for path in ["/announced", "/unannounced"] {
        let request = h2.request(Method::GET, HOST, path).header("te", "trailers").body(Full::default())?;
        let reply = h2.send(request).await?.expect(200)?;
        ensure!(reply.body == "x" && reply.trailers.len() == 1, "{path}: {reply:?}");
        ensure!(reply.trailers["x-sum"] == "42", "{path}: {reply:?}");
    }
    let head =
        format!("GET /announced HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n");
    let response = send_raw(&setup, &head).await?.to_ascii_lowercase();
    ensure!(response.contains("\r\ntrailer: x-sum\r\n"), "{response}");
    ensure!(response.ends_with("1\r\nx\r\n0\r\nx-sum: 42\r\n\r\n"), "{response}");
    Ok(())
}

async fn response_heads_are_limited_by_size(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let cookies = |count: usize, size: usize| -> String {
        (0..count).map(|n| format!("Set-Cookie: c{n}={}\r\n", "x".repeat(size))).collect()
    };
    expect_many_fields(&setup, &backend, &cookies).await?;
    expect_large_heads(&setup, &backend, &cookies(40, 1500)).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        backend
            .respond("/large", format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", cookies(400, 400)));
        let reply = client.get(HOST, "/large").await?.expect(502)?;
        let error = "webgateway; error=http_response_header_section_size";
        ensure!(reply.header("proxy-status") == error, "{reply:?}");
    }
    wait_for_log(sandbox, |log| {
        ensure!(log.contains("too large"), "the reason is not in the log");
        Ok(())
    })
    .await
}

/// Sends heads of 60 KiB, of the allowed 64 KiB, in both directions.
async fn expect_large_heads(setup: &StandaloneSetup, backend: &Recorder, cookies: &str) -> Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 2\r\n\r\nok");
    let (over_h1, over_h2) = ("/sixty", "/h2/sixty");
    for path in [over_h1, over_h2] {
        backend.respond(path, head.clone());
    }
    let asked: String = (0..40).map(|n| format!("x-{n}: {}\r\n", "y".repeat(1480))).collect();
    let request = format!("GET {over_h1} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{asked}\r\n");
    let response = send_raw(setup, &request).await?;
    let got = response.matches("\r\nset-cookie: c").count();
    ensure!(response.starts_with("HTTP/1.1 200") && got == 40 && response.ends_with("ok"), "h1: {got} of 40");
    let mut h2 = setup.client()?.h2().connect(HOST).await?;
    let mut request = h2.request(Method::GET, HOST, over_h2);
    for n in 0..40 {
        request = request.header(format!("x-{n}"), "y".repeat(1480));
    }
    let reply = h2.send(request.body(Full::default())?).await?.expect(200)?;
    let got = reply.headers.get_all("set-cookie").iter().count();
    ensure!(got == 40 && reply.body == "ok", "h2: {got} of 40");
    for request in [backend.only(over_h1)?, backend.only(over_h2)?] {
        let got = request.head.lines().filter(|line| line.len() > 1480).count();
        ensure!(got == 40, "the backend got {got} of 40");
    }
    Ok(())
}

async fn expect_many_fields(
    setup: &StandaloneSetup,
    backend: &Recorder,
    cookies: &impl Fn(usize, usize) -> String,
) -> Result<()> {
    let mut h2 = setup.client()?.h2().connect(HOST).await?;
    for count in [99, 100, 101, 150, 900] {
        let head = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", cookies(count, 20));
        let (target, over_h2) = (format!("/{count}"), format!("/h2/{count}"));
        backend.respond(&over_h2, head.clone());
        backend.respond(&target, head);
        let asked: String = (0..count).map(|n| format!("x-{n}: y\r\n")).collect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{asked}\r\n");
        // The response is read as bytes, as hyper's client accepts 100 fields at most.
        let got = send_raw(setup, &request).await?.matches("\r\nset-cookie: c").count();
        ensure!(got == count, "h1: {got} of {count}");
        let mut request = h2.request(Method::GET, HOST, &over_h2);
        for n in 0..count {
            request = request.header(format!("x-{n}"), "y");
        }
        let reply = h2.send(request.body(Full::default())?).await?.expect(200)?;
        let got = reply.headers.get_all("set-cookie").iter().count();
        ensure!(got == count, "h2: {got} of {count}");
        for request in [backend.only(&target)?, backend.only(&over_h2)?] {
            let got = request.head.lines().filter(|line| line.ends_with(": y")).count();
            ensure!(got == count, "{got} of {count}");
        }
    }
    Ok(())
}
