//! Removed routes: their connections, requests and tunnels end at once or after the drain, and no others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use uuid::Uuid;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::feed_server::{Subscription, begin, end, remove, route};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::feed::FeedSetup;

scenarios![
    a_suspension_ends_a_coalesced_response_at_once,
    a_suspension_ends_a_response_to_another_host_over_http_1,
    a_deletion_ends_a_coalesced_response_after_the_drain,
    a_suspension_ends_a_coalesced_upload_whose_response_is_complete,
    a_suspension_ends_a_websocket_of_a_coalesced_connection,
    a_websocket_that_opens_while_its_route_drains_is_closed_with_it,
    a_coalesced_websocket_that_opens_while_its_route_drains_is_closed_with_it,
    a_suspension_in_a_full_sync_closes_at_once,
    a_deletion_in_a_full_sync_drains,
];

/// The host of the connection.
const HOST: &str = "app.gw.example";
/// Another host of the same certificate, whose requests share the connection.
const OTHER: &str = "other.gw.example";
/// A timeout much shorter than the default drain of 30 s.
const TIMEOUT: Duration = Duration::from_secs(5);
const SHORT_DRAIN: &str = "[limits]\ndrain = \"1s\"";

/// A gateway with two routes, of which one will be removed.
struct TwoRoutes {
    setup: FeedSetup,
    node: Subscription,
    /// The route of [`OTHER`].
    other: Uuid,
}

impl TwoRoutes {
    async fn start(sandbox: &Sandbox, backend: &Backend, limits: &str) -> Result<Self> {
        let (setup, mut node) = FeedSetup::start_with(sandbox, |config| config.more(limits)).await?;
        let other = Uuid::now_v7();
        let routes =
            vec![route(Uuid::now_v7(), HOST, backend.address()), route(other, OTHER, backend.address())];
        setup.sync(&mut node, routes).await?;
        Ok(Self { setup, node, other })
    }

    /// Removes the route of [`OTHER`].
    async fn remove_other(&mut self, at_once: bool) -> Result<()> {
        self.node.send([begin(Kind::Delta), remove(self.other, at_once), end(2)]).await?;
        ensure!(self.node.wait_for_ack().await? == (Vec::new(), 2));
        Ok(())
    }

    fn client(&self) -> Result<Client> {
        self.setup.client()
    }
}

/// Returns an unfinished response of [`OTHER`], over a connection that was opened for [`HOST`].
async fn start_response(connection: &mut Connection) -> Result<Response<Incoming>> {
    connection.get(HOST, "/").await?.expect(200)?;
    let request = connection.request(Method::GET, OTHER, "/stream/2000").body(Full::default())?;
    let mut response = connection.open(request).await?;
    ensure!(response.status() == 200);
    response.body_mut().frame().await.context("no first chunk")??;
    Ok(response)
}

async fn expect_broken(response: Response<Incoming>) -> Result<()> {
    let rest = timeout(TIMEOUT, response.into_body().collect()).await.context("the response goes on")?;
    ensure!(rest.is_err(), "a response that is cut must not look complete");
    Ok(())
}

async fn wait_until_closed(backend: &Backend) -> Result<()> {
    eventually("the backend's side is closed too", TIMEOUT, async || {
        ensure!(backend.open() == 0, "{} open", backend.open());
        Ok(())
    })
    .await
}

async fn a_suspension_ends_a_coalesced_response_at_once(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, "").await?;
    let mut connection = setup.client()?.h2().connect(HOST).await?;
    let response = start_response(&mut connection).await?;
    setup.remove_other(true).await?;
    expect_broken(response).await?;
    connection.get(HOST, "/").await?.expect(200).context("the connection is of another route")?;
    connection.get(OTHER, "/").await?.expect(503)?;
    Ok(())
}

async fn a_suspension_ends_a_response_to_another_host_over_http_1(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, "").await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    let response = start_response(&mut connection).await?;
    setup.remove_other(true).await?;
    expect_broken(response).await
}

async fn a_deletion_ends_a_coalesced_response_after_the_drain(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, SHORT_DRAIN).await?;
    let mut connection = setup.client()?.h2().connect(HOST).await?;
    let mut response = start_response(&mut connection).await?;
    setup.remove_other(false).await?;
    response.body_mut().frame().await.context("it is cut before the drain is over")??;
    expect_broken(response).await?;
    connection.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn a_suspension_ends_a_coalesced_upload_whose_response_is_complete(sandbox: &Sandbox) -> Result<()> {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::RespondAndRead(answer)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, "").await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let head = format!("POST / HTTP/1.1\r\nHost: {OTHER}\r\nContent-Length: 1000000\r\n\r\nbegun");
    stream.write_all(head.as_bytes()).await?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"ok") {
        let read = timeout(TIMEOUT, stream.read_buf(&mut seen)).await.context("no response")??;
        ensure!(read > 0, "closed after {}", String::from_utf8_lossy(&seen));
    }
    stream.write_all(b"goes on").await?;
    ensure!(backend.open() == 1, "the upload is under way");
    setup.remove_other(true).await?;
    wait_until_closed(&backend).await
}

async fn a_suspension_ends_a_websocket_of_a_coalesced_connection(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, "").await?;
    let mut socket = WebSocket::open(setup.client()?.tls(HOST).await?, OTHER, "/ws").await?;
    socket.echo("here").await?;
    setup.remove_other(true).await?;
    timeout(TIMEOUT, socket.closed()).await.context("it stays open")??;
    wait_until_closed(&backend).await
}

/// Opens a WebSocket of [`OTHER`] over a connection for `sni`; its 101 response comes after the route was deleted.
async fn opens_late_and_closes(sandbox: &Sandbox, sni: &str) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, "[limits]\ndrain = \"2s\"").await?;
    let opening = WebSocket::open(setup.client()?.tls(sni).await?, OTHER, "/ws/1000");
    let ending = async {
        eventually("the backend has the request", TIMEOUT, async || {
            ensure!(backend.requests() == 1);
            Ok(())
        })
        .await?;
        setup.remove_other(false).await
    };
    let (mut socket, ()) = tokio::try_join!(opening, ending)?;
    timeout(TIMEOUT, socket.closed()).await.context("it stays open")??;
    Ok(())
}

async fn a_websocket_that_opens_while_its_route_drains_is_closed_with_it(sandbox: &Sandbox) -> Result<()> {
    opens_late_and_closes(sandbox, OTHER).await
}

async fn a_coalesced_websocket_that_opens_while_its_route_drains_is_closed_with_it(
    sandbox: &Sandbox,
) -> Result<()> {
    opens_late_and_closes(sandbox, HOST).await
}

async fn a_suspension_in_a_full_sync_closes_at_once(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, "").await?;
    let mut socket = WebSocket::open(setup.client()?.tls(OTHER).await?, OTHER, "/ws").await?;
    socket.echo("here").await?;
    setup.setup.full(&mut setup.node, vec![remove(setup.other, true)], 2).await?;
    timeout(TIMEOUT, socket.closed()).await.context("it stays open")??;
    wait_until_closed(&backend).await
}

async fn a_deletion_in_a_full_sync_drains(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = TwoRoutes::start(sandbox, &backend, SHORT_DRAIN).await?;
    let mut connection = setup.client()?.connect(OTHER).await?;
    let request = connection.request(Method::GET, OTHER, "/stream/2000").body(Full::default())?;
    let mut response = connection.open(request).await?;
    response.body_mut().frame().await.context("no first chunk")??;
    setup.setup.full(&mut setup.node, vec![], 2).await?;
    response.body_mut().frame().await.context("it is cut before the drain is over")??;
    expect_broken(response).await
}
