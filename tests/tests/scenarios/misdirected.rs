//! Unknown and missing names, and requests for another host than the one of the handshake (421).

use anyhow::{Context, Result, ensure};
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    an_unknown_server_name_gets_no_certificate,
    a_missing_server_name_gets_no_certificate,
    an_unknown_subdomain_gives_503,
    a_deeper_name_is_not_covered,
    another_terminated_host_is_served,
    a_passthrough_host_gives_421,
    a_host_outside_the_certificate_gives_421,
    a_resumed_session_gives_421_too,
    a_route_to_the_gateway_itself_gives_508,
    a_passthrough_to_the_gateway_itself_is_closed,
];

async fn setup(sandbox: &Sandbox) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated("app.gw.example", &[backend.address()])
            .add_terminated("other.gw.example", &[backend.address()])
            .add_passthrough("pass.gw.example", &[overlay(2, 8443)]);
    })
    .await?;
    let issued = setup.authority.issue(&["shop.example.org"])?;
    setup.change(|file| {
        file.add_certificate("shop.example.org", &["shop.example.org"], &issued)
            .add_terminated("shop.example.org", &[backend.address()]);
    })?;
    let client = setup.client()?;
    webgateway_tests::wait::eventually(
        "the passthrough route is served",
        std::time::Duration::from_secs(10),
        async || client.get("shop.example.org", "/").await?.expect(200),
    )
    .await?;
    Ok((setup, backend))
}

/// Returns the TLS alert that a refused handshake ended with.
fn alert(error: &anyhow::Error) -> Option<rustls::AlertDescription> {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>())?;
    match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

async fn an_unknown_server_name_gets_no_certificate(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = setup(sandbox).await?;
    let before = backend.requests();
    for name in ["nobody.example.org", "example", "gw.example.evil.org"] {
        let error = setup.client()?.tls(name).await.err().context("a handshake succeeded")?;
        ensure!(alert(&error) == Some(rustls::AlertDescription::UnrecognisedName), "{name}: {error:#}");
    }
    ensure!(backend.requests() == before);
    Ok(())
}

async fn a_missing_server_name_gets_no_certificate(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = setup(sandbox).await?;
    let error = setup.client()?.without_sni().tls("app.gw.example").await.err().context("it succeeded")?;
    ensure!(alert(&error) == Some(rustls::AlertDescription::UnrecognisedName), "{error:#}");
    let error = setup.client()?.tls("127.0.0.1").await.err().context("an address as name succeeded")?;
    ensure!(alert(&error) == Some(rustls::AlertDescription::UnrecognisedName), "{error:#}");
    Ok(())
}

async fn an_unknown_subdomain_gives_503(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = setup(sandbox).await?;
    let before = backend.requests();
    for client in [setup.client()?, setup.client()?.h2()] {
        client.get("nobody.gw.example", "/").await?.expect(503)?;
    }
    ensure!(backend.requests() == before);
    Ok(())
}

async fn a_deeper_name_is_not_covered(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = setup(sandbox).await?;
    ensure!(setup.client()?.tls("a.b.gw.example").await.is_err(), "the wildcard covers one label");
    Ok(())
}

async fn another_terminated_host_is_served(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = setup(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect("app.gw.example").await?;
        connection.get("app.gw.example", "/").await?.expect(200)?;
        connection.get("other.gw.example", "/").await?.expect(200)?;
    }
    Ok(())
}

async fn a_passthrough_host_gives_421(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = setup(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect("app.gw.example").await?;
        connection.get("app.gw.example", "/").await?.expect(200)?;
        connection.get("pass.gw.example", "/").await?.expect(421)?;
    }
    Ok(())
}

async fn a_host_outside_the_certificate_gives_421(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = setup(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let mut connection = client.connect("app.gw.example").await?;
        connection.get("shop.example.org", "/").await?.expect(421)?;
        let mut connection = client.connect("shop.example.org").await?;
        connection.get("shop.example.org", "/").await?.expect(200)?;
        connection.get("app.gw.example", "/").await?.expect(421)?;
    }
    Ok(())
}

async fn a_resumed_session_gives_421_too(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = setup(sandbox).await?;
    let client = setup.client()?;
    for _ in 0..3 {
        let mut connection = client.connect("app.gw.example").await?;
        connection.get("app.gw.example", "/").await?.expect(200)?;
        connection.get("pass.gw.example", "/").await?.expect(421)?;
    }
    let resumed = client.tls("app.gw.example").await?;
    ensure!(resumed.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed), "sessions resume");
    Ok(())
}

async fn a_route_to_the_gateway_itself_gives_508(sandbox: &Sandbox) -> Result<()> {
    // The gateway listens on every address of this namespace, including the overlay addresses.
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated("loop.gw.example", &[overlay(1, webgateway_tests::gateway::HTTP)]);
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        client.get("loop.gw.example", "/").await?.expect(508)?;
    }
    Ok(())
}

async fn a_passthrough_to_the_gateway_itself_is_closed(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut setup = StandaloneSetup::start(sandbox, |file| {
        file.add_passthrough("loop.example.org", &[overlay(1, webgateway_tests::gateway::HTTPS)])
            .add_terminated("app.gw.example", &[backend.address()]);
    })
    .await?;
    setup.gateway.process().limit_files(2000)?;
    ensure!(setup.client()?.tls("loop.example.org").await.is_err());
    setup.client()?.get("app.gw.example", "/").await?.expect(200)?;
    let metrics = setup.gateway.metrics().await?;
    let accepted = metrics.lines().find(|line| line.contains("accepted") && line.contains("https"));
    let count: u64 = accepted.and_then(|line| line.rsplit(' ').next()).context("no count")?.parse()?;
    ensure!(count < 20, "one client became {count} connections");
    Ok(())
}
