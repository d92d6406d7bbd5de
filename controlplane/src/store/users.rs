//! The table of users, with their suspensions, quotas and numbers of routes.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use time::OffsetDateTime;
use webgateway_proto::model::{KeyId, Limit, OwnQuota, Reason, Suspension};

use super::routes::{from_millis, to_millis};
use super::schema::users;
use super::{StoreError, Tx, WriteTx};

/// The value of a quota column for no limit.
const NO_LIMIT: i64 = -1;

/// A user that has called the API at least once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The id of the user's key.
    pub id: KeyId,
    /// The time of the user's first call.
    pub first_seen: OffsetDateTime,
    /// The suspension, if the user is suspended.
    pub suspension: Option<Suspension>,
    /// The number of the user's routes.
    pub routes: u64,
    /// The number of backends of all the user's routes.
    pub backends: u64,
    /// The quotas set for this user, which override the general ones.
    pub quota: OwnQuota,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct UserRow {
    key_id: String,
    suspended: bool,
    first_seen: i64,
    suspended_reason: Option<String>,
    suspended_since: Option<i64>,
    suspended_until: Option<i64>,
    quota_routes: Option<i64>,
    quota_backends: Option<i64>,
    quota_mutations: Option<i64>,
    route_count: i64,
    backend_count: i64,
}

/// Returns the user, if known.
pub(crate) fn find(tx: &mut Tx<'_>, user: &KeyId) -> Result<Option<User>, StoreError> {
    let row: Option<UserRow> =
        users::table.find(user.as_str()).select(UserRow::as_select()).first(tx.conn).optional()?;
    row.map(UserRow::parse).transpose()
}

/// Returns the suspension of the user, if there is one.
pub(crate) fn suspension(tx: &mut Tx<'_>, user: &KeyId) -> Result<Option<Suspension>, StoreError> {
    Ok(find(tx, user)?.and_then(|user| user.suspension))
}

/// Returns the first users by key after the key `after`, at most `limit`: all, the suspended ones, or the others.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    suspended: Option<bool>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    let mut query =
        users::table.select(UserRow::as_select()).order(users::key_id).limit(limit.into()).into_boxed();
    if let Some(after) = after {
        query = query.filter(users::key_id.gt(after));
    }
    match suspended {
        // A literal, because SQLite does not use the partial index for a bound parameter.
        Some(true) => query = query.filter(sql::<Bool>("users.suspended = 1")),
        Some(false) => query = query.filter(users::suspended.eq(false)),
        None => {}
    }
    query.load(tx.conn)?.into_iter().map(UserRow::parse).collect()
}

/// Adds the user unless it is known.
pub(crate) fn ensure(tx: &mut WriteTx<'_>, user: &KeyId, now: OffsetDateTime) -> Result<(), StoreError> {
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

/// Suspends a known user, or updates the reason and end of a suspension. A newly suspended user gets the version of
/// this change.
pub(crate) fn suspend(tx: &mut WriteTx<'_>, user: &KeyId, suspension: &Suspension) -> Result<(), StoreError> {
    set_suspended(tx, user, true)?;
    diesel::update(users::table.find(user.as_str()))
        .set((
            users::suspended_reason.eq(suspension.reason.as_ref().map(Reason::as_str)),
            users::suspended_since.eq(to_millis(suspension.since)),
            users::suspended_until.eq(suspension.until.map(to_millis)),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Lifts a suspension. The user gets the version of this change.
pub(crate) fn unsuspend(tx: &mut WriteTx<'_>, user: &KeyId) -> Result<(), StoreError> {
    set_suspended(tx, user, false)?;
    let nothing = (None::<String>, None::<i64>, None::<i64>);
    diesel::update(users::table.find(user.as_str()))
        .set((
            users::suspended_reason.eq(nothing.0),
            users::suspended_since.eq(nothing.1),
            users::suspended_until.eq(nothing.2),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Sets whether a known user is suspended. The user gets the version of this change if that differs from before.
pub(crate) fn set_suspended(tx: &mut WriteTx<'_>, user: &KeyId, suspended: bool) -> Result<(), StoreError> {
    let version = tx.revise()?.cast_signed();
    let other = users::table.find(user.as_str()).filter(users::suspended.ne(suspended));
    diesel::update(other)
        .set((users::suspended.eq(suspended), users::version.eq(version)))
        .execute(tx.conn)?;
    Ok(())
}

/// Returns the suspended user whose suspension ends first.
pub(crate) fn next_suspension_end(tx: &mut Tx<'_>) -> Result<Option<User>, StoreError> {
    let row: Option<UserRow> = users::table
        .filter(users::suspended_until.is_not_null())
        .order(users::suspended_until)
        .select(UserRow::as_select())
        .first(tx.conn)
        .optional()?;
    row.map(UserRow::parse).transpose()
}

/// Sets the quotas of a known user.
pub(crate) fn set_quota(tx: &mut WriteTx<'_>, user: &KeyId, quota: &OwnQuota) -> Result<(), StoreError> {
    diesel::update(users::table.find(user.as_str()))
        .set((
            users::quota_routes.eq(quota.routes.map(to_column)),
            users::quota_backends.eq(quota.backends.map(to_column)),
            users::quota_mutations.eq(quota.mutations_per_minute.map(to_column)),
        ))
        .execute(tx.conn)?;
    Ok(())
}

/// Returns the users who have their own limit of mutations per minute.
pub(crate) fn own_mutation_limits(tx: &mut Tx<'_>) -> Result<Vec<(KeyId, Limit)>, StoreError> {
    let rows: Vec<UserRow> = users::table
        .filter(users::quota_mutations.is_not_null())
        .select(UserRow::as_select())
        .load(tx.conn)?;
    let users = rows.into_iter().map(UserRow::parse);
    users
        .filter_map(|user| {
            user.map(|user| user.quota.mutations_per_minute.map(|own| (user.id, own))).transpose()
        })
        .collect()
}

fn to_column(limit: Limit) -> i64 {
    limit.number().map_or(NO_LIMIT, i64::from)
}

impl UserRow {
    fn parse(self) -> Result<User, StoreError> {
        let damaged = |what: &str| StoreError::damaged("users", &self.key_id, what);
        let time = |millis, what| from_millis(millis).ok_or_else(|| damaged(what));
        let limit = |stored: Option<i64>| match stored {
            Some(NO_LIMIT) => Ok(Some(Limit::Unlimited)),
            Some(most) => {
                u32::try_from(most).map(|most| Some(Limit::AtMost(most))).map_err(|_| damaged("a quota"))
            }
            None => Ok(None),
        };
        let reason = self.suspended_reason.as_deref().map(str::parse).transpose();
        let suspension = Suspension {
            reason: reason.map_err(|_| damaged("suspended_reason"))?,
            since: time(self.suspended_since.unwrap_or(self.first_seen), "suspended_since")?,
            until: self.suspended_until.map(|until| time(until, "suspended_until")).transpose()?,
        };
        Ok(User {
            id: self.key_id.parse().map_err(|_| damaged("key_id"))?,
            first_seen: time(self.first_seen, "first_seen")?,
            suspension: self.suspended.then_some(suspension),
            routes: self.route_count.cast_unsigned(),
            backends: self.backend_count.cast_unsigned(),
            quota: OwnQuota {
                routes: limit(self.quota_routes)?,
                backends: limit(self.quota_backends)?,
                mutations_per_minute: limit(self.quota_mutations)?,
            },
        })
    }
}

#[cfg(test)]
mod tests;
