//! What was said about nodes: who joined, who is to be drained, who was removed.

use diesel::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::schema::nodes;
use super::{StoreError, Tx, WriteTx};

/// A node that joined, or was said something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeRecord {
    /// Its name.
    pub name: String,
    /// The id in its certificates; `None` if it never joined.
    pub member: Option<Uuid>,
    /// Until when its newest certificate is good.
    pub not_after: Option<OffsetDateTime>,
    /// Whether it is to be drained.
    pub drained: bool,
    /// Whether it was removed.
    pub removed: bool,
    /// The revision of its last change.
    pub version: u64,
}

/// A certificate that a node was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeCertificateRecord {
    /// The id in it.
    pub member: Uuid,
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
    /// Until when it is good.
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

/// Every node, by name.
pub(crate) fn list(tx: &mut Tx<'_>) -> Result<Vec<NodeRecord>, StoreError> {
    let rows: Vec<NodeRow> = nodes::table.order(nodes::name).select(NodeRow::as_select()).load(tx.conn)?;
    rows.into_iter().map(NodeRow::record).collect()
}

/// The nodes that changed after `version`.
pub(crate) fn changed_since(tx: &mut Tx<'_>, version: u64) -> Result<Vec<NodeRecord>, StoreError> {
    let changed = nodes::table.filter(nodes::version.gt(version.cast_signed()));
    let rows: Vec<NodeRow> = changed.select(NodeRow::as_select()).load(tx.conn)?;
    rows.into_iter().map(NodeRow::record).collect()
}

/// The node of this name.
pub(crate) fn find(tx: &mut Tx<'_>, name: &str) -> Result<Option<NodeRecord>, StoreError> {
    let row: Option<NodeRow> =
        nodes::table.find(name).select(NodeRow::as_select()).first(tx.conn).optional()?;
    row.map(NodeRow::record).transpose()
}

/// The node whose certificates have this id.
pub(crate) fn find_member(tx: &mut Tx<'_>, member: Uuid) -> Result<Option<NodeRecord>, StoreError> {
    let found = nodes::table.filter(nodes::member.eq(member.to_string()));
    let row: Option<NodeRow> = found.select(NodeRow::as_select()).first(tx.conn).optional()?;
    row.map(NodeRow::record).transpose()
}

/// A node has joined; one of the same name that was removed is forgotten.
pub(crate) fn join(
    tx: &mut WriteTx<'_>,
    name: &str,
    given: &NodeCertificateRecord,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::replace_into(nodes::table)
        .values((
            nodes::name.eq(name),
            nodes::member.eq(given.member.to_string()),
            nodes::fingerprint.eq(given.fingerprint.as_slice()),
            nodes::not_after.eq(given.not_after.unix_timestamp()),
            nodes::joined_at.eq(now.unix_timestamp()),
            nodes::version.eq(version),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// A node has another certificate.
pub(crate) fn renew(tx: &mut WriteTx<'_>, given: &NodeCertificateRecord) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::update(nodes::table.filter(nodes::member.eq(given.member.to_string())))
        .set((
            nodes::fingerprint.eq(given.fingerprint.as_slice()),
            nodes::not_after.eq(given.not_after.unix_timestamp()),
            nodes::version.eq(version),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Whether a node is to be drained. One that is not known yet is from now on.
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

/// A node's certificates are refused from now on.
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
    fn record(self) -> Result<NodeRecord, StoreError> {
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
