//! `admin.*`: for the admin alone.

use webgateway_proto::api::{UserRef, UserState, method};
use webgateway_proto::model::KeyId;

use super::{Example, Method, Services, samples};
use crate::api::fault::Kind;
use crate::domain::{Caller, Refusal};

pub(super) struct Suspend;
pub(super) struct Unsuspend;

impl Method for Suspend {
    const NAME: &'static str = method::ADMIN_SUSPEND;
    const SUMMARY: &'static str = "Suspends a user: their routes leave the gateway at once";
    const DESCRIPTION: &'static str = "For the admin. Their connections are closed at once; the user reads what is theirs, and changes nothing. Doing it again changes nothing.";
    const ERRORS: &'static [Kind] =
        &[Kind::AdminOnly, Kind::InvalidUser, Kind::UserNotFound, Kind::SuspendAdmin];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = UserRef;
    type Outcome = UserState;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example {
            name: "A user who is not to be served",
            params: samples::user_ref(),
            result: samples::user(true),
        }]
    }

    async fn call(services: &Services, who: Caller, params: UserRef) -> Result<UserState, Refusal> {
        set_suspended(services, &who, &params, true).await
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
            result: samples::user(false),
        }]
    }

    async fn call(services: &Services, who: Caller, params: UserRef) -> Result<UserState, Refusal> {
        set_suspended(services, &who, &params, false).await
    }
}

async fn set_suspended(
    services: &Services,
    who: &Caller,
    params: &UserRef,
    suspended: bool,
) -> Result<UserState, Refusal> {
    who.require_admin()?;
    let user: KeyId = params.user.parse()?;
    // A key that is there counts, even if it could not be used.
    let has_key = !matches!(services.keys.find(&user).await, Ok(None));
    services.domain.set_suspended(who, user, suspended, has_key).await
}
