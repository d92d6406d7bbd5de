//! `gwctl admin …`

use gwctl::Client;
use webgateway_proto::api::{UserRef, UserState, method};

use crate::fault::Fault;
use crate::output::Report;
use crate::printable::printable;

/// `gwctl admin suspend`
pub(super) async fn suspend(client: &Client, params: &UserRef) -> Result<Report, Fault> {
    Ok(Report::of(client.call(method::ADMIN_SUSPEND, params).await?, |state| text(&state)))
}

/// `gwctl admin unsuspend`
pub(super) async fn unsuspend(client: &Client, params: &UserRef) -> Result<Report, Fault> {
    Ok(Report::of(client.call(method::ADMIN_UNSUSPEND, params).await?, |state| text(&state)))
}

fn text(state: &UserState) -> String {
    let routes = if state.routes == 1 { "route" } else { "routes" };
    let user = printable(&state.user);
    match state.suspended {
        true => format!(
            "{user} is suspended, with {} {routes}. Undo: gwctl admin unsuspend --user {user}",
            state.routes
        ),
        false => format!("{user} is not suspended, {} {routes} can be served.", state.routes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_became_of_the_user() {
        let state = |suspended, routes| UserState { user: "u.pub".into(), suspended, routes, version: 1 };
        let suspended = "u.pub is suspended, with 1 route. Undo: gwctl admin unsuspend --user u.pub";
        assert_eq!(text(&state(true, 1)), suspended);
        assert_eq!(text(&state(false, 0)), "u.pub is not suspended, 0 routes can be served.");
    }
}
