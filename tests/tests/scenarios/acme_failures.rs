//! Certificates in spite of everything: a CA that refuses, is slow or unknown, and a controlplane that dies.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use webgateway_tests::acme_proxy::{NEW_ORDER, Refusal};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::clock;
use webgateway_tests::netns::overlay;
use webgateway_tests::pebble::Temper;
use webgateway_tests::process::{self, installed};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::acme::{Certified, OWN, Wish, wished, world};

scenarios![
    half_of_all_nonces_are_refused,
    the_ca_takes_its_time,
    a_ca_under_another_root_is_not_believed,
    an_account_is_bound_to_one_the_ca_knows,
    killed_at_every_step_the_order_is_finished_and_not_repeated,
    too_many_requests_are_waited_out,
    renewed_when_the_ca_says_so_also_if_it_will_not_have_it_as_a_replacement,
    renewal_keeps_what_is_open,
    a_deleted_routes_certificate_is_nobodys,
    a_suspended_owner_costs_no_order,
    an_independent_client_verifies_the_chain,
    dig_sees_the_zone_as_it_should_be,
];

fn is_valid(seen: &Value) -> bool {
    seen["state"] == "valid"
}

async fn half_of_all_nonces_are_refused(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::under(sandbox, Temper { nonces_refused: 50, ..Temper::default() }).await?;
    world.certificate_is("gw.example", is_valid).await.map(drop)
}

async fn the_ca_takes_its_time(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::under(sandbox, Temper { sleep: 3, ..Temper::default() }).await?;
    world.certificate_is("gw.example", is_valid).await.map(drop)
}

async fn a_ca_under_another_root_is_not_believed(sandbox: &Sandbox) -> Result<()> {
    let wish = Wish::default();
    let (resolver, pebble) = world(sandbox, &wish.temper).await?;
    let root = pebble.root_file().to_owned();
    std::fs::write(&root, Authority::new()?.root())?;
    let right = pebble.api().root().to_owned();
    let mut world = Certified::before(sandbox, (resolver, pebble), wish).await?;
    let seen = world.certificate_is("gw.example", |seen| seen["last_error"].is_string()).await?;
    ensure!(seen["state"] == "failing" && seen["last_error"].to_string().contains("ertificate"), "{seen}");
    ensure!(world.pebble.orders()? == 0);
    std::fs::write(&root, right)?;
    world.restart(sandbox).await?;
    world.admin.json(["certificates", "renew", "-c", "gw.example"]).await?;
    world.certificate_is("gw.example", is_valid).await.map(drop)
}

async fn an_account_is_bound_to_one_the_ca_knows(sandbox: &Sandbox) -> Result<()> {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let temper = Temper { binding: Some(("kid-1".into(), key.into())), ..Temper::default() };
    let acme = format!("eab_kid = \"kid-1\"\neab_hmac_key = \"{key}\"");
    let world = Certified::with(sandbox, Wish { temper, acme, ..Wish::default() }).await?;
    world.certificate_is("gw.example", is_valid).await.map(drop)
}

async fn killed_at_every_step_the_order_is_finished_and_not_repeated(sandbox: &Sandbox) -> Result<()> {
    let (mut world, ca) = wished(sandbox, |_| ()).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.certificate_is("gw.example", is_valid).await?;
    world.leads_here(OWN)?;
    let steps = [NEW_ORDER, "/authZ/", "/chalZ/", "/my-order/", "/finalize-order/", "/certZ/"];
    let mut before = steps.map(|path| ca.seen(path).len());
    world.alice.create_route(&format!("-f {OWN} -b [400::1]:8080")).await?;
    let (mut orders, mut kills) = (None, 0);
    for (step, path) in steps.into_iter().enumerate() {
        // What was finished before the last kill is not asked for again.
        let asked = eventually(path, Duration::from_secs(2), async || {
            ensure!(ca.seen(path).len() > before[step]);
            Ok(())
        });
        if asked.await.is_err() {
            continue;
        }
        world.controller.process().kill()?;
        kills += 1;
        // From here on the order is known: it was asked for what it needs.
        if path == "/authZ/" {
            orders = Some(ca.seen(NEW_ORDER).len());
        }
        before = steps.map(|path| ca.seen(path).len());
        world.restart(sandbox).await?;
    }
    ensure!(kills >= 4, "killed {kills} times only");
    world.answers(OWN, 200).await?;
    ensure!(orders == Some(ca.seen(NEW_ORDER).len()), "{orders:?}, then {:?}", ca.seen(NEW_ORDER));
    Ok(())
}

async fn too_many_requests_are_waited_out(sandbox: &Sandbox) -> Result<()> {
    let refusal = Refusal {
        path: NEW_ORDER,
        only_replacing: false,
        status: 429,
        kind: "rateLimited",
        detail: "come back after lunch",
        retry_after: Some(7200),
    };
    let (world, ca) = wished(sandbox, |ca| ca.refuses(refusal)).await?;
    let seen = world.certificate_is("gw.example", |seen| seen["failures"] == 1).await?;
    ensure!(
        seen["last_error"].to_string().contains("come back after lunch"),
        "in the CA's own words: {seen}"
    );
    ensure!(due(&seen)? > clock::now() + 7000, "Retry-After is honoured: {seen}");
    ensure!(ca.seen(NEW_ORDER).len() == 1);
    Ok(())
}

/// When the next attempt is due, in Unix seconds.
fn due(seen: &Value) -> Result<i64> {
    let next = seen["next_attempt"].as_str().context("no next attempt")?;
    Ok(OffsetDateTime::parse(next, &Rfc3339)?.unix_timestamp())
}

async fn renewed_when_the_ca_says_so_also_if_it_will_not_have_it_as_a_replacement(
    sandbox: &Sandbox,
) -> Result<()> {
    let conflict = Refusal {
        path: NEW_ORDER,
        only_replacing: true,
        status: 409,
        kind: "alreadyReplaced",
        detail: "it was replaced",
        retry_after: None,
    };
    let (world, ca) = wished(sandbox, |ca| {
        ca.renews_between("2020-01-01T00:00:00Z".into(), "2020-01-02T00:00:00Z".into());
        ca.refuses(conflict);
    })
    .await?;
    eventually("it is ordered again, first as a replacement", Duration::from_secs(30), async || {
        let orders = ca.seen(NEW_ORDER);
        let replacing = orders.iter().position(|order| order.payload["replaces"].is_string());
        let next = replacing.and_then(|at| orders.get(at + 1)).with_context(|| format!("{orders:?}"))?;
        ensure!(next.payload["replaces"].is_null(), "{orders:?}");
        Ok(())
    })
    .await?;
    ca.renews_between("2099-01-01T00:00:00Z".into(), "2099-01-02T00:00:00Z".into());
    world.certificate_is("gw.example", is_valid).await.map(drop)
}

async fn renewal_keeps_what_is_open(sandbox: &Sandbox) -> Result<()> {
    let validity = Duration::from_secs(20);
    let world = Certified::under(sandbox, Temper { validity, ..Temper::default() }).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.answers("hello.gw.example", 200).await?;
    let mut open = world.visitor()?.connect("hello.gw.example").await?;
    let first = world.certificate("gw.example").await?;
    world.certificate_is("gw.example", |seen| seen["not_before"] != first["not_before"]).await?;
    ensure!(world.pebble.issued()? >= 2);
    open.get("hello.gw.example", "/").await?.expect(200).context("the connection of before")?;
    world.answers("hello.gw.example", 200).await
}

async fn a_deleted_routes_certificate_is_nobodys(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.leads_here(OWN)?;
    let id = world.alice.create_route(&format!("-f {OWN} -b [400::1]:8080")).await?;
    world.answers(OWN, 200).await?;
    world.alice.gwctl(["routes", "delete", "-r", &id]).await?;
    let visitor = world.visitor()?;
    eventually("its name is no longer known", Duration::from_secs(10), async || {
        ensure!(visitor.tls(OWN).await.is_err());
        Ok(())
    })
    .await?;
    for who in [&world.alice, &world.admin] {
        let gone = who.gwctl(["certificates", "get", "-c", OWN]).await?;
        ensure!(gone.code == Some(6), "{gone:?}");
    }
    Ok(())
}

async fn a_suspended_owner_costs_no_order(sandbox: &Sandbox) -> Result<()> {
    let world = Certified::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.certificate_is("gw.example", is_valid).await?;
    let before = world.pebble.orders()?;
    world.alice.create_route(&format!("-f {OWN} -b [400::1]:8080")).await?;
    world.admin.gwctl(["admin", "suspend", "--user", "alice.pub"]).await?;
    world.leads_here(OWN)?;
    // Another's host is seen to meanwhile: so was hers, if it was to be.
    world.leads_here("admin.example.org")?;
    world.admin.create_route("-f admin.example.org -b [400::1]:8080").await?;
    world.answers("admin.example.org", 200).await?;
    ensure!(world.pebble.orders()? == before + 1, "an order was placed for a suspended owner");
    world.admin.gwctl(["admin", "unsuspend", "--user", "alice.pub"]).await?;
    world.answers(OWN, 200).await
}

async fn an_independent_client_verifies_the_chain(sandbox: &Sandbox) -> Result<()> {
    if installed("openssl").is_none() {
        return Ok(());
    }
    let world = Certified::start(sandbox).await?;
    world.certificate_is("gw.example", is_valid).await?;
    world.answers("gw.example", 200).await?;
    let root = sandbox.write("root.pem", &world.pebble.root().await?)?;
    let line = "s_client -connect 127.0.0.1:443 -verify_return_error -verify_quiet -brief -servername";
    for (name, code) in [("any.gw.example", 0), ("gw.example", 0), ("a.b.gw.example", 1)] {
        let args = format!("{line} {name} -verify_hostname {name} -CAfile {}", root.display());
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let seen = process::run("openssl", &args, &[]).await?;
        ensure!(seen.code == Some(code), "{name}: {seen:?}");
    }
    Ok(())
}

async fn dig_sees_the_zone_as_it_should_be(sandbox: &Sandbox) -> Result<()> {
    if installed("dig").is_none() {
        return Ok(());
    }
    let world = Certified::start(sandbox).await?;
    world.certificate_is("gw.example", is_valid).await?;
    for (question, answers) in [
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
        for word in answers {
            ensure!(seen.stdout.contains(word), "{question}: {word} is not in {}", seen.stdout);
        }
    }
    Ok(())
}
