//! What the admin sees of users, and which quotas they give them.

use serde_json::json;
use tracing::info;
use webgateway_proto::api::{Limit, UserQuota, UserView, method};
use webgateway_proto::model::KeyId;

use super::suspension::{require_known, target, view};
use super::{Caller, Domain, Quotas, Refusal, UserRefusal};
use crate::clock::rfc3339;
use crate::store::WriteTx;
use crate::store::audit::{self, Entry};
use crate::store::users::{self, OwnQuota, User};

impl Domain {
    /// Gives a user other quotas; what they have already stays. A user is known by a route of theirs, or by their key:
    /// `has_key`.
    pub async fn set_quota(
        &self,
        caller: &Caller,
        wanted: UserQuota,
        has_key: bool,
    ) -> Result<UserView, Refusal> {
        caller.require_admin()?;
        let user: KeyId = wanted.user.parse()?;
        if user == self.admin {
            return Err(UserRefusal::QuotaAdmin.into());
        }
        let (now, id) = (self.clock.now(), user.clone());
        let entry = caller.entry(now, method::ADMIN_QUOTA, target(&user));
        let quotas = self.quotas.clone();
        let write = move |tx: &mut WriteTx<'_>| {
            require_known(tx, &id, has_key)?;
            let known = users::find(tx, &id)?;
            if known.is_none() {
                users::ensure(tx, &id, now)?;
            }
            let before = known.map(|user| user.quota).unwrap_or_default();
            let after = OwnQuota {
                routes: wanted.routes.unwrap_or(before.routes),
                backends: wanted.backends.unwrap_or(before.backends),
                mutations: wanted.mutations_per_minute.unwrap_or(before.mutations),
            };
            if before != after {
                users::set_quota(tx, &id, &after)?;
                tx.then(move || quotas.set_rate(user, after.mutations));
                let (before, after) = (Some(written(&before)), Some(written(&after)));
                audit::insert(tx, &Entry { before, after, ..entry })?;
            }
            users::find(tx, &id)?.ok_or_else(|| Refusal::from(UserRefusal::Unknown(id)))
        };
        let set = self.store.write(method::ADMIN_QUOTA, write).await?;
        info!(user = %set.id, by = %caller.key_id(), "a user's quotas were set");
        Ok(show(set, &self.quotas, &self.admin))
    }
}

/// As the API shows them.
pub(super) fn show(user: User, quotas: &Quotas, admin: &KeyId) -> UserView {
    let quota =
        if user.id == *admin { Quotas::default().of(&OwnQuota::default()) } else { quotas.of(&user.quota) };
    UserView {
        user: user.id.to_string(),
        first_seen: rfc3339(user.first_seen),
        suspended: user.suspension.is_some(),
        suspension: user.suspension.map(view),
        routes: user.routes,
        backends: user.backends,
        quota,
    }
}

fn written(quota: &OwnQuota) -> String {
    let OwnQuota { routes, backends, mutations } = quota;
    let limit = |own: &Option<Limit>| json!(own);
    json!({
        "routes": limit(routes), "backends": limit(backends), "mutations_per_minute": limit(mutations),
    })
    .to_string()
}
