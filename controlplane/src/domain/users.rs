//! The administration of users: lists and quotas.

use serde_json::{Value, json};
use tracing::info;
use webgateway_proto::audit::action;
use webgateway_proto::model::{KeyId, Limit, OwnQuota, Quota};

use super::caller::Caller;
use super::error::{DomainError, UserError};
use super::page::{Page, PageRange, PageRequest};
use super::quotas::Quotas;
use super::rules::Domain;
use crate::store::audit::{self, AuditEntry};
use crate::store::users::{self, User};
use crate::store::{Tx, WriteTx};

/// A user and their effective quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserOverview {
    /// The user.
    pub user: User,
    /// The quota, including the gateway's defaults.
    pub quota: Quota,
}

/// A command that sets quotas of one user. `None` leaves a limit unchanged, `Some(None)` restores the gateway's
/// default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetQuota {
    /// The user.
    pub user: KeyId,
    /// The maximum number of routes.
    pub routes: Option<Option<Limit>>,
    /// The maximum number of backends in all routes together.
    pub backends: Option<Option<Limit>>,
    /// The maximum number of mutations per minute.
    pub mutations_per_minute: Option<Option<Limit>>,
}

impl Domain {
    /// Sets a user's quotas. Lowering a quota removes nothing. Returns an error if the user has neither a key nor ever
    /// had a route.
    pub(crate) async fn set_quota(
        &self,
        caller: &Caller,
        command: SetQuota,
    ) -> Result<UserOverview, DomainError> {
        caller.require_admin()?;
        if command.user == self.admin {
            return Err(UserError::QuotaAdmin.into());
        }
        let (now, has_key) = (self.clock.now(), self.has_key(&command.user).await);
        let entry = caller.audit_entry(now, action::ADMIN_QUOTA, target(&command.user));
        let (quotas, by) = (self.quotas.clone(), caller.key_id().clone());
        let write = move |tx: &mut WriteTx<'_>| {
            let user = command.user.clone();
            require_known(tx, &user, has_key)?;
            let known = users::find(tx, &user)?;
            if known.is_none() {
                users::ensure(tx, &user, now)?;
            }
            let before = known.map(|user| user.quota).unwrap_or_default();
            let after = command.applied_to(before);
            if before != after {
                users::set_quota(tx, &user, &after)?;
                let (before, after_text) = (Some(audit_text(before)), Some(audit_text(after)));
                audit::insert(tx, &AuditEntry { before, after: after_text, ..entry })?;
                tx.on_commit(move || {
                    info!(user = %command.user, %by, "user quota set");
                    quotas.set_mutation_limit(command.user, after.mutations_per_minute);
                });
            }
            users::find(tx, &user)?.ok_or_else(|| DomainError::from(UserError::Unknown(user)))
        };
        let user = self.store.write(action::ADMIN_QUOTA, write).await?;
        Ok(overview(user, &self.quotas, &self.admin))
    }

    /// Lists the known users by key id: all of them, only suspended ones, or only others. Only for the admin.
    pub(crate) async fn list_users(
        &self,
        caller: &Caller,
        suspended: Option<bool>,
        page: &PageRequest,
    ) -> Result<Page<UserOverview>, DomainError> {
        caller.require_admin()?;
        let page = PageRange::parse(page)?;
        let (quotas, admin) = (self.quotas.clone(), self.admin.clone());
        self.store
            .read("admin.users", move |tx| {
                let found = users::page(tx, suspended, page.after.as_deref(), page.limit + 1)?;
                let Page { entries, next } = page.paginate(found, |user| user.id.to_string());
                let entries = entries.into_iter().map(|user| overview(user, &quotas, &admin)).collect();
                Ok(Page { entries, next })
            })
            .await
    }
}

impl SetQuota {
    fn applied_to(&self, before: OwnQuota) -> OwnQuota {
        OwnQuota {
            routes: self.routes.unwrap_or(before.routes),
            backends: self.backends.unwrap_or(before.backends),
            mutations_per_minute: self.mutations_per_minute.unwrap_or(before.mutations_per_minute),
        }
    }
}

fn overview(user: User, quotas: &Quotas, admin: &KeyId) -> UserOverview {
    let quota = if user.id == *admin { Quota::default() } else { quotas.of(user.quota) };
    UserOverview { user, quota }
}

/// Returns the name of a user in the audit log.
pub(super) fn target(user: &KeyId) -> String {
    format!("user/{user}")
}

/// Returns an error if the user has neither a key nor ever had a route.
pub(super) fn require_known(tx: &mut Tx<'_>, user: &KeyId, has_key: bool) -> Result<(), DomainError> {
    match has_key || users::find(tx, user)?.is_some() {
        true => Ok(()),
        false => Err(UserError::Unknown(user.clone()).into()),
    }
}

/// Returns the form of a quota in the audit log.
fn audit_text(quota: OwnQuota) -> String {
    let limit = |own: Option<Limit>| match own {
        Some(Limit::AtMost(most)) => json!(most),
        Some(Limit::Unlimited) => json!("none"),
        None => Value::Null,
    };
    json!({
        "routes": limit(quota.routes),
        "backends": limit(quota.backends),
        "mutations_per_minute": limit(quota.mutations_per_minute),
    })
    .to_string()
}
