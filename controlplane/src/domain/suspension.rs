//! Suspensions: a user's routes leave the feed, and come back when the admin lifts the suspension or at its end.

use serde_json::json;
use time::{OffsetDateTime, UtcOffset};
use tracing::info;
use webgateway_proto::audit::{GATEWAY, action};
use webgateway_proto::model::{KeyId, Reason, Suspension};

use super::caller::Caller;
use super::refusal::{Refusal, UserRefusal};
use super::rules::Domain;
use super::users::{require_known, target};
use crate::clock::rfc3339;
use crate::store::audit::{self, AuditEntry};
use crate::store::{StoreError, Tx, WriteTx, users};

/// Suspends a user, or changes the reason and the end of a suspension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspend {
    /// The user.
    pub user: KeyId,
    /// The reason, for the user to read.
    pub reason: Option<Reason>,
    /// The time it ends by itself; `None` if an admin has to end it.
    pub until: Option<OffsetDateTime>,
}

/// A user after a suspension began, changed or was lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserStanding {
    /// The user.
    pub user: KeyId,
    /// The suspension, if they are suspended.
    pub suspension: Option<Suspension>,
    /// The number of their routes.
    pub routes: u64,
    /// The store's revision.
    pub version: u64,
}

impl Domain {
    /// Suspends a user, or changes the reason and the end; the same again changes nothing. A user is known by a route
    /// of theirs, or by their key.
    pub(crate) async fn suspend(&self, caller: &Caller, command: Suspend) -> Result<UserStanding, Refusal> {
        caller.require_admin()?;
        let Suspend { user, reason, until } = command;
        if user == self.admin {
            return Err(UserRefusal::SuspendAdmin.into());
        }
        let now = self.clock.now();
        let until = until.map(|until| end(until, now)).transpose()?;
        let has_key = self.has_key(&user).await;
        let entry = caller.entry(now, action::ADMIN_SUSPEND, target(&user));
        let (suspensions, by) = (self.suspensions.clone(), caller.key_id().clone());
        let write = move |tx: &mut WriteTx<'_>| {
            require_known(tx, &user, has_key)?;
            let before = users::suspension(tx, &user)?;
            let since = before.as_ref().map_or(now, |before| before.since);
            let after = Some(Suspension { reason, since, until });
            let is_change = before != after;
            if is_change {
                users::ensure(tx, &user, now)?;
                set(tx, &user, before, after, entry)?;
            }
            let standing = standing(tx, user)?;
            if is_change {
                let (user, routes) = (standing.user.clone(), standing.routes);
                tx.on_commit(move || {
                    suspensions.send_modify(|changes| *changes += 1);
                    info!(%user, routes, %by, "user suspended");
                });
            }
            Ok(standing)
        };
        self.store.write(action::ADMIN_SUSPEND, write).await
    }

    /// Lifts a suspension; doing it again changes nothing.
    pub(crate) async fn unsuspend(&self, caller: &Caller, user: KeyId) -> Result<UserStanding, Refusal> {
        caller.require_admin()?;
        let has_key = self.has_key(&user).await;
        let entry = caller.entry(self.clock.now(), action::ADMIN_UNSUSPEND, target(&user));
        let by = caller.key_id().clone();
        let write = move |tx: &mut WriteTx<'_>| {
            require_known(tx, &user, has_key)?;
            let before = users::suspension(tx, &user)?;
            let is_change = before.is_some();
            if is_change {
                set(tx, &user, before, None, entry)?;
            }
            let standing = standing(tx, user)?;
            if is_change {
                let (user, routes) = (standing.user.clone(), standing.routes);
                tx.on_commit(move || info!(%user, routes, %by, "user suspension lifted"));
            }
            Ok(standing)
        };
        self.store.write(action::ADMIN_UNSUSPEND, write).await
    }

    /// Lifts the suspensions that are over; returns the end of the next one.
    pub(crate) async fn end_suspensions(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        loop {
            let first = self.store.read("next suspension to end", users::next_suspension_end).await?;
            let until = first.and_then(|user| user.suspension).and_then(|suspension| suspension.until);
            let now = self.clock.now();
            if until.is_none_or(|until| until > now) {
                return Ok(until);
            }
            let ended = self.store.write("end of a suspension", move |tx| end_one(tx, now)).await?;
            if let Some(user) = ended {
                info!(%user, "user suspension ended");
            }
        }
    }
}

/// Looks again: the admin may have been faster.
fn end_one(tx: &mut WriteTx<'_>, now: OffsetDateTime) -> Result<Option<KeyId>, StoreError> {
    let Some(user) = users::next_suspension_end(tx)? else { return Ok(None) };
    let is_over = |suspension: &Suspension| suspension.until.is_some_and(|until| until <= now);
    if !user.suspension.as_ref().is_some_and(is_over) {
        return Ok(None);
    }
    let entry = AuditEntry {
        at: now,
        caller: GATEWAY.to_owned(),
        client: "-".to_owned(),
        method: action::ADMIN_UNSUSPEND,
        target: target(&user.id),
        before: None,
        after: None,
        request: None,
    };
    set(tx, &user.id, user.suspension, None, entry)?;
    Ok(Some(user.id))
}

fn set(
    tx: &mut WriteTx<'_>,
    user: &KeyId,
    before: Option<Suspension>,
    after: Option<Suspension>,
    entry: AuditEntry,
) -> Result<(), StoreError> {
    match &after {
        Some(suspension) => users::suspend(tx, user, suspension)?,
        None => users::unsuspend(tx, user)?,
    }
    let entry = AuditEntry { before: Some(written(before)), after: Some(written(after)), ..entry };
    audit::insert(tx, &entry)
}

/// The audit's form of a suspension.
fn written(suspension: Option<Suspension>) -> String {
    let suspended = suspension.is_some();
    let (reason, until) = suspension.map_or((None, None), |suspension| (suspension.reason, suspension.until));
    json!({ "suspended": suspended, "reason": reason, "until": until.map(rfc3339) }).to_string()
}

/// The end as the store keeps it, in whole milliseconds; refuses one that is over.
fn end(until: OffsetDateTime, now: OffsetDateTime) -> Result<OffsetDateTime, UserRefusal> {
    let until = until.checked_to_offset(UtcOffset::UTC).ok_or(UserRefusal::Until)?;
    let until = until.replace_millisecond(until.millisecond()).unwrap_or(until);
    if until > now { Ok(until) } else { Err(UserRefusal::UntilOver(now)) }
}

fn standing(tx: &mut Tx<'_>, user: KeyId) -> Result<UserStanding, Refusal> {
    let (found, version) = (users::find(tx, &user)?, tx.revision()?);
    let routes = found.as_ref().map_or(0, |user| user.routes);
    Ok(UserStanding { user, suspension: found.and_then(|user| user.suspension), routes, version })
}
