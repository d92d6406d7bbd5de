//! Suspensions of users. While a user is suspended, their routes are removed from the feed.

use serde_json::json;
use time::{OffsetDateTime, UtcOffset};
use tracing::info;
use webgateway_proto::audit::{GATEWAY, action};
use webgateway_proto::model::{KeyId, Reason, Suspension};

use super::caller::Caller;
use super::error::{DomainError, UserError};
use super::rules::Domain;
use super::users::{require_known, target};
use crate::clock::rfc3339;
use crate::store::audit::{self, AuditEntry};
use crate::store::{StoreError, Tx, WriteTx, users};

/// A command that suspends a user, or changes the reason and the end of a suspension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SuspendUser {
    /// The user.
    pub user: KeyId,
    /// The reason, which the user can read.
    pub reason: Option<Reason>,
    /// The time at which the suspension ends; `None` if it lasts until an admin lifts it.
    pub until: Option<OffsetDateTime>,
}

/// A user's suspension after a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SuspensionStatus {
    /// The user.
    pub user: KeyId,
    /// The suspension, if the user is suspended.
    pub suspension: Option<Suspension>,
    /// The number of the user's routes.
    pub routes: u64,
    /// The store's revision.
    pub version: u64,
}

impl Domain {
    /// Suspends a user, or changes the reason and the end of a suspension. Repeating the command changes nothing.
    /// Returns an error if the user has no key and never had a route.
    pub(crate) async fn suspend(
        &self,
        caller: &Caller,
        command: SuspendUser,
    ) -> Result<SuspensionStatus, DomainError> {
        caller.require_admin()?;
        let SuspendUser { user, reason, until } = command;
        if user == self.admin {
            return Err(UserError::SuspendAdmin.into());
        }
        let now = self.clock.now();
        let until = until.map(|until| normalized_end(until, now)).transpose()?;
        let has_key = self.has_key(&user).await;
        let entry = caller.audit_entry(now, action::ADMIN_SUSPEND, target(&user));
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
            let status = suspension_status(tx, user)?;
            if is_change {
                let (user, routes) = (status.user.clone(), status.routes);
                tx.on_commit(move || {
                    suspensions.send_modify(|changes| *changes += 1);
                    info!(%user, routes, %by, "user suspended");
                });
            }
            Ok(status)
        };
        self.store.write(action::ADMIN_SUSPEND, write).await
    }

    /// Lifts a suspension. Repeating the command changes nothing.
    pub(crate) async fn unsuspend(
        &self,
        caller: &Caller,
        user: KeyId,
    ) -> Result<SuspensionStatus, DomainError> {
        caller.require_admin()?;
        let has_key = self.has_key(&user).await;
        let entry = caller.audit_entry(self.clock.now(), action::ADMIN_UNSUSPEND, target(&user));
        let by = caller.key_id().clone();
        let write = move |tx: &mut WriteTx<'_>| {
            require_known(tx, &user, has_key)?;
            let before = users::suspension(tx, &user)?;
            let is_change = before.is_some();
            if is_change {
                set(tx, &user, before, None, entry)?;
            }
            let status = suspension_status(tx, user)?;
            if is_change {
                let (user, routes) = (status.user.clone(), status.routes);
                tx.on_commit(move || info!(%user, routes, %by, "user suspension lifted"));
            }
            Ok(status)
        };
        self.store.write(action::ADMIN_UNSUSPEND, write).await
    }

    /// Lifts the suspensions whose end has passed. Returns the end of the next one.
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

/// Lifts the next suspension whose end has passed, and returns the user. Returns `None` if an admin lifted it
/// meanwhile.
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
    let entry = AuditEntry { before: Some(audit_text(before)), after: Some(audit_text(after)), ..entry };
    audit::insert(tx, &entry)
}

/// Returns the form of a suspension in the audit log.
fn audit_text(suspension: Option<Suspension>) -> String {
    let suspended = suspension.is_some();
    let (reason, until) = suspension.map_or((None, None), |suspension| (suspension.reason, suspension.until));
    json!({ "suspended": suspended, "reason": reason, "until": until.map(rfc3339) }).to_string()
}

/// Returns the end in UTC and whole milliseconds, as the store keeps it. Returns an error if it is not in the future.
fn normalized_end(until: OffsetDateTime, now: OffsetDateTime) -> Result<OffsetDateTime, UserError> {
    let until = until.checked_to_offset(UtcOffset::UTC).ok_or(UserError::Until)?;
    let until = until.replace_millisecond(until.millisecond()).unwrap_or(until);
    if until > now { Ok(until) } else { Err(UserError::UntilOver(now)) }
}

fn suspension_status(tx: &mut Tx<'_>, user: KeyId) -> Result<SuspensionStatus, DomainError> {
    let (found, version) = (users::find(tx, &user)?, tx.revision()?);
    let routes = found.as_ref().map_or(0, |user| user.routes);
    Ok(SuspensionStatus { user, suspension: found.and_then(|user| user.suspension), routes, version })
}
