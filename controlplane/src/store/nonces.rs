//! Nonces of signed mutations: each counts once, also over a restart.

use diesel::prelude::*;
use webgateway_proto::model::KeyId;

use super::schema::nonces;
use super::{StoreError, WriteTx};

/// Remembers a nonce until `expires_at`; `false` if it is remembered already. Forgets what expired before `now`.
/// Both in Unix seconds.
pub fn spend(
    tx: &mut WriteTx<'_>,
    key_id: &KeyId,
    nonce: &str,
    now: i64,
    expires_at: i64,
) -> Result<bool, StoreError> {
    diesel::delete(nonces::table.filter(nonces::expires_at.lt(now))).execute(tx.conn)?;
    let added = diesel::insert_or_ignore_into(nonces::table)
        .values((
            nonces::key_id.eq(key_id.as_str()),
            nonces::nonce.eq(nonce),
            nonces::expires_at.eq(expires_at),
        ))
        .execute(tx.conn)?;
    Ok(added == 1)
}
