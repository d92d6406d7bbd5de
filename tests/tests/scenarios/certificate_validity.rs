//! Validity periods: a certificate that is not valid yet is used once it is, and the node is not ready before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use time::OffsetDateTime;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_certificate_is_served_once_it_is_valid,
    the_previous_certificate_is_served_until_the_new_one_is_valid,
    an_expired_certificate_is_served_rather_than_none,
];

const HOST: &str = "app.gw.example";
const NAMES: [&str; 2] = ["gw.example", "*.gw.example"];
/// The time until a certificate becomes valid; a slow machine must be able to check the state before.
const AHEAD: Duration = Duration::from_secs(6);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node whose clock is slow sees a certificate that is not valid yet.
async fn a_certificate_is_served_once_it_is_valid(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let authority = Authority::new()?;
    let begins = OffsetDateTime::now_utc() + AHEAD;
    let base = authority.issue_for(&NAMES, begins..begins + DAY)?;
    let own = authority.issue(&["own.example"])?;
    let mut file = FeedFile::new(&sandbox.path("feed.json"), &base);
    file.add_certificate("own.example", &["own.example"], &own);
    file.add_terminated(HOST, &[backend.address()]).add_terminated("own.example", &[backend.address()]);
    let config = GatewayConfig::from_file(file.write()?, authority.root());
    let gateway = Gateway::start_unready(sandbox, &config)?;
    let client = gateway.client()?;
    eventually("the routes are served", AHEAD, async || client.get("own.example", "/").await?.expect(200))
        .await?;
    ensure!(OffsetDateTime::now_utc() < begins, "the machine is too slow for this scenario");
    let unready = gateway.ready().await.err().context("it is ready")?.to_string();
    ensure!(client.tls(HOST).await.is_err(), "served before its time");
    ensure!(unready.contains("503") && unready.contains("check the clock"), "{unready}");
    eventually("the gateway is ready", AHEAD * 3, async || gateway.ready().await).await?;
    ensure!(OffsetDateTime::now_utc() >= begins.replace_nanosecond(0)?, "ready before its time");
    client.get(HOST, "/").await?.expect(200).map(drop)
}

async fn the_previous_certificate_is_served_until_the_new_one_is_valid(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    let other = Authority::new()?;
    let begins = OffsetDateTime::now_utc() + AHEAD;
    let renewed = other.issue_for(&NAMES, begins..begins + DAY)?;
    let mut file = FeedFile::new(&sandbox.path("feed.json"), &renewed);
    file.add_terminated(HOST, &[backend.address()]).add_terminated("second.gw.example", &[backend.address()]);
    setup.change(|held| *held = file)?;
    let client = setup.client()?;
    eventually("the file is loaded", AHEAD, async || client.get("second.gw.example", "/").await?.expect(200))
        .await?;
    setup.gateway.ready().await?;
    let later = webgateway_tests::client::Client::new(setup.gateway.https(), other.root())?;
    eventually("the renewed one is served", AHEAD * 3, async || later.get(HOST, "/").await?.expect(200))
        .await?;
    ensure!(client.tls(HOST).await.is_err(), "the one before is served still");
    Ok(())
}

/// The client detects the expiry by its own clock.
async fn an_expired_certificate_is_served_rather_than_none(sandbox: &Sandbox) -> Result<()> {
    let authority = Authority::new()?;
    let now = OffsetDateTime::now_utc();
    let base = authority.issue_for(&NAMES, now - DAY * 2..now - DAY)?;
    let mut file = FeedFile::new(&sandbox.path("feed.json"), &base);
    let config = GatewayConfig::from_file(file.write()?, authority.root());
    let gateway = Gateway::start(sandbox, &config).await?;
    let refused = gateway.client()?.tls(HOST).await.err().context("the client takes it")?;
    ensure!(format!("{refused:#}").contains("expired"), "{refused:#}");
    Ok(())
}
