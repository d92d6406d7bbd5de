//! `gwctl routes …`

use gwctl::Client;
use uuid::Uuid;
use webgateway_proto::api::{
    MAX_PAGE, RouteCreate, RouteDelete, RouteList, RouteListParams, RouteRef, RouteState, RouteUpdate,
    RouteView, method,
};
use webgateway_proto::model::{KeyId, Mode, RouteOptions};

use super::certificates::to_create;
use super::pages;
use crate::error::CommandError;
use crate::output::{Report, details, table};
use crate::printable::printable;

const NONE_YET: &str = "No routes yet. Create one: gwctl routes create -s myapp -b '[54f:1::2]:8080'";

/// The columns of a list of routes; the state is the last.
pub(super) const HEAD: [&str; 6] = ["ID", "HOST", "MODE", "METHOD", "BACKENDS", "STATE"];

/// `gwctl routes create`. The id is made here, so that a repetition after a lost connection returns the same route.
pub(super) async fn create(client: &Client, params: RouteCreate) -> Result<Report, CommandError> {
    let params = RouteCreate { id: Some(Uuid::now_v7()), ..params };
    let is_own_host = params.fqdn.is_some();
    let result = client.call(method::ROUTES_CREATE, &params).await?;
    Ok(Report::of(result, |route| match params.dry_run {
        true => would_be(&route),
        false => created(&route, is_own_host),
    }))
}

/// `gwctl routes list`
pub(super) async fn list(
    client: &Client,
    caller: &KeyId,
    params: RouteListParams,
) -> Result<Report, CommandError> {
    let result = pages::all("routes", params.limit, async |limit, cursor| {
        // What is meant anyway is not said: an older gateway does not know it.
        let limit = Some(limit).filter(|limit| *limit < MAX_PAGE);
        client.call(method::ROUTES_LIST, &RouteListParams { limit, cursor, ..params.clone() }).await
    })
    .await?;
    Ok(Report::of(result, |list| listed(&list, caller)))
}

/// `gwctl routes get`
pub(super) async fn get(client: &Client, params: &RouteRef) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::ROUTES_GET, params).await?, |route| shown(&route)))
}

/// `gwctl routes update`
pub(super) async fn update(client: &Client, params: &RouteUpdate) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::ROUTES_UPDATE, params).await?, |route| match params.dry_run {
        true => would_be(&route),
        false => shown(&route),
    }))
}

/// `gwctl routes delete`
pub(super) async fn delete(client: &Client, params: &RouteDelete) -> Result<Report, CommandError> {
    let result = client.call(method::ROUTES_DELETE, params).await?;
    Ok(Report::new(result, format!("Deleted route {}", params.id)))
}

fn would_be(route: &RouteView) -> String {
    format!("Nothing was done. Without --dry-run the route would be:\n\n{}", shown(route))
}

fn created(route: &RouteView, is_own_host: bool) -> String {
    let host = printable(&route.host);
    let mut text = format!("https://{host}/\nRoute {} leads to {}", route.id, route.backends.join(", "));
    text += match route.state {
        RouteState::Active => ".",
        RouteState::WaitingForCertificate => " as soon as its certificate is issued.",
        RouteState::Suspended => ", but its owner is suspended: it is not served.",
    };
    if route.mode == Mode::Passthrough {
        text += "\nTLS passes through untouched: the backend shows its own certificate.";
    }
    if let Some(reason) = &route.reason {
        text += &format!("\n{}", printable(reason));
    }
    if is_own_host && route.records.is_empty() {
        text += &format!("\nThe DNS record of {host} must point at the gateway (CNAME, or A/AAAA).");
    }
    text + &to_create(&route.records)
}

/// The owner is shown as soon as somebody else's route is there, which the admin alone sees.
fn listed(list: &RouteList, caller: &KeyId) -> String {
    if list.routes.is_empty() {
        return NONE_YET.to_owned();
    }
    if list.routes.iter().all(|route| route.owner == caller.as_str()) {
        return table(HEAD, list.routes.iter().map(columns));
    }
    let [id, host, mode, method, backends, state] = HEAD;
    let rows = list.routes.iter().map(|route| {
        let [id, host, mode, method, backends, state] = columns(route);
        [id, host, mode, method, backends, state, route.owner.clone()]
    });
    table([id, host, mode, method, backends, state, "OWNER"], rows)
}

/// Returns the cells of a route, below [`HEAD`].
pub(super) fn columns(route: &RouteView) -> [String; HEAD.len()] {
    let (mode, method) = (route.mode.to_string(), route.options.balance.to_string());
    let backends = route.backends.join(",");
    let state = match (&route.reason, route.state) {
        (Some(reason), RouteState::Suspended) => reason.clone(),
        (Some(_) | None, state) => state.as_str().to_owned(),
    };
    [route.id.clone(), route.host.clone(), mode, method, backends, state]
}

/// Returns the options that differ from their defaults, but for the balance, which is always shown.
fn given_options(options: &RouteOptions) -> Vec<(String, String)> {
    let given = options.given();
    let shown = options.describe().into_iter().filter(|(name, _)| *name != "balance" && given.contains(name));
    shown.map(|(name, value)| (name.replace('_', " ").to_uppercase(), value)).collect()
}

fn shown(route: &RouteView) -> String {
    let mut properties = vec![
        ("ID", route.id.clone()),
        ("URL", format!("https://{}/", route.host)),
        ("HOST", route.host.clone()),
        ("MODE", route.mode.to_string()),
        ("METHOD", route.options.balance.to_string()),
        ("BACKENDS", route.backends.join(", ")),
        ("STATE", route.state.as_str().to_owned()),
    ];
    let options = given_options(&route.options);
    properties.extend(options.iter().map(|(name, value)| (name.as_str(), value.clone())));
    properties.extend(route.reason.clone().map(|reason| ("REASON", reason)));
    properties.extend([
        ("OWNER", route.owner.clone()),
        ("VERSION", route.version.to_string()),
        ("CREATED", route.created_at.clone()),
        ("UPDATED", route.updated_at.clone()),
    ]);
    details(&properties) + &to_create(&route.records)
}

#[cfg(test)]
mod tests {
    use webgateway_proto::api::DnsRecord;

    use super::*;

    fn route(owner: &str, state: RouteState) -> RouteView {
        RouteView {
            id: "01999999-9999-7999-8999-999999999999".into(),
            owner: owner.into(),
            host: "app.gw.example".into(),
            mode: Mode::Terminate,
            backends: vec!["[400::1]:80".into(), "[400::2]:80".into()],
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
    fn the_owner_is_shown_when_it_is_not_always_the_caller() {
        let caller = "me.pub".parse().unwrap();
        let list = |owner| RouteList {
            routes: vec![route(owner, RouteState::Active)],
            next_cursor: None,
            version: 7,
        };
        let own = listed(&list("me.pub"), &caller);
        let expected = "\
ID                                    HOST            MODE       METHOD       BACKENDS                 STATE
01999999-9999-7999-8999-999999999999  app.gw.example  terminate  round_robin  [400::1]:80,[400::2]:80  active";
        assert_eq!(own, expected);
        let others = listed(&list("you.pub"), &caller);
        assert!(others.lines().next().unwrap().ends_with("STATE   OWNER"), "{others}");
        assert!(others.ends_with("active  you.pub"), "{others}");
        assert_eq!(listed(&RouteList { routes: vec![], next_cursor: None, version: 7 }, &caller), NONE_YET);
    }

    #[test]
    fn a_new_route_says_where_to_look_and_what_is_missing() {
        let text = created(&route("me.pub", RouteState::Active), false);
        assert_eq!(
            text,
            "https://app.gw.example/\n\
             Route 01999999-9999-7999-8999-999999999999 leads to [400::1]:80, [400::2]:80."
        );
        let mut own = route("me.pub", RouteState::WaitingForCertificate);
        own.mode = Mode::Passthrough;
        let text = created(&own, true);
        assert!(text.contains("as soon as its certificate is issued"), "{text}");
        assert!(text.contains("its own certificate") && text.contains("DNS record"), "{text}");
    }

    #[test]
    fn a_route_that_waits_says_why_and_which_records_to_create() {
        let mut waiting = route("me.pub", RouteState::WaitingForCertificate);
        waiting.reason = Some("app.example.org has no address".into());
        let record =
            DnsRecord { name: "app.example.org".into(), kind: "CNAME".into(), value: "gw.example".into() };
        waiting.records = vec![record];
        for text in [shown(&waiting), created(&waiting, true)] {
            assert!(text.contains("app.example.org has no address\n"), "{text}");
            assert!(text.ends_with("DNS records to create:\n  app.example.org  CNAME  gw.example"), "{text}");
            assert!(!text.contains("must point"), "said once: {text}");
        }
        assert!(shown(&waiting).contains("STATE     waiting for certificate\nREASON    app.example.org"));
    }
}
