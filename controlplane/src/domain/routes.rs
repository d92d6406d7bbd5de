//! The changes of routes. A caller's own routes exist for them, the admin's eyes see all.

use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use tracing::info;
use webgateway_proto::audit::action;
use webgateway_proto::model::{
    Backend, Backends, Destination, Host, KeyId, Mode, Route, RouteId, RouteOptions, RouteOptionsPatch,
};

use super::caller::Caller;
use super::host::AdmittedHost;
use super::quotas::{More, Quotas};
use super::refusal::Refusal;
use super::route_status::{Gateway, RouteStatus, status_of};
use super::rules::Domain;
use crate::store::audit::{self, AuditEntry};
use crate::store::{StoreError, Tx, WriteTx, routes, users};

/// Creates a route: exactly one of `fqdn` and `subdomain` names its host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CreateRoute {
    /// The id, if the client made one: a retry with the same id and content returns the same route.
    pub id: Option<RouteId>,
    /// A fully qualified host.
    pub fqdn: Option<String>,
    /// One label below the base domain.
    pub subdomain: Option<String>,
    /// How the gateway treats its TLS.
    pub mode: Mode,
    /// The backends, each an address with its port.
    pub backends: Vec<String>,
    /// Everything else the route says.
    pub options: RouteOptions,
    /// True if everything is to be checked and nothing done.
    pub dry_run: bool,
}

/// Changes a route; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpdateRoute {
    /// The route.
    pub id: RouteId,
    /// Another fully qualified host.
    pub fqdn: Option<String>,
    /// Another label below the base domain.
    pub subdomain: Option<String>,
    /// Another mode.
    pub mode: Option<Mode>,
    /// All its backends from now on.
    pub backends: Option<Vec<String>>,
    /// The options that change.
    pub options: RouteOptionsPatch,
    /// The version that the caller knows: the update is refused if it is another by now.
    pub expected_version: Option<u64>,
    /// True if everything is to be checked and nothing done.
    pub dry_run: bool,
}

/// Deletes a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeleteRoute {
    /// The route.
    pub id: RouteId,
    /// The version that the caller knows: the deletion is refused if it is another by now.
    pub expected_version: Option<u64>,
}

/// A route to be made.
struct Wanted {
    id: Option<RouteId>,
    host: Host,
    destination: Destination,
}

/// An update whose host and backends were admitted.
struct Change {
    host: Option<AdmittedHost>,
    backends: Option<Backends>,
    command: UpdateRoute,
}

/// The facts that hold while something is done.
struct Given {
    now: OffsetDateTime,
    gateway: Gateway,
    quotas: Quotas,
}

impl Domain {
    fn given(&self) -> Given {
        Given { now: self.clock.now(), gateway: self.gateway(), quotas: self.quotas.clone() }
    }

    /// Returns the facts about the gateway that decide how a route stands.
    pub(super) fn gateway(&self) -> Gateway {
        Gateway { base: self.hosts.base().clone(), listeners: self.listeners.clone() }
    }

    fn admit_backends(&self, texts: &[String]) -> Result<Backends, Refusal> {
        let backends = Backends::parse(texts, &self.allowed_backends)?;
        match self.listeners.first_among(&backends) {
            Some(own) => Err(Refusal::OwnListener(own)),
            None => Ok(backends),
        }
    }

    /// Does it, or only what it would be.
    async fn change<F>(&self, method: &'static str, dry_run: bool, work: F) -> Result<RouteStatus, Refusal>
    where
        F: FnOnce(&mut WriteTx<'_>) -> Result<RouteStatus, Refusal> + Send + 'static,
    {
        if dry_run { self.store.dry_run(method, work).await } else { self.store.write(method, work).await }
    }

    /// Creates a route. With an id that the caller made, the same call again returns the same route.
    pub(crate) async fn create_route(
        &self,
        caller: &Caller,
        command: CreateRoute,
    ) -> Result<RouteStatus, Refusal> {
        let CreateRoute { id, fqdn, subdomain, mode, backends, options, dry_run } = command;
        let host = self.hosts.admit(fqdn.as_deref(), subdomain.as_deref())?;
        let host = host.ok_or(Refusal::NoHost)?.in_mode(mode)?;
        let backends = self.admit_backends(&backends)?;
        let destination = Destination::new(mode, backends, options)?;
        let (by, given, wanted) = (caller.clone(), self.given(), Wanted { id, host, destination });
        let write = move |tx: &mut WriteTx<'_>| create(tx, &by, wanted, &given);
        self.change(action::ROUTES_CREATE, dry_run, write).await
    }

    /// Returns one route.
    pub(crate) async fn route(&self, caller: &Caller, id: RouteId) -> Result<RouteStatus, Refusal> {
        let (caller, gateway) = (caller.clone(), self.gateway());
        self.store
            .read("routes.get", move |tx| {
                let route = owned(tx, &caller, id)?;
                Ok(status_of(tx, route, &gateway)?)
            })
            .await
    }

    /// Changes what is given. Refuses if the caller expects another version than there is.
    pub(crate) async fn update_route(
        &self,
        caller: &Caller,
        command: UpdateRoute,
    ) -> Result<RouteStatus, Refusal> {
        let host = self.hosts.admit(command.fqdn.as_deref(), command.subdomain.as_deref())?;
        let backends = command.backends.as_ref().map(|texts| self.admit_backends(texts));
        let change = Change { host, backends: backends.transpose()?, command };
        let (by, given, dry_run) = (caller.clone(), self.given(), change.command.dry_run);
        let write = move |tx: &mut WriteTx<'_>| update(tx, &by, change, &given);
        self.change(action::ROUTES_UPDATE, dry_run, write).await
    }

    /// Deletes a route and returns what it was, at the version of its deletion. Refuses if the caller expects another
    /// version than there is.
    pub(crate) async fn delete_route(
        &self,
        caller: &Caller,
        command: DeleteRoute,
    ) -> Result<RouteStatus, Refusal> {
        let DeleteRoute { id, expected_version } = command;
        let (by, now, gateway) = (caller.clone(), self.clock.now(), self.gateway());
        self.store
            .write(action::ROUTES_DELETE, move |tx| {
                by.require_active(tx)?;
                let route = expect(owned(tx, &by, id)?, expected_version)?;
                let mut last = status_of(tx, route, &gateway)?;
                let version = tx.revise()?;
                routes::delete(tx, id, version, now)?;
                let done = Done { at: now, method: action::ROUTES_DELETE };
                record(tx, &by, done, Some(&last.route), None)?;
                announce(tx, "route deleted", &by, &last.route);
                last.route.version = version;
                Ok(last)
            })
            .await
    }
}

/// Logs one line for the operator, if the change is committed; the audit has the rest.
fn announce(tx: &mut WriteTx<'_>, what: &'static str, caller: &Caller, route: &Route) {
    let (id, host, owner, by) = (route.id, route.host.clone(), route.owner.clone(), caller.key_id().clone());
    tx.on_commit(move || info!(route = %id, %host, %owner, %by, "{what}"));
}

fn create(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    wanted: Wanted,
    Given { now, gateway, quotas }: &Given,
) -> Result<RouteStatus, Refusal> {
    caller.require_active(tx)?;
    if let Some(id) = wanted.id
        && let Some(route) = routes::find(tx, id)?
    {
        let same = route.owner == *caller.key_id()
            && route.host == wanted.host
            && route.destination == wanted.destination;
        return if same { Ok(status_of(tx, route, gateway)?) } else { Err(Refusal::IdTaken(id)) };
    }
    refuse_taken(tx, caller, &wanted.host)?;
    let backends = wanted.destination.backends.as_slice().len() as u64;
    quotas.admit(tx, caller, &More { routes: 1, backends })?;
    let route = Route {
        id: wanted.id.unwrap_or_else(RouteId::generate),
        owner: caller.key_id().clone(),
        host: wanted.host,
        destination: wanted.destination,
        version: tx.revise()?,
        created_at: *now,
        updated_at: *now,
    };
    users::ensure(tx, &route.owner, *now)?;
    routes::insert(tx, &route)?;
    record(tx, caller, Done { at: *now, method: action::ROUTES_CREATE }, None, Some(&route))?;
    announce(tx, "route created", caller, &route);
    Ok(status_of(tx, route, gateway)?)
}

fn update(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    change: Change,
    Given { now, gateway, quotas }: &Given,
) -> Result<RouteStatus, Refusal> {
    caller.require_active(tx)?;
    let before = expect(owned(tx, caller, change.command.id)?, change.command.expected_version)?;
    let mut route = changed(&before, change, &gateway.base)?;
    if route == before {
        return Ok(status_of(tx, before, gateway)?);
    }
    if route.host != before.host {
        refuse_taken(tx, caller, &route.host)?;
    }
    let size = |route: &Route| route.destination.backends.as_slice().len() as u64;
    let backends = size(&route).saturating_sub(size(&before));
    quotas.admit(tx, caller, &More { routes: 0, backends })?;
    route.version = tx.revise()?;
    route.updated_at = *now;
    routes::update(tx, &route)?;
    record(tx, caller, Done { at: *now, method: action::ROUTES_UPDATE }, Some(&before), Some(&route))?;
    announce(tx, "route updated", caller, &route);
    Ok(status_of(tx, route, gateway)?)
}

/// The route after the change, its version and time aside.
fn changed(before: &Route, change: Change, base: &Host) -> Result<Route, Refusal> {
    let mut route = before.clone();
    let mode = change.command.mode.unwrap_or(before.destination.mode);
    route.host = match change.host {
        Some(host) => host.in_mode(mode)?,
        // Only a host that was given as `fqdn` may be passed through, and a child of the base may not have been.
        None if mode != before.destination.mode && before.host.is_child_of(base) => {
            AdmittedHost::Subdomain(before.host.clone()).in_mode(mode)?
        }
        None => before.host.clone(),
    };
    let backends = change.backends.unwrap_or_else(|| before.destination.backends.clone());
    let options = before.destination.options.patched(change.command.options);
    route.destination = Destination::new(mode, backends, options)?;
    Ok(route)
}

/// The route, if it exists for the caller: somebody else's does not.
fn owned(tx: &mut Tx<'_>, caller: &Caller, id: RouteId) -> Result<Route, Refusal> {
    let found = routes::find(tx, id)?.filter(|route| caller.sees(&route.owner));
    found.ok_or(Refusal::NoRoute(id))
}

/// The route, if it is at the version expected.
fn expect(route: Route, version: Option<u64>) -> Result<Route, Refusal> {
    match version.filter(|expected| *expected != route.version) {
        Some(expected) => Err(Refusal::Stale { expected, actual: route.version }),
        None => Ok(route),
    }
}

fn refuse_taken(tx: &mut Tx<'_>, caller: &Caller, host: &Host) -> Result<(), Refusal> {
    match routes::find_by_host(tx, host)? {
        Some(other) => {
            let own = caller.sees(&other.owner).then_some(other.id);
            Err(Refusal::HostTaken { host: host.clone(), own })
        }
        None => Ok(()),
    }
}

/// An action and its time.
struct Done {
    at: OffsetDateTime,
    method: &'static str,
}

fn record(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    done: Done,
    before: Option<&Route>,
    after: Option<&Route>,
) -> Result<(), StoreError> {
    let Some(id) = after.or(before).map(|route| route.id) else { return Ok(()) };
    let entry = AuditEntry {
        before: before.map(written),
        after: after.map(written),
        ..caller.entry(done.at, done.method, format!("route/{id}"))
    };
    audit::insert(tx, &entry)
}

/// A route as the audit keeps it.
#[derive(Serialize)]
struct Written<'a> {
    owner: &'a KeyId,
    host: &'a Host,
    mode: Mode,
    backends: &'a [Backend],
    #[serde(flatten)]
    options: &'a RouteOptions,
    version: u64,
}

fn written(route: &Route) -> String {
    let Destination { mode, backends, options } = &route.destination;
    let written = Written {
        owner: &route.owner,
        host: &route.host,
        mode: *mode,
        backends: backends.as_slice(),
        options,
        version: route.version,
    };
    json!(written).to_string()
}
