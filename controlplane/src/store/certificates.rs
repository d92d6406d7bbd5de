//! The table of certificates: chains in PEM, keys sealed. A dropped certificate stays as an empty row, so that nodes
//! that hold it can be told to remove it.

use std::sync::Arc;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use webgateway_proto::feed::{Resource, ResourceName};
use webgateway_proto::model::{CertName, Certificate, CertificateId, Host};
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::change::{Change, ResourceChange};
use super::schema::{certificates, routes, users};
use super::{StoreError, Tx, WriteTx, coverage};

/// A condition for routes whose host is not a direct child of a domain.
const NOT_CHILD_OF: &str = "substr(routes.host, instr(routes.host, '.') + 1) <> ";
pub(super) const STATE_ACTIVE: &str = "active";
const STATE_DROPPED: &str = "dropped";
/// The state of the internal CA's own certificate, which is not distributed to nodes.
const STATE_AUTHORITY: &str = "authority";
/// The id of the internal CA's row. It has no dot, so that no host has the same id.
const AUTHORITY_ID: &str = "internal-ca";

/// An issued certificate with its key.
pub(crate) struct IssuedCertificate {
    /// The certificate's id.
    pub id: CertificateId,
    /// The names that the certificate covers.
    pub names: Vec<CertName>,
    /// The chain, PEM, leaf first.
    pub chain: String,
    /// The private key, PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The issuer: `internal`, or the URL of the CA's directory.
    pub issuer: String,
    /// The start of the validity, in whole seconds.
    pub not_before: OffsetDateTime,
    /// The end of the validity, in whole seconds.
    pub not_after: OffsetDateTime,
}

/// A certificate without its chain and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateInfo {
    /// The certificate's id.
    pub id: CertificateId,
    /// The names that the certificate covers.
    pub names: Vec<CertName>,
    /// The issuer: `internal`, or the URL of the CA's directory.
    pub issuer: String,
    /// The start of the validity.
    pub not_before: OffsetDateTime,
    /// The end of the validity.
    pub not_after: OffsetDateTime,
}

/// The certificate and key of the internal CA.
pub(crate) struct InternalAuthority {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = certificates, check_for_backend(diesel::sqlite::Sqlite))]
struct CertificateRow {
    id: String,
    names: String,
    chain: String,
    sealed_key: Vec<u8>,
    issuer: String,
    not_before: i64,
    not_after: i64,
    version: i64,
    state: String,
}

/// The columns of a [`CertificateRow`] except for the chain and the key.
#[derive(Queryable, Selectable)]
#[diesel(table_name = certificates, check_for_backend(diesel::sqlite::Sqlite))]
struct CertificateInfoRow {
    id: String,
    names: String,
    issuer: String,
    not_before: i64,
    not_after: i64,
}

/// Returns the certificates in use, ordered by id.
pub(crate) fn list(tx: &mut Tx<'_>) -> Result<Vec<CertificateInfo>, StoreError> {
    let query = certificates::table.filter(certificates::state.eq(STATE_ACTIVE)).order(certificates::id);
    let rows: Vec<CertificateInfoRow> = query.select(CertificateInfoRow::as_select()).load(tx.conn)?;
    rows.into_iter().map(CertificateInfoRow::parse).collect()
}

/// Returns the certificate with this id, if it is in use.
pub(crate) fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<CertificateInfo>, StoreError> {
    let query = certificates::table.filter(certificates::id.eq(id).and(certificates::state.eq(STATE_ACTIVE)));
    let row: Option<CertificateInfoRow> =
        query.select(CertificateInfoRow::as_select()).first(tx.conn).optional()?;
    row.map(CertificateInfoRow::parse).transpose()
}

/// Returns the internal CA's certificate in PEM, if that CA exists.
pub(crate) fn root(tx: &mut Tx<'_>) -> Result<Option<String>, StoreError> {
    Ok(certificates::table.find(AUTHORITY_ID).select(certificates::chain).first(tx.conn).optional()?)
}

/// Returns the leaf of a certificate, if it is in use.
pub(crate) fn leaf(
    tx: &mut Tx<'_>,
    id: &CertificateId,
) -> Result<Option<CertificateDer<'static>>, StoreError> {
    let query = certificates::table.find(id.as_str()).filter(certificates::state.eq(STATE_ACTIVE));
    let chain: Option<String> = query.select(certificates::chain).first(tx.conn).optional()?;
    let read = |chain: String| CertificateDer::from_pem_slice(chain.as_bytes());
    chain.map(read).transpose().map_err(|e| damaged(id.as_str(), e))
}

/// Returns the hosts of terminated routes that changed after `version` (0: all) or whose owner did, in order. Leaves
/// out hosts that the wildcard of `base` covers, those of suspended owners and those that a route only claims. The cost depends on the number of
/// changes only.
pub(crate) fn terminated_hosts(tx: &mut Tx<'_>, version: u64, base: &Host) -> Result<Vec<Host>, StoreError> {
    let after = version.cast_signed();
    // Two queries, because each can use its own index.
    let mut hosts: Vec<String> = routes::table
        .inner_join(users::table)
        .filter(routes::version.gt(after))
        .filter(sql::<Bool>(super::IS_SERVED).and(users::suspended.eq(false)))
        .filter(sql::<Bool>(NOT_CHILD_OF).bind::<Text, _>(base.as_str()))
        .select(routes::host)
        .load(tx.conn)?;
    if version > 0 {
        let of_owners: Vec<String> = users::table
            .inner_join(routes::table)
            .filter(users::version.gt(after))
            .filter(sql::<Bool>(super::UNCHANGED_SINCE).bind::<BigInt, _>(after))
            .filter(sql::<Bool>(super::IS_SERVED).and(users::suspended.eq(false)))
            .filter(sql::<Bool>(NOT_CHILD_OF).bind::<Text, _>(base.as_str()))
            .select(routes::host)
            .load(tx.conn)?;
        hosts.extend(of_owners);
    }
    hosts.sort_unstable();
    let parse = |host: String| Host::parse(&host).map_err(|e| StoreError::damaged("routes", &host, e));
    hosts.into_iter().map(parse).collect()
}

/// Returns those of [`terminated_hosts`] that no certificate covers.
pub(crate) fn uncovered_hosts(tx: &mut Tx<'_>, version: u64, base: &Host) -> Result<Vec<Host>, StoreError> {
    let mut uncovered = Vec::new();
    for host in terminated_hosts(tx, version, base)? {
        if !coverage::covers(tx, &host)? {
            uncovered.push(host);
        }
    }
    Ok(uncovered)
}

/// Stores a certificate, and replaces the one with the same id.
pub(crate) fn put(
    tx: &mut WriteTx<'_>,
    issued: &IssuedCertificate,
    key: &SecretKey,
) -> Result<(), StoreError> {
    let names: Vec<String> = issued.names.iter().map(ToString::to_string).collect();
    let row = CertificateRow {
        id: issued.id.to_string(),
        names: serde_json::to_string(&names).map_err(|e| damaged(issued.id.as_str(), e))?,
        chain: issued.chain.clone(),
        sealed_key: seal(issued.id.as_str(), &issued.key, key)?,
        issuer: issued.issuer.clone(),
        not_before: issued.not_before.unix_timestamp(),
        not_after: issued.not_after.unix_timestamp(),
        version: tx.revise()?.cast_signed(),
        state: STATE_ACTIVE.to_owned(),
    };
    diesel::replace_into(certificates::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Takes a certificate out of use and deletes its chain and key.
pub(crate) fn mark_dropped(tx: &mut WriteTx<'_>, id: &CertificateId) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::update(certificates::table.find(id.as_str()))
        .set((
            certificates::state.eq(STATE_DROPPED),
            certificates::names.eq("[]"),
            certificates::chain.eq(""),
            certificates::sealed_key.eq(Vec::new()),
            certificates::version.eq(version),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Deletes the empty rows of certificates dropped up to `version`. Nodes before that version need a full snapshot.
pub(super) fn purge_dropped(tx: &mut WriteTx<'_>, version: i64) -> Result<(), StoreError> {
    let dropped = certificates::state.eq(STATE_DROPPED).and(certificates::version.le(version));
    diesel::delete(certificates::table.filter(dropped)).execute(tx.conn)?;
    Ok(())
}

/// Returns the internal CA, if it exists.
pub(crate) fn authority(tx: &mut Tx<'_>, key: &SecretKey) -> Result<Option<InternalAuthority>, StoreError> {
    let row: Option<CertificateRow> = certificates::table
        .find(AUTHORITY_ID)
        .select(CertificateRow::as_select())
        .first(tx.conn)
        .optional()?;
    let read = |row: CertificateRow| Ok(InternalAuthority { key: row.open(key)?, certificate: row.chain });
    row.map(read).transpose()
}

/// Stores a new internal CA. The row's version is 0 because the CA is not distributed to nodes.
pub(crate) fn put_authority(
    tx: &mut WriteTx<'_>,
    authority: &InternalAuthority,
    key: &SecretKey,
) -> Result<(), StoreError> {
    let row = CertificateRow {
        id: AUTHORITY_ID.to_owned(),
        names: "[]".to_owned(),
        chain: authority.certificate.clone(),
        sealed_key: seal(AUTHORITY_ID, &authority.key, key)?,
        issuer: AUTHORITY_ID.to_owned(),
        not_before: 0,
        not_after: 0,
        version: 0,
        state: STATE_AUTHORITY.to_owned(),
    };
    diesel::replace_into(certificates::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Returns the changes of certificates after `version`, for the feed.
pub(super) fn changed_since(
    tx: &mut Tx<'_>,
    version: u64,
    key: &SecretKey,
) -> Result<Vec<ResourceChange>, StoreError> {
    let rows: Vec<CertificateRow> = certificates::table
        .filter(certificates::version.gt(version.cast_signed()).and(certificates::state.ne(STATE_AUTHORITY)))
        .select(CertificateRow::as_select())
        .load(tx.conn)?;
    rows.into_iter().map(|row| row.into_change(key)).collect()
}

impl CertificateInfoRow {
    fn parse(self) -> Result<CertificateInfo, StoreError> {
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|e| damaged(&self.id, e));
        Ok(CertificateInfo {
            id: certificate_id(&self.id)?,
            names: names(&self.id, &self.names)?,
            not_before: time(self.not_before)?,
            not_after: time(self.not_after)?,
            issuer: self.issuer,
        })
    }
}

impl CertificateRow {
    fn into_change(self, key: &SecretKey) -> Result<ResourceChange, StoreError> {
        let id = certificate_id(&self.id)?;
        let (name, version) = (ResourceName::Certificate(id.clone()), self.version.cast_unsigned());
        if self.state != STATE_ACTIVE {
            return Ok(ResourceChange { name, version, change: Change::Remove { at_once: false } });
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .map(|der| der.map(|der| der.as_ref().to_vec()))
            .collect();
        let chain = chain.map_err(|e| damaged(&self.id, e))?;
        let cert = Certificate { id, names: names(&self.id, &self.names)?, chain, key: self.open(key)? };
        Ok(ResourceChange { name, version, change: Change::Put(Arc::new(Resource::Certificate(cert))) })
    }

    fn open(&self, key: &SecretKey) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        key.open(&self.id, &self.sealed_key).map_err(|e| damaged(&self.id, format!("its private key: {e}")))
    }
}

fn certificate_id(id: &str) -> Result<CertificateId, StoreError> {
    CertificateId::parse(id).map_err(|e| damaged(id, e))
}

fn names(id: &str, json: &str) -> Result<Vec<CertName>, StoreError> {
    let texts: Vec<String> = serde_json::from_str(json).map_err(|e| damaged(id, e))?;
    texts.iter().map(|text| text.parse().map_err(|e| damaged(id, e))).collect()
}

fn seal(id: &str, plain: &[u8], key: &SecretKey) -> Result<Vec<u8>, StoreError> {
    key.seal(id, plain).map_err(|e| damaged(id, e))
}

fn damaged(id: &str, reason: impl ToString) -> StoreError {
    StoreError::damaged("certificates", id, reason)
}

#[cfg(test)]
mod tests;
