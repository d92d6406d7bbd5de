//! Failures while certificates are ordered: a CA that refuses, is slow or is not trusted, and a controlplane that
//! crashes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use webgateway_tests::acme_proxy::{AcmeProblem, NEW_ORDER};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::clock;
use webgateway_tests::netns::overlay;
use webgateway_tests::pebble::PebbleConfig;
use webgateway_tests::process::{self, installed};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::acme::{AcmeOptions, AcmeSetup, CUSTOM_HOST, dns_and_ca, with_acme_proxy};

scenarios![
    certificates_are_issued_although_half_of_the_nonces_are_refused,
    a_slow_ca_delays_the_certificate,
    a_ca_with_an_untrusted_root_is_refused,
    an_account_uses_external_account_binding,
    an_order_is_finished_after_a_kill_at_every_step,
    a_rate_limit_of_the_ca_is_respected,
    a_renewal_follows_the_suggested_window_even_if_replaces_is_refused,
    a_renewal_keeps_open_connections,
    the_certificate_of_a_deleted_route_is_removed,
    a_suspended_owner_causes_no_order,
    an_independent_client_verifies_the_chain,
    dig_resolves_the_zone,
];

fn is_valid(seen: &Value) -> bool {
    seen["state"] == "valid"
}

async fn certificates_are_issued_although_half_of_the_nonces_are_refused(sandbox: &Sandbox) -> Result<()> {
    let setup =
        AcmeSetup::with_pebble(sandbox, PebbleConfig { nonces_refused: 50, ..PebbleConfig::default() })
            .await?;
    setup.wait_for_certificate("gw.example", is_valid).await.map(drop)
}

async fn a_slow_ca_delays_the_certificate(sandbox: &Sandbox) -> Result<()> {
    let setup = AcmeSetup::with_pebble(sandbox, PebbleConfig { sleep: 3, ..PebbleConfig::default() }).await?;
    setup.wait_for_certificate("gw.example", is_valid).await.map(drop)
}

async fn a_ca_with_an_untrusted_root_is_refused(sandbox: &Sandbox) -> Result<()> {
    let options = AcmeOptions::default();
    let (resolver, pebble) = dns_and_ca(sandbox, &options.pebble_config).await?;
    let root = pebble.root_file().to_owned();
    std::fs::write(&root, Authority::new()?.root())?;
    let right = pebble.api().root().to_owned();
    let mut setup = AcmeSetup::with_dns_and_ca(sandbox, (resolver, pebble), options).await?;
    let seen = setup.wait_for_certificate("gw.example", |seen| seen["last_error"].is_string()).await?;
    ensure!(seen["state"] == "failing" && seen["last_error"].to_string().contains("ertificate"), "{seen}");
    ensure!(setup.pebble.orders()? == 0);
    std::fs::write(&root, right)?;
    setup.restart(sandbox).await?;
    setup.admin.json(["certificates", "renew", "-c", "gw.example"]).await?;
    setup.wait_for_certificate("gw.example", is_valid).await.map(drop)
}

async fn an_account_uses_external_account_binding(sandbox: &Sandbox) -> Result<()> {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble_config =
        PebbleConfig { binding: Some(("kid-1".into(), key.into())), ..PebbleConfig::default() };
    let acme = format!("eab_kid = \"kid-1\"\neab_hmac_key = \"{key}\"");
    let setup =
        AcmeSetup::with(sandbox, AcmeOptions { pebble_config, acme, ..AcmeOptions::default() }).await?;
    setup.wait_for_certificate("gw.example", is_valid).await.map(drop)
}

async fn an_order_is_finished_after_a_kill_at_every_step(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, ca) = with_acme_proxy(sandbox, |_| ()).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.wait_for_certificate("gw.example", is_valid).await?;
    setup.point_to_gateway(CUSTOM_HOST)?;
    let steps = [NEW_ORDER, "/authZ/", "/chalZ/", "/my-order/", "/finalize-order/", "/certZ/"];
    let mut before = steps.map(|path| ca.requests(path).len());
    setup.alice.create_route(&format!("-f {CUSTOM_HOST} -b [400::1]:8080")).await?;
    let (mut orders, mut kills) = (None, 0);
    for (step, path) in steps.into_iter().enumerate() {
        // Steps that were finished before the last kill are not repeated.
        let asked = eventually(path, Duration::from_secs(2), async || {
            ensure!(ca.requests(path).len() > before[step]);
            Ok(())
        });
        if asked.await.is_err() {
            continue;
        }
        setup.controlplane.process().kill()?;
        kills += 1;
        // The order is stored by now: the CA was asked for its authorizations.
        if path == "/authZ/" {
            orders = Some(ca.requests(NEW_ORDER).len());
        }
        before = steps.map(|path| ca.requests(path).len());
        setup.restart(sandbox).await?;
    }
    ensure!(kills >= 4, "killed {kills} times only");
    setup.wait_for_status(CUSTOM_HOST, 200).await?;
    ensure!(orders == Some(ca.requests(NEW_ORDER).len()), "{orders:?}, then {:?}", ca.requests(NEW_ORDER));
    Ok(())
}

async fn a_rate_limit_of_the_ca_is_respected(sandbox: &Sandbox) -> Result<()> {
    let refusal = AcmeProblem {
        path: NEW_ORDER,
        only_replacing: false,
        status: 429,
        kind: "rateLimited",
        detail: "come back after lunch",
        retry_after: Some(7200),
    };
    let (setup, ca) = with_acme_proxy(sandbox, |ca| ca.refuse_next(refusal)).await?;
    let seen = setup.wait_for_certificate("gw.example", |seen| seen["failures"] == 1).await?;
    ensure!(
        seen["last_error"].to_string().contains("come back after lunch"),
        "in the CA's own words: {seen}"
    );
    ensure!(next_attempt(&seen)? > clock::now() + 7000, "Retry-After is honoured: {seen}");
    ensure!(ca.requests(NEW_ORDER).len() == 1);
    Ok(())
}

/// Returns the time of the next attempt, in Unix seconds.
fn next_attempt(seen: &Value) -> Result<i64> {
    let next = seen["next_attempt"].as_str().context("no next attempt")?;
    Ok(OffsetDateTime::parse(next, &Rfc3339)?.unix_timestamp())
}

async fn a_renewal_follows_the_suggested_window_even_if_replaces_is_refused(sandbox: &Sandbox) -> Result<()> {
    let conflict = AcmeProblem {
        path: NEW_ORDER,
        only_replacing: true,
        status: 409,
        kind: "alreadyReplaced",
        detail: "it was replaced",
        retry_after: None,
    };
    let (setup, ca) = with_acme_proxy(sandbox, |ca| {
        ca.set_renewal_window("2020-01-01T00:00:00Z".into(), "2020-01-02T00:00:00Z".into());
        ca.refuse_next(conflict);
    })
    .await?;
    eventually(
        "the certificate is ordered again, first with `replaces`",
        Duration::from_secs(30),
        async || {
            let orders = ca.requests(NEW_ORDER);
            let replacing = orders.iter().position(|order| order.payload["replaces"].is_string());
            let next = replacing.and_then(|at| orders.get(at + 1)).with_context(|| format!("{orders:?}"))?;
            ensure!(next.payload["replaces"].is_null(), "{orders:?}");
            Ok(())
        },
    )
    .await?;
    ca.set_renewal_window("2099-01-01T00:00:00Z".into(), "2099-01-02T00:00:00Z".into());
    setup.wait_for_certificate("gw.example", is_valid).await.map(drop)
}

async fn a_renewal_keeps_open_connections(sandbox: &Sandbox) -> Result<()> {
    let validity = Duration::from_secs(20);
    let setup = AcmeSetup::with_pebble(sandbox, PebbleConfig { validity, ..PebbleConfig::default() }).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    let mut open = setup.client()?.connect("hello.gw.example").await?;
    let first = setup.certificate("gw.example").await?;
    setup.wait_for_certificate("gw.example", |seen| seen["not_before"] != first["not_before"]).await?;
    ensure!(setup.pebble.issued()? >= 2);
    open.get("hello.gw.example", "/").await?.expect(200).context("the connection of before")?;
    setup.wait_for_status("hello.gw.example", 200).await
}

async fn the_certificate_of_a_deleted_route_is_removed(sandbox: &Sandbox) -> Result<()> {
    let setup = AcmeSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.point_to_gateway(CUSTOM_HOST)?;
    let id = setup.alice.create_route(&format!("-f {CUSTOM_HOST} -b [400::1]:8080")).await?;
    setup.wait_for_status(CUSTOM_HOST, 200).await?;
    setup.alice.gwctl(["routes", "delete", "-r", &id]).await?;
    let client = setup.client()?;
    eventually("the name is no longer served", Duration::from_secs(10), async || {
        ensure!(client.tls(CUSTOM_HOST).await.is_err());
        Ok(())
    })
    .await?;
    for who in [&setup.alice, &setup.admin] {
        let gone = who.gwctl(["certificates", "get", "-c", CUSTOM_HOST]).await?;
        ensure!(gone.code == Some(6), "{gone:?}");
    }
    Ok(())
}

async fn a_suspended_owner_causes_no_order(sandbox: &Sandbox) -> Result<()> {
    let setup = AcmeSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.wait_for_certificate("gw.example", is_valid).await?;
    let before = setup.pebble.orders()?;
    setup.alice.create_route(&format!("-f {CUSTOM_HOST} -b [400::1]:8080")).await?;
    setup.admin.gwctl(["admin", "suspend", "--user", "alice.pub"]).await?;
    setup.point_to_gateway(CUSTOM_HOST)?;
    // By the time another owner's host has a certificate, an order for alice's host would have been placed too.
    setup.point_to_gateway("admin.example.org")?;
    setup.admin.create_route("-f admin.example.org -b [400::1]:8080").await?;
    setup.wait_for_status("admin.example.org", 200).await?;
    ensure!(setup.pebble.orders()? == before + 1, "an order was placed for a suspended owner");
    setup.admin.gwctl(["admin", "unsuspend", "--user", "alice.pub"]).await?;
    setup.wait_for_status(CUSTOM_HOST, 200).await
}

async fn an_independent_client_verifies_the_chain(sandbox: &Sandbox) -> Result<()> {
    if installed("openssl").is_none() {
        return Ok(());
    }
    let setup = AcmeSetup::start(sandbox).await?;
    setup.wait_for_certificate("gw.example", is_valid).await?;
    setup.wait_for_status("gw.example", 200).await?;
    let root = sandbox.write("root.pem", &setup.pebble.root().await?)?;
    let line = "s_client -connect 127.0.0.1:443 -verify_return_error -verify_quiet -brief -servername";
    for (name, code) in [("any.gw.example", 0), ("gw.example", 0), ("a.b.gw.example", 1)] {
        let args = format!("{line} {name} -verify_hostname {name} -CAfile {}", root.display());
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let seen = process::run("openssl", &args, &[]).await?;
        ensure!(seen.code == Some(code), "{name}: {seen:?}");
    }
    Ok(())
}

async fn dig_resolves_the_zone(sandbox: &Sandbox) -> Result<()> {
    if installed("dig").is_none() {
        return Ok(());
    }
    let setup = AcmeSetup::start(sandbox).await?;
    setup.wait_for_certificate("gw.example", is_valid).await?;
    for (question, responses) in [
        ("_acme-challenge.gw.example SOA", ["status: NOERROR", "flags: qr aa;", "ANSWER: 1"]),
        ("_aCMe-chALLenge.gW.exAMple NS", [";_aCMe-chALLenge.gW.exAMple.", "flags: qr aa;", "ANSWER: 1"]),
        ("_acme-challenge.gw.example TXT", ["status: NOERROR", "ANSWER: 0", "SOA"]),
        ("_acme-challenge.gw.example CAA", ["status: NOERROR", "ANSWER: 0", "SOA"]),
        ("_acme-challenge.gw.example SOA +tcp", ["status: NOERROR", "(TCP)", "ANSWER: 1"]),
        (
            "_acme-challenge.gw.example SOA +edns=99 +noednsneg",
            ["status: BADVERS", "EDNS: version: 0", "ANSWER: 0"],
        ),
        ("_acme-challenge.gw.example SOA +ednsopt=65001:ff", ["status: NOERROR", "udp: 1232", "ANSWER: 1"]),
        ("gw.example A", ["status: REFUSED", "ANSWER: 0", "AUTHORITY: 0"]),
        ("example.com A +rec", ["status: REFUSED", "ANSWER: 0", "AUTHORITY: 0"]),
        ("_acme-challenge.gw.example AXFR +tcp", ["Transfer failed", "", ""]),
    ] {
        let args = format!("@127.0.0.1 +norec +tries=1 +timeout=5 {question}");
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let seen = process::run("dig", &args, &[]).await?;
        for word in responses {
            ensure!(seen.stdout.contains(word), "{question}: {word} is not in {}", seen.stdout);
        }
    }
    Ok(())
}
