//! Invalid input to gwctl and the API: one error names the wrong field or flag, and nothing changes.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use webgateway_tests::client::Connection;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gwctl::User;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;

scenarios![
    gwctl_refuses_invalid_flags,
    gwctl_refuses_invalid_keys,
    a_key_readable_by_others_causes_a_warning,
    keys_are_not_overwritten,
    the_api_refuses_invalid_params,
    an_unreachable_gateway_is_reported_with_a_hint,
];

async fn alice(sandbox: &Sandbox) -> Result<(Controlplane, User)> {
    let controlplane = Controlplane::start_with(sandbox, "reserved_subdomains = [\"www\"]").await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    Ok((controlplane, alice))
}

async fn expect_no_routes(alice: &User) -> Result<()> {
    let list = alice.json(["routes", "list"]).await?;
    ensure!(list["routes"] == json!([]), "{list}");
    Ok(())
}

async fn gwctl_refuses_invalid_flags(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    let long = format!("{}.example.org", "a".repeat(250));
    let cases: [(&[&str], &str); 22] = [
        (&["-s", "x", "-b", "[2001:db8::1]:80"], "-b"),
        (&["-s", "x", "-b", "[400::1]"], "port"),
        (&["-s", "x", "-b", "400::1"], "port"),
        (&["-s", "x", "-b", "[400::1]:0"], "port"),
        (&["-s", "x", "-b", "[400::1]:99999"], "-b"),
        (&["-s", "x", "-b", "127.0.0.1:80"], "-b"),
        (&["-s", "x", "-b", "[::ffff:127.0.0.1]:80"], "-b"),
        (&["-s", "x", "-b", "example.org:80"], "-b"),
        (&["-s", "x", "-b", ""], "-b"),
        (&["-s", "x"], "backend"),
        (&["-b", "[400::1]:81"], "fqdn"),
        (&["-s", "x", "-f", "a.example.org", "-b", "[400::1]:81"], "fqdn"),
        (&["-s", "a..b", "-b", "[400::1]:81"], "-s"),
        (&["-s", "*", "-b", "[400::1]:81"], "-s"),
        (&["-s", "-x", "-b", "[400::1]:81"], "-x"),
        (&["-s", "x", "-t", "-b", "[400::1]:81"], "-t"),
        (&["-s", "x", "-m", "fastest", "-b", "[400::1]:81"], "fastest"),
        (&["-f", "a..b", "-b", "[400::1]:81"], "-f"),
        (&["-f", "*.example.org", "-b", "[400::1]:81"], "-f"),
        (&["-f", "192.0.2.1", "-b", "[400::1]:81"], "-f"),
        (&["-f", &long, "-b", "[400::1]:81"], "-f"),
        (&["-s", "x", "-b", "[400::1]:81", "-b", "[400:0::1]:81"], "twice"),
    ];
    for (flags, word) in cases {
        let refused = alice.gwctl([&["routes", "create"], flags].concat()).await?;
        let code = refused.code.unwrap_or_default();
        ensure!(code == 2 || code == 8, "{flags:?}: {refused:?}");
        ensure!(refused.stderr.contains(word), "{flags:?} should name {word}: {refused:?}");
        ensure!(refused.stdout.is_empty(), "{flags:?}: {refused:?}");
    }
    for (flags, word) in [
        (["-f", "gw.example"], "gw.example"),
        (["-f", "x._acme-challenge.gw.example"], "-f"),
        (["-s", "www"], "www"),
    ] {
        let refused = alice.gwctl(["routes", "create", flags[0], flags[1], "-b", "[400::1]:81"]).await?;
        ensure!(refused.code != Some(0) && refused.stderr.contains(word), "{flags:?}: {refused:?}");
    }
    for args in [
        &["routes", "get", "-r", "x"][..],
        &["routes", "get"],
        &["routes", "fly"],
        &["routes", "update", "-r", "x"],
    ] {
        let refused = alice.gwctl(args).await?;
        ensure!(refused.code == Some(2), "{args:?}: {refused:?}");
    }
    expect_no_routes(&alice).await
}

async fn gwctl_refuses_invalid_keys(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    let list = ["routes", "list"];
    let public = sandbox.path("alice.pub").display().to_string();
    let rubbish = sandbox.write("rubbish.priv", "no key at all")?.display().to_string();
    for key in ["/nonexistent.priv", &public, &rubbish, "/dev/null", "/"] {
        let refused = alice.gwctl([&list[..], &["-k", key]].concat()).await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains("-k"), "{key}: {refused:?}");
        ensure!(refused.stderr.contains("hint"), "it says what to do: {refused:?}");
    }
    let without = process::run("gwctl", &list.map(str::to_owned), &[]).await?;
    ensure!(without.code == Some(2) && without.stderr.contains("gwctl keys generate"), "{without:?}");
    let other = alice.claiming("nobody.pub").gwctl(list).await?;
    ensure!(other.code == Some(4) && other.stderr.contains("hint"), "{other:?}");
    for id in ["../alice.pub", "a/b"] {
        let refused = alice.claiming(id).gwctl(list).await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains("-i"), "{refused:?}");
    }
    Ok(())
}

async fn a_key_readable_by_others_causes_a_warning(sandbox: &Sandbox) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let (_controlplane, alice) = alice(sandbox).await?;
    let quiet = alice.gwctl(["routes", "list"]).await?;
    ensure!(quiet.stderr.is_empty(), "{quiet:?}");
    let mode = std::fs::metadata(alice.key())?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    std::fs::set_permissions(alice.key(), std::fs::Permissions::from_mode(0o644))?;
    let warned = alice.gwctl(["routes", "list"]).await?;
    ensure!(
        warned.code == Some(0) && warned.stderr.contains("warning") && warned.stderr.contains("chmod 600"),
        "{warned:?}"
    );
    Ok(())
}

async fn keys_are_not_overwritten(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    let before = std::fs::read(alice.key())?;
    let name = sandbox.path("alice").display().to_string();
    let again = alice.gwctl(["keys", "generate", &name]).await?;
    ensure!(again.code == Some(7), "{again:?}");
    ensure!(std::fs::read(alice.key())? == before);
    let nowhere = alice.gwctl(["keys", "generate", "/nonexistent/x"]).await?;
    ensure!(
        nowhere.code.is_some_and(|code| code != 0) && nowhere.stderr.contains("/nonexistent"),
        "{nowhere:?}"
    );
    Ok(())
}

async fn the_api_refuses_invalid_params(sandbox: &Sandbox) -> Result<()> {
    let (controlplane, alice) = alice(sandbox).await?;
    let signer = Signer::for_user(&alice)?;
    let good = json!(["[400::1]:81"]);
    let many: Vec<String> = (1..=33).map(|n| format!("[400::{n:x}]:80")).collect();
    let cases: [(Value, &str); 16] = [
        (json!({"subdomain": "x", "backends": ["[2001:db8::1]:80"]}), "backends"),
        (json!({"subdomain": "x", "backends": ["[400::1]"]}), "backends"),
        (json!({"subdomain": "x", "backends": ["[400::1]:0"]}), "backends"),
        (json!({"subdomain": "x", "backends": []}), "backends"),
        (json!({"subdomain": "x", "backends": many}), "backends"),
        (json!({"subdomain": "x", "backends": "[400::1]:81"}), "backends"),
        (json!({"subdomain": "a..b", "backends": good}), "subdomain"),
        (json!({"subdomain": "www", "backends": good}), "subdomain"),
        (json!({"subdomain": "_acme-challenge", "backends": good}), "subdomain"),
        (json!({"fqdn": "*.x", "backends": good}), "fqdn"),
        (json!({"fqdn": "gw.example", "backends": good}), "fqdn"),
        (json!({"fqdn": "127.0.0.1", "backends": good}), "fqdn"),
        (json!({"fqdn": "x".repeat(254), "backends": good}), "fqdn"),
        (json!({"backends": good}), "fqdn"),
        (json!({"subdomain": "x", "mode": "passthrough", "backends": good}), "mode"),
        (json!({"subdomain": "x", "backends": good, "balance": "fastest"}), "balance"),
    ];
    for (params, field) in cases {
        let mut api = Connection::plain(controlplane.rpc()?).await?;
        let reply =
            signer.call(&mut api, &controlplane.url(), "routes.create", params.clone()).await?.json()?;
        let error = &reply["error"];
        ensure!(error["code"] == -32602, "{params}: {reply}");
        let named = error["data"]["field"].as_str().unwrap_or_default();
        ensure!(named.starts_with(field), "{params}: names {named:?}, not {field:?}: {reply}");
    }
    expect_no_routes(&alice).await
}

async fn an_unreachable_gateway_is_reported_with_a_hint(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    for url in ["http://127.0.0.1:1/rpc", "https://127.0.0.1:8080/rpc", "http://127.0.0.1:8080/elsewhere"] {
        let failed = alice.at(url).gwctl(["routes", "list"]).await?;
        ensure!(failed.code.is_some_and(|code| code != 0), "{url}: {failed:?}");
        ensure!(failed.stderr.contains("hint"), "it says what to do: {failed:?}");
    }
    let failed = alice.at("http://127.0.0.1:1/rpc").gwctl(["routes", "list"]).await?;
    ensure!(failed.code == Some(3), "{failed:?}");
    let wrong = alice.at("ftp://x").gwctl(["routes", "list"]).await?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("-u"), "{wrong:?}");
    Ok(())
}
