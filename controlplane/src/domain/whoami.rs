//! The state of a caller, for the caller. Suspended ones may ask, too.

use webgateway_proto::model::Quota;

use super::caller::Caller;
use super::error::DomainError;
use super::rules::Domain;
use crate::store::users::{self, User};

/// The state of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallerState {
    /// The user; `None` before their first change.
    pub user: Option<User>,
    /// The quota, including the gateway's defaults.
    pub quota: Quota,
    /// The mutations that the caller has made in the current minute.
    pub mutations: u32,
}

impl Domain {
    /// Returns the state of the caller.
    pub(crate) async fn whoami(&self, caller: &Caller) -> Result<CallerState, DomainError> {
        let key = caller.key_id().clone();
        let user = self.store.read("whoami", move |tx| users::find(tx, &key)).await?;
        let own = user.as_ref().map(|user| user.quota).unwrap_or_default();
        let quota = if caller.as_user().is_some() { self.quotas.of(own) } else { Quota::default() };
        Ok(CallerState { user, quota, mutations: self.quotas.mutations_of(caller.key_id()) })
    }
}
