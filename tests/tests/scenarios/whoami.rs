//! `gwctl whoami`: what the gateway knows about a caller.

use anyhow::{Result, ensure};
use serde_json::json;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::full::FullSetup;

scenarios![everybody_learns_who_they_are];

async fn everybody_learns_who_they_are(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let fresh = setup.alice.json(["whoami"]).await?;
    ensure!(
        fresh["key_id"] == "alice.pub" && fresh["admin"] == false && fresh["suspended"] == false,
        "{fresh}"
    );
    ensure!(fresh["algorithm"] == "ed25519" && fresh["routes"] == 0, "{fresh}");
    ensure!(fresh["first_seen"].is_null(), "before the first change: {fresh}");
    let fingerprint = fresh["fingerprint"].as_str().unwrap_or_default().to_owned();
    ensure!(fingerprint.starts_with("SHA256:") && fingerprint.len() == 50, "{fresh}");

    setup.admin.json(["admin", "quota", "alice.pub", "--routes", "7", "--mutations", "90"]).await?;
    setup.alice.create_route("-s one -b [400::1]:81 -b [400::2]:81").await?;
    let known = setup.alice.json(["whoami"]).await?;
    ensure!(known["routes"] == 1 && known["backends"] == 2 && known["first_seen"].is_string(), "{known}");
    let quota = json!({ "routes": 7, "backends": null, "mutations_per_minute": 90 });
    ensure!(known["quota"] == quota && known["fingerprint"] == fingerprint, "{known}");
    // The minute may have ended since.
    ensure!(known["mutations_this_minute"].as_u64().is_some_and(|made| made <= 1), "{known}");

    setup.admin.json(["admin", "suspend", "alice.pub", "--reason", "late bill", "--for", "1h"]).await?;
    let suspended = setup.alice.json(["whoami"]).await?;
    ensure!(
        suspended["suspended"] == true && suspended["suspension"]["reason"] == "late bill",
        "{suspended}"
    );
    let shown = setup.alice.gwctl(["whoami"]).await?;
    let until = suspended["suspension"]["until"].as_str().unwrap_or_default();
    let state = format!("suspended until {until} (late bill)");
    for word in ["alice.pub", &fingerprint, &state, "1 of 7", "2 (no limit)"] {
        ensure!(shown.code == Some(0) && shown.stdout.contains(word), "{word}: {shown:?}");
    }

    let admin = setup.admin.json(["whoami"]).await?;
    ensure!(admin["admin"] == true && admin["quota"]["routes"].is_null(), "{admin}");
    let unknown = setup.alice.claiming("nobody.pub").gwctl(["whoami"]).await?;
    ensure!(unknown.code == Some(4) && unknown.stderr.contains("nobody.pub"), "{unknown:?}");
    let forged = setup.alice.claiming("admin.pub").gwctl(["whoami"]).await?;
    ensure!(forged.code == Some(4), "{forged:?}");
    Ok(())
}
