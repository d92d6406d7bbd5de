//! `admin.*`: for the admin alone.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use webgateway_proto::api::{
    SuspensionView, UserList, UserListParams, UserQuota, UserRef, UserState, UserSuspend, UserView, method,
};
use webgateway_proto::model::{Limit, Suspension};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::fault::Kind;
use crate::clock::rfc3339;
use crate::domain::{
    Caller, DomainError, PageRequest, SetQuota, SuspendUser as Command, SuspensionStatus, UserError,
    UserOverview,
};

pub(super) struct Suspend;
pub(super) struct Unsuspend;
pub(super) struct Users;
pub(super) struct Quota;

impl Method for Suspend {
    const NAME: &'static str = method::ADMIN_SUSPEND;
    const SUMMARY: &'static str =
        "Suspends a user: their routes leave the gateway at once, until a time or until they are let back";
    const DESCRIPTION: &'static str = "For the admin. Their connections are closed at once; the user reads what is theirs, why and until when, and changes nothing. For a user who is suspended already, reason and end are these from now on; the same again changes nothing. When it ends by itself, the audit has a record of the caller `(gateway)`.";
    const ERRORS: &'static [Kind] = &[
        Kind::AdminOnly,
        Kind::InvalidUser,
        Kind::InvalidReason,
        Kind::InvalidUntil,
        Kind::UserNotFound,
        Kind::SuspendAdmin,
    ];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = UserSuspend;
    type Outcome = UserState;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::suspend()]
    }

    async fn call(services: &Services, who: Caller, params: UserSuspend) -> Result<UserState, DomainError> {
        // Before the params are looked at: to others there is no such method.
        who.require_admin()?;
        let reason = params.reason.as_deref().map(str::parse).transpose().map_err(UserError::Reason)?;
        let until = params.until.as_deref().map(|text| OffsetDateTime::parse(text, &Rfc3339)).transpose();
        let until = until.map_err(|_| UserError::Until)?;
        let command = Command { user: params.user.parse()?, reason, until };
        services.domain.suspend(&who, command).await.map(state)
    }
}

impl Method for Unsuspend {
    const NAME: &'static str = method::ADMIN_UNSUSPEND;
    const SUMMARY: &'static str = "Lifts a suspension: the user's routes come back";
    const DESCRIPTION: &'static str = "For the admin. Doing it again changes nothing.";
    const ERRORS: &'static [Kind] = &[Kind::AdminOnly, Kind::InvalidUser, Kind::UserNotFound];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = UserRef;
    type Outcome = UserState;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example {
            name: "A user who is to be served again",
            params: samples::user_ref(),
            result: samples::unsuspended(),
        }]
    }

    async fn call(services: &Services, who: Caller, params: UserRef) -> Result<UserState, DomainError> {
        who.require_admin()?;
        services.domain.unsuspend(&who, params.user.parse()?).await.map(state)
    }
}

impl Method for Users {
    const NAME: &'static str = method::ADMIN_USERS;
    const SUMMARY: &'static str =
        "Lists the users by key, a page at a time: whether they are suspended, what they have and may have";
    const DESCRIPTION: &'static str = "For the admin. A user is listed from their first route, suspension or quota on. The next page is asked for with the same params and `cursor`.";
    const ERRORS: &'static [Kind] = &[Kind::AdminOnly, Kind::InvalidLimit, Kind::InvalidCursor];
    type Who = Caller;
    type Params = UserListParams;
    type Outcome = UserList;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        samples::users()
    }

    async fn call(services: &Services, who: Caller, params: UserListParams) -> Result<UserList, DomainError> {
        let UserListParams { suspended, limit, cursor } = params;
        let page = services.domain.list_users(&who, suspended, &PageRequest { limit, cursor }).await?;
        Ok(UserList { users: page.entries.into_iter().map(view).collect(), next_cursor: page.next })
    }
}

impl Method for Quota {
    const NAME: &'static str = method::ADMIN_QUOTA;
    const SUMMARY: &'static str =
        "Sets how many routes and backends a user may have, and how fast they may change them";
    const DESCRIPTION: &'static str = "For the admin, who has no quotas. A number, `\"none\"` for no limit, `null` for the gateway's default; what is left out stays. What the user has already stays too, also over the quota. A minute's count of changes holds each call of a batch.";
    const ERRORS: &'static [Kind] =
        &[Kind::AdminOnly, Kind::InvalidUser, Kind::UserNotFound, Kind::QuotaAdmin];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = UserQuota;
    type Outcome = UserView;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        samples::quotas()
    }

    async fn call(services: &Services, who: Caller, params: UserQuota) -> Result<UserView, DomainError> {
        who.require_admin()?;
        let limit = |given: Option<Option<_>>| given.map(|own| own.map(Limit::from));
        let command = SetQuota {
            user: params.user.parse()?,
            routes: limit(params.routes),
            backends: limit(params.backends),
            mutations_per_minute: limit(params.mutations_per_minute),
        };
        services.domain.set_quota(&who, command).await.map(view)
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

fn suspension_view(Suspension { reason, since, until }: Suspension) -> SuspensionView {
    SuspensionView {
        reason: reason.map(|reason| reason.as_str().to_owned()),
        since: rfc3339(since),
        until: until.map(rfc3339),
    }
}
