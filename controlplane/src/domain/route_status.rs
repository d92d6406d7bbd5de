//! The status of a route: its state, and the problem that keeps it from being served.

use std::collections::HashMap;

use webgateway_proto::model::{DnsRecord, Host, KeyId, Mode, Route, Suspension};

use super::certificates::awaited_issuance;
use super::listeners::GatewayListeners;
use crate::clock::rfc3339;
use crate::store::{StoreError, Tx, claims, coverage, users};

/// A route and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteStatus {
    /// The route.
    pub route: Route,
    /// The state.
    pub state: RouteState,
    /// The problem that keeps the route from being served, if details are known.
    pub problem: Option<RouteProblem>,
}

/// The state of a route: served, or the reason why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteState {
    /// The route is on the feed.
    Active,
    /// The route waits for its certificate.
    WaitingForCertificate,
    /// The route's owner is suspended.
    Suspended,
    /// The route claims its host, and no proof was found yet.
    Unproven,
    /// The route held its host until another owner proved theirs.
    Displaced,
}

/// The reason why a route is not served, and what its owner can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteProblem {
    /// The reason.
    pub reason: String,
    /// The DNS records that the owner has to create.
    pub records: Vec<DnsRecord>,
}

/// The properties of the gateway on which a route's status depends.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    /// The base domain.
    pub(super) base: Host,
    /// The gateway's own listeners, which no route may have as a backend.
    pub(super) listeners: GatewayListeners,
}

/// Determines the status of a route.
pub(super) fn status_of(tx: &mut Tx<'_>, route: Route, gateway: &Gateway) -> Result<RouteStatus, StoreError> {
    let suspension = users::suspension(tx, &route.owner)?;
    status_with(tx, route, suspension.as_ref(), gateway)
}

/// Determines the statuses of many routes. The suspension of each owner is read once.
pub(super) fn statuses_of(
    tx: &mut Tx<'_>,
    routes: Vec<Route>,
    gateway: &Gateway,
) -> Result<Vec<RouteStatus>, StoreError> {
    let mut suspensions: HashMap<KeyId, Option<Suspension>> = HashMap::new();
    let mut statuses = Vec::with_capacity(routes.len());
    for route in routes {
        if !suspensions.contains_key(&route.owner) {
            suspensions.insert(route.owner.clone(), users::suspension(tx, &route.owner)?);
        }
        let suspension = suspensions.get(&route.owner).and_then(Option::as_ref);
        statuses.push(status_with(tx, route, suspension, gateway)?);
    }
    Ok(statuses)
}

fn status_with(
    tx: &mut Tx<'_>,
    route: Route,
    suspension: Option<&Suspension>,
    gateway: &Gateway,
) -> Result<RouteStatus, StoreError> {
    if let Some(suspension) = suspension {
        let terms = suspension.terms();
        let reason = Some(format!("suspended{terms}")).filter(|_| !terms.is_empty());
        let problem = reason.map(|reason| RouteProblem { reason, records: Vec::new() });
        return Ok(RouteStatus { route, state: RouteState::Suspended, problem });
    }
    if let Some(claim) = claims::find(tx, route.id)? {
        let state = if claim.displaced { RouteState::Displaced } else { RouteState::Unproven };
        let reason = format!("{}; the claim expires on {}", claim.reason, rfc3339(claim.expires_at));
        let problem = Some(RouteProblem { reason, records: claim.records });
        return Ok(RouteStatus { route, state, problem });
    }
    if route.destination.mode == Mode::Passthrough || coverage::covers(tx, &route.host)? {
        let problem = loop_problem(&route, gateway);
        return Ok(RouteStatus { route, state: RouteState::Active, problem });
    }
    let problem = Some(certificate_problem(tx, &route.host, &gateway.base)?);
    Ok(RouteStatus { route, state: RouteState::WaitingForCertificate, problem })
}

/// Returns a problem if a backend is a listener of the gateway. The route may be older than that listener.
fn loop_problem(route: &Route, gateway: &Gateway) -> Option<RouteProblem> {
    let destination = &route.destination;
    let of_options = destination.options.backends().map(|(_, backend)| backend);
    let backend = gateway.listeners.first_among(destination.all_backends().chain(of_options))?;
    let reason = format!("its backend {backend} is a listener of this gateway itself and is not used");
    Some(RouteProblem { reason, records: Vec::new() })
}

/// Returns why a host has no certificate yet. DNS records of the base domain are left out, because the operator creates
/// them.
fn certificate_problem(tx: &mut Tx<'_>, host: &Host, base: &Host) -> Result<RouteProblem, StoreError> {
    let issuance = awaited_issuance(tx, host, base)?;
    Ok(match (host.is_child_of(base), issuance.last_error) {
        (_, None) => {
            RouteProblem { reason: "its certificate is being issued".to_owned(), records: issuance.records }
        }
        (false, Some(reason)) => RouteProblem { reason, records: issuance.records },
        (true, Some(error)) => RouteProblem {
            reason: format!("the certificate of {base}, which the operator has to fix: {error}"),
            records: Vec::new(),
        },
    })
}
