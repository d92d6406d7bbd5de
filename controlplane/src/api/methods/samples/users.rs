//! The example values about users.

use webgateway_proto::api::{
    Identity, Limit, QuotaView, SuspensionView, UserList, UserListParams, UserQuota, UserRef, UserState,
    UserSuspend, UserView,
};

use super::constants::{CREATED, UPDATED, USER};
use crate::api::methods::method::Example;

const UNTIL: &str = "2026-04-01T00:00:00Z";
const REASON: &str = "unpaid invoice";

pub(in crate::api::methods) fn user_ref() -> UserRef {
    UserRef { user: USER.to_owned() }
}

pub(in crate::api::methods) fn unsuspended() -> UserState {
    UserState { user: USER.to_owned(), suspended: false, suspension: None, routes: 2, version: 1213 }
}

pub(in crate::api::methods) fn suspend() -> Example<UserSuspend, UserState> {
    let params =
        UserSuspend { user: USER.to_owned(), reason: Some(REASON.to_owned()), until: Some(UNTIL.to_owned()) };
    let result =
        UserState { suspended: true, suspension: Some(suspension()), version: 1212, ..unsuspended() };
    Example { name: "A suspension with an end", params, result }
}

fn suspension() -> SuspensionView {
    SuspensionView {
        reason: Some(REASON.to_owned()),
        since: UPDATED.to_owned(),
        until: Some(UNTIL.to_owned()),
    }
}

pub(in crate::api::methods) fn identity() -> Identity {
    let UserView { first_seen, routes, backends, quota, .. } = user();
    Identity {
        key_id: USER.to_owned(),
        fingerprint: "SHA256:/RENMB0vB33hQUuPmfRBsUA/qyB7IFL70sBl5O6OfcI".to_owned(),
        algorithm: "ed25519".to_owned(),
        admin: false,
        suspended: false,
        suspension: None,
        first_seen: Some(first_seen),
        routes,
        backends,
        mutations_this_minute: 4,
        quota,
    }
}

fn user() -> UserView {
    UserView {
        user: USER.to_owned(),
        first_seen: CREATED.to_owned(),
        suspended: false,
        suspension: None,
        routes: 2,
        backends: 3,
        quota: QuotaView { routes: Some(50), backends: None, mutations_per_minute: Some(120) },
    }
}

pub(in crate::api::methods) fn users() -> Vec<Example<UserListParams, UserList>> {
    let suspended = UserListParams { suspended: Some(true), limit: Some(1), cursor: None };
    // The last user of the page, base64url without padding.
    let cursor = "dXNlcjEucHVi".to_owned();
    let next = UserListParams { cursor: Some(cursor.clone()), ..suspended.clone() };
    let one = UserView { suspended: true, suspension: Some(suspension()), ..user() };
    vec![
        Example {
            name: "A page of suspended users",
            params: suspended,
            result: UserList { users: vec![one], next_cursor: Some(cursor) },
        },
        Example {
            name: "The next page",
            params: next,
            result: UserList { users: Vec::new(), next_cursor: None },
        },
    ]
}

pub(in crate::api::methods) fn quotas() -> Vec<Example<UserQuota, UserView>> {
    let params = UserQuota {
        user: USER.to_owned(),
        routes: Some(Some(Limit::AtMost(50))),
        backends: Some(Some(Limit::NONE)),
        mutations_per_minute: Some(None),
    };
    vec![Example { name: "A number, no limit, and the default of the gateway", params, result: user() }]
}
