//! HTTP Strict Transport Security of a route.

use std::time::Duration;

use anyhow::{Result, ensure};
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::Connection;
use webgateway_tests::gateway::HTTP;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;

scenarios![browsers_are_told_to_use_https, an_invalid_policy_is_refused];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(10);
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 0\r\n\r\n";

async fn browsers_are_told_to_use_https(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::raw(overlay(1, 8080), RawBehaviour::Respond(RESPONSE.to_vec())).await?;
    let create = ["routes", "create", "-s", "app", "-b", "[400::1]:8080", "--wait"];
    let rules = ["--paths", "/old=301:/new", "--paths", "/down=[400::9]:1"];
    let created = setup.alice.json(create.into_iter().chain(rules)).await?;
    let id = created["id"].as_str().unwrap_or_default();
    for (flags, value) in [
        (&["--hsts", "365d"][..], "max-age=31536000"),
        (&["--hsts", "1h,subdomains"], "max-age=3600; includeSubDomains"),
        (&["--hsts", "730d,subdomains,preload"], "max-age=63072000; includeSubDomains; preload"),
        (&["--hsts", "0s"], "max-age=0"),
        (&["--reset", "hsts"], "max-age=1"),
    ] {
        setup.alice.json(["routes", "update", "-r", id].iter().chain(flags)).await?;
        let is_on = value != "max-age=1";
        for client in [setup.client()?, setup.client()?.h2()] {
            eventually(&format!("{flags:?} applies"), SOON, async || {
                for (path, status) in [("/", 200), ("/old", 301), ("/down", 502), ("/%2e", 400)] {
                    let reply = client.get(HOST, path).await?.expect(status)?;
                    let sent: Vec<_> = reply.headers.get_all("strict-transport-security").iter().collect();
                    let expected: Vec<_> = Some(value).filter(|_| is_on || path == "/").into_iter().collect();
                    ensure!(sent == expected, "{path}: {:?}", reply.headers);
                }
                Ok(())
            })
            .await?;
        }
        for host in [HOST, "gw.example"] {
            let reply = Connection::plain(overlay(1, HTTP)).await?.get(host, "/").await?.expect(308)?;
            ensure!(reply.headers.get("strict-transport-security").is_none(), "port 80: {reply:?}");
        }
        let api = setup.client()?.get("gw.example", "/").await?;
        ensure!(api.headers.get("strict-transport-security").is_none(), "the base domain: {api:?}");
    }
    Ok(())
}

async fn an_invalid_policy_is_refused(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    for (value, message) in [
        ("364d,subdomains,preload", "`preload` needs a time of at least 31536000 seconds (365 days)"),
        ("365d,preload", "`preload` needs a time of at least"),
        ("11y", "at most 315360000 (ten years)"),
        ("365", "`365` is not a time: write one such as 365d"),
        ("365d,sub", "`sub` is neither subdomains nor preload"),
    ] {
        let create = ["routes", "create", "-s", "app", "-b", "[400::1]:8080", "--hsts", value];
        let refused = setup.alice.gwctl(create).await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains(message), "{value}: {refused:?}");
        ensure!(refused.stderr.contains("--hsts"), "{value}: {refused:?}");
    }
    let passed = ["routes", "create", "-f", "a.example.org", "-t", "-b", "[400::1]:8080"];
    for option in [["--hsts", "1h"], ["--paths", "/a=301:/b"], ["--headers-response-set", "X-A: b"]] {
        let refused = setup.alice.gwctl(passed.into_iter().chain(option)).await?;
        ensure!(
            refused.code == Some(2) && refused.stderr.contains("concerns HTTP"),
            "{option:?}: {refused:?}"
        );
    }
    Ok(())
}
