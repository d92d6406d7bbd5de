//! The audit: who changed what, from where, when, and what they signed; one row per mutation, in its transaction, each
//! chained to the one before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use diesel::prelude::*;
use serde_json::Value;
use time::OffsetDateTime;
use webgateway_proto::audit::{AuditRecord, request_hash};
use webgateway_proto::httpsig::Evidence;

use super::nonces::FirstUse;
use super::routes::{from_millis, to_millis};
use super::schema::{audit, audit_requests};
use super::{StoreError, Tx, WriteTx};
use crate::clock::rfc3339;

/// One mutation.
#[derive(Debug, Clone)]
pub(crate) struct AuditEntry {
    /// When.
    pub at: OffsetDateTime,
    /// The key id of who did it.
    pub caller: String,
    /// The address they came from.
    pub client: String,
    /// The API method.
    pub method: &'static str,
    /// What was changed, such as `route/<uuid>`.
    pub target: String,
    /// How it was, as JSON; `None` if it was not.
    pub before: Option<String>,
    /// How it is, as JSON; `None` if it is no more.
    pub after: Option<String>,
    /// How they asked for it.
    pub request: Option<Arc<SignedRequest>>,
}

/// A request that asks for changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedRequest {
    /// What was signed.
    pub evidence: Evidence,
    /// Whether it was made before; then nothing is changed.
    pub first_use: FirstUse,
}

/// Which records are meant; with nothing given, all.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    /// Those of this caller.
    pub caller: Option<String>,
    /// Those about this target.
    pub target: Option<String>,
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

/// Adds a row for this change. Fails if the request that asks for it was made before.
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
    let hash = row.read()?.link(previous.as_deref());
    let row = AuditRow { hash: Some(hash), ..row };
    diesel::insert_into(audit::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Keeps a request, once however many changes came of it.
fn insert_request(tx: &mut WriteTx<'_>, request: &SignedRequest) -> Result<String, StoreError> {
    let SignedRequest { evidence, first_use } = request;
    first_use.require()?;
    let hash = request_hash(evidence);
    let text =
        serde_json::to_string(evidence).map_err(|e| StoreError::damaged("audit_requests", &hash, e))?;
    diesel::insert_or_ignore_into(audit_requests::table)
        .values((audit_requests::hash.eq(&hash), audit_requests::evidence.eq(text)))
        .execute(tx.conn)?;
    Ok(hash)
}

/// The newest records before `before`, newest first, at most `limit`.
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
    query.load::<AuditRow>(tx.conn)?.iter().map(AuditRow::read).collect()
}

/// The records after `after`, oldest first, at most `limit`, with the requests they came from. Ends early when the
/// requests are over `bytes` together, but never before the first record.
pub(crate) fn export(
    tx: &mut Tx<'_>,
    after: u64,
    limit: u32,
    bytes: usize,
) -> Result<(Vec<AuditRecord>, BTreeMap<String, Evidence>), StoreError> {
    let query = audit::table.filter(audit::id.gt(after.cast_signed())).order(audit::id.asc());
    let rows: Vec<AuditRow> = query.select(AuditRow::as_select()).limit(limit.into()).load(tx.conn)?;
    let (mut records, mut requests, mut taken) = (Vec::new(), BTreeMap::new(), 0);
    for row in rows {
        let record = row.read()?;
        if let Some(hash) = record.request.clone().filter(|hash| !requests.contains_key(hash)) {
            let text: Option<String> = audit_requests::table
                .find(&hash)
                .select(audit_requests::evidence)
                .first(tx.conn)
                .optional()?;
            let text = text.unwrap_or_default();
            if !records.is_empty() && taken + text.len() > bytes {
                break;
            }
            taken += text.len();
            // One that is missing is found by whoever verifies.
            if let Ok(evidence) = serde_json::from_str(&text) {
                requests.insert(hash, evidence);
            }
        }
        records.push(record);
    }
    Ok((records, requests))
}

impl AuditRow {
    fn read(&self) -> Result<AuditRecord, StoreError> {
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

/// How many rows there are about `target`.
#[cfg(test)]
pub(crate) fn count(tx: &mut Tx<'_>, target: &str) -> Result<u64, StoreError> {
    let count: i64 = audit::table.filter(audit::target.eq(target)).count().get_result(tx.conn)?;
    Ok(count.cast_unsigned())
}

#[cfg(test)]
mod tests;
