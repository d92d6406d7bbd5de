//! A controlplane whose outbound requests use an HTTP proxy.

use anyhow::{Result, ensure};
use webgateway_tests::connect_proxy::ConnectProxy;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::acme::{AcmeOptions, AcmeSetup};

scenarios![
    a_certificate_is_ordered_through_the_proxy,
    the_proxy_variable_may_be_lower_case,
    no_proxy_is_respected,
];

/// Pebble's address, as in its URLs.
const CA: &str = "localhost:14000";

async fn start_with_environment(sandbox: &Sandbox, environment: Vec<(&'static str, String)>) -> Result<()> {
    let setup = AcmeSetup::with(sandbox, AcmeOptions { environment, ..AcmeOptions::default() }).await?;
    setup.wait_for_certificate("gw.example", |seen| seen["state"] == "valid").await.map(drop)
}

async fn a_certificate_is_ordered_through_the_proxy(sandbox: &Sandbox) -> Result<()> {
    expect_ordered_through_proxy(sandbox, "HTTPS_PROXY").await
}

async fn the_proxy_variable_may_be_lower_case(sandbox: &Sandbox) -> Result<()> {
    expect_ordered_through_proxy(sandbox, "https_proxy").await
}

async fn expect_ordered_through_proxy(sandbox: &Sandbox, variable: &'static str) -> Result<()> {
    let proxy = ConnectProxy::start().await?;
    start_with_environment(sandbox, vec![(variable, proxy.url())]).await?;
    let asked = proxy.asked();
    ensure!(!asked.is_empty() && asked.iter().all(|target| target == CA), "{asked:?}");
    Ok(())
}

async fn no_proxy_is_respected(sandbox: &Sandbox) -> Result<()> {
    let proxy = ConnectProxy::start().await?;
    start_with_environment(sandbox, vec![("HTTPS_PROXY", proxy.url()), ("no_proxy", "localhost".to_owned())])
        .await?;
    ensure!(proxy.asked().is_empty(), "{:?}", proxy.asked());
    Ok(())
}
