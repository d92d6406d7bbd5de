//! The flags of the options that bound and balance requests, and the operator's limits of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use http_body_util::Full;
use serde_json::json;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;

scenarios![
    options_are_set_by_flags_within_the_operators_limits,
    a_passthrough_route_has_the_options_that_need_no_http,
    a_weight_needs_its_backend,
];

const SOON: Duration = Duration::from_secs(10);
const LIMITS: &str = "route_limits = { max_timeout = \"1m\", max_attempts = 3, max_body = 1000 }\n";
const FLAGS: &str = "-m least_connections --weights [400::1]:8080=3 --weights [400::2]:8080=0 --sticky=srv \
    --sticky-ttl 1h --timeouts-connect 500ms --timeouts-first-byte 5s --timeouts-idle 1m --timeouts-total 60s \
    --retries 3 --retries-on connect,503 --max-body 1000";

/// Flags that are refused, and words of the errors.
const REFUSED: &[(&str, &[&str])] = &[
    ("--timeouts-connect 61s", &["--timeouts-connect", "limit of 60 s", "route_limits"]),
    ("--timeouts-first-byte 2m", &["--timeouts-first-byte", "limit of 60 s"]),
    ("--timeouts-idle 1h", &["--timeouts-idle", "limit of 60 s"]),
    ("--timeouts-total 60001ms", &["--timeouts-total", "limit of 60 s"]),
    ("--retries 4", &["--retries", "limit of 3"]),
    ("--max-body 1KiB", &["--max-body", "limit of 1000 bytes"]),
    ("--timeouts-total 1ms", &["--timeouts-total", "0.01 s to 24 h"]),
    ("--retries 11", &["--retries", "from 1 to 10"]),
    ("--retries 2 --retries-on refused", &["--retries-on", "`refused` is not one of"]),
    ("--max-body 0", &["--max-body", "1 byte"]),
    ("--sticky=a;b", &["--sticky", "name of a cookie"]),
    ("--sticky-ttl 1s", &["--sticky"]),
];

async fn start(sandbox: &Sandbox) -> Result<FullSetup> {
    let controlplane = Controlplane::start_with(sandbox, LIMITS).await?;
    let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?).await?;
    let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    Ok(FullSetup { controlplane, gateway, admin, alice })
}

/// Fails unless gwctl refuses these arguments with all of these words.
async fn expect_refusal(user: &User, args: &str, words: &[&str]) -> Result<()> {
    let output = user.gwctl(args.split_whitespace()).await?;
    let says = |word: &&str| output.stderr.contains(*word);
    ensure!(output.code != Some(0) && words.iter().all(says), "`{args}`, {words:?}: {output:?}");
    Ok(())
}

async fn options_are_set_by_flags_within_the_operators_limits(sandbox: &Sandbox) -> Result<()> {
    let setup = start(sandbox).await?;
    let _backends = [Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(2, 8080)).await?];
    let alice = &setup.alice;
    for (flags, words) in REFUSED {
        expect_refusal(alice, &format!("routes create -s hello -b [400::1]:8080 {flags}"), words).await?;
    }
    let id = alice.create_route(&format!("-s hello -b [400::1]:8080 -b [400::2]:8080 {FLAGS}")).await?;
    let route = alice.json(["routes", "get", "-r", &id]).await?;
    for (name, value) in [
        ("balance", json!("least_connections")),
        ("weights", json!({ "[400::1]:8080": 3, "[400::2]:8080": 0 })),
        ("sticky", json!({ "cookie": "srv", "ttl": 3600 })),
        ("timeouts", json!({ "connect": 0.5, "first_byte": 5, "idle": 60, "total": 60 })),
        ("retries", json!({ "attempts": 3, "on": ["connect", "503"] })),
        ("max_body", json!(1000)),
    ] {
        ensure!(route[name] == value, "{name}: {route}");
    }
    let reply = setup.wait_for_status("hello.gw.example", 200).await?;
    ensure!(reply.header("set-cookie").starts_with("srv="), "{reply:?}");
    // The operator's limit of bodies also applies to a route without one.
    let reset =
        "--reset max_body --reset sticky --reset timeouts --reset retries --reset weights --reset balance";
    alice.json(["routes", "update", "-r", &id].into_iter().chain(reset.split(' '))).await?;
    let client = setup.client()?;
    eventually("the reset applies", SOON, async || {
        let reply = client.get("hello.gw.example", "/").await?.expect(200)?;
        ensure!(reply.header("set-cookie").is_empty());
        Ok(())
    })
    .await?;
    for (size, status) in [(1000, 200), (1001, 413)] {
        let mut connection = client.connect("hello.gw.example").await?;
        let post =
            connection.request(Method::POST, "hello.gw.example", "/").body(Full::from(vec![b'x'; size]))?;
        connection.send(post).await?.expect(status)?;
    }
    Ok(())
}

async fn a_passthrough_route_has_the_options_that_need_no_http(sandbox: &Sandbox) -> Result<()> {
    let setup = start(sandbox).await?;
    let alice = &setup.alice;
    let tls = "routes create -f pass.example.org -t -b [400::1]:8443";
    for (flags, word) in [
        ("--sticky", "`sticky`"),
        ("--retries 2", "`retries`"),
        ("--max-body 10", "`max_body`"),
        ("--timeouts-total 5s", "`timeouts.total`"),
        ("--timeouts-first-byte 5s", "`timeouts.first_byte`"),
    ] {
        expect_refusal(alice, &format!("{tls} {flags}"), &[word, "passthrough"]).await?;
    }
    let more = "--timeouts-connect 5s --timeouts-idle 30s -m client_hash --weights [400::1]:8443=2";
    alice.create_route(&format!("-f pass.example.org -t -b [400::1]:8443 {more}")).await?;
    Ok(())
}

async fn a_weight_needs_its_backend(sandbox: &Sandbox) -> Result<()> {
    let setup = start(sandbox).await?;
    let alice = &setup.alice;
    let both = "-s hello -b [400::1]:8080 -b [400::2]:8080";
    for (flags, words) in [
        ("--weights [400::3]:8080=2", &["--weights", "[400::3]:8080", "not a backend"][..]),
        ("--weights [400::1]:8081=1", &["--weights", "[400::1]:8081", "not a backend"]),
        ("--weights [400::1]:8080=257", &["--weights", "257"]),
        ("--weights [400::1]:8080", &["--weights", "weight"]),
        ("--weights [400::1]:8080=0 --weights [400::2]:8080=0", &["--weights", "every backend"]),
        ("--weights [400::1]:8080=1 --weights [400:0::1]:8080=2", &["--weights", "more than one weight"]),
    ] {
        expect_refusal(alice, &format!("routes create {both} {flags}"), words).await?;
    }
    let id =
        alice.create_route(&format!("{both} --weights [400::1]:8080=3 --weights [400::2]:8080=2")).await?;
    let update = format!("routes update -r {id} -b [400::1]:8080 -b [400::3]:8080");
    let route = alice.json(update.split(' ')).await?;
    ensure!(route["weights"] == json!({ "[400::1]:8080": 3 }), "a weight goes with its backend: {route}");
    expect_refusal(alice, &format!("routes update -r {id} --weights [400::2]:8080=2"), &["[400::2]:8080"])
        .await?;
    let manifest =
        "routes:\n- host: other.gw.example\n  backends: ['[400::1]:80']\n  weights: {'[400::2]:80': 2}\n";
    let file = sandbox.write("routes.yaml", manifest)?;
    expect_refusal(
        alice,
        &format!("routes apply -y -f {}", file.display()),
        &["[400::2]:80", "not a backend"],
    )
    .await
}
