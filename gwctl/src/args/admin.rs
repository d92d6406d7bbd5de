//! The flags of `gwctl admin …` as params of the API.

use std::time::{Duration, UNIX_EPOCH};

use webgateway_proto::api::{Limit, UserListParams, UserQuota, UserRef, UserSuspend};
use webgateway_proto::model::{KeyId, Reason};

use super::call::Call;
use super::invalid::InvalidArg;
use crate::cli::{Admin, Quota, Suspend, User, UserFilter};
use crate::clock;

/// The first second that RFC 3339 cannot write, in Unix seconds.
const YEAR_10000: u64 = 253_402_300_800;

/// Returns the call that a command stands for.
pub(super) fn call(command: Admin) -> Result<Call, InvalidArg> {
    Ok(match command {
        Admin::Suspend(flags) => Call::Suspend(suspend(&flags)?).awaited(&flags.wait),
        Admin::Unsuspend(flags) => Call::Unsuspend(UserRef { user: name(&flags.user)? }).awaited(&flags.wait),
        Admin::Users(UserFilter { suspended, limit }) => {
            Call::Users(UserListParams { suspended: suspended.then_some(true), limit, cursor: None })
        }
        Admin::Quota(flags) => Call::Quota(quota(&flags)?),
    })
}

fn suspend(flags: &Suspend) -> Result<UserSuspend, InvalidArg> {
    let reason: Option<Reason> = flags.reason.as_deref().map(str::parse).transpose()?;
    let until = match (&flags.until, flags.r#for) {
        (Some(text), _) => Some(time(text)?),
        (None, Some(length)) => Some(after(length)?),
        (None, None) => None,
    };
    Ok(UserSuspend { user: name(&flags.user)?, reason: reason.map(Reason::into), until })
}

/// RFC 3339, which the gateway reads in full.
fn time(text: &str) -> Result<String, InvalidArg> {
    let shaped = text.len() >= 20 && text.as_bytes().get(10).is_some_and(|t| b"Tt ".contains(t));
    if shaped { Ok(text.to_owned()) } else { Err(InvalidArg::Until(text.to_owned())) }
}

fn after(length: Duration) -> Result<String, InvalidArg> {
    let now = u64::try_from(clock::unix_now()).map_err(|_| InvalidArg::For)?;
    let seconds = now.checked_add(length.as_secs()).filter(|_| length.as_secs() > 0);
    let seconds = seconds.filter(|seconds| *seconds < YEAR_10000).ok_or(InvalidArg::For)?;
    let at = UNIX_EPOCH + Duration::from_secs(seconds);
    Ok(humantime::format_rfc3339_seconds(at).to_string())
}

fn quota(flags: &Quota) -> Result<UserQuota, InvalidArg> {
    let read = |flag: &'static str, text: &Option<String>| match text.as_deref() {
        None => Ok(None),
        Some("default") => Ok(Some(None)),
        Some("none") => Ok(Some(Some(Limit::NONE))),
        Some(number) => match number.parse() {
            Ok(most) => Ok(Some(Some(Limit::Most(most)))),
            Err(_) => Err(InvalidArg::Quota(flag, number.to_owned())),
        },
    };
    Ok(UserQuota {
        user: name(&flags.user)?,
        routes: read("--routes", &flags.routes)?,
        backends: read("--backends", &flags.backends)?,
        mutations_per_minute: read("--mutations", &flags.mutations)?,
    })
}

fn name(user: &User) -> Result<String, InvalidArg> {
    let text = user.name.as_ref().or(user.user.as_ref()).map_or("", |name| name);
    let id: KeyId = text.parse().map_err(InvalidArg::User)?;
    Ok(id.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User { name: Some("u.pub".into()), user: None }
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
            ("7", Some(Limit::Most(7))),
            ("0", Some(Limit::Most(0))),
            ("none", Some(Limit::NONE)),
            ("default", None),
        ] {
            let params = quota(&flags(text)).unwrap();
            assert_eq!((params.routes, params.backends), (Some(routes), None));
        }
        for bad in ["", "-1", "all", "4294967296"] {
            assert!(matches!(quota(&flags(bad)), Err(InvalidArg::Quota("--routes", _))), "{bad}");
        }
    }

    #[test]
    fn an_end_is_a_time_or_a_length() {
        let wait = || crate::cli::Wait { wait: None };
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
        let by_length = suspend(&flags(None, Some(Duration::from_secs(60)))).unwrap().until.unwrap();
        assert!(by_length.ends_with('Z') && by_length.as_bytes()[10] == b'T', "{by_length}");
        assert_eq!(suspend(&flags(None, None)).unwrap().until, None);
        assert!(matches!(suspend(&flags(Some("tomorrow"), None)), Err(InvalidArg::Until(_))));
        assert!(matches!(suspend(&flags(None, Some(Duration::ZERO))), Err(InvalidArg::For)));
        assert!(matches!(suspend(&flags(None, Some(Duration::MAX))), Err(InvalidArg::For)));
    }
}
