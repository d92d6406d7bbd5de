//! Lists of routes as text: one line per route, of 80 columns for usual hosts; more with `-o wide`.

use webgateway_proto::api::{RouteState, RouteView};
use webgateway_proto::model::KeyId;

use crate::cli::Format;
use crate::output::table;

/// The columns of a list of routes. The state is the last one.
pub(super) const COLUMNS: [&str; 4] = ["HOST", "MODE", "BACKENDS", "STATE"];

/// The maximum width of a backend in a list, in characters.
const BACKEND_WIDTH: usize = 20;

/// Formats routes. With other users' routes, which only the admin gets, there is a column OWNER.
pub(super) fn routes_table(routes: &[RouteView], caller: &KeyId, format: Format) -> String {
    let is_own = routes.iter().all(|route| route.owner == caller.as_str());
    let [host, mode, backends, state] = COLUMNS;
    if format == Format::Wide {
        let head = [host, mode, "METHOD", backends, state, "OWNER", "ID"];
        return table(head, routes.iter().map(wide_cells));
    }
    if is_own {
        return table(COLUMNS, routes.iter().map(route_cells));
    }
    let rows = routes.iter().map(|route| {
        let [host, mode, backends, state] = route_cells(route);
        [host, mode, backends, state, route.owner.clone()]
    });
    table([host, mode, backends, state, "OWNER"], rows)
}

/// Returns a route's cells for [`COLUMNS`].
pub(super) fn route_cells(route: &RouteView) -> [String; COLUMNS.len()] {
    let state = match route.state {
        RouteState::WaitingForCertificate => "waiting".to_owned(),
        RouteState::Unproven => "unproven".to_owned(),
        RouteState::Active | RouteState::Suspended | RouteState::Displaced => route.state.as_str().to_owned(),
    };
    [route.host.clone(), route.mode.to_string(), first_backend(&route.backends), state]
}

fn wide_cells(route: &RouteView) -> [String; 7] {
    let state = match (&route.reason, route.state) {
        (Some(reason), RouteState::Suspended) => reason.clone(),
        (Some(_) | None, state) => state.as_str().to_owned(),
    };
    [
        route.host.clone(),
        route.mode.to_string(),
        route.options.balance.to_string(),
        route.backends.join(","),
        state,
        route.owner.clone(),
        route.id.clone(),
    ]
}

/// Returns the first backend, its middle left out if it is long, and the number of others.
fn first_backend(backends: &[String]) -> String {
    let Some((first, others)) = backends.split_first() else { return String::new() };
    let more = if others.is_empty() { String::new() } else { format!(" +{}", others.len()) };
    let width = BACKEND_WIDTH.saturating_sub(more.len());
    let length = first.chars().count();
    if length <= width {
        return format!("{first}{more}");
    }
    let kept = width.saturating_sub(1);
    // The end has the port.
    let end = kept / 2;
    let start: String = first.chars().take(kept - end).collect();
    let end: String = first.chars().skip(length - end).collect();
    format!("{start}…{end}{more}")
}

#[cfg(test)]
mod tests {
    use webgateway_proto::model::{Mode, RouteOptions};

    use super::*;

    fn route(host: &str, backends: &[&str], state: RouteState) -> RouteView {
        RouteView {
            id: "01999999-9999-7999-8999-999999999999".into(),
            owner: "me.pub".into(),
            host: host.into(),
            mode: Mode::Passthrough,
            backends: backends.iter().map(|backend| (*backend).to_owned()).collect(),
            options: RouteOptions::default(),
            state,
            reason: None,
            records: Vec::new(),
            version: 7,
            created_at: "2026-01-01T00:00:00Z".into(),
            updated_at: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[test]
    fn a_list_fits_80_columns_and_the_host_comes_first() {
        let long = "[400:1111:2222:3333:4444:5555:6666:7777]:18080";
        let routes = [
            route("app.gateway.example.com", &["[400::1]:80", "[400::2]:80"], RouteState::Active),
            route("a.example.org", &[long], RouteState::WaitingForCertificate),
            route("b.example.org", &[long; 32], RouteState::Suspended),
        ];
        let expected = "\
HOST                     MODE         BACKENDS              STATE
app.gateway.example.com  passthrough  [400::1]:80 +1        active
a.example.org            passthrough  [400:1111:…777]:18080  waiting
b.example.org            passthrough  [400:111…]:18080 +31  suspended";
        let listed = routes_table(&routes, &"me.pub".parse().unwrap(), Format::Table);
        assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
        let squeezed = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(squeezed(&listed)[..8], squeezed(expected)[..8]);
        for line in listed.lines().skip(2) {
            assert!(line.contains("[400:") && line.contains("]:18080"), "{line}");
        }
        assert!(listed.contains(" +31  suspended") && listed.contains("waiting"), "{listed}");
    }

    #[test]
    fn other_owners_and_the_wide_form_have_more_columns() {
        let mut other = route("app.gw.example", &["[400::1]:80"], RouteState::Suspended);
        (other.owner, other.reason) = ("you.pub".into(), Some("suspended: spam".into()));
        let caller = "me.pub".parse().unwrap();
        let listed = routes_table(&[other.clone()], &caller, Format::Table);
        assert!(listed.ends_with("suspended  you.pub"), "{listed}");
        let wide = routes_table(&[other], &caller, Format::Wide);
        assert!(wide.ends_with("suspended: spam  you.pub  01999999-9999-7999-8999-999999999999"), "{wide}");
    }
}
