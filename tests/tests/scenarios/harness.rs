//! The harness itself: its parts behave as the other scenarios assume.

use anyhow::{Result, ensure};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::{Backend, BlackHole, RawBehaviour};
use webgateway_tests::client::{Client, Connection, exchange, tcp};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::websocket::WebSocket;

scenarios![backends_have_overlay_addresses, backends_follow_their_paths, a_black_hole_never_accepts];

async fn backends_have_overlay_addresses(_: &Sandbox) -> Result<()> {
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    for backend in [&one, &two] {
        let reply = Connection::plain(backend.address()).await?.get("a", "/x?y=1").await?.expect(200)?;
        let seen = reply.json()?;
        ensure!(seen["backend"] == backend.address().to_string(), "{seen}");
        ensure!(seen["target"] == "/x?y=1", "{seen}");
    }
    ensure!((one.connections(), two.requests()) == (1, 1));
    ensure!(tcp(overlay(3, 8080)).await.is_err(), "an address without a listener refuses");
    Ok(())
}

async fn backends_follow_their_paths(_: &Sandbox) -> Result<()> {
    let authority = Authority::new()?;
    let server = authority.issue(&["pass.example"])?.server(&["http/1.1"])?;
    let backend = Backend::https(overlay(1, 8443), server).await?;
    let client = Client::new(backend.address(), authority.root())?;
    ensure!(client.get("pass.example", "/bytes/70000").await?.body.len() == 70_000);
    ensure!(client.get("pass.example", "/trailers").await?.header("trailer") == "x-sum");
    ensure!(client.get("pass.example", "/break").await.is_err());
    ensure!(client.get("other.example", "/").await.is_err(), "the certificate is verified");
    WebSocket::open(client.tls("pass.example").await?, "pass.example", "/ws").await?.echo("hello").await?;

    let garbage = Backend::raw(overlay(1, 9), RawBehaviour::Respond(b"garbage".to_vec())).await?;
    ensure!(exchange(garbage.address(), b"x").await? == b"garbage");
    Ok(())
}

async fn a_black_hole_never_accepts(_: &Sandbox) -> Result<()> {
    let hole = BlackHole::at(overlay(1, 8080))?;
    let attempt = tokio::time::timeout(std::time::Duration::from_millis(300), tcp(hole.address())).await;
    ensure!(attempt.is_err(), "a connection attempt hangs");
    Ok(())
}
