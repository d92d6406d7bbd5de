//! What may be done to users: their routes leave the feed, or come back.

use tracing::info;
use webgateway_proto::api::{UserState, method};
use webgateway_proto::model::KeyId;

use super::{Caller, Domain, Refusal};
use crate::store::audit::{self, Entry};
use crate::store::{WriteTx, routes, users};

impl Domain {
    /// Suspends a user, or lifts the suspension; doing it again changes nothing. A user is known by a route of
    /// theirs, or by their key: `has_key`.
    pub async fn set_suspended(
        &self,
        caller: &Caller,
        user: KeyId,
        suspended: bool,
        has_key: bool,
    ) -> Result<UserState, Refusal> {
        caller.require_admin()?;
        if suspended && user == self.admin {
            return Err(Refusal::SuspendAdmin);
        }
        let method = if suspended { method::ADMIN_SUSPEND } else { method::ADMIN_UNSUSPEND };
        let now = self.clock.now();
        let entry = Entry {
            before: Some(written(!suspended)),
            after: Some(written(suspended)),
            ..caller.entry(now, method, format!("user/{user}"))
        };
        let changed = self
            .store
            .write(method, move |tx| {
                if !has_key && !users::exists(tx, &user)? {
                    return Err(Refusal::NoUser(user));
                }
                if users::is_suspended(tx, &user)? != suspended {
                    users::ensure(tx, &user, now)?;
                    users::set_suspended(tx, &user, suspended)?;
                    audit::insert(tx, &entry)?;
                }
                state(tx, &user, suspended)
            })
            .await;
        changed.inspect(|state| {
            info!(user = state.user, suspended, routes = state.routes, by = %caller.key_id(), "a user's state was set");
        })
    }
}

fn state(tx: &mut WriteTx<'_>, user: &KeyId, suspended: bool) -> Result<UserState, Refusal> {
    let (routes, version) = (routes::count(tx, user)?, tx.revision()?);
    Ok(UserState { user: user.to_string(), suspended, routes, version })
}

fn written(suspended: bool) -> String {
    serde_json::json!({ "suspended": suspended }).to_string()
}
