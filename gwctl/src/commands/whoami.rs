//! The command `gwctl whoami`.

use gwctl::Client;
use serde_json::json;
use webgateway_proto::api::{Identity, method};

use super::admin::suspension_text;
use crate::error::CommandError;
use crate::output::{Report, details};

/// Runs `gwctl whoami`.
pub(super) async fn whoami(client: &Client) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::WHOAMI, &json!({})).await?, |identity| text(&identity)))
}

fn text(identity: &Identity) -> String {
    let used = |used: u64, most: Option<u32>| match most {
        Some(most) => format!("{used} of {most}"),
        None => format!("{used} (no limit)"),
    };
    let state = match &identity.suspension {
        Some(suspension) => suspension_text(suspension),
        None => "active".to_owned(),
    };
    details(&[
        ("KEY ID", identity.key_id.clone()),
        ("FINGERPRINT", format!("{} ({})", identity.fingerprint, identity.algorithm)),
        ("ROLE", if identity.admin { "admin" } else { "owner" }.to_owned()),
        ("STATE", state),
        ("ROUTES", used(identity.routes, identity.quota.routes)),
        ("BACKENDS", used(identity.backends, identity.quota.backends)),
        ("CHANGES/MIN", used(identity.mutations_this_minute.into(), identity.quota.mutations_per_minute)),
        ("FIRST SEEN", identity.first_seen.clone().unwrap_or_else(|| "-".to_owned())),
    ])
}

#[cfg(test)]
mod tests {
    use webgateway_proto::api::{QuotaView, SuspensionView};

    use super::*;

    #[test]
    fn use_and_limits_are_shown_together() {
        let mut identity = Identity {
            key_id: "user1.pub".into(),
            fingerprint: "SHA256:abc".into(),
            algorithm: "ed25519".into(),
            admin: false,
            suspended: false,
            suspension: None,
            first_seen: None,
            routes: 2,
            backends: 3,
            mutations_this_minute: 0,
            quota: QuotaView { routes: Some(50), backends: None, mutations_per_minute: Some(120) },
        };
        let expected = "\
KEY ID       user1.pub
FINGERPRINT  SHA256:abc (ed25519)
ROLE         owner
STATE        active
ROUTES       2 of 50
BACKENDS     3 (no limit)
CHANGES/MIN  0 of 120
FIRST SEEN   -";
        assert_eq!(text(&identity), expected);
        let (reason, until) = (Some("late bill".into()), Some("2026-04-01T00:00:00Z".into()));
        identity.suspension = Some(SuspensionView { reason, since: String::new(), until });
        assert!(text(&identity).contains("suspended until 2026-04-01T00:00:00Z (late bill)"));
    }
}
