//! HTTP-01 challenges on :80 for passthrough hosts: they are proxied like any other request.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout;
use uuid::Uuid;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Connection, exchange};
use webgateway_tests::feed_server::{Subscription, begin, end, passthrough, remove};
use webgateway_tests::gateway::HTTP;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::feed::FeedSetup;
use crate::terminated_routes::header;

scenarios![
    a_challenge_of_a_passthrough_host_reaches_its_backend,
    a_challenge_of_ambiguous_length_is_refused,
    a_challenge_has_the_usual_timeouts,
    a_challenge_ends_with_its_route,
];

const HOST: &str = "pass.example.org";
const PATH: &str = "/.well-known/acme-challenge";

/// Starts a gateway with one passthrough route, on 127.0.0.1 alone, as the backend uses port 80 of the overlay address.
async fn setup(sandbox: &Sandbox, limits: &str) -> Result<(FeedSetup, Subscription, Uuid, Backend)> {
    let backend = Backend::http(overlay(1, HTTP)).await?;
    let (setup, mut node) = FeedSetup::start_with(sandbox, |config| config.number(1).more(limits)).await?;
    let id = Uuid::now_v7();
    setup.sync(&mut node, vec![passthrough(id, HOST, overlay(1, 8443))]).await?;
    Ok((setup, node, id, backend))
}

async fn a_challenge_of_a_passthrough_host_reaches_its_backend(sandbox: &Sandbox) -> Result<()> {
    let (setup, _node, _, _backend) = setup(sandbox, "").await?;
    let mut connection = Connection::plain(setup.gateway.http()).await?;
    for _ in 0..3 {
        let seen = connection.get(HOST, &format!("{PATH}/token")).await?.expect(200)?.json()?;
        ensure!(seen["target"] == format!("{PATH}/token"), "{seen}");
        ensure!(header(&seen, "x-forwarded-proto") == ["http"], "{seen}");
        ensure!(header(&seen, "x-forwarded-for") == ["127.0.0.1"], "{seen}");
    }
    let upgrade = connection
        .request(Method::GET, HOST, &format!("{PATH}/token"))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Full::default())?;
    let seen = connection.send(upgrade).await?.expect(200)?.json()?;
    ensure!(header(&seen, "upgrade").is_empty(), "nothing is upgraded on :80: {seen}");
    connection.get(HOST, "/other").await?.expect(308)?;
    Ok(())
}

async fn a_challenge_of_ambiguous_length_is_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, _node, _, backend) = setup(sandbox, "").await?;
    for doubtful in [
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let request = format!("GET {PATH}/token HTTP/1.1\r\nHost: {HOST}\r\n{doubtful}");
        let answer = exchange(setup.gateway.http(), request.as_bytes()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{doubtful:?}: {answer}");
        ensure!(backend.requests() == 0, "{doubtful:?} is passed on");
    }
    Ok(())
}

async fn a_challenge_has_the_usual_timeouts(sandbox: &Sandbox) -> Result<()> {
    let limits = "[limits]\nheader_timeout = \"300ms\"\nstall_timeout = \"300ms\"";
    let (setup, _node, _, _backend) = setup(sandbox, limits).await?;
    for path in ["slow/2000", "stream/40"] {
        let mut connection = Connection::plain(setup.gateway.http()).await?;
        let reply = connection.get(HOST, &format!("{PATH}/{path}")).await.context(path)?.expect(200)?;
        ensure!(reply.text().ends_with("late") || reply.text().ends_with("chunk 39\n"), "{reply:?}");
    }
    let mut idle = Connection::plain(setup.gateway.http()).await?;
    idle.get(HOST, "/").await?.expect(308)?;
    timeout(Duration::from_secs(4), idle.closed()).await.context("an idle one stays open")?
}

async fn a_challenge_ends_with_its_route(sandbox: &Sandbox) -> Result<()> {
    let (setup, mut node, id, _backend) = setup(sandbox, "").await?;
    let mut connection = Connection::plain(setup.gateway.http()).await?;
    let request =
        connection.request(Method::GET, HOST, &format!("{PATH}/stream/2000")).body(Full::default())?;
    let mut response = connection.open(request).await?;
    response.body_mut().frame().await.context("no first chunk")??;
    node.send([begin(Kind::Delta), remove(id, true), end(2)]).await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 2));
    let rest = timeout(Duration::from_secs(5), response.into_body().collect()).await;
    ensure!(rest.context("the response goes on")?.is_err(), "it must not look complete");
    Ok(())
}
