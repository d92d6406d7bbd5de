//! A controlplane that gets out through a proxy alone.

use anyhow::{Result, ensure};
use webgateway_tests::connect_proxy::ConnectProxy;
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;

use crate::certified::{Certified, Wish};

stories![
    a_certificate_comes_through_the_proxy,
    a_certificate_comes_through_the_proxy_in_lower_case,
    a_ca_that_needs_no_proxy_is_asked_directly,
];

/// Pebble's address, as it is in its URLs.
const CA: &str = "localhost:14000";

async fn certified_with(scene: &Scene, environment: Vec<(&'static str, String)>) -> Result<()> {
    let world = Certified::with(scene, Wish { environment, ..Wish::default() }).await?;
    world.certificate_is("gw.example", |seen| seen["state"] == "valid").await.map(drop)
}

async fn a_certificate_comes_through_the_proxy(scene: &Scene) -> Result<()> {
    comes_through(scene, "HTTPS_PROXY").await
}

async fn a_certificate_comes_through_the_proxy_in_lower_case(scene: &Scene) -> Result<()> {
    comes_through(scene, "https_proxy").await
}

async fn comes_through(scene: &Scene, variable: &'static str) -> Result<()> {
    let proxy = ConnectProxy::start().await?;
    certified_with(scene, vec![(variable, proxy.url())]).await?;
    let asked = proxy.asked();
    ensure!(!asked.is_empty() && asked.iter().all(|target| target == CA), "{asked:?}");
    Ok(())
}

async fn a_ca_that_needs_no_proxy_is_asked_directly(scene: &Scene) -> Result<()> {
    let proxy = ConnectProxy::start().await?;
    certified_with(scene, vec![("HTTPS_PROXY", proxy.url()), ("no_proxy", "localhost".to_owned())]).await?;
    ensure!(proxy.asked().is_empty(), "{:?}", proxy.asked());
    Ok(())
}
