//! The methods `admin.*`, which only the admin may call.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use webgateway_proto::api::{
    SuspensionView, UserList, UserListParams, UserQuota, UserRef, UserState, UserSuspend, UserView, method,
};
use webgateway_proto::model::{Limit, Suspension};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::errors::ErrorKind;
use crate::clock::rfc3339;
use crate::domain::{
    Caller, DomainError, PageRequest, SetQuota, SuspendUser, SuspensionStatus, UserError, UserOverview,
};

pub(super) struct Suspend;
pub(super) struct Unsuspend;
pub(super) struct Users;
pub(super) struct Quota;

impl Method for Suspend {
    const NAME: &'static str = method::ADMIN_SUSPEND;
    const SUMMARY: &'static str =
        "Suspends a user: their routes are not served until a given time, or until the suspension is lifted";
    const DESCRIPTION: &'static str = "\
        For the admin. Connections to the routes of the user are closed at once. The user can still read \
        their routes and the reason and end of the suspension, and cannot change anything. If the user is \
        suspended already, the reason and the end are replaced. When a suspension ends at its time, the \
        audit has a record with the caller `(gateway)`.";
    const ERRORS: &'static [ErrorKind] = &[
        ErrorKind::AdminOnly,
        ErrorKind::InvalidUser,
        ErrorKind::InvalidReason,
        ErrorKind::InvalidUntil,
        ErrorKind::UserNotFound,
        ErrorKind::SuspendAdmin,
    ];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = UserSuspend;
    type Output = UserState;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::suspend()]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: UserSuspend,
    ) -> Result<UserState, DomainError> {
        // Checked first, so that other users learn nothing about the params.
        caller.require_admin()?;
        let reason = params.reason.as_deref().map(str::parse).transpose().map_err(UserError::Reason)?;
        let until = params.until.as_deref().map(|text| OffsetDateTime::parse(text, &Rfc3339)).transpose();
        let until = until.map_err(|_| UserError::Until)?;
        let command = SuspendUser { user: params.user.parse()?, reason, until };
        services.domain.suspend(&caller, command).await.map(state)
    }
}

impl Method for Unsuspend {
    const NAME: &'static str = method::ADMIN_UNSUSPEND;
    const SUMMARY: &'static str = "Lifts the suspension of a user: their routes are served again";
    const DESCRIPTION: &'static str = "For the admin. If the user is not suspended, nothing changes.";
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::AdminOnly, ErrorKind::InvalidUser, ErrorKind::UserNotFound];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = UserRef;
    type Output = UserState;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example {
            name: "The end of a suspension",
            params: samples::user_ref(),
            result: samples::unsuspended(),
        }]
    }

    async fn call(services: &Services, caller: Caller, params: UserRef) -> Result<UserState, DomainError> {
        caller.require_admin()?;
        services.domain.unsuspend(&caller, params.user.parse()?).await.map(state)
    }
}

impl Method for Users {
    const NAME: &'static str = method::ADMIN_USERS;
    const SUMMARY: &'static str =
        "Lists the users in pages, ordered by key, with their suspension, usage and quotas";
    const DESCRIPTION: &'static str = "\
        For the admin. A user is listed once they have had a route, a suspension or a quota. For the next \
        page, repeat the call with the same params and the `next_cursor` of the result as `cursor`.";
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::AdminOnly, ErrorKind::InvalidLimit, ErrorKind::InvalidCursor];
    type Caller = Caller;
    type Params = UserListParams;
    type Output = UserList;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        samples::users()
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: UserListParams,
    ) -> Result<UserList, DomainError> {
        let UserListParams { suspended, limit, cursor } = params;
        let page = services.domain.list_users(&caller, suspended, &PageRequest { limit, cursor }).await?;
        Ok(UserList { users: page.entries.into_iter().map(view).collect(), next_cursor: page.next })
    }
}

impl Method for Quota {
    const NAME: &'static str = method::ADMIN_QUOTA;
    const SUMMARY: &'static str = "Sets the quotas of a user: routes, backends and mutations per minute";
    const DESCRIPTION: &'static str = "\
        For the admin, who has no quotas. A quota is a number, `\"none\"` for no limit, or `null` for the \
        default of the gateway; a quota that is left out stays as it is. A lower quota removes nothing \
        that the user has already. Every mutating call of a batch counts.";
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::AdminOnly, ErrorKind::InvalidUser, ErrorKind::UserNotFound, ErrorKind::QuotaAdmin];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = UserQuota;
    type Output = UserView;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        samples::quotas()
    }

    async fn call(services: &Services, caller: Caller, params: UserQuota) -> Result<UserView, DomainError> {
        caller.require_admin()?;
        let limit = |given: Option<Option<_>>| given.map(|own| own.map(Limit::from));
        let command = SetQuota {
            user: params.user.parse()?,
            routes: limit(params.routes),
            backends: limit(params.backends),
            mutations_per_minute: limit(params.mutations_per_minute),
        };
        services.domain.set_quota(&caller, command).await.map(view)
    }
}

fn state(SuspensionStatus { user, suspension, routes, version }: SuspensionStatus) -> UserState {
    let suspension = suspension.map(suspension_view);
    UserState { user: user.to_string(), suspended: suspension.is_some(), suspension, routes, version }
}

fn view(UserOverview { user, quota }: UserOverview) -> UserView {
    UserView {
        user: user.id.to_string(),
        first_seen: rfc3339(user.first_seen),
        suspended: user.suspension.is_some(),
        suspension: user.suspension.map(suspension_view),
        routes: user.routes,
        backends: user.backends,
        quota: quota.into(),
    }
}

pub(super) fn suspension_view(Suspension { reason, since, until }: Suspension) -> SuspensionView {
    SuspensionView {
        reason: reason.map(|reason| reason.as_str().to_owned()),
        since: rfc3339(since),
        until: until.map(rfc3339),
    }
}
