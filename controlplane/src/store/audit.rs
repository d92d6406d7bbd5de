//! The audit: who changed what, from where, when; one row per mutation, in its transaction.

use diesel::prelude::*;
use time::OffsetDateTime;

use super::routes::to_millis;
use super::schema::audit;
use super::{StoreError, WriteTx};

/// One mutation.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: OffsetDateTime,
    /// The key id of who did it.
    pub caller: String,
    /// The address they came from.
    pub client: String,
    /// The API method.
    pub method: &'static str,
    /// What was changed, such as `route/<uuid>`.
    pub target: String,
    /// How it was, as JSON; `None` if it was not.
    pub before: Option<String>,
    /// How it is, as JSON; `None` if it is no more.
    pub after: Option<String>,
}

/// Adds a row for this change.
pub fn insert(tx: &mut WriteTx<'_>, entry: &Entry) -> Result<(), StoreError> {
    let revision = tx.revise()?.cast_signed();
    diesel::insert_into(audit::table)
        .values((
            audit::at.eq(to_millis(entry.at)),
            audit::caller.eq(&entry.caller),
            audit::client.eq(&entry.client),
            audit::method.eq(entry.method),
            audit::target.eq(&entry.target),
            audit::before.eq(&entry.before),
            audit::after.eq(&entry.after),
            audit::revision.eq(revision),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// How many rows there are about `target`.
#[cfg(test)]
pub(crate) fn count(tx: &mut super::Tx<'_>, target: &str) -> Result<u64, StoreError> {
    let count: i64 = audit::table.filter(audit::target.eq(target)).count().get_result(tx.conn)?;
    Ok(count.cast_unsigned())
}
