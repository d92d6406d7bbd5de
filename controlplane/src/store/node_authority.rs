//! The CA of the nodes, its key sealed.

use diesel::prelude::*;
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::schema::node_authority;
use super::{StoreError, Tx, WriteTx};

/// What the key is sealed as.
const SEAL_NAME: &str = "node-authority";
const ROW_ID: i64 = 1;

/// The CA.
pub(crate) struct StoredNodeAuthority {
    /// Its own certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

/// The CA, if one was made.
pub(crate) fn find(tx: &mut Tx<'_>, key: &SecretKey) -> Result<Option<StoredNodeAuthority>, StoreError> {
    let row: Option<(Vec<u8>, Vec<u8>)> = node_authority::table
        .find(ROW_ID)
        .select((node_authority::certificate, node_authority::sealed_key))
        .first(tx.conn)
        .optional()?;
    let open = |(certificate, sealed): (Vec<u8>, Vec<u8>)| {
        let key = key.open(SEAL_NAME, &sealed).map_err(damaged)?;
        Ok(StoredNodeAuthority { certificate, key })
    };
    row.map(open).transpose()
}

/// Keeps a new CA.
pub(crate) fn put(
    tx: &mut WriteTx<'_>,
    authority: &StoredNodeAuthority,
    key: &SecretKey,
) -> Result<(), StoreError> {
    let sealed = key.seal(SEAL_NAME, &authority.key).map_err(damaged)?;
    diesel::insert_into(node_authority::table)
        .values((
            node_authority::id.eq(ROW_ID),
            node_authority::certificate.eq(&authority.certificate),
            node_authority::sealed_key.eq(sealed),
        ))
        .execute(tx.conn)?;
    Ok(())
}

fn damaged(reason: impl ToString) -> StoreError {
    StoreError::damaged("node_authority", "1", reason)
}
