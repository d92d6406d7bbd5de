//! The status of a route: whether it is served, and what stands in its way.

use std::collections::HashMap;

use webgateway_proto::model::{DnsRecord, Host, KeyId, Mode, Route, Suspension};

use super::certificates::awaited;
use super::listeners::GatewayListeners;
use crate::store::{StoreError, Tx, coverage, users};

/// A route and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteStatus {
    /// The route.
    pub route: Route,
    /// The state.
    pub state: RouteState,
    /// The obstacle in its way, where more is known than the state says.
    pub obstacle: Option<Obstacle>,
}

/// The state of a route: served, or the reason why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteState {
    /// The route is on the feed.
    Active,
    /// The route waits for its certificate.
    WaitingForCertificate,
    /// Its owner is suspended.
    Suspended,
}

/// The reason why a route is not served, and what its owner can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// The reason.
    pub reason: String,
    /// The DNS records that the owner has to create.
    pub records: Vec<DnsRecord>,
}

/// The facts about the gateway that decide how a route stands.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    /// The base domain.
    pub(super) base: Host,
    /// The listeners, where no backend may be.
    pub(super) listeners: GatewayListeners,
}

/// A route as it is served, or what stands in its way.
pub(super) fn status_of(tx: &mut Tx<'_>, route: Route, gateway: &Gateway) -> Result<RouteStatus, StoreError> {
    let suspension = users::suspension(tx, &route.owner)?;
    status_under(tx, route, suspension.as_ref(), gateway)
}

/// The same for many, whose owners are few.
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
        statuses.push(status_under(tx, route, suspension, gateway)?);
    }
    Ok(statuses)
}

fn status_under(
    tx: &mut Tx<'_>,
    route: Route,
    suspension: Option<&Suspension>,
    gateway: &Gateway,
) -> Result<RouteStatus, StoreError> {
    if let Some(suspension) = suspension {
        let terms = suspension.terms();
        let reason = Some(format!("suspended{terms}")).filter(|_| !terms.is_empty());
        let obstacle = reason.map(|reason| Obstacle { reason, records: Vec::new() });
        return Ok(RouteStatus { route, state: RouteState::Suspended, obstacle });
    }
    if route.destination.mode == Mode::Passthrough || coverage::covers(tx, &route.host)? {
        let obstacle = leads_back(&route, gateway);
        return Ok(RouteStatus { route, state: RouteState::Active, obstacle });
    }
    let obstacle = Some(obstacle(tx, &route.host, &gateway.base)?);
    Ok(RouteStatus { route, state: RouteState::WaitingForCertificate, obstacle })
}

/// Returns that a backend is the gateway itself, if one is: the route may be from before that listener.
fn leads_back(route: &Route, gateway: &Gateway) -> Option<Obstacle> {
    let backend = gateway.listeners.first_among(&route.destination.backends)?;
    let reason = format!("its backend {backend} is a listener of this gateway itself, and never used");
    Some(Obstacle { reason, records: Vec::new() })
}

/// Why a host has no certificate yet. The records of the base domain's are the operator's to create.
fn obstacle(tx: &mut Tx<'_>, host: &Host, base: &Host) -> Result<Obstacle, StoreError> {
    let awaited = awaited(tx, host, base)?;
    Ok(match (host.is_child_of(base), awaited.last_error) {
        (_, None) => {
            Obstacle { reason: "its certificate is being issued".to_owned(), records: awaited.records }
        }
        (false, Some(reason)) => Obstacle { reason, records: awaited.records },
        (true, Some(error)) => Obstacle {
            reason: format!("the certificate of {base}, the operator's to see to: {error}"),
            records: Vec::new(),
        },
    })
}
