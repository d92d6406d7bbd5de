//! Certificates from a real CA: for the base domain and custom hosts, with every kind of challenge.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use webgateway_tests::acme_proxy;
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::acme::{AcmeOptions, AcmeSetup, CUSTOM_HOST, with_acme_proxy};

scenarios![
    the_base_domain_and_its_wildcard_get_a_certificate,
    a_custom_host_gets_a_certificate_on_three_gateways,
    http_01_is_used_if_the_ca_offers_nothing_else,
    dns_01_works_with_an_alias_into_the_zone,
    a_host_that_points_elsewhere_causes_no_order,
];

async fn the_base_domain_and_its_wildcard_get_a_certificate(sandbox: &Sandbox) -> Result<()> {
    let setup = AcmeSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    setup.client()?.get("gw.example", "/openrpc.json").await?.expect(200)?;
    let seen = setup.certificate("gw.example").await?;
    ensure!(seen["state"] == "valid" && seen["failures"] == 0, "{seen}");
    ensure!(seen["names"] == serde_json::json!(["gw.example", "*.gw.example"]), "{seen}");
    ensure!(seen["next_attempt"].is_string() && seen["not_after"].is_string(), "{seen}");
    ensure!(setup.pebble.orders()? == 1, "one order for both names: {}", setup.pebble.orders()?);
    let refused = setup.alice.gwctl(["certificates", "get", "-c", "gw.example"]).await?;
    ensure!(refused.code == Some(6), "the operator's: {refused:?}");
    let root = setup.alice.gwctl(["certificates", "root"]).await?;
    ensure!(root.code == Some(6), "there is no CA of our own: {root:?}");
    Ok(())
}

async fn a_custom_host_gets_a_certificate_on_three_gateways(sandbox: &Sandbox) -> Result<()> {
    let setup = AcmeSetup::with(sandbox, AcmeOptions { gateways: 3, ..AcmeOptions::default() }).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.point_to_gateway(CUSTOM_HOST)?;
    let started = std::time::Instant::now();
    let id = setup.alice.create_route(&format!("-f {CUSTOM_HOST} -b [400::1]:8080")).await?;
    setup.wait_for_status(CUSTOM_HOST, 200).await?;
    println!("from `routes create` to a served certificate: {:?}", started.elapsed());
    let route = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(route["state"] == "active" && route["reason"].is_null(), "{route}");
    let seen = setup.alice.json(["certificates", "list"]).await?;
    ensure!(seen["certificates"][0]["id"] == CUSTOM_HOST && seen["certificates"][1].is_null(), "{seen}");
    setup.wait_for_certificate("gw.example", |seen| seen["state"] == "valid").await?;
    ensure!(setup.pebble.orders()? == 2, "one order, not one a node: {}", setup.pebble.orders()?);
    Ok(())
}

async fn http_01_is_used_if_the_ca_offers_nothing_else(sandbox: &Sandbox) -> Result<()> {
    let (setup, ca) = with_acme_proxy(sandbox, |_| ()).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.wait_for_certificate("gw.example", |seen| seen["state"] == "valid").await?;
    ca.offer_only("http-01");
    setup.point_to_gateway(CUSTOM_HOST)?;
    setup.alice.create_route(&format!("-f {CUSTOM_HOST} -b [400::1]:8080")).await?;
    setup.wait_for_status(CUSTOM_HOST, 200).await?;
    ensure!(ca.requests(acme_proxy::NEW_ORDER).len() == 2, "{:?}", ca.requests(acme_proxy::NEW_ORDER));
    Ok(())
}

async fn dns_01_works_with_an_alias_into_the_zone(sandbox: &Sandbox) -> Result<()> {
    let setup = AcmeSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.wait_for_certificate("gw.example", |seen| seen["state"] == "valid").await?;
    // The host itself points to another machine, such as a CDN in front of the gateway.
    setup.resolver.set_addresses(CUSTOM_HOST, &["192.0.2.1".parse()?])?;
    let id = setup.alice.create_route(&format!("-f {CUSTOM_HOST} -b [400::1]:8080")).await?;
    let target = eventually("the target of the alias is reported", Duration::from_secs(10), async || {
        let route = setup.alice.json(["routes", "get", "-r", &id]).await?;
        let mut words = route["reason"].as_str().unwrap_or_default().split(' ');
        words
            .next_back()
            .filter(|w| w.ends_with("._acme-challenge.gw.example"))
            .map(str::to_owned)
            .context("not yet")
    })
    .await?;
    setup.resolver.set_alias(&format!("_acme-challenge.{CUSTOM_HOST}"), &target)?;
    setup.alice.gwctl(["certificates", "renew", "-c", CUSTOM_HOST]).await?;
    setup.wait_for_status(CUSTOM_HOST, 200).await?;
    ensure!(setup.pebble.orders()? == 2, "{}", setup.pebble.orders()?);
    Ok(())
}

async fn a_host_that_points_elsewhere_causes_no_order(sandbox: &Sandbox) -> Result<()> {
    let setup = AcmeSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.wait_for_certificate("gw.example", |seen| seen["state"] == "valid").await?;
    let id = setup.alice.create_route(&format!("-f {CUSTOM_HOST} -b [400::1]:8080")).await?;
    let waiting = eventually("the missing record is reported", Duration::from_secs(10), async || {
        let route = setup.alice.json(["routes", "get", "-r", &id]).await?;
        ensure!(route["records"][0].is_object(), "{route}");
        Ok(route)
    })
    .await?;
    ensure!(waiting["state"] == "waiting_for_certificate", "{waiting}");
    let record = serde_json::json!({ "name": CUSTOM_HOST, "type": "CNAME", "value": "gw.example" });
    ensure!(waiting["records"][0] == record, "{waiting}");
    let text = setup.alice.gwctl(["routes", "get", "-r", &id]).await?;
    ensure!(
        text.stdout.contains("waiting for certificate")
            && text.stdout.contains(&format!("{CUSTOM_HOST}. IN CNAME gw.example."))
    );
    ensure!(setup.client()?.tls(CUSTOM_HOST).await.is_err(), "no certificate of another name is shown");
    ensure!(setup.pebble.orders()? == 1, "no order was spent on it");
    setup.point_to_gateway(CUSTOM_HOST)?;
    let renewed = setup.alice.gwctl(["certificates", "renew", "-c", CUSTOM_HOST]).await?;
    ensure!(renewed.code == Some(0), "{renewed:?}");
    setup.wait_for_status(CUSTOM_HOST, 200).await.context("once the record is there")
}
