//! Changes of routes under traffic; invalid resources are refused by name.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::{BodyExt as _, Full};
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_route_is_created_moved_and_removed,
    a_download_survives_a_change,
    a_kept_alive_connection_uses_a_change,
    a_mismatched_key_rejects_only_its_certificate,
    an_invalid_feed_file_changes_nothing,
    a_missing_feed_file_is_reported,
];

const HOST: &str = "app.gw.example";
const TIMEOUT: Duration = Duration::from_secs(5);

async fn wait_until_served_by(setup: &StandaloneSetup, host: &str, backend: &Backend) -> Result<()> {
    let client = setup.client()?;
    eventually("the route uses the backend", TIMEOUT, async || {
        let seen = client.get(host, "/").await?.expect(200)?.json()?;
        ensure!(seen["backend"] == backend.address().to_string(), "{seen}");
        Ok(())
    })
    .await
}

async fn a_route_is_created_moved_and_removed(sandbox: &Sandbox) -> Result<()> {
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |_| {}).await?;
    let client = setup.client()?;
    client.get(HOST, "/").await?.expect(503)?;
    setup.change(|file| {
        file.add_terminated(HOST, &[one.address()]);
    })?;
    wait_until_served_by(&setup, HOST, &one).await?;
    setup.change(|file| {
        file.set_backends(HOST, &[two.address()]);
    })?;
    wait_until_served_by(&setup, HOST, &two).await?;
    setup.change(|file| {
        file.remove_route(HOST);
    })?;
    eventually("the route is removed", TIMEOUT, async || client.get(HOST, "/").await?.expect(503)).await?;
    Ok(())
}

async fn a_download_survives_a_change(sandbox: &Sandbox) -> Result<()> {
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[one.address()]);
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let request = connection.request(Method::GET, HOST, "/stream/30").body(Full::default())?;
        let mut response = connection.open(request).await?;
        response.body_mut().frame().await.context("no first chunk")??;
        setup.change(|file| {
            file.set_backends(HOST, &[two.address()]);
        })?;
        wait_until_served_by(&setup, HOST, &two).await?;
        let rest = response.into_body().collect().await.context("the download broke off")?.to_bytes();
        ensure!(rest.ends_with(b"chunk 29\n"));
        setup.change(|file| {
            file.set_backends(HOST, &[one.address()]);
        })?;
        wait_until_served_by(&setup, HOST, &one).await?;
    }
    Ok(())
}

async fn a_kept_alive_connection_uses_a_change(sandbox: &Sandbox) -> Result<()> {
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[one.address()]);
    })
    .await?;
    let mut connections = [setup.client()?.connect(HOST).await?, setup.client()?.h2().connect(HOST).await?];
    for connection in &mut connections {
        connection.get(HOST, "/").await?.expect(200)?;
    }
    setup.change(|file| {
        file.set_backends(HOST, &[two.address()]);
    })?;
    wait_until_served_by(&setup, HOST, &two).await?;
    for connection in &mut connections {
        let seen = connection.get(HOST, "/").await?.expect(200)?.json()?;
        ensure!(
            seen["backend"] == two.address().to_string(),
            "a request takes the snapshot of its own time: {seen}"
        );
    }
    Ok(())
}

async fn a_mismatched_key_rejects_only_its_certificate(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    let mut mixed = setup.authority.issue(&["shop.example.org"])?;
    mixed.key = setup.authority.issue(&["shop.example.org"])?.key;
    setup.change(|file| {
        file.add_certificate("shop.example.org", &["shop.example.org"], &mixed)
            .add_terminated("new.gw.example", &[backend.address()]);
    })?;
    wait_until_served_by(&setup, "new.gw.example", &backend).await?;
    ensure!(setup.client()?.tls("shop.example.org").await.is_err(), "it must not be served");
    let log = setup.gateway.process().log()?;
    ensure!(log.contains("certificate/shop.example.org"), "the log names it: {log}");
    Ok(())
}

async fn an_invalid_feed_file_changes_nothing(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    for nonsense in ["", "{", "[]", "{\"version\":1}", "\u{0}"] {
        sandbox.write("feed.json", nonsense)?;
        setup.gateway.reload()?;
        wait_until_served_by(&setup, HOST, &backend).await?;
    }
    eventually("the log names the file", TIMEOUT, async || {
        let log = setup.gateway.process().log()?;
        ensure!(log.contains("feed.json"), "{log}");
        Ok(())
    })
    .await?;
    setup.gateway.ready().await
}

async fn a_missing_feed_file_is_reported(sandbox: &Sandbox) -> Result<()> {
    use webgateway_tests::authority::Authority;
    use webgateway_tests::gateway::{Gateway, GatewayConfig};
    let root = Authority::new()?.root().to_owned();
    let config = GatewayConfig::from_file(&sandbox.path("absent.json"), &root);
    let mut gateway = Gateway::start_unready(sandbox, &config)?;
    let status = gateway.process().end(Duration::from_secs(10)).await?;
    let log = gateway.process().log()?;
    ensure!(status.code() == Some(1) && log.contains("absent.json"), "{status}: {log}");
    Ok(())
}
