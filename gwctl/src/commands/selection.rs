//! The lookup of the route that a command line selects.

use gwctl::Client;
use serde_json::Value;
use webgateway_proto::api::{RouteListParams, method};
use webgateway_proto::model::{Host, KeyId};

use super::pages;
use crate::args::RouteSelector;
use crate::error::{CommandError, FailureKind};

/// Returns the id of the selected route. The API knows routes by their ids alone.
///
/// # Errors
///
/// The call fails, or there is no route of the host.
pub(super) async fn route_id(
    client: &Client,
    caller: &KeyId,
    selector: &RouteSelector,
) -> Result<String, CommandError> {
    let host = match selector {
        RouteSelector::Id(id) => return Ok(id.to_string()),
        RouteSelector::Host(host) => host,
    };
    let list = pages::fetch_all("routes", None, async |_, cursor| {
        let params = RouteListParams { host: Some(host.to_string()), cursor, ..RouteListParams::default() };
        client.call(method::ROUTES_LIST, &params).await
    })
    .await?;
    let routes = list["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    select(routes, host, caller).map(str::to_owned).ok_or_else(|| {
        CommandError::new(FailureKind::NotFound, format!("there is no route of the host {host}"))
            .flag("ROUTE")
            .hint("`gwctl routes list` shows your routes")
    })
}

/// Returns the id of the route with exactly this host. Of several, that is the caller's own one, or else the one that has
/// the host and does not only claim it.
fn select<'a>(routes: &'a [Value], host: &Host, caller: &KeyId) -> Option<&'a str> {
    let of_host = || routes.iter().filter(|route| route["host"] == host.as_str());
    let own = of_host().find(|route| route["owner"] == caller.as_str());
    let holder = of_host().find(|route| route["state"] != "unproven" && route["state"] != "displaced");
    own.or(holder).or_else(|| of_host().next()).and_then(|route| route["id"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_route_has_exactly_the_host_and_the_callers_own_comes_first() {
        let route = |id, host, owner| json!({ "id": id, "host": host, "owner": owner });
        let routes = [
            route("1", "a.example", "you.pub"),
            route("2", "a.example", "me.pub"),
            route("3", "a.example.org", "me.pub"),
            json!({ "id": "5", "host": "b.example", "owner": "they.pub", "state": "unproven" }),
            route("4", "b.example", "you.pub"),
        ];
        let caller = "me.pub".parse().unwrap();
        for (host, id) in [
            ("a.example", Some("2")),
            ("a.example.org", Some("3")),
            ("b.example", Some("4")),
            ("a.exam.ple", None),
        ] {
            assert_eq!(select(&routes, &Host::parse(host).unwrap(), &caller), id, "{host}");
        }
    }
}
