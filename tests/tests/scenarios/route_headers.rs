//! The changes of header fields that a route makes in both directions.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::{Reply, rest};
use webgateway_tests::netns::overlay;
use webgateway_tests::recorder::Recorder;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;
use crate::terminated_routes::header;

scenarios![
    requests_are_changed,
    responses_of_backends_are_changed,
    responses_of_the_gateway_keep_their_own_fields,
    trailers_do_not_bring_back_a_removed_field,
    an_upgrade_is_changed_in_both_directions,
    fields_of_the_gateway_are_refused
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(10);

const REQUEST: [&str; 10] = [
    "--headers-request-remove",
    "Accept-Encoding",
    "--headers-request-remove",
    "X-Both",
    "--headers-request-set",
    "X-Tier: gold",
    "--headers-request-add",
    "X-More: 1",
    "--headers-request-add",
    "X-Both: new",
];

async fn requests_are_changed(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let create = ["routes", "create", "-s", "app", "-b", "[400::1]:8080", "--wait"];
    setup.alice.json(create.into_iter().chain(REQUEST)).await?;
    setup.wait_for_status(HOST, 200).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let request = connection
            .request(Method::GET, HOST, "/")
            .header("accept-encoding", "gzip")
            .header("x-tier", "forged")
            .header("x-tier", "again")
            .header("X_Tier", "underscore")
            .header("x-both", "old")
            .header("x-more", "0")
            .body(Full::default())?;
        let seen = connection.send(request).await?.expect(200)?.json()?;
        for (name, values) in [
            ("accept-encoding", &[][..]),
            ("x-tier", &["gold"]),
            ("x_tier", &[]),
            ("x-both", &["new"]),
            ("x-more", &["0", "1"]),
            ("host", &[HOST]),
            ("x-forwarded-proto", &["https"]),
        ] {
            ensure!(header(&seen, name) == values, "{name}: {seen}");
        }
    }
    Ok(())
}

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX-Frame-Options: ALLOWALL\r\nX-Powered-By: x\r\n\
    Set-Cookie: a=1\r\nCache-Control: private\r\nConnection: X-Hop\r\nX-Hop: y\r\nContent-Length: 2\r\n\r\nok";

/// Changes of responses, as in the feed file.
fn response_changes() -> serde_json::Value {
    json!({ "response": {
        "remove": ["server", "X-Powered-By"],
        "set": { "X-Frame-Options": "DENY", "Cache-Control": "public, max-age=60", "X-Hop": "own" },
        "add": { "Set-Cookie": ["b=2", "c=3"], "Link": "</a.css>; rel=preload" },
    } })
}

async fn responses_of_backends_are_changed(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::Respond(RESPONSE.to_vec())).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]).set_option(HOST, "headers", response_changes());
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let reply = client.get(HOST, "/").await?.expect(200)?;
        ensure!(reply.text() == "ok");
        for (name, values) in [
            ("server", &[][..]),
            ("x-powered-by", &[]),
            ("x-frame-options", &["DENY"]),
            ("cache-control", &["public, max-age=60"]),
            ("x-hop", &["own"]),
            ("set-cookie", &["a=1", "b=2", "c=3"]),
            ("link", &["</a.css>; rel=preload"]),
        ] {
            ensure!(all(&reply, name) == values, "{name}: {:?}", reply.headers);
        }
    }
    Ok(())
}

fn all<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    reply.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

async fn responses_of_the_gateway_keep_their_own_fields(sandbox: &Sandbox) -> Result<()> {
    let setup = StandaloneSetup::start(sandbox, |file| {
        let mut changes = response_changes();
        changes["response"]["set"]["Location"] = json!("https://evil.example/");
        changes["response"]["set"]["Content-Type"] = json!("text/html");
        let rules = json!([{ "prefix": "/old", "redirect": { "status": 301, "to": "/new" } }]);
        file.add_terminated(HOST, &[overlay(9, 8080)]).set_option(HOST, "headers", changes);
        file.set_option(HOST, "paths", rules);
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let refused = client.get(HOST, "/").await?.expect(502)?;
        ensure!(all(&refused, "proxy-status").len() == 1, "{refused:?}");
        ensure!(all(&refused, "cache-control") == ["no-store"], "{refused:?}");
        let redirect = client.get(HOST, "/old").await?.expect(301)?;
        ensure!(all(&redirect, "location") == ["/new"], "{redirect:?}");
        let ambiguous = client.get(HOST, "/%2e").await?.expect(400)?;
        for reply in [refused, redirect, ambiguous] {
            ensure!(all(&reply, "x-frame-options") == ["DENY"], "{reply:?}");
            ensure!(all(&reply, "set-cookie") == ["b=2", "c=3"], "{reply:?}");
            ensure!(all(&reply, "content-type") == ["text/plain; charset=utf-8"], "{reply:?}");
        }
    }
    Ok(())
}

async fn trailers_do_not_bring_back_a_removed_field(sandbox: &Sandbox) -> Result<()> {
    let backend = Recorder::start(overlay(1, 8080)).await?;
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
        2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Own: 2\r\nX-More: 3\r\n\r\n";
    backend.respond("/trailers", response);
    let setup = StandaloneSetup::start(sandbox, |file| {
        let changes = json!({
            "request": { "remove": ["x-a"], "set": { "x-b": "own" }, "add": { "x-c": "own" } },
            "response": { "remove": ["x-sum"], "set": { "x-own": "own" } },
        });
        file.add_terminated(HOST, &[backend.address()]).set_option(HOST, "headers", changes);
    })
    .await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let request = format!(
        "POST /trailers HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: X-A, X-C\r\n\
         Connection: close\r\n\r\n2\r\nhi\r\n0\r\nX-A: forged\r\nX-B: forged\r\nX-C: sent\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    rest(&mut stream).await?;
    let seen = backend.only("/trailers")?;
    ensure!(seen.trailers == "x-c: sent\r\n\r\n" && seen.values("trailer") == ["x-c"], "{seen:?}");
    ensure!(seen.values("x-b") == ["own"] && seen.values("x-c") == ["own"], "{seen:?}");
    let reply = setup.client()?.h2().get(HOST, "/trailers").await?.expect(200)?;
    let trailers: Vec<_> = reply.trailers.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(trailers == ["x-more"] && reply.header("x-own") == "own", "{reply:?}");
    Ok(())
}

async fn an_upgrade_is_changed_in_both_directions(sandbox: &Sandbox) -> Result<()> {
    const SWITCH: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer: secret/1.0\r\n\r\n";
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::RespondAndRead(SWITCH.to_vec())).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]).set_option(HOST, "headers", response_changes());
    })
    .await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    let request = connection
        .request(Method::GET, HOST, "/ws")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Full::<Bytes>::default())?;
    let response = connection.open(request).await?;
    ensure!(response.status() == 101 && response.headers()["upgrade"] == "websocket", "{response:?}");
    ensure!(response.headers()["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "{response:?}");
    ensure!(response.headers().get("server").is_none(), "{response:?}");
    ensure!(response.headers()["x-frame-options"] == "DENY", "{response:?}");
    Ok(())
}

async fn fields_of_the_gateway_are_refused(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = setup.alice.create_route("-s app -b [400::1]:8080").await?;
    for (flag, value, message) in [
        ("--headers-request-set", "Host: evil.example", "`host` cannot be changed: the option `host_header`"),
        ("--headers-request-set", "X-Forwarded-For: 1.2.3.4", "`x-forwarded-for` cannot be changed"),
        ("--headers-request-set", "X_Real_IP: 1.2.3.4", "`x_real_ip` cannot be changed"),
        ("--headers-request-add", "Transfer-Encoding: chunked", "`transfer-encoding` cannot be changed"),
        ("--headers-request-remove", "CDN-Loop", "`cdn-loop` cannot be changed"),
        ("--headers-response-set", "Content-Length: 0", "`content-length` cannot be changed"),
        ("--headers-response-remove", "Connection", "`connection` cannot be changed"),
        ("--headers-response-add", "Proxy-Status: ok", "`proxy-status` cannot be changed"),
        ("--headers-response-set", "X-A: b\r\nX-B: c", "the value of `x-a` must be printable ASCII"),
        ("--headers-response-set", "X-A", "`X-A` is not a header field: write a name, a colon and a value"),
        ("--headers-response-set", ":status: 200", "`` is not the name of a header field"),
    ] {
        for command in [&["create", "-s", "other", "-b", "[400::1]:8080"][..], &["update", "-r", &id]] {
            let args = ["routes"].into_iter().chain(command.iter().copied()).chain([flag, value]);
            let refused = setup.alice.gwctl(args).await?;
            ensure!(refused.code == Some(2) && refused.stderr.contains(message), "{value}: {refused:?}");
            ensure!(refused.stderr.contains(flag), "{value}: {refused:?}");
        }
    }
    let set = ["--headers-response-set", "X-Frame-Options: DENY"];
    setup.alice.json(["routes", "update", "-r", &id].into_iter().chain(set)).await?;
    let client = setup.client()?;
    eventually("the response is changed", SOON, async || {
        let reply = client.get(HOST, "/").await?.expect(200)?;
        ensure!(reply.header("x-frame-options") == "DENY", "{reply:?}");
        Ok(())
    })
    .await?;
    setup.alice.json(["routes", "update", "-r", &id, "--reset", "headers"]).await?;
    eventually("the response is as before", SOON, async || {
        let reply = client.get(HOST, "/").await?.expect(200)?;
        ensure!(reply.header("x-frame-options").is_empty(), "{reply:?}");
        Ok(())
    })
    .await
}
