//! `gwctl admin …`

use gwctl::Client;
use webgateway_proto::api::{
    MAX_PAGE, SuspensionView, UserList, UserListParams, UserQuota, UserRef, UserState, UserSuspend, UserView,
    method,
};

use super::pages;
use crate::error::CommandError;
use crate::output::{Report, details, table};
use crate::printable::printable;

/// `gwctl admin suspend`
pub(super) async fn suspend(client: &Client, params: &UserSuspend) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::ADMIN_SUSPEND, params).await?, |state| text(&state)))
}

/// `gwctl admin unsuspend`
pub(super) async fn unsuspend(client: &Client, params: &UserRef) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::ADMIN_UNSUSPEND, params).await?, |state| text(&state)))
}

/// `gwctl admin users`
pub(super) async fn users(client: &Client, params: &UserListParams) -> Result<Report, CommandError> {
    let result = pages::all("users", params.limit, async |limit, cursor| {
        let limit = Some(limit).filter(|limit| *limit < MAX_PAGE);
        client.call(method::ADMIN_USERS, &UserListParams { limit, cursor, ..params.clone() }).await
    })
    .await?;
    Ok(Report::of(result, |list| listed(&list)))
}

/// `gwctl admin quota`
pub(super) async fn quota(client: &Client, params: &UserQuota) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::ADMIN_QUOTA, params).await?, |user| shown(&user)))
}

fn text(state: &UserState) -> String {
    let routes = if state.routes == 1 { "route" } else { "routes" };
    let user = printable(&state.user);
    if !state.suspended {
        return format!("{user} is not suspended, {} {routes} can be served.", state.routes);
    }
    let told = state.suspension.as_ref().map(told).unwrap_or_default();
    let told = printable(&told);
    format!("{user} is {told}, with {} {routes}. Undo: gwctl admin unsuspend {user}", state.routes)
}

/// Returns the suspension in words: until when, and why.
fn told(suspension: &SuspensionView) -> String {
    let until = suspension.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    let reason = suspension.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("suspended{until}{reason}")
}

fn listed(list: &UserList) -> String {
    if list.users.is_empty() {
        return "No users: they are listed from their first route on.".to_owned();
    }
    let head = ["USER", "ROUTES", "BACKENDS", "CHANGES/MIN", "FIRST SEEN", "STATE"];
    let rows = list.users.iter().map(|user| {
        let [routes, backends, changes] = quotas(user);
        [user.user.clone(), routes, backends, changes, user.first_seen.clone(), state(user)]
    });
    table(head, rows)
}

fn shown(user: &UserView) -> String {
    let [routes, backends, changes] = quotas(user);
    details(&[
        ("USER", user.user.clone()),
        ("ROUTES", routes),
        ("BACKENDS", backends),
        ("CHANGES/MIN", changes),
        ("STATE", state(user)),
    ])
}

fn state(user: &UserView) -> String {
    user.suspension.as_ref().map_or_else(|| "active".to_owned(), told)
}

/// Returns what a user has of what is allowed: routes, backends, changes per minute.
fn quotas(user: &UserView) -> [String; 3] {
    let of = |have: u64, most: Option<u32>| most.map_or(have.to_string(), |most| format!("{have} of {most}"));
    let changes = user.quota.mutations_per_minute.map_or("-".to_owned(), |most| most.to_string());
    [of(user.routes, user.quota.routes), of(user.backends, user.quota.backends), changes]
}

#[cfg(test)]
mod tests {
    use webgateway_proto::api::QuotaView;

    use super::*;

    fn suspension(reason: Option<&str>, until: Option<&str>) -> SuspensionView {
        let text = |text: &str| text.to_owned();
        SuspensionView {
            reason: reason.map(text),
            since: "2026-01-01T00:00:00Z".into(),
            until: until.map(text),
        }
    }

    #[test]
    fn says_what_became_of_the_user() {
        let state = |suspension: Option<SuspensionView>, routes| UserState {
            user: "u.pub".into(),
            suspended: suspension.is_some(),
            suspension,
            routes,
            version: 1,
        };
        let plain = "u.pub is suspended, with 1 route. Undo: gwctl admin unsuspend u.pub";
        assert_eq!(text(&state(Some(suspension(None, None)), 1)), plain);
        let both = suspension(Some("spam\u{1b}[2J"), Some("2026-02-01T00:00:00Z"));
        let told = "u.pub is suspended until 2026-02-01T00:00:00Z (spam\\u{1b}[2J), with 2 routes. Undo: gwctl admin unsuspend u.pub";
        assert_eq!(text(&state(Some(both), 2)), told);
        assert_eq!(text(&state(None, 0)), "u.pub is not suspended, 0 routes can be served.");
    }

    #[test]
    fn users_are_shown_with_what_they_have_and_may_have() {
        let user = UserView {
            user: "u.pub".into(),
            first_seen: "2026-01-01T00:00:00Z".into(),
            suspended: true,
            suspension: Some(suspension(Some("spam"), None)),
            routes: 3,
            backends: 4,
            quota: QuotaView { routes: Some(10), backends: None, mutations_per_minute: None },
        };
        let expected = "\
USER   ROUTES   BACKENDS  CHANGES/MIN  FIRST SEEN            STATE
u.pub  3 of 10  4         -            2026-01-01T00:00:00Z  suspended (spam)";
        assert_eq!(listed(&UserList { users: vec![user.clone()], next_cursor: None }), expected);
        let active = UserView { suspended: false, suspension: None, ..user };
        assert!(shown(&active).ends_with("STATE        active"), "{}", shown(&active));
    }
}
