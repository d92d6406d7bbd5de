//! Suspensions: a user's routes leave the feed, and come back when the admin says so or at a time they named.

use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use tracing::info;
use webgateway_proto::api::{SuspensionView, UserState, UserSuspend, method};
use webgateway_proto::audit::GATEWAY;
use webgateway_proto::model::{KeyId, Reason};

use super::{Caller, Domain, Refusal, UserRefusal};
use crate::clock::rfc3339;
use crate::store::audit::{self, Entry};
use crate::store::users::{self, Suspension};
use crate::store::{StoreError, Tx, WriteTx};

impl Domain {
    /// Suspends a user, or changes why and how long; the same again changes nothing. A user is known by a route of
    /// theirs, or by their key: `has_key`.
    pub async fn suspend(
        &self,
        caller: &Caller,
        wanted: &UserSuspend,
        has_key: bool,
    ) -> Result<UserState, Refusal> {
        caller.require_admin()?;
        let user: KeyId = wanted.user.parse()?;
        if user == self.admin {
            return Err(UserRefusal::SuspendAdmin.into());
        }
        let now = self.clock.now();
        let reason = wanted.reason.as_deref().map(str::parse).transpose().map_err(UserRefusal::Reason)?;
        let until = wanted.until.as_deref().map(|text| end(text, now)).transpose()?;
        let entry = caller.entry(now, method::ADMIN_SUSPEND, target(&user));
        let suspensions = self.suspensions.clone();
        let write = move |tx: &mut WriteTx<'_>| {
            require_known(tx, &user, has_key)?;
            let before = users::suspension(tx, &user)?;
            let since = before.as_ref().map_or(now, |before| before.since);
            let after = Some(Suspension { reason, since, until });
            if before != after {
                users::ensure(tx, &user, now)?;
                set(tx, &user, (before, after), entry)?;
                tx.then(move || suspensions.send_modify(|said| *said += 1));
            }
            state(tx, &user)
        };
        let state = self.store.write(method::ADMIN_SUSPEND, write).await?;
        info!(user = state.user, routes = state.routes, by = %caller.key_id(), "a user is suspended");
        Ok(state)
    }

    /// Lifts a suspension; doing it again changes nothing.
    pub async fn unsuspend(&self, caller: &Caller, user: KeyId, has_key: bool) -> Result<UserState, Refusal> {
        caller.require_admin()?;
        let entry = caller.entry(self.clock.now(), method::ADMIN_UNSUSPEND, target(&user));
        let write = move |tx: &mut WriteTx<'_>| {
            require_known(tx, &user, has_key)?;
            let before = users::suspension(tx, &user)?;
            if before.is_some() {
                set(tx, &user, (before, None), entry)?;
            }
            state(tx, &user)
        };
        let state = self.store.write(method::ADMIN_UNSUSPEND, write).await?;
        info!(user = state.user, routes = state.routes, by = %caller.key_id(), "a user is not suspended");
        Ok(state)
    }

    /// Lifts the suspensions that are over, and tells when the next one will be.
    pub async fn end_suspensions(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        loop {
            let first = self.store.read("next suspension to end", users::first_to_end).await?;
            let until = first.and_then(|user| user.suspension).and_then(|suspension| suspension.until);
            let now = self.clock.now();
            if until.is_none_or(|until| until > now) {
                return Ok(until);
            }
            let ended = self.store.write("end of a suspension", move |tx| end_one(tx, now)).await?;
            if let Some(user) = ended {
                info!(%user, "a suspension is over");
            }
        }
    }
}

/// Looks again: the admin may have been faster.
fn end_one(tx: &mut WriteTx<'_>, now: OffsetDateTime) -> Result<Option<KeyId>, StoreError> {
    let Some(user) = users::first_to_end(tx)? else { return Ok(None) };
    let is_over = |suspension: &Suspension| suspension.until.is_some_and(|until| until <= now);
    if !user.suspension.as_ref().is_some_and(is_over) {
        return Ok(None);
    }
    let entry = Entry {
        at: now,
        caller: GATEWAY.to_owned(),
        client: "-".to_owned(),
        method: method::ADMIN_UNSUSPEND,
        target: target(&user.id),
        before: None,
        after: None,
        request: None,
    };
    set(tx, &user.id, (user.suspension, None), entry)?;
    Ok(Some(user.id))
}

fn set(
    tx: &mut WriteTx<'_>,
    user: &KeyId,
    (before, after): (Option<Suspension>, Option<Suspension>),
    entry: Entry,
) -> Result<(), StoreError> {
    match &after {
        Some(suspension) => users::suspend(tx, user, suspension)?,
        None => users::unsuspend(tx, user)?,
    }
    let entry = Entry { before: Some(written(before)), after: Some(written(after)), ..entry };
    audit::insert(tx, &entry)
}

fn written(suspension: Option<Suspension>) -> String {
    let suspended = suspension.is_some();
    let (reason, until) = suspension.map(view).map_or((None, None), |view| (view.reason, view.until));
    json!({ "suspended": suspended, "reason": reason, "until": until }).to_string()
}

pub(super) fn target(user: &KeyId) -> String {
    format!("user/{user}")
}

pub(super) fn require_known(tx: &mut Tx<'_>, user: &KeyId, has_key: bool) -> Result<(), Refusal> {
    match has_key || users::find(tx, user)?.is_some() {
        true => Ok(()),
        false => Err(UserRefusal::Unknown(user.clone()).into()),
    }
}

/// A time to come.
fn end(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, UserRefusal> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| UserRefusal::Until)?;
    let until = parsed.checked_to_offset(UtcOffset::UTC).ok_or(UserRefusal::Until)?;
    // Whole milliseconds are what the store keeps.
    let until = until.replace_millisecond(until.millisecond()).unwrap_or(until);
    if until > now { Ok(until) } else { Err(UserRefusal::UntilOver(rfc3339(now))) }
}

fn state(tx: &mut Tx<'_>, user: &KeyId) -> Result<UserState, Refusal> {
    let (found, version) = (users::find(tx, user)?, tx.revision()?);
    let routes = found.as_ref().map_or(0, |user| user.routes);
    let suspension = found.and_then(|user| user.suspension).map(view);
    Ok(UserState { user: user.to_string(), suspended: suspension.is_some(), suspension, routes, version })
}

/// As the API shows it.
pub(super) fn view(suspension: Suspension) -> SuspensionView {
    SuspensionView {
        reason: suspension.reason.map(Reason::into),
        since: rfc3339(suspension.since),
        until: suspension.until.map(rfc3339),
    }
}

/// How long and why, to be put after "suspended"; empty if neither was said.
pub(super) fn told(suspension: &Suspension) -> String {
    let until = suspension.until.map(|until| format!(" until {}", rfc3339(until))).unwrap_or_default();
    let reason = suspension.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    until + &reason
}
