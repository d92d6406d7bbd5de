//! Plain HTTP on :80: redirects to https.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use webgateway_tests::client::{Connection, exchange};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_known_host_is_redirected_to_https,
    an_unknown_host_is_not_redirected,
    a_post_keeps_its_method,
    a_missing_host_gives_400
];

async fn setup(sandbox: &Sandbox) -> Result<StandaloneSetup> {
    StandaloneSetup::start(sandbox, |file| {
        file.add_terminated("app.gw.example", &[overlay(1, 8080)])
            .add_passthrough("pass.example.org", &[overlay(1, 8443)]);
    })
    .await
}

async fn a_known_host_is_redirected_to_https(sandbox: &Sandbox) -> Result<()> {
    let setup = setup(sandbox).await?;
    for host in ["app.gw.example", "pass.example.org", "gw.example"] {
        let mut connection = Connection::plain(setup.gateway.http()).await?;
        let reply = connection.get(host, "/a%2f/../b?c=%20d").await?.expect(308)?;
        ensure!(reply.header("location") == format!("https://{host}/a%2f/../b?c=%20d"), "{reply:?}");
    }
    let mut connection = Connection::plain(setup.gateway.http()).await?;
    let reply = connection.get("APP.gw.example:80", "/").await?.expect(308)?;
    ensure!(reply.header("location").eq_ignore_ascii_case("https://app.gw.example/"), "{reply:?}");
    Ok(())
}

async fn an_unknown_host_is_not_redirected(sandbox: &Sandbox) -> Result<()> {
    let setup = setup(sandbox).await?;
    for host in ["nobody.gw.example", "evil.example.org", "127.0.0.1", "[::1]"] {
        let reply = Connection::plain(setup.gateway.http()).await?.get(host, "/").await?.expect(503)?;
        ensure!(reply.header("location").is_empty(), "never an open redirect: {reply:?}");
    }
    // The authority of an absolute target takes precedence over Host (RFC 9112 §3.2.2).
    let response = exchange(
        setup.gateway.http(),
        b"GET http://evil.example.org/ HTTP/1.1\r\nHost: app.gw.example\r\nConnection: close\r\n\r\n",
    )
    .await?;
    let response = String::from_utf8_lossy(&response).into_owned();
    ensure!(!response.contains("308"), "{response}");
    Ok(())
}

async fn a_post_keeps_its_method(sandbox: &Sandbox) -> Result<()> {
    let setup = setup(sandbox).await?;
    let mut connection = Connection::plain(setup.gateway.http()).await?;
    let body = Full::new(Bytes::from_static(b"body"));
    let post = connection.request(Method::POST, "app.gw.example", "/form").body(body)?;
    let reply = connection.send(post).await?.expect(308)?;
    ensure!(reply.header("location") == "https://app.gw.example/form", "{reply:?}");
    Ok(())
}

async fn a_missing_host_gives_400(sandbox: &Sandbox) -> Result<()> {
    let setup = setup(sandbox).await?;
    for request in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"] {
        let response = exchange(setup.gateway.http(), request.as_bytes()).await?;
        let response = String::from_utf8_lossy(&response).into_owned();
        ensure!(response.starts_with("HTTP/1.1 400"), "{request:?}: {response}");
    }
    Ok(())
}
