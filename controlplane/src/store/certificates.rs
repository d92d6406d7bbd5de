//! Certificates as rows: chains in PEM, keys sealed. A dropped one stays as a row without content, so that the
//! nodes that hold it are told.

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

/// Whether a route's host lies elsewhere than one label below a domain.
const NOT_CHILD_OF: &str = "substr(routes.host, instr(routes.host, '.') + 1) <> ";
const STATE_ACTIVE: &str = "active";
const STATE_DROPPED: &str = "dropped";
/// A local CA's own certificate, which is nobody's on the feed.
const STATE_AUTHORITY: &str = "authority";
/// No host is called this: it has no dot.
const AUTHORITY_ID: &str = "internal-ca";

/// A certificate that was issued.
pub(crate) struct IssuedCertificate {
    /// What it is called.
    pub id: CertificateId,
    /// What it is good for.
    pub names: Vec<CertName>,
    /// PEM, leaf first.
    pub chain: String,
    /// PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// Who issued it: `internal`, or the URL of the CA's directory.
    pub issuer: String,
    /// The time from which it is good, in whole seconds.
    pub not_before: OffsetDateTime,
    /// The time until which it is good, in whole seconds.
    pub not_after: OffsetDateTime,
}

/// What a decision on a certificate needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateInfo {
    /// What it is called.
    pub id: CertificateId,
    /// What it is good for.
    pub names: Vec<CertName>,
    /// Who issued it.
    pub issuer: String,
    /// The time from which it is good.
    pub not_before: OffsetDateTime,
    /// The time until which it is good.
    pub not_after: OffsetDateTime,
}

/// A local CA: its certificate in PEM and its key in PKCS#8 DER.
pub(crate) struct InternalAuthority {
    /// PEM.
    pub certificate: String,
    /// PKCS#8 DER.
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

/// A [`CertificateRow`] without what is large.
#[derive(Queryable, Selectable)]
#[diesel(table_name = certificates, check_for_backend(diesel::sqlite::Sqlite))]
struct CertificateInfoRow {
    id: String,
    names: String,
    issuer: String,
    not_before: i64,
    not_after: i64,
}

/// The certificates in use.
pub(crate) fn list(tx: &mut Tx<'_>) -> Result<Vec<CertificateInfo>, StoreError> {
    let query = certificates::table.filter(certificates::state.eq(STATE_ACTIVE)).order(certificates::id);
    let rows: Vec<CertificateInfoRow> = query.select(CertificateInfoRow::as_select()).load(tx.conn)?;
    rows.into_iter().map(CertificateInfoRow::validity).collect()
}

/// The certificate of this id, if it is in use.
pub(crate) fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<CertificateInfo>, StoreError> {
    let query = certificates::table.filter(certificates::id.eq(id).and(certificates::state.eq(STATE_ACTIVE)));
    let row: Option<CertificateInfoRow> =
        query.select(CertificateInfoRow::as_select()).first(tx.conn).optional()?;
    row.map(CertificateInfoRow::validity).transpose()
}

/// The local CA's own certificate in PEM, if there is such a CA.
pub(crate) fn root(tx: &mut Tx<'_>) -> Result<Option<String>, StoreError> {
    Ok(certificates::table.find(AUTHORITY_ID).select(certificates::chain).first(tx.conn).optional()?)
}

/// The leaf of a certificate in use.
pub(crate) fn leaf(
    tx: &mut Tx<'_>,
    id: &CertificateId,
) -> Result<Option<CertificateDer<'static>>, StoreError> {
    let query = certificates::table.find(id.as_str()).filter(certificates::state.eq(STATE_ACTIVE));
    let chain: Option<String> = query.select(certificates::chain).first(tx.conn).optional()?;
    let read = |chain: String| CertificateDer::from_pem_slice(chain.as_bytes());
    chain.map(read).transpose().map_err(|e| damaged(id.as_str(), e))
}

/// The hosts of terminated routes that changed after `version` (0: all), or whose owner did, by host; without those
/// that the wildcard of `base` covers and those of suspended owners. Costs what changed, not what there is.
pub(crate) fn terminated_hosts(tx: &mut Tx<'_>, version: u64, base: &Host) -> Result<Vec<Host>, StoreError> {
    let after = version.cast_signed();
    // Two queries, so that each has its index.
    let mut hosts: Vec<String> = routes::table
        .inner_join(users::table)
        .filter(routes::version.gt(after))
        .filter(sql::<Bool>(super::IS_TERMINATED).and(users::suspended.eq(false)))
        .filter(sql::<Bool>(NOT_CHILD_OF).bind::<Text, _>(base.as_str()))
        .select(routes::host)
        .load(tx.conn)?;
    if version > 0 {
        let of_owners: Vec<String> = users::table
            .inner_join(routes::table)
            .filter(users::version.gt(after))
            .filter(sql::<Bool>(super::UNCHANGED_SINCE).bind::<BigInt, _>(after))
            .filter(sql::<Bool>(super::IS_TERMINATED).and(users::suspended.eq(false)))
            .filter(sql::<Bool>(NOT_CHILD_OF).bind::<Text, _>(base.as_str()))
            .select(routes::host)
            .load(tx.conn)?;
        hosts.extend(of_owners);
    }
    hosts.sort_unstable();
    let parse = |host: String| Host::parse(&host).map_err(|e| StoreError::damaged("routes", &host, e));
    hosts.into_iter().map(parse).collect()
}

/// Those of [`terminated_hosts`] that no certificate covers.
pub(crate) fn uncovered_hosts(tx: &mut Tx<'_>, version: u64, base: &Host) -> Result<Vec<Host>, StoreError> {
    let mut uncovered = Vec::new();
    for host in terminated_hosts(tx, version, base)? {
        if !coverage::covers(tx, &host)? {
            uncovered.push(host);
        }
    }
    Ok(uncovered)
}

/// Puts a certificate in the place of the one of the same name.
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

/// Takes a certificate out of use; its key is gone for good.
pub(crate) fn drop(tx: &mut WriteTx<'_>, id: &CertificateId) -> Result<(), StoreError> {
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

/// Forgets what was taken out of use up to `version`; who stands before it must not be told a difference.
pub(super) fn purge_dropped(tx: &mut WriteTx<'_>, version: i64) -> Result<(), StoreError> {
    let dropped = certificates::state.eq(STATE_DROPPED).and(certificates::version.le(version));
    diesel::delete(certificates::table.filter(dropped)).execute(tx.conn)?;
    Ok(())
}

/// The local CA, if there is one.
pub(crate) fn authority(tx: &mut Tx<'_>, key: &SecretKey) -> Result<Option<InternalAuthority>, StoreError> {
    let row: Option<CertificateRow> = certificates::table
        .find(AUTHORITY_ID)
        .select(CertificateRow::as_select())
        .first(tx.conn)
        .optional()?;
    let read = |row: CertificateRow| Ok(InternalAuthority { key: row.open(key)?, certificate: row.chain });
    row.map(read).transpose()
}

/// Keeps a new local CA. What it signs is the nodes' concern, it is not.
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

/// What the nodes are to learn of certificates that changed after `version`.
pub(super) fn changed_since(
    tx: &mut Tx<'_>,
    version: u64,
    key: &SecretKey,
) -> Result<Vec<ResourceChange>, StoreError> {
    let rows: Vec<CertificateRow> = certificates::table
        .filter(certificates::version.gt(version.cast_signed()).and(certificates::state.ne(STATE_AUTHORITY)))
        .select(CertificateRow::as_select())
        .load(tx.conn)?;
    rows.into_iter().map(|row| row.changed(key)).collect()
}

impl CertificateInfoRow {
    fn validity(self) -> Result<CertificateInfo, StoreError> {
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
    fn changed(self, key: &SecretKey) -> Result<ResourceChange, StoreError> {
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
