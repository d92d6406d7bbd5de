//! The latency from the response of `routes.create` to the first good request, and its effect on open connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Connection;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;

scenarios![a_route_is_served_within_50_ms, a_change_is_applied_with_1000_open_websockets];

/// The maximum median, also on a machine with other load.
const MAX_MEDIAN: Duration = Duration::from_millis(50);

/// Creates a route and measures the time from the response to the first good request over a warm connection.
async fn create_and_use(
    setup: &FullSetup,
    api: &mut Connection,
    warm: &mut Connection,
    name: &str,
) -> Result<Duration> {
    let params = json!({"subdomain": name, "backends": ["[400::1]:8080"]});
    let signer = Signer::for_user(&setup.alice)?;
    signer.call(api, &setup.controlplane.url(), "routes.create", params).await?.expect(200)?;
    let created = Instant::now();
    let host = format!("{name}.gw.example");
    while warm.get(&host, "/").await?.status != 200 {
        ensure!(created.elapsed() < Duration::from_secs(5), "{host} is never served");
        tokio::task::yield_now().await;
    }
    Ok(created.elapsed())
}

async fn a_route_is_served_within_50_ms(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut api = Connection::plain(setup.controlplane.rpc()?).await?;
    let mut warm = setup.client()?.connect("gw.example").await?;
    let mut took = Vec::new();
    for n in 0..41 {
        took.push(create_and_use(&setup, &mut api, &mut warm, &format!("r{n}")).await?);
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    println!("routes create → first good request: median {median:?}, longest {:?}", took[took.len() - 1]);
    ensure!(median <= MAX_MEDIAN, "the median of {} is {median:?}", took.len());
    Ok(())
}

async fn a_change_is_applied_with_1000_open_websockets(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s app -b [400::1]:8080").await?;
    let changing = setup.alice.create_route("-s other -b [400::1]:8080").await?;
    setup.wait_for_status("app.gw.example", 200).await?;
    setup.wait_for_status("other.gw.example", 200).await?;
    let client = setup.client()?;
    let mut opening = JoinSet::new();
    let mut sockets = Vec::new();
    for started in 0..1000 {
        let client = client.clone();
        opening.spawn(async move {
            WebSocket::open(client.tls("app.gw.example").await?, "app.gw.example", "/ws").await
        });
        if started >= 50 {
            sockets.push(opening.join_next().await.context("none")???);
        }
    }
    while let Some(opened) = opening.join_next().await {
        sockets.push(opened??);
    }
    ensure!(sockets.len() == 1000);
    setup.alice.json(["routes", "update", "-r", &changing, "-b", "[400::2]:8080"]).await?;
    setup.wait_for_status("other.gw.example", 502).await?;
    setup.alice.gwctl(["routes", "delete", "-r", &changing]).await?;
    setup.wait_for_status("other.gw.example", 503).await?;
    for socket in &mut sockets {
        socket.echo("still here").await?;
    }
    Ok(())
}
