//! The table of the nodes' CA, with its key sealed.

use diesel::prelude::*;
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::schema::node_authority;
use super::{StoreError, Tx, WriteTx};

/// The name that the key is sealed under.
const SEAL_NAME: &str = "node-authority";
const ROW_ID: i64 = 1;

/// The certificate and key of the nodes' CA.
pub(crate) struct StoredNodeAuthority {
    /// The root certificate, DER.
    pub certificate: Vec<u8>,
    /// The private key, PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

/// Returns the CA, if it was created.
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

/// Stores a new CA.
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
