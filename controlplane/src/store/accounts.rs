//! The table of accounts at CAs: sealed credentials by the URL of the CA's directory.

use diesel::prelude::*;
use time::OffsetDateTime;
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::schema::{acme_accounts, acme_orders};
use super::{StoreError, Tx, WriteTx};

/// Returns the credentials for this CA, if there is an account.
pub(crate) fn find(
    tx: &mut Tx<'_>,
    directory: &str,
    key: &SecretKey,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let sealed: Option<Vec<u8>> = acme_accounts::table
        .find(directory)
        .select(acme_accounts::sealed_credentials)
        .first(tx.conn)
        .optional()?;
    let open = |sealed: Vec<u8>| key.open(&seal_name(directory), &sealed).map_err(|e| damaged(directory, e));
    sealed.map(open).transpose()
}

/// Stores the credentials of a new account.
pub(crate) fn put(
    tx: &mut WriteTx<'_>,
    directory: &str,
    credentials: &[u8],
    now: OffsetDateTime,
    key: &SecretKey,
) -> Result<(), StoreError> {
    let sealed = key.seal(&seal_name(directory), credentials).map_err(|e| damaged(directory, e))?;
    diesel::replace_into(acme_accounts::table)
        .values((
            acme_accounts::directory.eq(directory),
            acme_accounts::sealed_credentials.eq(sealed),
            acme_accounts::created_at.eq(now.unix_timestamp()),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Deletes an account that the CA no longer knows, and its orders.
pub(crate) fn delete(tx: &mut WriteTx<'_>, directory: &str) -> Result<(), StoreError> {
    diesel::delete(acme_accounts::table.find(directory)).execute(tx.conn)?;
    diesel::delete(acme_orders::table.filter(acme_orders::directory.eq(directory))).execute(tx.conn)?;
    Ok(())
}

fn seal_name(directory: &str) -> String {
    format!("acme-account {directory}")
}

fn damaged(directory: &str, reason: impl ToString) -> StoreError {
    StoreError::damaged("acme_accounts", directory, reason)
}
