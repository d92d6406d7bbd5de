//! The maintenance mode of a route.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Connection;
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;

scenarios![maintenance_refuses_all_but_the_excepted, gwctl_starts_and_ends_the_maintenance];

const SOON: Duration = Duration::from_secs(10);
const HOST: &str = "app.gw.example";
/// The gateway, reached from any loopback address of IPv4.
const IPV4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);

async fn maintenance_refuses_all_but_the_excepted(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        file.add_terminated(HOST, &[backend.address()]);
    };
    let mut setup = StandaloneSetup::start(sandbox, routes).await?;
    let client = setup.client()?;
    let mut socket = WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await?;
    let mut kept = client.connect(HOST).await?;
    kept.get(HOST, "/").await?.expect(200)?;
    let text = "Zur\u{fc}ck um 9.\n<script>alert(1)</script>";
    setup.change(|file| {
        let maintenance = json!({"text": text, "retry_after": 60, "except": ["127.0.1.0/24"]});
        file.set_option(HOST, "maintenance", maintenance);
        // The maintenance comes before everything that costs something.
        file.set_option(HOST, "rate_limit", json!({"requests": 0.001, "burst": 1}));
    })?;
    eventually("the maintenance begins", SOON, async || kept.get(HOST, "/").await?.expect(503).map(drop))
        .await?;
    let before = backend.requests();
    for is_h2 in [false, true] {
        let client = if is_h2 { client.clone().h2() } else { client.clone() };
        let reply = client.get(HOST, "/deep?x=1").await?.expect(503)?;
        ensure!(
            reply.header("retry-after") == "60" && reply.text().contains("Zur\u{fc}ck um 9."),
            "{reply:?}"
        );
        ensure!(reply.header("content-type").starts_with("text/plain") || !reply.text().contains("<script>"));
        ensure!(reply.header("proxy-status") == "webgateway; error=destination_unavailable");
    }
    ensure!(WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await.is_err(), "a new WebSocket is open");
    socket.echo("an open WebSocket stays").await?;
    ensure!(backend.requests() == before);
    client.at(IPV4).from([127, 0, 1, 9].into()).get(HOST, "/").await?.expect(200)?;
    let mut plain = Connection::plain(setup.gateway.http()).await?;
    let redirect = plain.get(HOST, "/x").await?.expect(308)?;
    ensure!(redirect.header("location") == format!("https://{HOST}/x"));
    Ok(())
}

async fn gwctl_starts_and_ends_the_maintenance(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = setup.alice.create_route("-s app -b [400::1]:8080").await?;
    setup.wait_for_status(HOST, 200).await?;
    let update = |flags: &'static [&'static str]| [&["routes", "update", "-r", &id], flags].concat();
    setup.alice.json(update(&["--maintenance"])).await?;
    let reply = setup.wait_for_status(HOST, 503).await?;
    ensure!(reply.header("retry-after") == "300" && reply.text().contains("under maintenance"), "{reply:?}");
    let flags = &[
        "--maintenance",
        "--maintenance-text",
        "Back soon",
        "--maintenance-retry-after",
        "1h",
        "--maintenance-except",
        "::1",
    ];
    setup.alice.json(update(flags)).await?;
    eventually("the exception applies", SOON, async || {
        setup.client()?.get(HOST, "/").await?.expect(200).map(drop)
    })
    .await?;
    let reply = setup.client()?.at(IPV4).get(HOST, "/").await?.expect(503)?;
    ensure!(reply.header("retry-after") == "3600" && reply.text().contains("Back soon"), "{reply:?}");
    setup.alice.json(update(&["--reset", "maintenance"])).await?;
    eventually("the maintenance ends", SOON, async || {
        setup.client()?.at(IPV4).get(HOST, "/").await?.expect(200).map(drop)
    })
    .await?;
    for (flags, flag) in [
        (&["--maintenance-text", "x"][..], "--maintenance"),
        (&["--maintenance", "--maintenance-text", ""], "--maintenance-text"),
        (&["--maintenance", "--maintenance-retry-after", "8d"], "--maintenance-retry-after"),
        (&["--maintenance", "--maintenance-retry-after", "500ms"], "--maintenance-retry-after"),
        (&["--maintenance", "--maintenance-except", "office"], "--maintenance-except"),
        (&["-f", "a.example.org", "-t", "--maintenance"], "`maintenance`"),
    ] {
        let output = setup.alice.gwctl(update(flags)).await?;
        ensure!(output.code == Some(2) && output.stderr.contains(flag), "{flags:?}: {output:?}");
    }
    Ok(())
}
