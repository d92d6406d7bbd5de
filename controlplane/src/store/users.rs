//! The users this gateway has seen, and whether they are suspended.

use diesel::prelude::*;
use time::OffsetDateTime;
use webgateway_proto::model::KeyId;

use super::routes::to_millis;
use super::schema::users;
use super::{StoreError, Tx, WriteTx};

/// Whether this user was ever seen.
pub fn exists(tx: &mut Tx<'_>, user: &KeyId) -> Result<bool, StoreError> {
    let query = users::table.find(user.as_str());
    Ok(diesel::select(diesel::dsl::exists(query)).get_result(tx.conn)?)
}

/// Whether this user is suspended; a user never seen is not.
pub fn is_suspended(tx: &mut Tx<'_>, user: &KeyId) -> Result<bool, StoreError> {
    let found: Option<bool> =
        users::table.find(user.as_str()).select(users::suspended).first(tx.conn).optional()?;
    Ok(found.unwrap_or(false))
}

/// Adds a user on first sight; does nothing for one that is known.
pub fn ensure(tx: &mut WriteTx<'_>, user: &KeyId, now: OffsetDateTime) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::insert_or_ignore_into(users::table)
        .values((
            users::key_id.eq(user.as_str()),
            users::suspended.eq(false),
            users::version.eq(version),
            users::first_seen.eq(to_millis(now)),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Suspends a known user, or lifts the suspension; the user's version becomes this change's.
pub fn set_suspended(tx: &mut WriteTx<'_>, user: &KeyId, suspended: bool) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    diesel::update(users::table.find(user.as_str()))
        .set((users::suspended.eq(suspended), users::version.eq(version)))
        .execute(tx.conn)?;
    Ok(())
}
