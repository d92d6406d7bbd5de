//! Management of users: temporary suspension, quotas, rate limits and lists.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Connection;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::signer::{SignatureParams, Signer, call, send};
use webgateway_tests::wait::eventually;
use webgateway_tests::{clock, scenarios};

use crate::setup::full::FullSetup;

scenarios![
    a_suspension_ends_by_itself,
    a_suspension_ends_during_a_restart,
    a_quota_is_not_exceeded,
    default_quotas_apply_to_all_but_the_admin,
    changes_are_rate_limited,
    a_dry_run_changes_nothing,
    users_are_listed_for_the_admin,
];

const SUSPEND: [&str; 5] = ["admin", "suspend", "alice.pub", "--reason", "late bill"];

async fn a_suspension_ends_by_itself(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    let state = setup.admin.json(SUSPEND.into_iter().chain(["--for", "4s"])).await?;
    let until = state["suspension"]["until"].as_str().unwrap_or_default().to_owned();
    setup.wait_for_status("hello.gw.example", 503).await?;
    let refused = setup.alice.gwctl(["routes", "create", "-s", "more", "-b", "[400::1]:8080"]).await?;
    ensure!(refused.code == Some(5), "{refused:?}");
    for word in ["late bill", &*until, "the suspension ends at that time"] {
        ensure!(refused.stderr.contains(word), "{word}: {refused:?}");
    }
    let list = setup.alice.gwctl(["routes", "list", "-o", "wide"]).await?;
    ensure!(list.stdout.contains(&format!("suspended until {until}: late bill")), "{list:?}");

    setup.wait_for_status("hello.gw.example", 200).await?;
    setup.alice.create_route("-s more -b [400::1]:8080").await?;
    let audit = setup.admin.json(["audit", "list", "--target", "user/alice.pub"]).await?;
    let record = &audit["records"][0];
    ensure!(record["caller"] == "(gateway)" && record["method"] == "admin.unsuspend", "{audit}");
    let verified = setup.admin.gwctl(["audit", "verify"]).await?;
    ensure!(verified.code == Some(0), "{verified:?}");
    Ok(())
}

async fn a_suspension_ends_during_a_restart(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    setup.admin.json(SUSPEND.into_iter().chain(["--for", "2s"])).await?;
    let over = clock::now() + 2;
    setup.controlplane.process().kill()?;
    let is_over = async || {
        ensure!(clock::now() > over);
        Ok(())
    };
    eventually("the suspension has ended", Duration::from_secs(10), is_over).await?;
    setup.controlplane = Controlplane::start(sandbox).await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    let audit = setup.admin.json(["audit", "list", "--target", "user/alice.pub"]).await?;
    ensure!(audit["records"][0]["caller"] == "(gateway)", "{audit}");
    Ok(())
}

async fn a_quota_is_not_exceeded(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    setup.admin.json(["admin", "quota", "alice.pub", "--routes", "3"]).await?;
    let hosts: Vec<String> = (0..12).map(|i| format!("app{i}")).collect();
    let create = |host| setup.alice.gwctl(["routes", "create", "-s", host, "-b", "[400::1]:8080"]);
    let ended = try_join_all(hosts.iter().map(|host| create(host.as_str()))).await?;
    let (made, refused): (Vec<_>, Vec<_>) = ended.into_iter().partition(|ended| ended.code == Some(0));
    ensure!(made.len() == 3, "{made:?}");
    for refused in refused {
        let output =
            refused.stderr.contains("you have 3 of 3 routes") && refused.stderr.contains("ask the operator");
        ensure!(refused.code == Some(5) && output, "{refused:?}");
    }
    let list = setup.alice.json(["routes", "list"]).await?;
    ensure!(list["routes"].as_array().map(Vec::len) == Some(3), "{list}");
    Ok(())
}

async fn default_quotas_apply_to_all_but_the_admin(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start_with(sandbox, "[quotas]\nroutes = 1\nbackends = 2").await?;
    let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let id = alice.create_route("-s one -b [400::1]:81").await?;
    let two = ["routes", "create", "-s", "two", "-b", "[400::1]:81"];
    ensure!(alice.gwctl(two).await?.code == Some(5), "one is all");
    let three =
        ["routes", "update", "-r", &id, "-b", "[400::1]:81", "-b", "[400::2]:81", "-b", "[400::3]:81"];
    let refused = alice.gwctl(three).await?;
    ensure!(refused.code == Some(5) && refused.stderr.contains("you have 1 of 2 backends"), "{refused:?}");
    let quota = admin.json(["admin", "quota", "alice.pub", "--routes", "none"]).await?["quota"].clone();
    ensure!(quota == json!({ "routes": null, "backends": 2, "mutations_per_minute": null }), "{quota}");
    ensure!(alice.gwctl(two).await?.code == Some(0), "no limit");
    admin.json(["admin", "quota", "alice.pub", "--routes", "default"]).await?;
    alice.json(["routes", "delete", "-r", &id]).await?;
    ensure!(
        alice.gwctl(["routes", "create", "-s", "x", "-b", "[400::1]:81"]).await?.code == Some(5),
        "one again"
    );
    for host in ["a", "b", "c"] {
        admin.create_route(&format!("-s {host} -b [400::1]:81")).await?;
    }
    Ok(())
}

async fn changes_are_rate_limited(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    setup.admin.json(["admin", "quota", "alice.pub", "--mutations", "2"]).await?;
    let create =
        |label: &str| call("routes.create", json!({ "subdomain": label, "backends": ["[400::1]:81"] }));
    let batch = json!([create("a"), create("b"), create("c"), call("routes.list", json!({}))]).to_string();
    let mut api = Connection::plain(setup.controlplane.rpc()?).await?;
    let signer = Signer::for_user(&setup.alice)?;
    let reply =
        send(&mut api, signer.post(&setup.controlplane.url(), &batch, &SignatureParams::fresh())?).await?;
    let responses: Value = reply.expect(200)?.json()?;
    ensure!(
        responses[0]["result"]["id"].is_string() && responses[1]["result"]["id"].is_string(),
        "{responses}"
    );
    let refused = &responses[2]["error"]["data"];
    let wait = refused["retry_after"].as_u64().unwrap_or_default();
    ensure!(refused["kind"] == "rate_limited" && (1..=60).contains(&wait), "{responses}");
    ensure!(
        responses[3]["result"]["routes"].as_array().map(Vec::len) == Some(2),
        "reading is free: {responses}"
    );
    Ok(())
}

async fn a_dry_run_changes_nothing(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let tried = setup.alice.gwctl(["routes", "create", "-s", "a", "-b", "[400::1]:81", "--dry-run"]).await?;
    let output =
        tried.stdout.starts_with("Nothing was stored.") && tried.stdout.contains("https://a.gw.example/");
    ensure!(tried.code == Some(0) && output, "{tried:?}");
    let list = setup.alice.json(["routes", "list"]).await?;
    ensure!(list["routes"] == json!([]), "{list}");
    let id = setup.alice.create_route("-s a -b [400::1]:81").await?;
    let tried = setup.alice.json(["routes", "update", "-r", &id, "-s", "b", "--dry-run"]).await?;
    ensure!(tried["host"] == "b.gw.example", "{tried}");
    let stays = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(stays["host"] == "a.gw.example", "{stays}");
    let taken = setup.admin.gwctl(["routes", "create", "-s", "a", "-b", "[400::1]:81", "--dry-run"]).await?;
    ensure!(taken.code == Some(7), "{taken:?}");
    let nothing = setup.alice.gwctl(["routes", "update", "-r", &id, "--dry-run"]).await?;
    ensure!(nothing.code == Some(2), "{nothing:?}");
    Ok(())
}

async fn users_are_listed_for_the_admin(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let bob = User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    setup.alice.create_route("-s a -b [400::1]:81 -b [400::2]:81").await?;
    bob.create_route("-s b -b [400::1]:81").await?;
    setup.admin.json(["admin", "quota", "bob.pub", "--routes", "9"]).await?;
    setup.admin.json(SUSPEND).await?;
    let list = setup.admin.gwctl(["admin", "users"]).await?;
    let lines: Vec<Vec<&str>> = list.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(lines.len() == 3 && lines[1][..3] == ["alice.pub", "1", "2"], "{list:?}");
    ensure!(lines[1].ends_with(&["suspended", "(late", "bill)"]), "{list:?}");
    ensure!(lines[2][..5] == ["bob.pub", "1", "of", "9", "1"] && lines[2].ends_with(&["active"]), "{list:?}");
    let suspended = setup.admin.json(["admin", "users", "--suspended"]).await?;
    ensure!(suspended["users"].as_array().map(Vec::len) == Some(1), "{suspended}");
    let refused = setup.alice.gwctl(["admin", "users"]).await?;
    ensure!(refused.code == Some(5), "{refused:?}");
    Ok(())
}
