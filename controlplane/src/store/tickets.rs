//! The session ticket keys of all nodes, sealed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tracing::warn;
use webgateway_proto::feed::{TicketKey, TicketKeys};
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::schema::meta;
use super::{StoreError, Tx, WriteTx};

const META_KEY: &str = "feed_ticket_keys";

/// The stored session ticket keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTicketKeys {
    /// The revision that stored them.
    pub version: u64,
    /// The time of the last rotation.
    pub rotated_at: OffsetDateTime,
    /// The keys, in the order current, next, previous.
    pub keys: TicketKeys,
}

#[derive(Serialize, Deserialize)]
struct TicketKeysRow {
    version: u64,
    rotated_at: i64,
    /// The keys, sealed, in base64. Each key is its name and its secret, 48 bytes.
    sealed: String,
}

/// Returns the keys, if there are any and the secret key opens them.
pub(crate) fn find(tx: &mut Tx<'_>, key: &SecretKey) -> Result<Option<StoredTicketKeys>, StoreError> {
    let text: Option<String> = meta::table.find(META_KEY).select(meta::value).first(tx.conn).optional()?;
    let Some(text) = text else { return Ok(None) };
    let row: TicketKeysRow = serde_json::from_str(&text).map_err(damaged)?;
    let sealed = STANDARD.decode(&row.sealed).map_err(damaged)?;
    let opened = match key.open(META_KEY, &sealed) {
        Ok(opened) => opened,
        Err(error) => {
            warn!(%error, "session ticket keys cannot be opened, generating new ones");
            return Ok(None);
        }
    };
    let rotated_at = OffsetDateTime::from_unix_timestamp(row.rotated_at).map_err(damaged)?;
    Ok(Some(StoredTicketKeys {
        version: row.version,
        rotated_at,
        keys: parse_keys(&opened).ok_or_else(|| damaged("length"))?,
    }))
}

/// Replaces the keys. The new ones are distributed to nodes.
pub(crate) fn put(
    tx: &mut WriteTx<'_>,
    keys: &TicketKeys,
    now: OffsetDateTime,
    key: &SecretKey,
) -> Result<(), StoreError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(48 * keys.0.len()));
    for TicketKey { name, secret } in &keys.0 {
        plain.extend_from_slice(name);
        plain.extend_from_slice(secret.as_slice());
    }
    let sealed = STANDARD.encode(key.seal(META_KEY, &plain).map_err(damaged)?);
    let row = TicketKeysRow { version: tx.revise()?, rotated_at: now.unix_timestamp(), sealed };
    let text = serde_json::to_string(&row).map_err(damaged)?;
    let values = (meta::key.eq(META_KEY), meta::value.eq(text));
    diesel::replace_into(meta::table).values(values).execute(tx.conn)?;
    Ok(())
}

fn parse_keys(plain: &[u8]) -> Option<TicketKeys> {
    let one = |key: &[u8]| {
        let (name, secret) = key.split_first_chunk::<16>()?;
        Some(TicketKey { name: *name, secret: Zeroizing::new(secret.try_into().ok()?) })
    };
    plain.chunks(48).map(one).collect::<Option<_>>().map(TicketKeys)
}

fn damaged(reason: impl ToString) -> StoreError {
    StoreError::damaged("meta", META_KEY, reason)
}
