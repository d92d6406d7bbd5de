//! What may be done to routes. A caller's own routes exist for them, the admin's eyes see all.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use tracing::info;
use webgateway_proto::api::{RouteCreate, RouteDelete, RouteState, RouteUpdate, method};
use webgateway_proto::model::{
    Backend, Backends, Destination, DnsRecord, Host, KeyId, Mode, Route, RouteId, RouteOptions, Suspension,
};

use super::certificates::awaited;
use super::quotas::More;
use super::{Caller, Domain, Named, Quotas, Refusal};
use crate::store::audit::{self, Entry};
use crate::store::{StoreError, Tx, WriteTx, coverage, routes, users};

/// A route and whether it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The route.
    pub route: Route,
    /// Whether it is served.
    pub state: RouteState,
    /// What stands in its way.
    pub obstacle: Option<Obstacle>,
}

/// Why a route is not served, and what its owner can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Why.
    pub reason: String,
    /// DNS records to create.
    pub records: Vec<DnsRecord>,
}

/// A route to be made.
struct Wanted {
    id: Option<RouteId>,
    host: Host,
    destination: Destination,
}

/// A route to be changed: what is `None` stays.
struct Change {
    id: RouteId,
    host: Option<Named>,
    backends: Option<Backends>,
    params: RouteUpdate,
}

/// What holds while something is done.
struct Given {
    now: OffsetDateTime,
    base: Host,
    quotas: Quotas,
}

impl Domain {
    fn given(&self) -> Given {
        Given { now: self.clock.now(), base: self.hosts.base().clone(), quotas: self.quotas.clone() }
    }

    /// Does it, or only what it would be.
    async fn change<F>(&self, method: &'static str, dry_run: bool, work: F) -> Result<Shown, Refusal>
    where
        F: FnOnce(&mut WriteTx<'_>) -> Result<Shown, Refusal> + Send + 'static,
    {
        if dry_run { self.store.dry_run(method, work).await } else { self.store.write(method, work).await }
    }

    /// Creates a route. With an id that the caller made, the same call again returns the same route.
    pub async fn create_route(&self, caller: &Caller, params: &RouteCreate) -> Result<Shown, Refusal> {
        let named = self.hosts.name(params.fqdn.as_deref(), params.subdomain.as_deref())?;
        let host = named.ok_or(Refusal::NoHost)?.in_mode(params.mode)?;
        let backends = Backends::parse(&params.backends, &self.allowed_backends)?;
        let destination = Destination::new(params.mode, backends, params.options.clone())?;
        let id = params.id.map(|id| id.to_string().parse()).transpose()?;
        let (by, given, wanted) = (caller.clone(), self.given(), Wanted { id, host, destination });
        let write = move |tx: &mut WriteTx<'_>| create(tx, &by, wanted, &given);
        self.change(method::ROUTES_CREATE, params.dry_run, write).await
    }

    /// One route.
    pub async fn route(&self, caller: &Caller, id: &str) -> Result<Shown, Refusal> {
        let (caller, id, base) = (caller.clone(), id.parse()?, self.hosts.base().clone());
        self.store
            .read(method::ROUTES_GET, move |tx| {
                let route = owned(tx, &caller, id)?;
                Ok(show_one(tx, route, &base)?)
            })
            .await
    }

    /// Changes what is given. Refuses if the caller expects another version than there is.
    pub async fn update_route(&self, caller: &Caller, params: RouteUpdate) -> Result<Shown, Refusal> {
        let host = self.hosts.name(params.fqdn.as_deref(), params.subdomain.as_deref())?;
        let backends = params.backends.as_ref().map(|texts| Backends::parse(texts, &self.allowed_backends));
        let change = Change { id: params.id.parse()?, host, backends: backends.transpose()?, params };
        let (by, given, dry_run) = (caller.clone(), self.given(), change.params.dry_run);
        let write = move |tx: &mut WriteTx<'_>| update(tx, &by, change, &given);
        self.change(method::ROUTES_UPDATE, dry_run, write).await
    }

    /// Deletes a route and returns what it was, at the version of its deletion. Refuses if the caller expects another
    /// version than there is.
    pub async fn delete_route(&self, caller: &Caller, params: &RouteDelete) -> Result<Shown, Refusal> {
        let (by, id, now) = (caller.clone(), params.id.parse()?, self.clock.now());
        let expected = params.expected_version;
        let base = self.hosts.base().clone();
        self.store
            .write(method::ROUTES_DELETE, move |tx| {
                by.require_active(tx)?;
                let route = expect(owned(tx, &by, id)?, expected)?;
                let mut last = show_one(tx, route, &base)?;
                let version = tx.revise()?;
                routes::delete(tx, id, version, now)?;
                let done = Done { at: now, method: method::ROUTES_DELETE };
                record(tx, &by, done, (Some(&last.route), None))?;
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
    Given { now, base, quotas }: &Given,
) -> Result<Shown, Refusal> {
    caller.require_active(tx)?;
    if let Some(id) = wanted.id
        && let Some(route) = routes::find(tx, id)?
    {
        let same = route.owner == *caller.key_id()
            && route.host == wanted.host
            && route.destination == wanted.destination;
        return if same { Ok(show_one(tx, route, base)?) } else { Err(Refusal::IdTaken(id)) };
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
    record(tx, caller, Done { at: *now, method: method::ROUTES_CREATE }, (None, Some(&route)))?;
    announce(tx, "route created", caller, &route);
    Ok(show_one(tx, route, base)?)
}

fn update(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    change: Change,
    Given { now, base, quotas }: &Given,
) -> Result<Shown, Refusal> {
    caller.require_active(tx)?;
    let before = expect(owned(tx, caller, change.id)?, change.params.expected_version)?;
    let mut route = changed(&before, change, base)?;
    if route == before {
        return Ok(show_one(tx, before, base)?);
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
    record(tx, caller, Done { at: *now, method: method::ROUTES_UPDATE }, (Some(&before), Some(&route)))?;
    announce(tx, "route updated", caller, &route);
    Ok(show_one(tx, route, base)?)
}

/// The route after the change, its version and time aside.
fn changed(before: &Route, change: Change, base: &Host) -> Result<Route, Refusal> {
    let mut route = before.clone();
    let mode = change.params.mode.unwrap_or(before.destination.mode);
    route.host = match change.host {
        Some(named) => named.in_mode(mode)?,
        // Only a host that was given as `fqdn` may be passed through, and a child of the base may not have been.
        None if mode != before.destination.mode && before.host.is_child_of(base) => {
            Named::Subdomain(before.host.clone()).in_mode(mode)?
        }
        None => before.host.clone(),
    };
    let backends = change.backends.unwrap_or_else(|| before.destination.backends.clone());
    let options = before.destination.options.patched(change.params.options);
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

/// A route as it is served, or what stands in its way.
pub(super) fn show_one(tx: &mut Tx<'_>, route: Route, base: &Host) -> Result<Shown, StoreError> {
    let suspension = users::suspension(tx, &route.owner)?;
    show_owned(tx, route, suspension.as_ref(), base)
}

/// The same for many, whose owners are few.
pub(super) fn show_all(tx: &mut Tx<'_>, routes: Vec<Route>, base: &Host) -> Result<Vec<Shown>, StoreError> {
    let mut suspensions: HashMap<KeyId, Option<Suspension>> = HashMap::new();
    let mut shown = Vec::with_capacity(routes.len());
    for route in routes {
        if !suspensions.contains_key(&route.owner) {
            suspensions.insert(route.owner.clone(), users::suspension(tx, &route.owner)?);
        }
        let suspension = suspensions.get(&route.owner).and_then(Option::as_ref);
        shown.push(show_owned(tx, route, suspension, base)?);
    }
    Ok(shown)
}

fn show_owned(
    tx: &mut Tx<'_>,
    route: Route,
    suspension: Option<&Suspension>,
    base: &Host,
) -> Result<Shown, StoreError> {
    if let Some(suspension) = suspension {
        let terms = suspension.terms();
        let reason = Some(format!("suspended{terms}")).filter(|_| !terms.is_empty());
        let obstacle = reason.map(|reason| Obstacle { reason, records: Vec::new() });
        return Ok(Shown { route, state: RouteState::Suspended, obstacle });
    }
    if route.destination.mode == Mode::Passthrough || coverage::covers(tx, &route.host)? {
        return Ok(Shown { route, state: RouteState::Active, obstacle: None });
    }
    let obstacle = Some(obstacle(tx, &route.host, base)?);
    Ok(Shown { route, state: RouteState::WaitingForCertificate, obstacle })
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

/// What was done, and when.
struct Done {
    at: OffsetDateTime,
    method: &'static str,
}

fn record(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    done: Done,
    (before, after): (Option<&Route>, Option<&Route>),
) -> Result<(), StoreError> {
    let Some(id) = after.or(before).map(|route| route.id) else { return Ok(()) };
    let entry = Entry {
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
