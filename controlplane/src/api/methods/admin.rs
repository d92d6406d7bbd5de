//! `admin.*`: for the admin alone.

use webgateway_proto::api::{
    UserList, UserListParams, UserQuota, UserRef, UserState, UserSuspend, UserView, method,
};
use webgateway_proto::model::KeyId;

use super::{Example, Method, Services, samples};
use crate::api::fault::Kind;
use crate::domain::{Caller, Refusal};

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

    async fn call(services: &Services, who: Caller, params: UserSuspend) -> Result<UserState, Refusal> {
        let has_key = has_key(services, &who, &params.user).await?;
        services.domain.suspend(&who, &params, has_key).await
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

    async fn call(services: &Services, who: Caller, params: UserRef) -> Result<UserState, Refusal> {
        let has_key = has_key(services, &who, &params.user).await?;
        services.domain.unsuspend(&who, params.user.parse()?, has_key).await
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

    async fn call(services: &Services, who: Caller, params: UserListParams) -> Result<UserList, Refusal> {
        let page = services.domain.list_users(&who, params).await?;
        Ok(UserList { users: page.entries, next_cursor: page.next })
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

    async fn call(services: &Services, who: Caller, params: UserQuota) -> Result<UserView, Refusal> {
        let has_key = has_key(services, &who, &params.user).await?;
        services.domain.set_quota(&who, params, has_key).await
    }
}

/// Whether there is a key of this name; one that is there counts, even if it could not be used.
async fn has_key(services: &Services, who: &Caller, user: &str) -> Result<bool, Refusal> {
    who.require_admin()?;
    let user: KeyId = user.parse()?;
    Ok(!matches!(services.keys.find(&user).await, Ok(None)))
}
