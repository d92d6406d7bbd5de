//! The path rules of a route: other backends, changed paths, redirects, and attempts to get around a rule.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Client;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;
use crate::terminated_routes::header;

scenarios![
    rules_choose_backends_and_change_paths,
    rules_redirect,
    a_rule_cannot_be_circumvented,
    a_websocket_follows_the_rules,
    backends_of_rules_are_checked_explained_and_counted,
    backends_of_rules_obey_the_rules_for_backends
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(10);

/// The rules of the route with the backend `[400::1]:8080`.
const RULES: [&str; 9] = [
    "/api=[400::2]:8080,strip",
    "/api/v2=[400::3]:8080,replace:/two",
    "/api/own",
    "exact:/robots.txt=[400::3]:8080",
    "/app=replace:/",
    "/old=301:https://www.example.org/new{path}",
    "/moved=308:/here{path}",
    "exact:/docs=302:/docs/",
    "/caf\u{e9}=307:/tea?own=1",
];

/// Starts three backends and a route with these rules, and waits until the node has it.
async fn with_rules(sandbox: &Sandbox, rules: &[&str]) -> Result<(FullSetup, [Backend; 3], String)> {
    let setup = FullSetup::start(sandbox).await?;
    let backends = [
        Backend::http(overlay(1, 8080)).await?,
        Backend::http(overlay(2, 8080)).await?,
        Backend::http(overlay(3, 8080)).await?,
    ];
    let rules = rules.iter().flat_map(|rule| ["--paths", rule]);
    let create = ["routes", "create", "-s", "app", "-b", "[400::1]:8080", "--wait"];
    let created = setup.alice.json(create.into_iter().chain(rules)).await?;
    setup.wait_for_status(HOST, 200).await?;
    Ok((setup, backends, created["id"].as_str().context("no id")?.to_owned()))
}

fn clients(setup: &FullSetup) -> Result<[Client; 2]> {
    Ok([setup.client()?, setup.client()?.h2()])
}

/// Returns the backend's answer to a GET.
async fn seen(client: &Client, path: &str) -> Result<Value> {
    client.get(HOST, path).await?.expect(200).with_context(|| path.to_owned())?.json()
}

async fn rules_choose_backends_and_change_paths(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backends, _) = with_rules(sandbox, &RULES).await?;
    for client in clients(&setup)? {
        for (path, backend, target, prefix) in [
            ("/", 1, "/", None),
            ("/apix?q=1", 1, "/apix?q=1", None),
            ("/API", 2, "/", Some("/api")),
            ("/api?q=1&r=/../%2f", 2, "/?q=1&r=/../%2f", Some("/api")),
            ("/api/", 2, "/", Some("/api")),
            ("/api/x%2Fy;z//w?q=%20", 2, "/x%2Fy;z//w?q=%20", Some("/api")),
            ("/%61pi/x", 2, "/x", Some("/api")),
            ("/api//x", 2, "/x", Some("/api")),
            ("/api/v2", 3, "/two", None),
            ("/api/v2/x?", 3, "/two/x?", None),
            ("/api/v20", 2, "/v20", Some("/api")),
            ("/api/own/x", 1, "/api/own/x", None),
            ("/robots.txt", 3, "/robots.txt", None),
            ("/robots.txt/", 1, "/robots.txt/", None),
            ("/app/x?q=1", 1, "/x?q=1", None),
            ("/app", 1, "/", None),
            ("/wiki//a%2fb;c/Inc.", 1, "/wiki//a%2fb;c/Inc.", None),
        ] {
            let seen = seen(&client, path).await?;
            let address = overlay(backend, 8080).to_string();
            ensure!(seen["backend"] == address && seen["target"] == target, "{path}: {seen}");
            let prefixes: Vec<&str> = prefix.into_iter().collect();
            ensure!(header(&seen, "x-forwarded-prefix") == prefixes, "{path}: {seen}");
            ensure!(header(&seen, "host") == [HOST], "{path}: {seen}");
        }
    }
    Ok(())
}

async fn rules_redirect(sandbox: &Sandbox) -> Result<()> {
    let (setup, backends, _) = with_rules(sandbox, &RULES).await?;
    let before: u64 = backends.iter().map(Backend::requests).sum();
    for client in clients(&setup)? {
        let mut connection = client.connect(HOST).await?;
        for (path, status, location) in [
            ("/old", 301, "https://www.example.org/new"),
            ("/old/", 301, "https://www.example.org/new/"),
            ("/old/a%2fb?q=1&r=%0d%0a", 301, "https://www.example.org/new/a%2fb?q=1&r=%0d%0a"),
            ("/OLD/A", 301, "https://www.example.org/new/A"),
            ("/old/@evil.example", 301, "https://www.example.org/new/@evil.example"),
            ("/old//evil.example", 301, "https://www.example.org/new//evil.example"),
            ("/moved/a?q", 308, "/here/a?q"),
            ("/docs", 302, "/docs/"),
            ("/docs?q=1", 302, "/docs/?q=1"),
            ("/caf%C3%A9?q=1", 307, "/tea?own=1"),
        ] {
            let reply = connection.get(HOST, path).await?.expect(status)?;
            ensure!(reply.header("location") == location, "{path}: {:?}", reply.headers);
        }
    }
    ensure!(backends.iter().map(Backend::requests).sum::<u64>() == before, "a backend was asked");
    for client in clients(&setup)? {
        ensure!(seen(&client, "/docs/").await?["target"] == "/docs/");
    }
    Ok(())
}

/// Spellings of `/admin` and of paths below it, by which it might be reached past its rule.
const SPELLINGS: &[&str] = &[
    "/admin",
    "/admin/",
    "/admin/x",
    "/ADMIN",
    "/Admin/x",
    "/%61dmin",
    "/%41DMIN/x",
    "//admin",
    "///admin/x",
    "/./admin",
    "/x/../admin",
    "/x/..//admin",
    "/%2e/admin",
    "/x/%2e%2e/admin",
    "/x/.%2E/admin",
    "/%2fadmin",
    "/x/..%2fadmin",
    "/x%2f..%2fadmin",
    "/admin%2fx",
    "/%252e/admin",
    "/x/%252e%252e/admin",
    "/%2561dmin",
    "/admin%252fx",
    "/\\admin",
    "/admin\\x",
    "/x\\..\\admin",
    "/%5cadmin",
    "/admin%5cx",
    "/;/admin",
    "/;x=1/admin",
    "/admin;",
    "/admin;x=1/y",
    "/admin;a%2fb",
    "/admin%3bx",
    "/x/..;/admin",
    "/x/..;y/admin",
    "/admin.",
    "/admin%20",
    "/admin%2e/x",
    "/admin%00",
    "/admin%09",
    "/admin%0a",
    "/admin%3f",
    "/admin%3fx",
    "/admin%23",
    "/%u0061dmin",
    "/%c0%afadmin",
    "/x/%c0%ae%c0%ae/admin",
    "/%",
    "/admin%",
];

async fn a_rule_cannot_be_circumvented(sandbox: &Sandbox) -> Result<()> {
    let rules = ["/admin=[400::2]:8080", "exact:/secret=301:/nothing"];
    let (setup, [own, admin, _], _) = with_rules(sandbox, &rules).await?;
    for client in clients(&setup)? {
        for spelling in SPELLINGS {
            let before = (own.requests(), admin.requests());
            let reply = client.get(HOST, spelling).await?;
            let after = (own.requests(), admin.requests());
            ensure!(own.requests() == before.0, "{spelling} reached the route's own backend: {reply:?}");
            match reply.status.as_u16() {
                200 => ensure!(after.1 == before.1 + 1 && reply.json()?["target"] == *spelling, "{spelling}"),
                400 => ensure!(
                    after.1 == before.1 && reply.text().contains("its path is ambiguous"),
                    "{spelling}"
                ),
                _ => anyhow::bail!("{spelling}: {reply:?}"),
            }
        }
        for spelling in ["/secret;x", "/secret%3f", "/secret%20", "//secret", "/secret;a%2fb"] {
            client.get(HOST, spelling).await?.expect(400).context(spelling)?;
        }
        for (path, target) in
            [("/secret/", "/secret/"), ("/administrator", "/administrator"), ("/x%2fadmin", "/x%2fadmin")]
        {
            ensure!(seen(&client, path).await?["target"] == target, "{path}");
        }
    }
    Ok(())
}

async fn a_websocket_follows_the_rules(sandbox: &Sandbox) -> Result<()> {
    let (setup, [own, other, _], _) = with_rules(sandbox, &["/live=[400::2]:8080,strip"]).await?;
    let before = own.requests();
    let stream = setup.client()?.tls(HOST).await?;
    WebSocket::open(stream, HOST, "/live/ws").await?.echo("hello").await?;
    ensure!(own.requests() == before && other.requests() == 1);
    Ok(())
}

async fn backends_of_rules_are_checked_explained_and_counted(sandbox: &Sandbox) -> Result<()> {
    let (setup, [_own, other, _third], id) =
        with_rules(sandbox, &["/api=[400::2]:8080,[400::3]:8080", "/x=[400::3]:8080"]).await?;
    let shown = setup.alice.gwctl(["routes", "get", "-r", &id]).await?.stdout;
    ensure!(shown.contains("/api=[400::2]:8080,[400::3]:8080; /x=[400::3]:8080"), "{shown}");
    setup
        .alice
        .json(["routes", "update", "-r", &id, "--health", "/status/200", "--health-interval", "1s"])
        .await?;
    drop(other);
    eventually("the check finds the backend of a rule", SOON, async || {
        let metrics = setup.gateway.metrics().await?;
        ensure!(metrics.contains("webgateway_backends_down 1"));
        Ok(())
    })
    .await?;
    for _ in 0..6 {
        let seen = seen(&setup.client()?, "/api/x").await?;
        ensure!(seen["backend"] == overlay(3, 8080).to_string(), "{seen}");
    }
    let explained = setup.alice.gwctl(["routes", "explain", HOST]).await?.stdout;
    ensure!(explained.contains("1 of 3 backends cannot be used; [400::2]:8080"), "{explained}");
    let users = setup.admin.json(["admin", "users"]).await?;
    let alice = users["users"].as_array().into_iter().flatten().find(|user| user["user"] == "alice.pub");
    ensure!(alice.is_some_and(|user| user["backends"] == 3), "{users}");
    Ok(())
}

async fn backends_of_rules_obey_the_rules_for_backends(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backends, id) = with_rules(sandbox, &["/api=[400::2]:8080"]).await?;
    for (rule, message) in [
        ("/api=[2001:db8::1]:80", "`[2001:db8::1]:80` is outside the allowed prefixes"),
        ("/api=127.0.0.1:80", "`127.0.0.1:80` is outside the allowed prefixes"),
        (
            "/api=[400::3]:443",
            "`[400::3]:443` is a listener of this gateway itself: `paths` cannot lead back to it",
        ),
        ("/api=[400::1]", "`[400::1]` has no port"),
    ] {
        for command in [&["create", "-s", "other", "-b", "[400::1]:8080"][..], &["update", "-r", &id]] {
            let args = ["routes"].into_iter().chain(command.iter().copied()).chain(["--paths", rule]);
            let refused = setup.alice.gwctl(args).await?;
            ensure!(refused.code != Some(0) && refused.stderr.contains(message), "{rule}: {refused:?}");
            ensure!(refused.stderr.contains("--paths"), "{rule}: {refused:?}");
        }
    }
    setup.admin.json(["admin", "quota", "alice.pub", "--backends", "3"]).await?;
    let more = ["--paths", "/a=[400::2]:8080,[400::3]:8080", "--paths", "/b=[400::2]:8080"];
    setup.alice.json(["routes", "update", "-r", &id].into_iter().chain(more)).await?;
    let refused = setup
        .alice
        .gwctl(["routes", "update", "-r", &id, "--paths", "/a=[400::2]:1,[400::2]:2,[400::2]:3"])
        .await?;
    ensure!(refused.stderr.contains("you have 3 of 3 backends, and this adds 1"), "{refused:?}");
    Ok(())
}
