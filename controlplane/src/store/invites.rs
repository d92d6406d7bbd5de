//! Join tokens: known by the hash of their secret, each good once.

use diesel::prelude::*;
use time::{Duration, OffsetDateTime};
use webgateway_proto::model::NodeName;

use super::schema::node_invites;
use super::{StoreError, Tx, WriteTx};

/// How long a token that is over is remembered, so that whoever comes with it is told why it is refused.
const RETENTION: Duration = Duration::days(7);

/// A token, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invite {
    /// What the node will be called.
    pub name: NodeName,
    /// Until when it is good.
    pub expires_at: OffsetDateTime,
    /// Whether a node has joined with it.
    pub used: bool,
}

/// Keeps a new token by the SHA-256 of its secret, and forgets those that were over long ago.
pub(crate) fn insert(
    tx: &mut WriteTx<'_>,
    secret_hash: &[u8; 32],
    invite: &Invite,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let forgotten = (now - RETENTION).unix_timestamp();
    diesel::delete(node_invites::table.filter(node_invites::expires_at.lt(forgotten))).execute(tx.conn)?;
    diesel::insert_into(node_invites::table)
        .values((
            node_invites::secret_hash.eq(secret_hash.as_slice()),
            node_invites::name.eq(invite.name.as_str()),
            node_invites::expires_at.eq(invite.expires_at.unix_timestamp()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// The token of this secret.
pub(crate) fn find(tx: &mut Tx<'_>, secret_hash: &[u8; 32]) -> Result<Option<Invite>, StoreError> {
    let row: Option<(String, i64, Option<i64>)> = node_invites::table
        .find(secret_hash.as_slice())
        .select((node_invites::name, node_invites::expires_at, node_invites::used_at))
        .first(tx.conn)
        .optional()?;
    let read = |(name, expires_at, used_at): (String, i64, Option<i64>)| {
        let damaged = |e: String| StoreError::damaged("node_invites", &name, e);
        Ok(Invite {
            name: name
                .parse()
                .map_err(|e: webgateway_proto::model::InvalidNodeName| damaged(e.to_string()))?,
            expires_at: OffsetDateTime::from_unix_timestamp(expires_at)
                .map_err(|e| damaged(e.to_string()))?,
            used: used_at.is_some(),
        })
    };
    row.map(read).transpose()
}

/// A node has joined with it.
pub(crate) fn mark_used(
    tx: &mut WriteTx<'_>,
    secret_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    diesel::update(node_invites::table.find(secret_hash.as_slice()))
        .set(node_invites::used_at.eq(now.unix_timestamp()))
        .execute(tx.conn)?;
    Ok(())
}
