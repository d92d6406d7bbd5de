//! Who may read the audit.

use std::collections::BTreeMap;

use webgateway_proto::api::{AuditListParams, MAX_RECORDS, method};
use webgateway_proto::audit::AuditRecord;
use webgateway_proto::httpsig::Evidence;

use super::{Caller, Domain, Refusal};
use crate::store::audit::{self, Filter};

/// How many records a list has if nothing else is asked for.
const SOME: u32 = 50;
/// How large the requests of one page of the export get together, in bytes.
const PAGE: usize = 4 * 1024 * 1024;

impl Domain {
    /// The newest records: what the caller asked for, for the admin what anybody did.
    pub async fn audit(&self, caller: &Caller, params: AuditListParams) -> Result<Vec<AuditRecord>, Refusal> {
        let limit = limit(params.limit.unwrap_or(SOME))?;
        let filter = match caller.own() {
            Some(own) => Filter { caller: Some(own.to_string()), target: params.target },
            None => Filter { caller: params.caller, target: params.target },
        };
        let read = move |tx: &mut crate::store::Tx<'_>| audit::newest(tx, &filter, params.before, limit);
        Ok(self.store.read(method::AUDIT_LIST, read).await?)
    }

    /// The records after one, oldest first, with their requests; for the admin.
    pub async fn export_audit(
        &self,
        caller: &Caller,
        after: u64,
        most: Option<u32>,
    ) -> Result<(Vec<AuditRecord>, BTreeMap<String, Evidence>), Refusal> {
        caller.require_admin()?;
        let limit = limit(most.unwrap_or(MAX_RECORDS))?;
        Ok(self.store.read(method::AUDIT_EXPORT, move |tx| audit::export(tx, after, limit, PAGE)).await?)
    }
}

fn limit(asked: u32) -> Result<u32, Refusal> {
    if (1..=MAX_RECORDS).contains(&asked) { Ok(asked) } else { Err(Refusal::Limit(MAX_RECORDS)) }
}
