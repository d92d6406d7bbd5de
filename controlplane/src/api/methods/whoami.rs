//! The method `whoami`.

use webgateway_proto::api::{Identity, method};

use super::admin::suspension_view;
use super::method::{Example, Method, Services};
use super::samples;
use super::system::EmptyParams;
use crate::api::errors::ErrorKind;
use crate::clock::rfc3339;
use crate::domain::{Caller, CallerState, DomainError};

pub(super) struct Whoami;

impl Method for Whoami {
    const NAME: &'static str = method::WHOAMI;
    const SUMMARY: &'static str =
        "Returns the caller's key, quotas and usage, and whether they are suspended";
    const DESCRIPTION: &'static str = "For all users, also suspended ones.";
    const ERRORS: &'static [ErrorKind] = &[];
    type Caller = Caller;
    type Params = EmptyParams;
    type Output = Identity;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example { name: "A user", params: EmptyParams {}, result: samples::identity() }]
    }

    async fn call(services: &Services, caller: Caller, _: EmptyParams) -> Result<Identity, DomainError> {
        let CallerState { user, quota, mutations } = services.domain.whoami(&caller).await?;
        let key = caller.key().map(|(key, algorithm)| (key.fingerprint(), algorithm.as_str().to_owned()));
        let (fingerprint, algorithm) = key.unwrap_or_default();
        let (routes, backends) = user.as_ref().map_or((0, 0), |user| (user.routes, user.backends));
        let first_seen = user.as_ref().map(|user| rfc3339(user.first_seen));
        let suspension = user.and_then(|user| user.suspension).map(suspension_view);
        Ok(Identity {
            key_id: caller.key_id().to_string(),
            fingerprint,
            algorithm,
            admin: caller.as_user().is_none(),
            suspended: suspension.is_some(),
            suspension,
            first_seen,
            routes,
            backends,
            mutations_this_minute: mutations,
            quota: quota.into(),
        })
    }
}
