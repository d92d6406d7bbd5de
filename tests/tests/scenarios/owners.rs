//! Service owners with gwctl: routes are created, listed, changed and deleted, and take effect at once.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Client;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::full::FullSetup;
use crate::terminated_routes::header;

scenarios![
    a_subdomain_is_created,
    a_custom_host_is_created,
    a_passthrough_route_is_created,
    several_backends_are_used_in_turn,
    routes_are_listed_and_returned,
    a_route_is_changed,
    a_backend_gets_the_host_of_its_route_options,
    a_route_changes_its_mode_and_host,
    a_deleted_route_is_not_served,
    an_owner_cannot_see_routes_of_another,
    a_host_can_be_claimed_once,
    of_two_concurrent_claims_one_succeeds,
    a_list_is_printed_as_a_table,
    a_list_is_paginated_and_filtered,
    verbose_prints_the_signature_base,
];

async fn a_subdomain_is_created(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let backend = Backend::http(overlay(1, 8080)).await?;
    setup.wait_for_status("hello.gw.example", 503).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    let seen = setup.wait_for_status("hello.gw.example", 200).await?.json()?;
    ensure!(header(&seen, "host") == ["hello.gw.example"], "{seen}");
    setup.client()?.h2().get("hello.gw.example", "/").await?.expect(200)?;
    ensure!(backend.requests() >= 2);
    Ok(())
}

async fn a_custom_host_is_created(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    for host in ["shop.example.org", "deep.er.gw.example"] {
        ensure!(setup.client()?.tls(host).await.is_err(), "{host} is not known yet");
        setup.alice.create_route(&format!("-f {host} -b [400::1]:8080")).await?;
        setup.wait_for_status(host, 200).await?;
    }
    Ok(())
}

async fn a_passthrough_route_is_created(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let authority = Authority::new()?;
    let tls = authority.issue(&["pass.example.org"])?.server(&["http/1.1"])?;
    let _backend = Backend::https(overlay(1, 8443), tls).await?;
    setup.alice.create_route("-f pass.example.org -t -b [400::1]:8443").await?;
    let client = Client::new(setup.gateway.https(), authority.root())?;
    let soon = std::time::Duration::from_secs(10);
    webgateway_tests::wait::eventually("the backend serves its certificate", soon, async || {
        client.get("pass.example.org", "/").await?.expect(200)
    })
    .await?;
    Ok(())
}

async fn several_backends_are_used_in_turn(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 -b [400::2]:8080 -m round_robin").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    for _ in 0..9 {
        setup.wait_for_status("hello.gw.example", 200).await?;
    }
    ensure!((one.requests(), two.requests()) == (5, 5), "{} and {}", one.requests(), two.requests());
    Ok(())
}

async fn routes_are_listed_and_returned(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let id = setup.alice.create_route("-s one -b [400::1]:8080 -m random").await?;
    setup.alice.create_route("-f two.example.org -t -b [400:0:0::2]:444").await?;
    let list = setup.alice.json(["routes", "list"]).await?;
    let hosts: Vec<_> = list["routes"].as_array().into_iter().flatten().map(|r| r["host"].clone()).collect();
    ensure!(hosts == ["one.gw.example", "two.example.org"], "{list}");
    let route = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(route["host"] == "one.gw.example" && route["owner"] == "alice.pub", "{route}");
    ensure!(route["balance"] == "random" && route["mode"] == "terminate", "{route}");
    ensure!(route["backends"][0] == "[400::1]:8080" && route["state"] == "active", "{route}");
    ensure!(list["routes"][1]["mode"] == "passthrough", "{list}");
    ensure!(list["routes"][1]["backends"][0] == "[400::2]:444", "one spelling: {list}");
    Ok(())
}

async fn wait_until_served_by(setup: &FullSetup, host: &str, address: SocketAddr) -> Result<()> {
    let client = setup.client()?;
    webgateway_tests::wait::eventually(
        "it is answered there",
        std::time::Duration::from_secs(10),
        async || {
            let seen = client.get(host, "/").await?.expect(200)?.json()?;
            ensure!(seen["backend"] == address.to_string(), "{seen}");
            Ok(())
        },
    )
    .await
}

async fn a_route_is_changed(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let one = Backend::http(overlay(1, 8080)).await?;
    let two = Backend::http(overlay(2, 8080)).await?;
    let id = setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    wait_until_served_by(&setup, "hello.gw.example", one.address()).await?;
    let changed =
        setup.alice.json(["routes", "update", "-r", &id, "-b", "[400::2]:8080", "-m", "random"]).await?;
    ensure!(changed["id"] == id.as_str() && changed["balance"] == "random", "{changed}");
    wait_until_served_by(&setup, "hello.gw.example", two.address()).await
}

async fn a_backend_gets_the_host_of_its_route_options(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    // Of two backends the first is down: the Host is the one of the backend that responds.
    let backend = Backend::http(overlay(2, 8080)).await?;
    let flags = "-s hello -b [400::1]:8080 -b [400::2]:8080 --host-header backend";
    let id = setup.alice.create_route(flags).await?;
    for h2 in [false, true] {
        setup.wait_for_status("hello.gw.example", 200).await?;
        for _ in 0..4 {
            let client = if h2 { setup.client()?.h2() } else { setup.client()? };
            let seen = client.get("hello.gw.example", "/").await?.expect(200)?.json()?;
            ensure!(header(&seen, "host") == [backend.address().to_string()], "{seen}");
            ensure!(header(&seen, "x-forwarded-host") == ["hello.gw.example"], "{seen}");
        }
    }
    let shown = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(shown["host_header"] == "backend", "{shown}");
    let reset = setup.alice.json(["routes", "update", "-r", &id, "--reset", "host_header"]).await?;
    ensure!(reset.get("host_header").is_none(), "{reset}");
    let soon = std::time::Duration::from_secs(10);
    webgateway_tests::wait::eventually("the client's Host is passed on again", soon, async || {
        let seen = setup.client()?.get("hello.gw.example", "/").await?.expect(200)?.json()?;
        ensure!(header(&seen, "host") == ["hello.gw.example"], "{seen}");
        Ok(())
    })
    .await
}

async fn a_route_changes_its_mode_and_host(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let backend = Backend::http(overlay(1, 8080)).await?;
    let id = setup.alice.create_route("-f pass.example.org -t -b [400::1]:8080").await?;
    setup.alice.json(["routes", "update", "-r", &id, "-t=false"]).await?;
    wait_until_served_by(&setup, "pass.example.org", backend.address()).await?;
    setup.alice.json(["routes", "update", "-r", &id, "-s", "moved"]).await?;
    wait_until_served_by(&setup, "moved.gw.example", backend.address()).await?;
    ensure!(setup.client()?.get("pass.example.org", "/").await.is_err(), "the old host is gone");
    Ok(())
}

async fn a_deleted_route_is_not_served(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let id = setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    let deleted = setup.alice.gwctl(["routes", "delete", "-r", &id]).await?;
    ensure!(deleted.code == Some(0), "{deleted:?}");
    setup.wait_for_status("hello.gw.example", 503).await?;
    let again = setup.alice.gwctl(["routes", "delete", "-r", &id]).await?;
    ensure!(again.code == Some(6), "{again:?}");
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.wait_for_status("hello.gw.example", 200).await?;
    Ok(())
}

async fn an_owner_cannot_see_routes_of_another(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let bob = User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    let id = setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    let list = bob.json(["routes", "list"]).await?;
    ensure!(list["routes"] == serde_json::json!([]), "{list}");
    for args in [["routes", "get", "-r", &id], ["routes", "delete", "-r", &id]] {
        let refused = bob.gwctl(args).await?;
        ensure!(refused.code == Some(6), "like one that is not there: {refused:?}");
    }
    let refused = bob.gwctl(["routes", "update", "-r", &id, "-b", "[400::9]:81"]).await?;
    ensure!(refused.code == Some(6), "{refused:?}");
    let all = setup.admin.json(["routes", "list"]).await?;
    ensure!(all["routes"][0]["id"] == id.as_str(), "the admin sees it: {all}");
    let same = setup.alice.json(["routes", "get", "-r", &id]).await?;
    ensure!(same["backends"][0] == "[400::1]:8080", "nothing changed: {same}");
    let by_admin = setup.admin.gwctl(["routes", "delete", "-r", &id]).await?;
    ensure!(by_admin.code == Some(0), "{by_admin:?}");
    Ok(())
}

async fn a_host_can_be_claimed_once(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let bob = User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    let flags = [["-s", "hello"], ["-s", "HELLO"], ["-f", "hello.gw.example"], ["-f", "Hello.GW.example."]];
    for [flag, host] in flags {
        let refused = bob.gwctl(["routes", "create", flag, host, "-b", "[400::2]:81"]).await?;
        ensure!(refused.code == Some(7), "{host}: {refused:?}");
        ensure!(!refused.stderr.contains("alice"), "whose it is stays private: {refused:?}");
    }
    Ok(())
}

async fn of_two_concurrent_claims_one_succeeds(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let bob = User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    for round in 0..5 {
        let host = format!("race{round}");
        let args = ["routes", "create", "-s", &host, "-b", "[400::1]:8080"];
        let (one, two) = tokio::join!(setup.alice.gwctl(args), bob.gwctl(args));
        let mut codes = [one?.code, two?.code];
        codes.sort_unstable();
        ensure!(codes == [Some(0), Some(7)], "{codes:?}");
    }
    Ok(())
}

async fn a_list_is_printed_as_a_table(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let id = setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    let list = setup.alice.gwctl(["routes", "list"]).await?;
    ensure!(list.code == Some(0) && list.stderr.is_empty(), "{list:?}");
    for word in ["hello.gw.example", "[400::1]:8080", "active"] {
        ensure!(list.stdout.contains(word), "{word}: {list:?}");
    }
    let wide = setup.alice.gwctl(["routes", "list", "-o", "wide"]).await?;
    ensure!(!list.stdout.contains(&*id) && wide.stdout.contains(&*id), "{wide:?}");
    Ok(())
}

async fn a_list_is_paginated_and_filtered(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    for label in ["blog", "shop", "shopping"] {
        setup.alice.create_route(&format!("-s {label} -b [400::1]:8080")).await?;
    }
    setup.alice.create_route("-f shop.example.org -t -b [400::1]:444").await?;
    let all = ["blog.gw.example", "shop.example.org", "shop.gw.example", "shopping.gw.example"];
    for (flags, expected) in [
        ("", &all[..]),
        ("--limit 2", &all[..2]),
        ("--host shop", &all[1..]),
        ("--host SHOP. --mode terminate", &all[2..3]),
        ("--owner alice.pub --mode passthrough", &all[1..2]),
        ("--owner bob.pub", &[]),
    ] {
        let list = setup.admin.json(["routes", "list"].into_iter().chain(flags.split_whitespace())).await?;
        let hosts: Vec<_> =
            list["routes"].as_array().into_iter().flatten().filter_map(|r| r["host"].as_str()).collect();
        ensure!(hosts == expected, "{flags}: {list}");
    }
    let refused = setup.alice.gwctl(["routes", "list", "--limit", "0"]).await?;
    ensure!(refused.code == Some(2) && refused.stderr.contains("--limit"), "{refused:?}");
    Ok(())
}

async fn verbose_prints_the_signature_base(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let shown = setup.alice.gwctl(["-v", "routes", "list"]).await?;
    for word in ["\"@method\": POST", "@signature-params", "routes.list", "content-digest", "200"] {
        ensure!(shown.stderr.contains(word), "{word}: {shown:?}");
    }
    let key = std::fs::read_to_string(setup.alice.key())?;
    let secret = key.lines().nth(1).unwrap_or_default();
    ensure!(!secret.is_empty() && !shown.stderr.contains(secret), "the key is never printed");
    Ok(())
}
