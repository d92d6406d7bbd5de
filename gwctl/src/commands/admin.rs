//! The commands of `gwctl admin`.

use gwctl::Client;
use webgateway_proto::api::{
    MAX_PAGE, SuspensionView, UserList, UserListParams, UserQuota, UserRef, UserState, UserSuspend, UserView,
    method,
};

use super::pages;
use crate::error::CommandError;
use crate::output::{Report, details, table};
use crate::printable::printable;

/// Runs `gwctl admin suspend`.
pub(super) async fn suspend(client: &Client, params: &UserSuspend) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::ADMIN_SUSPEND, params).await?, |state| {
        user_state_text(&state)
    }))
}

/// Runs `gwctl admin unsuspend`.
pub(super) async fn unsuspend(client: &Client, params: &UserRef) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::ADMIN_UNSUSPEND, params).await?, |state| {
        user_state_text(&state)
    }))
}

/// Runs `gwctl admin users`.
pub(super) async fn users(client: &Client, params: &UserListParams) -> Result<Report, CommandError> {
    let result = pages::fetch_all("users", params.limit, async |limit, cursor| {
        let limit = Some(limit).filter(|limit| *limit < MAX_PAGE);
        client.call(method::ADMIN_USERS, &UserListParams { limit, cursor, ..params.clone() }).await
    })
    .await?;
    Ok(Report::from_result(result, |list| users_table(&list)))
}

/// Runs `gwctl admin quota`.
pub(super) async fn quota(client: &Client, params: &UserQuota) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::ADMIN_QUOTA, params).await?, |user| user_details(&user)))
}

fn user_state_text(state: &UserState) -> String {
    let routes = if state.routes == 1 { "route" } else { "routes" };
    let user = printable(&state.user);
    if !state.suspended {
        return format!("{user} is not suspended and has {} {routes}.", state.routes);
    }
    let suspension = state.suspension.as_ref().map(suspension_text).unwrap_or_default();
    let suspension = printable(&suspension);
    format!("{user} is {suspension} and has {} {routes}. Undo: gwctl admin unsuspend {user}", state.routes)
}

/// Returns a suspension as text, with its end and its reason.
pub(super) fn suspension_text(suspension: &SuspensionView) -> String {
    let until = suspension.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    let reason = suspension.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("suspended{until}{reason}")
}

fn users_table(list: &UserList) -> String {
    if list.users.is_empty() {
        return "No users. A user is listed after creating a first route.".to_owned();
    }
    let head = ["USER", "ROUTES", "BACKENDS", "CHANGES/MIN", "FIRST SEEN", "STATE"];
    let rows = list.users.iter().map(|user| {
        let [routes, backends, changes] = quotas(user);
        [user.user.clone(), routes, backends, changes, user.first_seen.clone(), suspension_or_active(user)]
    });
    table(head, rows)
}

fn user_details(user: &UserView) -> String {
    let [routes, backends, changes] = quotas(user);
    details(&[
        ("USER", user.user.clone()),
        ("ROUTES", routes),
        ("BACKENDS", backends),
        ("CHANGES/MIN", changes),
        ("STATE", suspension_or_active(user)),
    ])
}

fn suspension_or_active(user: &UserView) -> String {
    user.suspension.as_ref().map_or_else(|| "active".to_owned(), suspension_text)
}

/// Returns a user's usage and quotas: routes, backends, changes per minute.
fn quotas(user: &UserView) -> [String; 3] {
    let of =
        |used: u64, quota: Option<u32>| quota.map_or(used.to_string(), |quota| format!("{used} of {quota}"));
    let changes = user.quota.mutations_per_minute.map_or("-".to_owned(), |quota| quota.to_string());
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
    fn the_result_of_a_suspension_is_shown() {
        let state = |suspension: Option<SuspensionView>, routes| UserState {
            user: "u.pub".into(),
            suspended: suspension.is_some(),
            suspension,
            routes,
            version: 1,
        };
        let plain = "u.pub is suspended and has 1 route. Undo: gwctl admin unsuspend u.pub";
        assert_eq!(user_state_text(&state(Some(suspension(None, None)), 1)), plain);
        let both = suspension(Some("spam\u{1b}[2J"), Some("2026-02-01T00:00:00Z"));
        let expected = "u.pub is suspended until 2026-02-01T00:00:00Z (spam\\u{1b}[2J) and has 2 routes. Undo: gwctl admin unsuspend u.pub";
        assert_eq!(user_state_text(&state(Some(both), 2)), expected);
        assert_eq!(user_state_text(&state(None, 0)), "u.pub is not suspended and has 0 routes.");
    }

    #[test]
    fn users_are_shown_with_their_usage_and_quotas() {
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
        assert_eq!(users_table(&UserList { users: vec![user.clone()], next_cursor: None }), expected);
        let active = UserView { suspended: false, suspension: None, ..user };
        assert!(user_details(&active).ends_with("STATE        active"), "{}", user_details(&active));
    }
}
