//! The table of join tokens, identified by the hash of their secret. Each token can be used once.

use diesel::prelude::*;
use time::{Duration, OffsetDateTime};
use webgateway_proto::model::NodeName;

use super::schema::node_invites;
use super::{StoreError, Tx, WriteTx};

/// The time for which an expired token is kept, so that its use is refused with the right reason.
const RETENTION: Duration = Duration::days(7);

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InviteRecord {
    /// The name for the node that joins.
    pub name: NodeName,
    /// The token's expiry.
    pub expires_at: OffsetDateTime,
    /// True if a node has joined with the token.
    pub used: bool,
}

/// Stores a new token under the SHA-256 digest of its secret, and deletes those that expired long ago.
pub(crate) fn insert(
    tx: &mut WriteTx<'_>,
    secret_hash: &[u8; 32],
    invite: &InviteRecord,
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

/// Returns the token with this digest of its secret.
pub(crate) fn find(tx: &mut Tx<'_>, secret_hash: &[u8; 32]) -> Result<Option<InviteRecord>, StoreError> {
    let row: Option<(String, i64, Option<i64>)> = node_invites::table
        .find(secret_hash.as_slice())
        .select((node_invites::name, node_invites::expires_at, node_invites::used_at))
        .first(tx.conn)
        .optional()?;
    let read = |(name, expires_at, used_at): (String, i64, Option<i64>)| {
        let damaged = |e: String| StoreError::damaged("node_invites", &name, e);
        Ok(InviteRecord {
            name: name
                .parse()
                .map_err(|e: webgateway_proto::model::InvalidNodeNameError| damaged(e.to_string()))?,
            expires_at: OffsetDateTime::from_unix_timestamp(expires_at)
                .map_err(|e| damaged(e.to_string()))?,
            used: used_at.is_some(),
        })
    };
    row.map(read).transpose()
}

/// Marks the token as used.
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
