//! Certificates from a real CA: from nothing, for hosts of one's own, by every way, against every adversity.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use webgateway_tests::acme_proxy;
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::acme::{Certified, OWN, Wish, wished};

scenarios![
    the_base_domain_and_its_wildcard_from_nothing,
    a_host_of_ones_own_over_three_gateways,
    by_http_where_the_ca_offers_no_other,
    by_an_alias_into_our_zone,
    a_host_that_leads_elsewhere_costs_the_ca_nothing,
];

async fn the_base_domain_and_its_wildcard_from_nothing(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.answers("hello.gw.example", 200).await?;
    world.visitor()?.get("gw.example", "/openrpc.json").await?.expect(200)?;
    let seen = world.certificate("gw.example").await?;
    ensure!(seen["state"] == "valid" && seen["failures"] == 0, "{seen}");
    ensure!(seen["names"] == serde_json::json!(["gw.example", "*.gw.example"]), "{seen}");
    ensure!(seen["next_attempt"].is_string() && seen["not_after"].is_string(), "{seen}");
    ensure!(world.pebble.orders()? == 1, "one order for both names: {}", world.pebble.orders()?);
    let refused = world.alice.gwctl(["certificates", "get", "-c", "gw.example"]).await?;
    ensure!(refused.code == Some(6), "the operator's: {refused:?}");
    let root = world.alice.gwctl(["certificates", "root"]).await?;
    ensure!(root.code == Some(6), "there is no CA of our own: {root:?}");
    Ok(())
}

async fn a_host_of_ones_own_over_three_gateways(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::with(sandbox, Wish { gateways: 3, ..Wish::default() }).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.leads_here(OWN)?;
    let begun = std::time::Instant::now();
    let id = world.alice.create_route(&format!("-f {OWN} -b [400::1]:8080")).await?;
    world.answers(OWN, 200).await?;
    println!("from `routes create` to a served certificate: {:?}", begun.elapsed());
    let route = world.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(route["state"] == "active" && route["reason"].is_null(), "{route}");
    let seen = world.alice.json(["certificates", "list"]).await?;
    ensure!(seen["certificates"][0]["id"] == OWN && seen["certificates"][1].is_null(), "{seen}");
    world.certificate_is("gw.example", |seen| seen["state"] == "valid").await?;
    ensure!(world.pebble.orders()? == 2, "one order, not one a node: {}", world.pebble.orders()?);
    Ok(())
}

async fn by_http_where_the_ca_offers_no_other(sandbox: &Sandbox) -> Result<()> {
    let (world, ca) = wished(sandbox, |_| ()).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.certificate_is("gw.example", |seen| seen["state"] == "valid").await?;
    ca.offers_only("http-01");
    world.leads_here(OWN)?;
    world.alice.create_route(&format!("-f {OWN} -b [400::1]:8080")).await?;
    world.answers(OWN, 200).await?;
    ensure!(ca.seen(acme_proxy::NEW_ORDER).len() == 2, "{:?}", ca.seen(acme_proxy::NEW_ORDER));
    Ok(())
}

async fn by_an_alias_into_our_zone(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.certificate_is("gw.example", |seen| seen["state"] == "valid").await?;
    // The host itself leads elsewhere, such as to a CDN before us.
    world.resolver.points(OWN, &["192.0.2.1".parse()?])?;
    let id = world.alice.create_route(&format!("-f {OWN} -b [400::1]:8080")).await?;
    let target = eventually("it is said where the alias is to lead", Duration::from_secs(10), async || {
        let route = world.alice.json(["routes", "get", "-r", &id]).await?;
        let mut words = route["reason"].as_str().unwrap_or_default().split(' ');
        words
            .next_back()
            .filter(|w| w.ends_with("._acme-challenge.gw.example"))
            .map(str::to_owned)
            .context("not yet")
    })
    .await?;
    world.resolver.alias(&format!("_acme-challenge.{OWN}"), &target)?;
    world.alice.gwctl(["certificates", "renew", "-c", OWN]).await?;
    world.answers(OWN, 200).await?;
    ensure!(world.pebble.orders()? == 2, "{}", world.pebble.orders()?);
    Ok(())
}

async fn a_host_that_leads_elsewhere_costs_the_ca_nothing(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.certificate_is("gw.example", |seen| seen["state"] == "valid").await?;
    let id = world.alice.create_route(&format!("-f {OWN} -b [400::1]:8080")).await?;
    let waiting = eventually("it is said what is missing", Duration::from_secs(10), async || {
        let route = world.alice.json(["routes", "get", "-r", &id]).await?;
        ensure!(route["records"][0].is_object(), "{route}");
        Ok(route)
    })
    .await?;
    ensure!(waiting["state"] == "waiting_for_certificate", "{waiting}");
    let record = serde_json::json!({ "name": OWN, "type": "CNAME", "value": "gw.example" });
    ensure!(waiting["records"][0] == record, "{waiting}");
    let text = world.alice.gwctl(["routes", "get", "-r", &id]).await?;
    ensure!(
        text.stdout.contains("waiting for certificate")
            && text.stdout.contains(&format!("{OWN}  CNAME  gw.example"))
    );
    ensure!(world.visitor()?.tls(OWN).await.is_err(), "no certificate of another name is shown");
    ensure!(world.pebble.orders()? == 1, "no order was spent on it");
    world.leads_here(OWN)?;
    let renewed = world.alice.gwctl(["certificates", "renew", "-c", OWN]).await?;
    ensure!(renewed.code == Some(0), "{renewed:?}");
    world.answers(OWN, 200).await.context("once the record is there")
}
