//! The table of nodes: their identities, their certificates, and whether they are drained or removed.

use diesel::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::schema::nodes;
use super::{StoreError, Tx, WriteTx};

/// The record of a node that has joined, or for which an operator has made a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeRecord {
    /// The node's name.
    pub name: String,
    /// The id in the node's certificates; `None` if the node never joined.
    pub member: Option<Uuid>,
    /// The expiry of the node's newest certificate.
    pub not_after: Option<OffsetDateTime>,
    /// True if the node is to be drained.
    pub drained: bool,
    /// True if the node was removed.
    pub removed: bool,
    /// The revision of the record's last change.
    pub version: u64,
}

/// The record of a certificate that was issued to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeCertificateRecord {
    /// The node's id in the certificate.
    pub member: Uuid,
    /// The SHA-256 digest of the certificate's DER.
    pub fingerprint: [u8; 32],
    /// The certificate's expiry.
    pub not_after: OffsetDateTime,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = nodes)]
struct NodeRow {
    name: String,
    member: Option<String>,
    not_after: Option<i64>,
    drained: bool,
    removed_at: Option<i64>,
    version: i64,
}

/// Returns all nodes, ordered by name.
pub(crate) fn list(tx: &mut Tx<'_>) -> Result<Vec<NodeRecord>, StoreError> {
    let rows: Vec<NodeRow> = nodes::table.order(nodes::name).select(NodeRow::as_select()).load(tx.conn)?;
    rows.into_iter().map(NodeRow::parse).collect()
}

/// Returns the nodes that changed after `version`.
pub(crate) fn changed_since(tx: &mut Tx<'_>, version: u64) -> Result<Vec<NodeRecord>, StoreError> {
    let changed = nodes::table.filter(nodes::version.gt(version.cast_signed()));
    let rows: Vec<NodeRow> = changed.select(NodeRow::as_select()).load(tx.conn)?;
    rows.into_iter().map(NodeRow::parse).collect()
}

/// Returns the node with this name.
pub(crate) fn find(tx: &mut Tx<'_>, name: &str) -> Result<Option<NodeRecord>, StoreError> {
    let row: Option<NodeRow> =
        nodes::table.find(name).select(NodeRow::as_select()).first(tx.conn).optional()?;
    row.map(NodeRow::parse).transpose()
}

/// Returns the node whose certificates contain this id.
pub(crate) fn find_member(tx: &mut Tx<'_>, member: Uuid) -> Result<Option<NodeRecord>, StoreError> {
    let found = nodes::table.filter(nodes::member.eq(member.to_string()));
    let row: Option<NodeRow> = found.select(NodeRow::as_select()).first(tx.conn).optional()?;
    row.map(NodeRow::parse).transpose()
}

/// Records that a node has joined. Replaces the record of a removed node with the same name.
pub(crate) fn join(
    tx: &mut WriteTx<'_>,
    name: &str,
    certificate: &NodeCertificateRecord,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::replace_into(nodes::table)
        .values((
            nodes::name.eq(name),
            nodes::member.eq(certificate.member.to_string()),
            nodes::fingerprint.eq(certificate.fingerprint.as_slice()),
            nodes::not_after.eq(certificate.not_after.unix_timestamp()),
            nodes::joined_at.eq(now.unix_timestamp()),
            nodes::version.eq(version),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Records a node's new certificate.
pub(crate) fn renew(tx: &mut WriteTx<'_>, certificate: &NodeCertificateRecord) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::update(nodes::table.filter(nodes::member.eq(certificate.member.to_string())))
        .set((
            nodes::fingerprint.eq(certificate.fingerprint.as_slice()),
            nodes::not_after.eq(certificate.not_after.unix_timestamp()),
            nodes::version.eq(version),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Sets whether a node is to be drained. Creates the record of an unknown node.
pub(crate) fn set_drained(tx: &mut WriteTx<'_>, name: &str, drained: bool) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::insert_into(nodes::table)
        .values((nodes::name.eq(name), nodes::drained.eq(drained), nodes::version.eq(version)))
        .on_conflict(nodes::name)
        .do_update()
        .set((nodes::drained.eq(drained), nodes::version.eq(version)))
        .execute(tx.conn)?;
    Ok(())
}

/// Marks a node as removed. Its certificates are rejected from now on.
pub(crate) fn remove(tx: &mut WriteTx<'_>, name: &str, now: OffsetDateTime) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::update(nodes::table.find(name))
        .set((
            nodes::removed_at.eq(now.unix_timestamp()),
            nodes::drained.eq(false),
            nodes::version.eq(version),
        ))
        .execute(tx.conn)?;
    Ok(())
}

impl NodeRow {
    fn parse(self) -> Result<NodeRecord, StoreError> {
        let damaged = |e: String| StoreError::damaged("nodes", &self.name, e);
        let member = self.member.as_deref().map(Uuid::try_parse).transpose();
        let not_after = self.not_after.map(OffsetDateTime::from_unix_timestamp).transpose();
        Ok(NodeRecord {
            member: member.map_err(|e| damaged(e.to_string()))?,
            not_after: not_after.map_err(|e| damaged(e.to_string()))?,
            drained: self.drained,
            removed: self.removed_at.is_some(),
            version: self.version.cast_unsigned(),
            name: self.name,
        })
    }
}
