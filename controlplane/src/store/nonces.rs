//! The table of nonces of signed requests. Each nonce is accepted once, even across a restart.

use std::sync::{Arc, OnceLock};

use diesel::prelude::*;
use webgateway_proto::model::KeyId;

use super::schema::nonces;
use super::{StoreError, WriteTx};

/// The result of a nonce check, which may still be pending. The writer runs the check before the changes of the same
/// request, so that the changes can require a success without an extra wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NonceCheck(Arc<OnceLock<bool>>);

impl NonceCheck {
    /// Sets the result.
    pub(super) fn set(&self, is_first: bool) {
        // Only the check itself sets the result, and it runs once.
        let _ = self.0.set(is_first);
    }

    /// Returns an error unless the request is known to be the first with its nonce.
    pub(super) fn require(&self) -> Result<(), StoreError> {
        if self.0.get() == Some(&true) { Ok(()) } else { Err(StoreError::Replayed) }
    }
}

/// The use of a nonce by a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NonceUse {
    /// The key that signed the request.
    pub key_id: KeyId,
    /// The nonce.
    pub nonce: String,
    /// The time of the request, in Unix seconds.
    pub now: i64,
    /// The time until which the nonce is stored, in Unix seconds.
    pub expires_at: i64,
}

/// Stores a nonce until it expires. Returns an error if it is stored already. Deletes expired nonces.
pub(crate) fn spend(
    tx: &mut WriteTx<'_>,
    used: &NonceUse,
    nonce_check: &NonceCheck,
) -> Result<(), StoreError> {
    diesel::delete(nonces::table.filter(nonces::expires_at.lt(used.now))).execute(tx.conn)?;
    let added = diesel::insert_or_ignore_into(nonces::table)
        .values((
            nonces::key_id.eq(used.key_id.as_str()),
            nonces::nonce.eq(&used.nonce),
            nonces::expires_at.eq(used.expires_at),
        ))
        .execute(tx.conn)?;
    nonce_check.set(added == 1);
    nonce_check.require()
}
