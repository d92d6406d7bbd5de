//! Changes: routes come, move and go while traffic runs; what is wrong is refused by name.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::{BodyExt as _, Full};
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::standalone::Standalone;

scenarios![
    a_route_comes_moves_and_goes,
    a_download_survives_a_change,
    a_kept_connection_sees_a_change,
    a_key_of_another_certificate_is_refused_alone,
    a_file_that_is_no_feed_changes_nothing,
    a_gateway_without_its_file_says_so,
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(5);

async fn answers(world: &Standalone, host: &str, backend: &Backend) -> Result<()> {
    let visitor = world.visitor()?;
    eventually("it is answered there", SOON, async || {
        let seen = visitor.get(host, "/").await?.expect(200)?.json()?;
        ensure!(seen["backend"] == backend.address().to_string(), "{seen}");
        Ok(())
    })
    .await
}

async fn a_route_comes_moves_and_goes(sandbox: &Sandbox) -> Result<()> {
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    let mut world = Standalone::start(sandbox, |_| {}).await?;
    let visitor = world.visitor()?;
    visitor.get(HOST, "/").await?.expect(503)?;
    world.change(|file| {
        file.terminated(HOST, &[one.address()]);
    })?;
    answers(&world, HOST, &one).await?;
    world.change(|file| {
        file.moved(HOST, &[two.address()]);
    })?;
    answers(&world, HOST, &two).await?;
    world.change(|file| {
        file.without(HOST);
    })?;
    eventually("it is gone", SOON, async || visitor.get(HOST, "/").await?.expect(503)).await?;
    Ok(())
}

async fn a_download_survives_a_change(sandbox: &Sandbox) -> Result<()> {
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    let mut world = Standalone::start(sandbox, |file| {
        file.terminated(HOST, &[one.address()]);
    })
    .await?;
    for client in [world.visitor()?, world.visitor()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        let request = connection.request(Method::GET, HOST, "/stream/30").body(Full::default())?;
        let mut response = connection.open(request).await?;
        response.body_mut().frame().await.context("no first chunk")??;
        world.change(|file| {
            file.moved(HOST, &[two.address()]);
        })?;
        answers(&world, HOST, &two).await?;
        let rest = response.into_body().collect().await.context("the download broke off")?.to_bytes();
        ensure!(rest.ends_with(b"chunk 29\n"));
        world.change(|file| {
            file.moved(HOST, &[one.address()]);
        })?;
        answers(&world, HOST, &one).await?;
    }
    Ok(())
}

async fn a_kept_connection_sees_a_change(sandbox: &Sandbox) -> Result<()> {
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    let mut world = Standalone::start(sandbox, |file| {
        file.terminated(HOST, &[one.address()]);
    })
    .await?;
    let mut connections = [world.visitor()?.connect(HOST).await?, world.visitor()?.h2().connect(HOST).await?];
    for connection in &mut connections {
        connection.get(HOST, "/").await?.expect(200)?;
    }
    world.change(|file| {
        file.moved(HOST, &[two.address()]);
    })?;
    answers(&world, HOST, &two).await?;
    for connection in &mut connections {
        let seen = connection.get(HOST, "/").await?.expect(200)?.json()?;
        ensure!(
            seen["backend"] == two.address().to_string(),
            "a request takes the snapshot of its own time: {seen}"
        );
    }
    Ok(())
}

async fn a_key_of_another_certificate_is_refused_alone(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut world = Standalone::start(sandbox, |file| {
        file.terminated(HOST, &[backend.address()]);
    })
    .await?;
    let mut mixed = world.authority.issue(&["shop.example.org"])?;
    mixed.key = world.authority.issue(&["shop.example.org"])?.key;
    world.change(|file| {
        file.certificate("shop.example.org", &["shop.example.org"], &mixed)
            .terminated("new.gw.example", &[backend.address()]);
    })?;
    answers(&world, "new.gw.example", &backend).await?;
    ensure!(world.visitor()?.tls("shop.example.org").await.is_err(), "it must not be served");
    let log = world.gateway.process().logged()?;
    ensure!(log.contains("certificate/shop.example.org"), "the log names it: {log}");
    Ok(())
}

async fn a_file_that_is_no_feed_changes_nothing(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut world = Standalone::start(sandbox, |file| {
        file.terminated(HOST, &[backend.address()]);
    })
    .await?;
    for nonsense in ["", "{", "[]", "{\"version\":1}", "\u{0}"] {
        sandbox.write("feed.json", nonsense)?;
        world.gateway.reload()?;
        answers(&world, HOST, &backend).await?;
    }
    eventually("the log names the file", SOON, async || {
        let log = world.gateway.process().logged()?;
        ensure!(log.contains("feed.json"), "{log}");
        Ok(())
    })
    .await?;
    world.gateway.ready().await
}

async fn a_gateway_without_its_file_says_so(sandbox: &Sandbox) -> Result<()> {
    use webgateway_tests::authority::Authority;
    use webgateway_tests::gateway::{Gateway, Setup};
    let root = Authority::new()?.root().to_owned();
    let setup = Setup::from_file(&sandbox.path("absent.json"), &root);
    let mut gateway = Gateway::start_unready(sandbox, &setup)?;
    let status = gateway.process().end(Duration::from_secs(10)).await?;
    let log = gateway.process().logged()?;
    ensure!(status.code() == Some(1) && log.contains("absent.json"), "{status}: {log}");
    Ok(())
}
