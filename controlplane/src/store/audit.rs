//! The audit log: one row per mutation, written in the mutation's transaction and chained to the row before it by its
//! hash.

use std::collections::BTreeMap;
use std::sync::Arc;

use diesel::prelude::*;
use serde_json::Value;
use time::OffsetDateTime;
use webgateway_proto::audit::{AuditRecord, request_hash};
use webgateway_proto::httpsig::Evidence;
use webgateway_proto::model::KeyId;

use super::nonces::NonceCheck;
use super::routes::{from_millis, to_millis};
use super::schema::{audit, audit_requests};
use super::{StoreError, Tx, WriteTx};
use crate::clock::rfc3339;

/// A mutation to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct AuditEntry {
    /// The time of the mutation.
    pub at: OffsetDateTime,
    /// The id of the caller's key.
    pub caller: String,
    /// The caller's IP address.
    pub client: String,
    /// The API method.
    pub method: &'static str,
    /// The changed object, such as `route/<uuid>`.
    pub target: String,
    /// The object before the change, as JSON; `None` if it did not exist.
    pub before: Option<String>,
    /// The object after the change, as JSON; `None` if it no longer exists.
    pub after: Option<String>,
    /// The signed request; `None` for the gateway's own mutations.
    pub request: Option<Arc<SignedRequest>>,
}

/// A signed request for a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedRequest {
    /// The signed parts of the request.
    pub evidence: Evidence,
    /// The result of the nonce check. A replayed request changes nothing.
    pub nonce_check: NonceCheck,
}

/// A filter for audit records. Fields that are `None` match all records.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    /// The id of the caller's key.
    pub caller: Option<String>,
    /// The changed object.
    pub target: Option<String>,
    /// The owner of the changed route.
    pub owner: Option<KeyId>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = audit)]
struct AuditRow {
    id: i64,
    at: i64,
    caller: String,
    client: String,
    method: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
    revision: i64,
    request: Option<String>,
    hash: Option<String>,
}

/// Appends a record. Returns [`StoreError::Replayed`] if the request is not the first with its nonce.
pub(crate) fn insert(tx: &mut WriteTx<'_>, entry: &AuditEntry) -> Result<(), StoreError> {
    let revision = tx.revise()?;
    let last: Option<(i64, Option<String>)> =
        audit::table.order(audit::id.desc()).select((audit::id, audit::hash)).first(tx.conn).optional()?;
    let (last, previous) = last.map_or((0, None), |(id, hash)| (id, hash));
    let request = entry.request.as_deref().map(|request| insert_request(tx, request)).transpose()?;
    let row = AuditRow {
        id: last + 1,
        at: to_millis(entry.at),
        caller: entry.caller.clone(),
        client: entry.client.clone(),
        method: entry.method.to_owned(),
        target: entry.target.clone(),
        before: entry.before.clone(),
        after: entry.after.clone(),
        revision: revision.cast_signed(),
        request,
        hash: None,
    };
    let hash = row.parse()?.link(previous.as_deref());
    let row = AuditRow { hash: Some(hash), ..row };
    diesel::insert_into(audit::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Stores a request once, however many mutations it causes. Returns its hash.
fn insert_request(tx: &mut WriteTx<'_>, request: &SignedRequest) -> Result<String, StoreError> {
    let SignedRequest { evidence, nonce_check } = request;
    nonce_check.require()?;
    let hash = request_hash(evidence);
    let text =
        serde_json::to_string(evidence).map_err(|e| StoreError::damaged("audit_requests", &hash, e))?;
    diesel::insert_or_ignore_into(audit_requests::table)
        .values((audit_requests::hash.eq(&hash), audit_requests::evidence.eq(text)))
        .execute(tx.conn)?;
    Ok(hash)
}

/// Returns the newest records before the id `before`, newest first, at most `limit`.
pub(crate) fn newest(
    tx: &mut Tx<'_>,
    filter: &AuditFilter,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<AuditRecord>, StoreError> {
    let mut query =
        audit::table.select(AuditRow::as_select()).order(audit::id.desc()).limit(limit.into()).into_boxed();
    if let Some(before) = before {
        query = query.filter(audit::id.lt(before.cast_signed()));
    }
    if let Some(caller) = &filter.caller {
        query = query.filter(audit::caller.eq(caller));
    }
    if let Some(target) = &filter.target {
        query = query.filter(audit::target.eq(target));
    }
    if let Some(owner) = &filter.owner {
        // SQLite ignores the case here, so that the records are compared again below.
        let owner = owner.as_str().replace('_', "\\_");
        query = query.filter(audit::before.like(format!("%\"owner\":\"{owner}\"%")).escape('\\'));
    }
    let records = query.load::<AuditRow>(tx.conn)?;
    let mut records: Vec<AuditRecord> = records.iter().map(AuditRow::parse).collect::<Result<_, _>>()?;
    records
        .retain(|record| filter.owner.as_ref().is_none_or(|owner| record.before["owner"] == owner.as_str()));
    Ok(records)
}

/// Returns the records after the id `after`, oldest first, at most `limit`, with their requests. Stops early when the
/// requests exceed `bytes` in total, but returns at least one record.
pub(crate) fn export(
    tx: &mut Tx<'_>,
    after: u64,
    limit: u32,
    bytes: usize,
) -> Result<(Vec<AuditRecord>, BTreeMap<String, Evidence>), StoreError> {
    let query = audit::table.filter(audit::id.gt(after.cast_signed())).order(audit::id.asc());
    let rows: Vec<AuditRow> = query.select(AuditRow::as_select()).limit(limit.into()).load(tx.conn)?;
    let (mut records, mut requests, mut bytes_so_far) = (Vec::new(), BTreeMap::new(), 0);
    for row in rows {
        let record = row.parse()?;
        if let Some(hash) = record.request.clone().filter(|hash| !requests.contains_key(hash)) {
            let text: Option<String> = audit_requests::table
                .find(&hash)
                .select(audit_requests::evidence)
                .first(tx.conn)
                .optional()?;
            let text = text.unwrap_or_default();
            if !records.is_empty() && bytes_so_far + text.len() > bytes {
                break;
            }
            bytes_so_far += text.len();
            // A missing or damaged request is reported by the verification of the export.
            if let Ok(evidence) = serde_json::from_str(&text) {
                requests.insert(hash, evidence);
            }
        }
        records.push(record);
    }
    Ok((records, requests))
}

impl AuditRow {
    fn parse(&self) -> Result<AuditRecord, StoreError> {
        let json = |text: &Option<String>| match text {
            Some(text) => {
                serde_json::from_str(text).map_err(|e| StoreError::damaged("audit", &self.target, e))
            }
            None => Ok(Value::Null),
        };
        let time = from_millis(self.at).map(rfc3339).filter(|time| !time.is_empty());
        let at = time
            .ok_or_else(|| StoreError::damaged("audit", &self.target, "its time is outside the calendar"))?;
        Ok(AuditRecord {
            id: self.id.cast_unsigned(),
            at,
            caller: self.caller.clone(),
            client: self.client.clone(),
            method: self.method.clone(),
            target: self.target.clone(),
            before: json(&self.before)?,
            after: json(&self.after)?,
            revision: self.revision.cast_unsigned(),
            request: self.request.clone(),
            hash: self.hash.clone(),
        })
    }
}

/// Returns the number of records about `target`.
#[cfg(test)]
pub(crate) fn count(tx: &mut Tx<'_>, target: &str) -> Result<u64, StoreError> {
    let count: i64 = audit::table.filter(audit::target.eq(target)).count().get_result(tx.conn)?;
    Ok(count.cast_unsigned())
}

#[cfg(test)]
mod tests;
