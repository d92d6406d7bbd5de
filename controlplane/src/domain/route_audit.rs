//! The records of changes of routes in the audit log.

use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use webgateway_proto::model::{Backend, Destination, Host, KeyId, Mode, Route};

use super::caller::Caller;
use crate::store::audit::{self, AuditEntry};
use crate::store::{StoreError, WriteTx};

/// An audited action and its time.
pub(super) struct AuditAction {
    /// The time.
    pub(super) at: OffsetDateTime,
    /// The action.
    pub(super) method: &'static str,
}

/// Records a change of a route in the audit log.
pub(super) fn record(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    action: AuditAction,
    before: Option<&Route>,
    after: Option<&Route>,
) -> Result<(), StoreError> {
    let Some(id) = after.or(before).map(|route| route.id) else { return Ok(()) };
    let entry = AuditEntry {
        before: before.map(audit_text),
        after: after.map(audit_text),
        ..caller.audit_entry(action.at, action.method, format!("route/{id}"))
    };
    audit::insert(tx, &entry)
}

/// The form of a route in the audit log.
#[derive(Serialize)]
struct RouteSnapshot<'a> {
    owner: &'a KeyId,
    host: &'a Host,
    mode: Mode,
    backends: &'a [Backend],
    #[serde(flatten)]
    options: Value,
    version: u64,
}

fn audit_text(route: &Route) -> String {
    let Destination { mode, backends, options } = &route.destination;
    let snapshot = RouteSnapshot {
        owner: &route.owner,
        host: &route.host,
        mode: *mode,
        backends: backends.as_slice(),
        options: options.to_audit(),
        version: route.version,
    };
    json!(snapshot).to_string()
}
