//! Nonces of signed mutations: each counts once, also over a restart.

use std::sync::{Arc, OnceLock};

use diesel::prelude::*;
use webgateway_proto::model::KeyId;

use super::schema::nonces;
use super::{StoreError, WriteTx};

/// Says if a request is the first with its nonce. Whoever asks for the nonce to be remembered need not wait for it: what
/// the request changes is written after it, and only if it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FirstUse(Arc<OnceLock<bool>>);

impl FirstUse {
    /// Says whether it is; once.
    pub(super) fn tell(&self, is_first: bool) {
        // Only the work that spends the nonce tells, and it is done once.
        let _ = self.0.set(is_first);
    }

    /// Fails unless it is known to be.
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
    /// The time of the use, in Unix seconds.
    pub now: i64,
    /// The time until which the nonce is remembered, in Unix seconds.
    pub expires_at: i64,
}

/// Remembers a nonce until it expires; fails if it is remembered already. Forgets those that have expired by now.
pub(crate) fn spend(tx: &mut WriteTx<'_>, used: &NonceUse, first_use: &FirstUse) -> Result<(), StoreError> {
    diesel::delete(nonces::table.filter(nonces::expires_at.lt(used.now))).execute(tx.conn)?;
    let added = diesel::insert_or_ignore_into(nonces::table)
        .values((
            nonces::key_id.eq(used.key_id.as_str()),
            nonces::nonce.eq(&used.nonce),
            nonces::expires_at.eq(used.expires_at),
        ))
        .execute(tx.conn)?;
    first_use.tell(added == 1);
    first_use.require()
}
