//! Users as the admin sees them, and the quotas they set.

use serde_json::{Value, json};
use tracing::info;
use webgateway_proto::audit::action;
use webgateway_proto::model::{KeyId, Limit, OwnQuota, Quota};

use super::caller::Caller;
use super::page::{Page, PageRequest, Paged};
use super::quotas::Quotas;
use super::refusal::{Refusal, UserRefusal};
use super::rules::Domain;
use crate::store::audit::{self, AuditEntry};
use crate::store::users::{self, User};
use crate::store::{Tx, WriteTx};

/// A user, and the quota that holds for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserOverview {
    /// The user.
    pub user: User,
    /// The quota, the gateway's defaults included.
    pub quota: Quota,
}

/// Sets quotas of one user. A limit of `None` stays as it is, `Some(None)` brings the gateway's default back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetQuota {
    /// The user.
    pub user: KeyId,
    /// The limit of routes.
    pub routes: Option<Option<Limit>>,
    /// The limit of backends, in all routes together.
    pub backends: Option<Option<Limit>>,
    /// The limit of calls in a minute that change something.
    pub mutations_per_minute: Option<Option<Limit>>,
}

impl Domain {
    /// Sets a user's quotas; what they have already stays. A user is known by a route of theirs, or by their key.
    pub(crate) async fn set_quota(
        &self,
        caller: &Caller,
        command: SetQuota,
    ) -> Result<UserOverview, Refusal> {
        caller.require_admin()?;
        if command.user == self.admin {
            return Err(UserRefusal::QuotaAdmin.into());
        }
        let (now, has_key) = (self.clock.now(), self.has_key(&command.user).await);
        let entry = caller.entry(now, action::ADMIN_QUOTA, target(&command.user));
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
                let (before, after_text) = (Some(written(before)), Some(written(after)));
                audit::insert(tx, &AuditEntry { before, after: after_text, ..entry })?;
                tx.on_commit(move || {
                    info!(user = %command.user, %by, "user quota set");
                    quotas.set_rate(command.user, after.mutations_per_minute);
                });
            }
            users::find(tx, &user)?.ok_or_else(|| Refusal::from(UserRefusal::Unknown(user)))
        };
        let user = self.store.write(action::ADMIN_QUOTA, write).await?;
        Ok(overview(user, &self.quotas, &self.admin))
    }

    /// Lists the users this gateway has seen, by key: all, the suspended, or the others. For the admin.
    pub(crate) async fn list_users(
        &self,
        caller: &Caller,
        suspended: Option<bool>,
        page: &PageRequest,
    ) -> Result<Paged<UserOverview>, Refusal> {
        caller.require_admin()?;
        let page = Page::parse(page)?;
        let (quotas, admin) = (self.quotas.clone(), self.admin.clone());
        self.store
            .read("admin.users", move |tx| {
                let found = users::page(tx, suspended, page.after.as_deref(), page.limit + 1)?;
                let Paged { entries, next } = page.cut(found, |user| user.id.as_str());
                let entries = entries.into_iter().map(|user| overview(user, &quotas, &admin)).collect();
                Ok(Paged { entries, next })
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

/// The name of a user in the audit.
pub(super) fn target(user: &KeyId) -> String {
    format!("user/{user}")
}

/// Refuses a user who has neither a key nor ever had a route.
pub(super) fn require_known(tx: &mut Tx<'_>, user: &KeyId, has_key: bool) -> Result<(), Refusal> {
    match has_key || users::find(tx, user)?.is_some() {
        true => Ok(()),
        false => Err(UserRefusal::Unknown(user.clone()).into()),
    }
}

/// The audit's form of a quota.
fn written(quota: OwnQuota) -> String {
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
