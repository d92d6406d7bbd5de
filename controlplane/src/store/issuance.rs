//! The table of the state of issuance of each certificate.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use webgateway_proto::model::{CertificateId, DnsRecord};

use super::schema::issuance;
use super::{StoreError, Tx, WriteTx};

/// The state of issuance of one certificate. Times are in whole seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuanceState {
    /// The certificate's id.
    pub id: CertificateId,
    /// The number of failed attempts since the last success.
    pub failures: u32,
    /// The time of the next attempt; after a success, the time of the renewal.
    pub next_attempt: Option<OffsetDateTime>,
    /// The last error; `None` after a success.
    pub last_error: Option<String>,
    /// The directory URL of the CA that was used last.
    pub last_ca: Option<String>,
    /// The DNS records that the owner has to create.
    pub records: Vec<DnsRecord>,
    /// The time since when DNS records have been missing.
    pub missing_since: Option<OffsetDateTime>,
    /// True if a renewal was requested through the API.
    pub renew_requested: bool,
    /// The time at which the CA wants the certificate to be renewed (RFC 9773).
    pub renew_at: Option<OffsetDateTime>,
    /// The time of the next request for the CA's renewal window.
    pub ask_at: Option<OffsetDateTime>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = issuance, check_for_backend(diesel::sqlite::Sqlite))]
struct IssuanceRow {
    certificate_id: String,
    failures: i64,
    next_attempt: Option<i64>,
    last_error: Option<String>,
    last_ca: Option<String>,
    records: String,
    missing_since: Option<i64>,
    renew_requested: bool,
    renew_at: Option<i64>,
    ask_at: Option<i64>,
}

/// A DNS record as it is stored in a column `records`.
#[derive(Serialize, Deserialize)]
struct StoredRecord {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

impl IssuanceState {
    /// Returns the state before the first attempt.
    #[must_use]
    pub(crate) fn new(id: CertificateId) -> Self {
        Self {
            id,
            failures: 0,
            next_attempt: None,
            last_error: None,
            last_ca: None,
            records: Vec::new(),
            missing_since: None,
            renew_requested: false,
            renew_at: None,
            ask_at: None,
        }
    }
}

/// Returns all states, ordered by certificate.
pub(crate) fn list(tx: &mut Tx<'_>) -> Result<Vec<IssuanceState>, StoreError> {
    let query = issuance::table.order(issuance::certificate_id).select(IssuanceRow::as_select());
    let rows: Vec<IssuanceRow> = query.load(tx.conn)?;
    rows.into_iter().map(IssuanceRow::parse).collect()
}

/// Returns the state of a certificate, or that before the first attempt.
pub(crate) fn find(tx: &mut Tx<'_>, id: &CertificateId) -> Result<IssuanceState, StoreError> {
    let row: Option<IssuanceRow> =
        issuance::table.find(id.as_str()).select(IssuanceRow::as_select()).first(tx.conn).optional()?;
    row.map_or_else(|| Ok(IssuanceState::new(id.clone())), IssuanceRow::parse)
}

/// Stores the state of a certificate.
pub(crate) fn put(tx: &mut WriteTx<'_>, state: &IssuanceState) -> Result<(), StoreError> {
    let seconds = |time: Option<OffsetDateTime>| time.map(OffsetDateTime::unix_timestamp);
    let records = records_to_json(&state.records);
    let row = IssuanceRow {
        certificate_id: state.id.to_string(),
        failures: state.failures.into(),
        next_attempt: seconds(state.next_attempt),
        last_error: state.last_error.clone(),
        last_ca: state.last_ca.clone(),
        records: records.map_err(|e| StoreError::damaged("issuance", state.id.as_str(), e))?,
        missing_since: seconds(state.missing_since),
        renew_requested: state.renew_requested,
        renew_at: seconds(state.renew_at),
        ask_at: seconds(state.ask_at),
    };
    diesel::replace_into(issuance::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Requests a renewal of the certificate and wakes the reconciler.
pub(crate) fn request_renewal(tx: &mut WriteTx<'_>, id: &CertificateId) -> Result<(), StoreError> {
    let mut state = find(tx, id)?;
    state.renew_requested = true;
    put(tx, &state)?;
    tx.revise()?;
    Ok(())
}

/// Returns true if a renewal of any certificate was requested.
pub(crate) fn any_requested(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let query = issuance::table.filter(issuance::renew_requested.eq(true));
    Ok(diesel::select(diesel::dsl::exists(query)).get_result(tx.conn)?)
}

/// Deletes the state of an unneeded certificate.
pub(crate) fn delete(tx: &mut WriteTx<'_>, id: &CertificateId) -> Result<(), StoreError> {
    diesel::delete(issuance::table.find(id.as_str())).execute(tx.conn)?;
    Ok(())
}

/// Returns DNS records in the form of a column `records`.
pub(super) fn records_to_json(records: &[DnsRecord]) -> serde_json::Result<String> {
    let records: Vec<StoredRecord> = records.iter().cloned().map(StoredRecord::from).collect();
    serde_json::to_string(&records)
}

/// Parses the DNS records in a column `records`.
pub(super) fn records_from_json(json: &str) -> serde_json::Result<Vec<DnsRecord>> {
    let records: Vec<StoredRecord> = serde_json::from_str(json)?;
    Ok(records.into_iter().map(DnsRecord::from).collect())
}

impl From<DnsRecord> for StoredRecord {
    fn from(record: DnsRecord) -> Self {
        let DnsRecord { name, kind, value } = record;
        Self { name, kind, value }
    }
}

impl From<StoredRecord> for DnsRecord {
    fn from(record: StoredRecord) -> Self {
        let StoredRecord { name, kind, value } = record;
        Self { name, kind, value }
    }
}

impl IssuanceRow {
    fn parse(self) -> Result<IssuanceState, StoreError> {
        let damaged = |reason: String| StoreError::damaged("issuance", &self.certificate_id, reason);
        let time = |seconds: Option<i64>| {
            let read = seconds.map(OffsetDateTime::from_unix_timestamp).transpose();
            read.map_err(|e| damaged(e.to_string()))
        };
        let records = records_from_json(&self.records).map_err(|e| damaged(e.to_string()))?;
        Ok(IssuanceState {
            id: CertificateId::parse(&self.certificate_id).map_err(|e| damaged(e.to_string()))?,
            failures: u32::try_from(self.failures).map_err(|e| damaged(e.to_string()))?,
            next_attempt: time(self.next_attempt)?,
            records,
            missing_since: time(self.missing_since)?,
            renew_requested: self.renew_requested,
            renew_at: time(self.renew_at)?,
            ask_at: time(self.ask_at)?,
            last_error: self.last_error,
            last_ca: self.last_ca,
        })
    }
}
