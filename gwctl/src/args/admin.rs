//! The conversion of `gwctl admin …` into API params.

use std::time::{Duration, UNIX_EPOCH};

use webgateway_proto::api::{Limit, UserListParams, UserQuota, UserRef, UserSuspend};
use webgateway_proto::model::{KeyId, Reason};

use super::call::Call;
use super::error::ArgError;
use crate::cli::{Admin, Quota, Suspend, UserArg, UserFilter};
use crate::clock;

/// The first second that RFC 3339 cannot represent, in Unix seconds.
const YEAR_10000: u64 = 253_402_300_800;

/// Returns the API call for a command.
pub(super) fn call(command: Admin) -> Result<Call, ArgError> {
    Ok(match command {
        Admin::Suspend(flags) => Call::Suspend(suspend(&flags)?).with_wait(&flags.wait),
        Admin::Unsuspend(flags) => {
            Call::Unsuspend(UserRef { user: user_id(&flags.user)? }).with_wait(&flags.wait)
        }
        Admin::Users(UserFilter { suspended, limit }) => {
            Call::Users(UserListParams { suspended: suspended.then_some(true), limit, cursor: None })
        }
        Admin::Quota(flags) => Call::Quota(quota(&flags)?),
    })
}

fn suspend(flags: &Suspend) -> Result<UserSuspend, ArgError> {
    let reason: Option<Reason> = flags.reason.as_deref().map(str::parse).transpose()?;
    let until = match (&flags.until, flags.r#for) {
        (Some(text), _) => Some(rfc3339_time(text)?),
        (None, Some(length)) => Some(time_after(length)?),
        (None, None) => None,
    };
    Ok(UserSuspend { user: user_id(&flags.user)?, reason: reason.map(Reason::into), until })
}

/// Returns `text` if it has the shape of an RFC 3339 time. The gateway parses it completely.
fn rfc3339_time(text: &str) -> Result<String, ArgError> {
    let has_shape = text.len() >= 20 && text.as_bytes().get(10).is_some_and(|t| b"Tt ".contains(t));
    if has_shape { Ok(text.to_owned()) } else { Err(ArgError::Until(text.to_owned())) }
}

/// Returns the RFC 3339 time that is `length` from now.
fn time_after(length: Duration) -> Result<String, ArgError> {
    let now = u64::try_from(clock::unix_now()).map_err(|_| ArgError::For)?;
    let seconds = now.checked_add(length.as_secs()).filter(|_| length.as_secs() > 0);
    let seconds = seconds.filter(|seconds| *seconds < YEAR_10000).ok_or(ArgError::For)?;
    let at = UNIX_EPOCH + Duration::from_secs(seconds);
    Ok(humantime::format_rfc3339_seconds(at).to_string())
}

fn quota(flags: &Quota) -> Result<UserQuota, ArgError> {
    let parse = |flag: &'static str, text: &Option<String>| match text.as_deref() {
        None => Ok(None),
        Some("default") => Ok(Some(None)),
        Some("none") => Ok(Some(Some(Limit::NONE))),
        Some(number) => match number.parse() {
            Ok(limit) => Ok(Some(Some(Limit::AtMost(limit)))),
            Err(_) => Err(ArgError::Quota(flag, number.to_owned())),
        },
    };
    Ok(UserQuota {
        user: user_id(&flags.user)?,
        routes: parse("--routes", &flags.routes)?,
        backends: parse("--backends", &flags.backends)?,
        mutations_per_minute: parse("--mutations", &flags.mutations)?,
    })
}

fn user_id(user: &UserArg) -> Result<String, ArgError> {
    let text = user.name.as_ref().or(user.user.as_ref()).map_or("", |name| name);
    let id: KeyId = text.parse().map_err(ArgError::User)?;
    Ok(id.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserArg {
        UserArg { name: Some("u.pub".into()), user: None }
    }

    #[test]
    fn a_quota_is_a_number_none_or_the_default() {
        let flags = |routes: &str| Quota {
            user: user(),
            routes: Some(routes.into()),
            backends: None,
            mutations: None,
        };
        for (text, routes) in [
            ("7", Some(Limit::AtMost(7))),
            ("0", Some(Limit::AtMost(0))),
            ("none", Some(Limit::NONE)),
            ("default", None),
        ] {
            let params = quota(&flags(text)).unwrap();
            assert_eq!((params.routes, params.backends), (Some(routes), None));
        }
        for bad in ["", "-1", "all", "4294967296"] {
            assert!(matches!(quota(&flags(bad)), Err(ArgError::Quota("--routes", _))), "{bad}");
        }
    }

    #[test]
    fn a_suspension_ends_at_a_time_or_after_a_duration() {
        let wait = || crate::cli::WaitFlag { wait: None };
        let flags = |until: Option<&str>, length| Suspend {
            user: user(),
            reason: Some(" spam ".into()),
            until: until.map(Into::into),
            r#for: length,
            wait: wait(),
        };
        let params = suspend(&flags(Some("2030-01-31T12:00:00+01:00"), None)).unwrap();
        assert_eq!(
            (params.reason.as_deref(), params.until.as_deref()),
            (Some("spam"), Some("2030-01-31T12:00:00+01:00"))
        );
        let with_for = suspend(&flags(None, Some(Duration::from_secs(60)))).unwrap().until.unwrap();
        assert!(with_for.ends_with('Z') && with_for.as_bytes()[10] == b'T', "{with_for}");
        assert_eq!(suspend(&flags(None, None)).unwrap().until, None);
        assert!(matches!(suspend(&flags(Some("tomorrow"), None)), Err(ArgError::Until(_))));
        assert!(matches!(suspend(&flags(None, Some(Duration::ZERO))), Err(ArgError::For)));
        assert!(matches!(suspend(&flags(None, Some(Duration::MAX))), Err(ArgError::For)));
    }
}
