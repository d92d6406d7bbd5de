//! Queries of the audit log, limited to the records that a caller may read.

use std::collections::BTreeMap;

use webgateway_proto::audit::{AuditRecord, GATEWAY};
use webgateway_proto::httpsig::Evidence;

use super::caller::Caller;
use super::error::DomainError;
use super::rules::Domain;
use crate::store::audit::{self, AuditFilter};
use crate::store::{StoreError, Tx};

/// The maximum number of records in one response.
pub(crate) const MAX_RECORDS: u32 = 500;

/// The number of records returned if the query has no limit.
const DEFAULT_RECORDS: u32 = 50;
/// The maximum total size of the requests on one page of the export, in bytes.
const MAX_EXPORT_BYTES: usize = 4 * 1024 * 1024;

/// A query of the audit log. A filter that is `None` does not restrict the result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuditQuery {
    /// The maximum number of records, from 1 to [`MAX_RECORDS`]; 50 by default.
    pub limit: Option<u32>,
    /// Only records before the one with this id.
    pub before: Option<u64>,
    /// Only records of this caller.
    pub caller: Option<String>,
    /// Only records about this target, such as `route/<uuid>`.
    pub target: Option<String>,
}

impl Domain {
    /// Lists the newest records that match `query`. A caller other than the admin sees only records of their own calls,
    /// and of what the gateway decided about their claims.
    pub(crate) async fn audit(
        &self,
        caller: &Caller,
        query: AuditQuery,
    ) -> Result<Vec<AuditRecord>, DomainError> {
        let limit = limit(query.limit.unwrap_or(DEFAULT_RECORDS))?;
        let AuditQuery { before, caller: by, target, .. } = query;
        let filters = match caller.as_user().cloned() {
            Some(own) => {
                let calls =
                    AuditFilter { caller: Some(own.to_string()), target: target.clone(), owner: None };
                vec![calls, AuditFilter { caller: Some(GATEWAY.to_owned()), target, owner: Some(own) }]
            }
            None => vec![AuditFilter { caller: by, target, owner: None }],
        };
        let read = move |tx: &mut Tx<'_>| -> Result<_, StoreError> {
            let mut records = Vec::new();
            for filter in &filters {
                records.extend(audit::newest(tx, filter, before, limit)?);
            }
            records.sort_by_key(|record| std::cmp::Reverse(record.id));
            records.truncate(limit as usize);
            Ok(records)
        };
        Ok(self.store.read("audit.list", read).await?)
    }

    /// Lists the records after the one with id `after`, oldest first, and the signed requests of these records by hash.
    /// Only for the admin.
    pub(crate) async fn export_audit(
        &self,
        caller: &Caller,
        after: u64,
        max: Option<u32>,
    ) -> Result<(Vec<AuditRecord>, BTreeMap<String, Evidence>), DomainError> {
        caller.require_admin()?;
        let limit = limit(max.unwrap_or(MAX_RECORDS))?;
        let read = move |tx: &mut Tx<'_>| audit::export(tx, after, limit, MAX_EXPORT_BYTES);
        Ok(self.store.read("audit.export", read).await?)
    }
}

fn limit(requested: u32) -> Result<u32, DomainError> {
    if (1..=MAX_RECORDS).contains(&requested) { Ok(requested) } else { Err(DomainError::Limit(MAX_RECORDS)) }
}
