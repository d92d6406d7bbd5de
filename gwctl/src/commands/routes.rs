//! The commands of `gwctl routes`, except for `apply`, `explain` and `list --watch`.

use gwctl::Client;
use serde_json::json;
use uuid::Uuid;
use webgateway_proto::api::{
    MAX_PAGE, RouteCreate, RouteDelete, RouteList, RouteListParams, RouteRef, RouteState, RouteUpdate,
    RouteView, method,
};
use webgateway_proto::model::{KeyId, Mode, RouteOptions};

use super::certificates::dns_records_text;
use super::pages;
use super::route_table::routes_table;
use super::selection::route_id;
use crate::args::RouteSelector;
use crate::cli::Format;
use crate::error::CommandError;
use crate::output::{Report, details};
use crate::printable::printable;

const NO_ROUTES: &str = "No routes yet. Create one: gwctl routes create -s myapp -b '[54f:1::2]:8080'";

const NO_MATCH: &str = "No route matches. Without --host, --owner and --mode, all routes are listed.";

/// Runs `gwctl routes create`. The route's id is generated here, so that a retry creates no second route.
pub(super) async fn create(client: &Client, params: RouteCreate) -> Result<Report, CommandError> {
    let params = RouteCreate { id: Some(Uuid::now_v7()), ..params };
    let is_own_host = params.fqdn.is_some();
    let result = client.call(method::ROUTES_CREATE, &params).await?;
    Ok(Report::from_result(result, |route| match params.dry_run {
        true => dry_run_text(&route),
        false => created_text(&route, is_own_host),
    }))
}

/// Runs `gwctl routes list`.
pub(super) async fn list(
    client: &Client,
    caller: &KeyId,
    params: RouteListParams,
    format: Format,
) -> Result<Report, CommandError> {
    let result = pages::fetch_all("routes", params.limit, async |limit, cursor| {
        // The default limit is omitted: older gateways do not know the param.
        let limit = Some(limit).filter(|limit| *limit < MAX_PAGE);
        client.call(method::ROUTES_LIST, &RouteListParams { limit, cursor, ..params.clone() }).await
    })
    .await?;
    Ok(Report::from_result(result, |list| list_text(&list, caller, &params, format)))
}

/// Runs `gwctl routes get`. As YAML, the route is a file for `gwctl routes apply`.
pub(super) async fn get(
    client: &Client,
    caller: &KeyId,
    route: &RouteSelector,
) -> Result<Report, CommandError> {
    let params = RouteRef { id: route_id(client, caller, route).await? };
    let result = client.call(method::ROUTES_GET, &params).await?;
    let manifest = json!({ "routes": [result] });
    Ok(Report::from_result(result, |route| route_details(&route)).with_yaml(manifest))
}

/// Runs `gwctl routes update`.
pub(super) async fn update(
    client: &Client,
    caller: &KeyId,
    route: &RouteSelector,
    params: RouteUpdate,
) -> Result<Report, CommandError> {
    let params = RouteUpdate { id: route_id(client, caller, route).await?, ..params };
    Ok(Report::from_result(client.call(method::ROUTES_UPDATE, &params).await?, |route| {
        match params.dry_run {
            true => dry_run_text(&route),
            false => route_details(&route),
        }
    }))
}

/// Runs `gwctl routes delete`.
pub(super) async fn delete(
    client: &Client,
    caller: &KeyId,
    route: &RouteSelector,
) -> Result<Report, CommandError> {
    let params = RouteDelete { id: route_id(client, caller, route).await?, expected_version: None };
    let result = client.call(method::ROUTES_DELETE, &params).await?;
    let name = match route {
        RouteSelector::Host(host) => format!("{host} ({})", params.id),
        RouteSelector::Id(id) => id.to_string(),
    };
    Ok(Report::new(result, format!("Deleted route {name}")))
}

fn dry_run_text(route: &RouteView) -> String {
    format!("Nothing was stored. Without --dry-run, this would be the route:\n\n{}", route_details(route))
}

fn created_text(route: &RouteView, is_own_host: bool) -> String {
    let host = printable(&route.host);
    let mut text = format!("https://{host}/\nRoute {} -> {}", route.id, route.backends.join(", "));
    text += match route.state {
        RouteState::Active => "",
        RouteState::WaitingForCertificate => "\nThe route is served as soon as its certificate is issued.",
        RouteState::Suspended => "\nThe route is not served, because its owner is suspended.",
        RouteState::Unproven => "\nThe route is served as soon as the DNS proves that the host is yours.",
        RouteState::Displaced => {
            "\nThe route is not served, because another owner proved that the host is theirs."
        }
    };
    if route.mode == Mode::Passthrough {
        text += "\nTLS is passed through: the backend must present its own certificate.";
    }
    if let Some(reason) = &route.reason {
        text += &format!("\n{}", printable(reason));
    }
    if is_own_host && route.records.is_empty() {
        text += &format!("\nThe DNS record of {host} must point at the gateway (CNAME, or A/AAAA).");
    }
    text + &dns_records_text(&route.records)
}

/// Formats a list of routes. An empty one says whether there are none or the filter excludes them.
fn list_text(list: &RouteList, caller: &KeyId, params: &RouteListParams, format: Format) -> String {
    let RouteListParams { host, owner, mode, .. } = params;
    if !list.routes.is_empty() {
        return routes_table(&list.routes, caller, format);
    }
    if host.is_some() || owner.is_some() || mode.is_some() {
        return NO_MATCH.to_owned();
    }
    NO_ROUTES.to_owned()
}

/// Returns the options that differ from their defaults, except for the balance, which is always shown.
fn non_default_options(options: &RouteOptions) -> Vec<(String, String)> {
    let given = options.non_defaults();
    let options =
        options.describe().into_iter().filter(|(name, _)| *name != "balance" && given.contains(name));
    options.map(|(name, value)| (name.replace('_', " ").to_uppercase(), value)).collect()
}

fn route_details(route: &RouteView) -> String {
    let mut properties = vec![
        ("ID", route.id.clone()),
        ("URL", format!("https://{}/", route.host)),
        ("HOST", route.host.clone()),
        ("MODE", route.mode.to_string()),
        ("METHOD", route.options.balance.to_string()),
        ("BACKENDS", route.backends.join(", ")),
        ("STATE", route.state.as_str().to_owned()),
    ];
    let options = non_default_options(&route.options);
    properties.extend(options.iter().map(|(name, value)| (name.as_str(), value.clone())));
    properties.extend(route.reason.clone().map(|reason| ("REASON", reason)));
    properties.extend([
        ("OWNER", route.owner.clone()),
        ("VERSION", route.version.to_string()),
        ("CREATED", route.created_at.clone()),
        ("UPDATED", route.updated_at.clone()),
    ]);
    details(&properties) + &dns_records_text(&route.records)
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
    fn an_empty_list_says_whether_there_are_no_routes_or_none_matches() {
        let (caller, none) =
            ("me.pub".parse().unwrap(), RouteList { routes: vec![], next_cursor: None, version: 7 });
        let text = |params: &RouteListParams| list_text(&none, &caller, params, Format::Table);
        let all = RouteListParams::default();
        assert_eq!(text(&all), NO_ROUTES);
        for filtered in [
            RouteListParams { host: Some("a".into()), ..all.clone() },
            RouteListParams { owner: Some("you.pub".into()), ..all.clone() },
            RouteListParams { mode: Some(Mode::Passthrough), ..all.clone() },
        ] {
            assert_eq!(text(&filtered), NO_MATCH);
        }
    }

    #[test]
    fn a_new_route_shows_its_url_and_missing_steps() {
        let text = created_text(&route("me.pub", RouteState::Active), false);
        assert_eq!(
            text,
            "https://app.gw.example/\n\
             Route 01999999-9999-7999-8999-999999999999 -> [400::1]:80, [400::2]:80"
        );
        let mut own = route("me.pub", RouteState::WaitingForCertificate);
        own.mode = Mode::Passthrough;
        let text = created_text(&own, true);
        assert!(text.contains("as soon as its certificate is issued"), "{text}");
        assert!(text.contains("its own certificate") && text.contains("DNS record"), "{text}");
    }

    #[test]
    fn a_waiting_route_shows_the_reason_and_the_dns_records() {
        let mut waiting = route("me.pub", RouteState::WaitingForCertificate);
        waiting.reason = Some("app.example.org has no address".into());
        let record =
            DnsRecord { name: "app.example.org".into(), kind: "CNAME".into(), value: "gw.example".into() };
        waiting.records = vec![record];
        for text in [route_details(&waiting), created_text(&waiting, true)] {
            assert!(text.contains("app.example.org has no address\n"), "{text}");
            assert!(
                text.ends_with("DNS records to create:\n  app.example.org. IN CNAME gw.example."),
                "{text}"
            );
            assert!(!text.contains("must point"), "the hint about DNS appears only once: {text}");
        }
        assert!(
            route_details(&waiting).contains("STATE     waiting for certificate\nREASON    app.example.org")
        );
    }
}
