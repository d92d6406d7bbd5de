//! The keys that session tickets are sealed with on every node; their secrets sealed here.

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

/// The keys and when they came to be these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTicketKeys {
    /// The revision that made them these.
    pub version: u64,
    /// When that was.
    pub rotated_at: OffsetDateTime,
    /// The keys: the one in use, the next, the last one.
    pub keys: TicketKeys,
}

#[derive(Serialize, Deserialize)]
struct TicketKeysRow {
    version: u64,
    rotated_at: i64,
    /// Base64; opened, each key is its name and its secret, 48 bytes.
    sealed: String,
}

/// The keys, if there are some that this secret key opens.
pub(crate) fn find(tx: &mut Tx<'_>, key: &SecretKey) -> Result<Option<StoredTicketKeys>, StoreError> {
    let text: Option<String> = meta::table.find(META_KEY).select(meta::value).first(tx.conn).optional()?;
    let Some(text) = text else { return Ok(None) };
    let row: TicketKeysRow = serde_json::from_str(&text).map_err(damaged)?;
    let sealed = STANDARD.decode(&row.sealed).map_err(damaged)?;
    let opened = match key.open(META_KEY, &sealed) {
        Ok(opened) => opened,
        Err(error) => {
            warn!(%error, "the session ticket keys are lost, new ones are made");
            return Ok(None);
        }
    };
    let rotated_at = OffsetDateTime::from_unix_timestamp(row.rotated_at).map_err(damaged)?;
    Ok(Some(StoredTicketKeys {
        version: row.version,
        rotated_at,
        keys: read(&opened).ok_or_else(|| damaged("length"))?,
    }))
}

/// Keeps these keys from now on, in place of the others; they are news for the nodes.
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

fn read(plain: &[u8]) -> Option<TicketKeys> {
    let one = |key: &[u8]| {
        let (name, secret) = key.split_first_chunk::<16>()?;
        Some(TicketKey { name: *name, secret: Zeroizing::new(secret.try_into().ok()?) })
    };
    plain.chunks(48).map(one).collect::<Option<_>>().map(TicketKeys)
}

fn damaged(reason: impl ToString) -> StoreError {
    StoreError::damaged("meta", META_KEY, reason)
}
