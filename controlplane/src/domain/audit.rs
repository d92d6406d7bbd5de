//! The audit as a caller may read it.

use std::collections::BTreeMap;

use webgateway_proto::audit::AuditRecord;
use webgateway_proto::httpsig::Evidence;

use super::caller::Caller;
use super::refusal::Refusal;
use super::rules::Domain;
use crate::store::Tx;
use crate::store::audit::{self, AuditFilter};

/// The most records in one answer.
pub(crate) const MAX_RECORDS: u32 = 500;

/// The number of records in a list for which no limit was given.
const DEFAULT_RECORDS: u32 = 50;
/// The most bytes that the requests of one page of the export have together.
const MAX_EXPORT_BYTES: usize = 4 * 1024 * 1024;

/// The records that are asked for; what is `None` selects nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuditQuery {
    /// The most records, from 1 to [`MAX_RECORDS`]; 50 if it is left out.
    pub limit: Option<u32>,
    /// Only records before the one with this id.
    pub before: Option<u64>,
    /// Only records of this caller.
    pub caller: Option<String>,
    /// Only records about this target, such as `route/<uuid>`.
    pub target: Option<String>,
}

impl Domain {
    /// Lists the newest records: what the caller asked for, for the admin what anybody did.
    pub(crate) async fn audit(
        &self,
        caller: &Caller,
        query: AuditQuery,
    ) -> Result<Vec<AuditRecord>, Refusal> {
        let limit = limit(query.limit.unwrap_or(DEFAULT_RECORDS))?;
        let filter = match caller.own() {
            Some(own) => AuditFilter { caller: Some(own.to_string()), target: query.target },
            None => AuditFilter { caller: query.caller, target: query.target },
        };
        let read = move |tx: &mut Tx<'_>| audit::newest(tx, &filter, query.before, limit);
        Ok(self.store.read("audit.list", read).await?)
    }

    /// Lists the records after one, oldest first, with their requests by hash. For the admin.
    pub(crate) async fn export_audit(
        &self,
        caller: &Caller,
        after: u64,
        most: Option<u32>,
    ) -> Result<(Vec<AuditRecord>, BTreeMap<String, Evidence>), Refusal> {
        caller.require_admin()?;
        let limit = limit(most.unwrap_or(MAX_RECORDS))?;
        let read = move |tx: &mut Tx<'_>| audit::export(tx, after, limit, MAX_EXPORT_BYTES);
        Ok(self.store.read("audit.export", read).await?)
    }
}

fn limit(asked: u32) -> Result<u32, Refusal> {
    if (1..=MAX_RECORDS).contains(&asked) { Ok(asked) } else { Err(Refusal::Limit(MAX_RECORDS)) }
}
