//! `gwctl apply`: the routes become those of a file.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gwctl::User;
use webgateway_tests::process::{Process, find};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

scenarios![
    a_file_is_planned_and_applied_once,
    a_failed_change_does_not_stop_the_others,
    a_terminal_is_asked_for_confirmation,
    nothing_is_deleted_if_its_replacement_failed,
    the_output_of_list_is_a_valid_file,
    an_invalid_file_changes_nothing,
];

const TWO_ROUTES: &str = "routes:\n- subdomain: shop\n  backends: ['[400::1]:81']\n- fqdn: mail.example.org\n  mode: passthrough\n  \
                   backends: ['[400::1]:444', '[400::2]:444']\n";
const CHANGED_ROUTES: &str =
    "routes:\n- subdomain: shop\n  balance: random\n  backends: ['[400::9]:81']\n  health: {path: /up}\n";

async fn alice(sandbox: &Sandbox) -> Result<(Controlplane, User)> {
    let controlplane = Controlplane::start(sandbox).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    Ok((controlplane, alice))
}

async fn apply(user: &User, sandbox: &Sandbox, file: &str, flags: &str) -> Result<Value> {
    let file = sandbox.write("routes.yaml", file)?.display().to_string();
    user.json(["routes", "apply", "-f", &file].into_iter().chain(flags.split_whitespace())).await
}

async fn hosts(user: &User) -> Result<Vec<String>> {
    let list = user.json(["routes", "list"]).await?;
    let routes = list["routes"].as_array().into_iter().flatten();
    Ok(routes.filter_map(|route| route["host"].as_str().map(str::to_owned)).collect())
}

async fn a_file_is_planned_and_applied_once(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    let file = sandbox.write("routes.yaml", TWO_ROUTES)?.display().to_string();
    let shown = alice.gwctl(["routes", "apply", "-f", &file, "--dry-run"]).await?;
    let plan = "+ create shop.gw.example → [400::1]:81\n\
                + create mail.example.org → [400::1]:444, [400::2]:444\n= 0 unchanged\nNothing was changed.\n";
    ensure!(shown.code == Some(0) && shown.stdout == plan, "{shown:?}");
    let refused = alice.gwctl(["routes", "apply", "-f", &file]).await?;
    ensure!(refused.code == Some(2) && refused.stderr.contains("--yes"), "nobody can be asked: {refused:?}");
    ensure!(hosts(&alice).await?.is_empty(), "nothing was done so far");

    let done = alice.gwctl(["routes", "apply", "-f", &file, "--yes"]).await?;
    let output = done.stdout.ends_with("2 created, 0 updated, 0 deleted, 0 unchanged\n");
    ensure!(done.code == Some(0) && output, "{done:?}");
    ensure!(hosts(&alice).await? == ["mail.example.org", "shop.gw.example"]);
    let again = apply(&alice, sandbox, TWO_ROUTES, "--yes").await?;
    ensure!(again["unchanged"] == 2 && again["plan"] == serde_json::json!([]), "{again}");

    let kept = apply(&alice, sandbox, CHANGED_ROUTES, "--yes").await?;
    ensure!(kept["plan"].as_array().map(Vec::len) == Some(1), "without --prune nothing goes: {kept}");
    let change = &kept["plan"][0]["changes"];
    ensure!(
        change["backends"]["to"] == "[400::9]:81" && change["balance"]["from"] == "round_robin",
        "{kept}"
    );
    ensure!(kept["results"][0]["route"]["health"]["path"] == "/up", "{kept}");
    let pruned = apply(&alice, sandbox, CHANGED_ROUTES, "--yes --prune").await?;
    ensure!(pruned["unchanged"] == 1 && pruned["plan"][0]["action"] == "delete", "{pruned}");
    ensure!(hosts(&alice).await? == ["shop.gw.example"]);
    Ok(())
}

async fn a_failed_change_does_not_stop_the_others(sandbox: &Sandbox) -> Result<()> {
    let (controlplane, alice) = alice(sandbox).await?;
    let bob = User::create(&controlplane, sandbox.dir(), "bob").await?;
    bob.create_route("-s taken -b [400::1]:81").await?;
    let file = "{routes: [{subdomain: taken, backends: ['[400::1]:81']}, {subdomain: free, backends: ['[400::1]:81']}]}";
    let file = sandbox.write("routes.yaml", file)?.display().to_string();
    let some = alice.gwctl(["routes", "apply", "-f", &file, "-y"]).await?;
    ensure!(some.code == Some(7) && some.stderr.contains("1 of 2 changes failed"), "{some:?}");
    ensure!(some.stdout.contains("! taken.gw.example:") && !some.stderr.contains("bob"), "{some:?}");
    ensure!(hosts(&alice).await? == ["free.gw.example"] && hosts(&bob).await? == ["taken.gw.example"]);
    let pruned = bob.gwctl(["routes", "apply", "-f", &file, "-y", "--prune"]).await?;
    ensure!(pruned.code == Some(7), "{pruned:?}");
    ensure!(hosts(&alice).await? == ["free.gw.example"], "somebody else's are not in the plan");
    Ok(())
}

async fn a_terminal_is_asked_for_confirmation(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    let file = sandbox.write("routes.yaml", TWO_ROUTES)?.display().to_string();
    let gwctl = find("gwctl")?.display().to_string();
    for (response, says, made) in
        [("no", "Nothing was changed.", 0), ("", "Nothing was changed.", 0), ("y", "2 created", 2)]
    {
        let line = format!("echo {response} | script -qec '{gwctl} routes apply -f {file}' /dev/null");
        let log = sandbox.path("terminal.log");
        let mut terminal = Process::start_with("bash", &["-c", &line], &alice.env()?, &log)?;
        let status = terminal.end(Duration::from_secs(15)).await?;
        let output = terminal.log()?;
        ensure!(
            status.success() && output.contains("Apply? [y/N]") && output.contains(says),
            "{status}: {output}"
        );
        ensure!(hosts(&alice).await?.len() == made, "{output}");
    }
    Ok(())
}

/// Renaming a route in the file is planned as a creation and a deletion.
async fn nothing_is_deleted_if_its_replacement_failed(sandbox: &Sandbox) -> Result<()> {
    let (controlplane, alice) = alice(sandbox).await?;
    let bob = User::create(&controlplane, sandbox.dir(), "bob").await?;
    bob.create_route("-s new -b [400::1]:81").await?;
    alice.create_route("-s old -b [400::1]:81").await?;
    let file = sandbox.write("routes.yaml", "routes: [{subdomain: new, backends: ['[400::1]:81']}]")?;
    let file = file.display().to_string();
    let failed = alice.gwctl(["routes", "apply", "-f", &file, "-y", "--prune"]).await?;
    let output = failed.stderr.contains("1 of 2 changes failed, 1 were skipped");
    ensure!(failed.code == Some(7) && output && failed.stdout.contains("0 deleted"), "{failed:?}");
    ensure!(hosts(&alice).await? == ["old.gw.example"]);
    bob.gwctl(["routes", "delete", "-r", &bob_route(&bob).await?]).await?;
    let done = alice.gwctl(["routes", "apply", "-f", &file, "-y", "--prune"]).await?;
    ensure!(done.code == Some(0) && hosts(&alice).await? == ["new.gw.example"], "{done:?}");
    Ok(())
}

async fn bob_route(bob: &User) -> Result<String> {
    let list = bob.json(["routes", "list"]).await?;
    Ok(list["routes"][0]["id"].as_str().unwrap_or_default().to_owned())
}

async fn the_output_of_list_is_a_valid_file(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    alice.create_route("-s shop -b [400::1]:81 --health /up").await?;
    alice.create_route("-f mail.example.org -t -b [400::1]:444 -m random").await?;
    let list = alice.gwctl(["routes", "list", "-o", "yaml"]).await?;
    let same = apply(&alice, sandbox, &list.stdout, "--prune").await?;
    ensure!(same["unchanged"] == 2 && same["plan"] == serde_json::json!([]), "{same}");
    let id = alice.json(["routes", "list"]).await?["routes"][0]["id"].clone();
    alice.gwctl(["routes", "delete", "-r", id.as_str().unwrap_or_default()]).await?;
    let restored = apply(&alice, sandbox, &list.stdout, "--yes").await?;
    ensure!(restored["plan"][0]["host"] == "mail.example.org" && restored["unchanged"] == 1, "{restored}");
    Ok(())
}

async fn an_invalid_file_changes_nothing(sandbox: &Sandbox) -> Result<()> {
    let (_controlplane, alice) = alice(sandbox).await?;
    for (file, word) in [
        ("routes:\n- subdomain: shop\n  backend: '[400::1]:81'\n", "line 3"),
        ("routes:\n- subdomain: shop\n  backends: ['nowhere']\n", "route 1 (shop)"),
        (
            "routes:\n- {subdomain: a, backends: ['[400::1]:81']}\n- {host: a.gw.example, backends: ['[400::1]:81']}\n",
            "duplicate host",
        ),
        ("", "routes"),
    ] {
        let path = sandbox.write("routes.yaml", file)?.display().to_string();
        let refused = alice.gwctl(["routes", "apply", "-f", &path, "--yes"]).await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains(word), "{file}: {refused:?}");
    }
    let kept = alice.create_route("-s kept -b [400::1]:81").await?;
    let one = "- subdomain: shop\n  backends: ['[400::1]:81']\n";
    let long = format!(
        "routes:\n{one}{}- subdomain: kept\n  backends: ['[400::1]:81']\n",
        "# and so on\n".repeat(350_000)
    );
    let path = sandbox.write("routes.yaml", &long)?.display().to_string();
    let refused = alice.gwctl(["routes", "apply", "-f", &path, "--yes", "--prune"]).await?;
    ensure!(refused.code == Some(2) && refused.stderr.contains("larger than 4 MiB"), "{refused:?}");
    let list = alice.json(["routes", "list"]).await?;
    ensure!(list["routes"][0]["id"] == kept.as_str() && list["routes"][1].is_null(), "{list}");
    Ok(())
}
