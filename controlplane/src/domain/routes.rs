//! Changes of routes. Callers can see and change only their own routes; the admin can see and change all.

use time::OffsetDateTime;
use tracing::info;
use webgateway_proto::audit::action;
use webgateway_proto::model::{
    Backends, Destination, Host, KeyId, Mode, Route, RouteId, RouteOptions, RouteOptionsPatch,
};

use super::caller::Caller;
use super::error::DomainError;
use super::host::{AdmittedHost, HostPolicy};
use super::ownership::{self, ClaimPolicy, HostRequest, Tenure};
use super::quotas::{Quotas, UsageIncrease};
use super::route_audit::{AuditAction, record};
use super::route_status::{Gateway, RouteStatus, status_of};
use super::rules::Domain;
use crate::store::{Tx, WriteTx, claims, routes, users};

/// A command that creates a route. Exactly one of `fqdn` and `subdomain` names its host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CreateRoute {
    /// The id, if the client generated one. A retry with the same id and content returns the same route.
    pub id: Option<RouteId>,
    /// A fully qualified host.
    pub fqdn: Option<String>,
    /// One label below the base domain.
    pub subdomain: Option<String>,
    /// The handling of TLS: terminated at the gateway, or passed through.
    pub mode: Mode,
    /// The backends, each an address and a port.
    pub backends: Vec<String>,
    /// The route's options.
    pub options: RouteOptions,
    /// True if the command is only to be checked, without changing anything.
    pub dry_run: bool,
}

/// A command that changes a route. Fields that are `None` stay unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpdateRoute {
    /// The route's id.
    pub id: RouteId,
    /// A new fully qualified host.
    pub fqdn: Option<String>,
    /// A new label below the base domain.
    pub subdomain: Option<String>,
    /// A new mode.
    pub mode: Option<Mode>,
    /// A new list of backends, which replaces the old one.
    pub backends: Option<Vec<String>>,
    /// The changes of options.
    pub options: RouteOptionsPatch,
    /// The version that the caller expects. The update is refused if the route is at another version.
    pub expected_version: Option<u64>,
    /// True if the command is only to be checked, without changing anything.
    pub dry_run: bool,
}

/// A command that deletes a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeleteRoute {
    /// The route's id.
    pub id: RouteId,
    /// The version that the caller expects. The deletion is refused if the route is at another version.
    pub expected_version: Option<u64>,
}

/// A validated route that is to be created.
#[derive(Clone)]
struct NewRoute {
    id: Option<RouteId>,
    host: Host,
    /// The parameter that named the host.
    field: &'static str,
    destination: Destination,
}

/// An update with validated host and backends.
#[derive(Clone)]
struct RouteUpdate {
    host: Option<AdmittedHost>,
    backends: Option<Backends>,
    command: UpdateRoute,
}

/// The inputs of a change besides the command: the time, the gateway and the quotas.
#[derive(Clone)]
struct RouteContext {
    now: OffsetDateTime,
    gateway: Gateway,
    quotas: Quotas,
    hosts: HostPolicy,
    claims: ClaimPolicy,
    /// True if a TXT record names the route's owner.
    is_proven: bool,
}

impl Domain {
    fn route_context(&self) -> RouteContext {
        RouteContext {
            now: self.clock.now(),
            gateway: self.gateway(),
            quotas: self.quotas.clone(),
            hosts: self.hosts.clone(),
            claims: self.claims.clone(),
            is_proven: false,
        }
    }

    /// Returns the properties of the gateway on which a route's status depends.
    pub(super) fn gateway(&self) -> Gateway {
        Gateway { base: self.hosts.base().clone(), listeners: self.listeners.clone() }
    }

    fn admit_backends(&self, texts: &[String]) -> Result<Backends, DomainError> {
        let backends = Backends::parse(texts, &self.allowed_backends)?;
        match self.listeners.first_among(backends.as_slice().iter().copied()) {
            Some(own) => Err(DomainError::OwnListener(own)),
            None => Ok(backends),
        }
    }

    /// Checks the addresses that options connect to, which must meet the same conditions as a route's own backends.
    fn admit_options(&self, options: &RouteOptions) -> Result<(), DomainError> {
        let refused = |(option, error)| DomainError::OptionBackend(option, error);
        options.check_backends(&self.allowed_backends).map_err(refused)?;
        let own = options
            .backends()
            .find(|(_, backend)| self.listeners.first_among(std::iter::once(*backend)).is_some());
        match own {
            Some((option, backend)) => Err(DomainError::OptionListener(option, backend)),
            None => Ok(()),
        }
    }

    /// Runs `work` in a write transaction, which is rolled back for a dry run. If another owner has a host above or below
    /// the route's, it runs once more, provided that a TXT record proves the route's host.
    async fn write_or_dry_run<F>(
        &self,
        method: &'static str,
        dry_run: bool,
        work: F,
    ) -> Result<RouteStatus, DomainError>
    where
        F: Fn(&mut WriteTx<'_>, &RouteContext) -> Result<RouteStatus, DomainError> + Clone + Send + 'static,
    {
        let context = self.route_context();
        let run = |context: RouteContext| {
            let work = work.clone();
            let run = move |tx: &mut WriteTx<'_>| work(tx, &context);
            async move {
                if dry_run {
                    self.store.dry_run(method, run).await
                } else {
                    self.store.write(method, run).await
                }
            }
        };
        match run(context.clone()).await {
            Err(DomainError::Nested(nested)) if self.is_proven(&nested).await => {
                run(RouteContext { is_proven: true, ..context }).await
            }
            outcome => outcome,
        }
    }

    /// Creates a route. With an id that the caller generated, a repeated call returns the same route.
    pub(crate) async fn create_route(
        &self,
        caller: &Caller,
        command: CreateRoute,
    ) -> Result<RouteStatus, DomainError> {
        let CreateRoute { id, fqdn, subdomain, mode, backends, options, dry_run } = command;
        let host = self.hosts.admit(fqdn.as_deref(), subdomain.as_deref())?;
        let host = host.ok_or(DomainError::NoHost)?;
        let (field, host) = (host.field(), host.for_mode(mode)?);
        let backends = self.admit_backends(&backends)?;
        self.admit_options(&options)?;
        self.route_limits.check(&options)?;
        let destination = Destination::new(mode, backends, options)?;
        let (by, new) = (caller.clone(), NewRoute { id, host, field, destination });
        let write = move |tx: &mut WriteTx<'_>, context: &RouteContext| create(tx, &by, new.clone(), context);
        self.write_or_dry_run(action::ROUTES_CREATE, dry_run, write).await
    }

    /// Returns one route.
    pub(crate) async fn route(&self, caller: &Caller, id: RouteId) -> Result<RouteStatus, DomainError> {
        let (caller, gateway) = (caller.clone(), self.gateway());
        self.store
            .read("routes.get", move |tx| {
                let route = find_visible(tx, &caller, id)?;
                Ok(status_of(tx, route, &gateway)?)
            })
            .await
    }

    /// Changes a route. Returns an error if the route is not at the version that the caller expects.
    pub(crate) async fn update_route(
        &self,
        caller: &Caller,
        command: UpdateRoute,
    ) -> Result<RouteStatus, DomainError> {
        let host = self.hosts.admit(command.fqdn.as_deref(), command.subdomain.as_deref())?;
        // Options that stay as they are may exceed a bound that was lowered; the nodes get them reduced.
        self.route_limits.check(&RouteOptions::default().patched(command.options.clone()))?;
        let backends = command.backends.as_ref().map(|texts| self.admit_backends(texts));
        self.admit_options(&RouteOptions::default().patched(command.options.clone()))?;
        let change = RouteUpdate { host, backends: backends.transpose()?, command };
        let (by, dry_run) = (caller.clone(), change.command.dry_run);
        let write =
            move |tx: &mut WriteTx<'_>, context: &RouteContext| update(tx, &by, change.clone(), context);
        self.write_or_dry_run(action::ROUTES_UPDATE, dry_run, write).await
    }

    /// Deletes a route and returns its last state, with the version of the deletion. Returns an error if the route is
    /// not at the version that the caller expects.
    pub(crate) async fn delete_route(
        &self,
        caller: &Caller,
        command: DeleteRoute,
    ) -> Result<RouteStatus, DomainError> {
        let DeleteRoute { id, expected_version } = command;
        let (by, now, gateway) = (caller.clone(), self.clock.now(), self.gateway());
        self.store
            .write(action::ROUTES_DELETE, move |tx| {
                by.require_active(tx)?;
                let route = require_version(find_visible(tx, &by, id)?, expected_version)?;
                let mut last = status_of(tx, route, &gateway)?;
                let version = tx.revise()?;
                routes::delete(tx, id, version, now)?;
                claims::check_soon(tx, &last.route.host, now)?;
                let action = AuditAction { at: now, method: action::ROUTES_DELETE };
                record(tx, &by, action, Some(&last.route), None)?;
                log_on_commit(tx, "route deleted", &by, &last.route);
                last.route.version = version;
                Ok(last)
            })
            .await
    }
}

/// Logs one line for the operator after the commit. The audit log has the details.
fn log_on_commit(tx: &mut WriteTx<'_>, message: &'static str, caller: &Caller, route: &Route) {
    let (id, host, owner, by) = (route.id, route.host.clone(), route.owner.clone(), caller.key_id().clone());
    tx.on_commit(move || info!(route = %id, %host, %owner, %by, "{message}"));
}

impl RouteContext {
    /// Decides whether a route of `owner` may get a host, which the named parameter gave.
    fn admit(
        &self,
        tx: &mut Tx<'_>,
        caller: &Caller,
        owner: &KeyId,
        (host, field): (&Host, &'static str),
    ) -> Result<Tenure, DomainError> {
        let request = HostRequest { caller, owner, host, field, is_proven: self.is_proven };
        ownership::admit(tx, &self.hosts, &self.claims, request)
    }
}

fn create(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    new: NewRoute,
    context: &RouteContext,
) -> Result<RouteStatus, DomainError> {
    let RouteContext { now, gateway, quotas, .. } = context;
    caller.require_active(tx)?;
    if let Some(id) = new.id
        && let Some(route) = routes::find(tx, id)?
    {
        let same =
            route.owner == *caller.key_id() && route.host == new.host && route.destination == new.destination;
        return if same { Ok(status_of(tx, route, gateway)?) } else { Err(DomainError::IdTaken(id)) };
    }
    let tenure = context.admit(tx, caller, caller.key_id(), (&new.host, new.field))?;
    let backends = new.destination.all_backends().count() as u64;
    quotas.admit(tx, caller, &UsageIncrease { routes: 1, backends })?;
    let route = Route {
        id: new.id.unwrap_or_else(RouteId::generate),
        owner: caller.key_id().clone(),
        host: new.host,
        destination: new.destination,
        version: tx.revise()?,
        created_at: *now,
        updated_at: *now,
    };
    users::ensure(tx, &route.owner, *now)?;
    routes::insert(tx, &route, tenure == Tenure::Held)?;
    if tenure == Tenure::Claimed {
        claims::put(tx, &context.claims.new_claim(&route, &gateway.base, *now))?;
    }
    record(tx, caller, AuditAction { at: *now, method: action::ROUTES_CREATE }, None, Some(&route))?;
    log_on_commit(tx, "route created", caller, &route);
    Ok(status_of(tx, route, gateway)?)
}

fn update(
    tx: &mut WriteTx<'_>,
    caller: &Caller,
    change: RouteUpdate,
    context: &RouteContext,
) -> Result<RouteStatus, DomainError> {
    let RouteContext { now, gateway, quotas, .. } = context;
    caller.require_active(tx)?;
    let field = change.host.as_ref().map_or("fqdn", AdmittedHost::field);
    let before =
        require_version(find_visible(tx, caller, change.command.id)?, change.command.expected_version)?;
    let mut route = apply_update(&before, change, &gateway.base)?;
    if route == before {
        return Ok(status_of(tx, before, gateway)?);
    }
    let tenure = match route.host == before.host {
        true => None,
        false => {
            // The claim of the old host does not count any more. If the new host is refused, the transaction is undone.
            claims::delete(tx, route.id)?;
            Some(context.admit(tx, caller, &route.owner, (&route.host, field))?)
        }
    };
    let count = |route: &Route| route.destination.all_backends().count() as u64;
    let backends = count(&route).saturating_sub(count(&before));
    quotas.admit(tx, caller, &UsageIncrease { routes: 0, backends })?;
    route.version = tx.revise()?;
    route.updated_at = *now;
    routes::update(tx, &route, tenure.map(|tenure| tenure == Tenure::Held))?;
    if let Some(tenure) = tenure {
        if tenure == Tenure::Claimed {
            claims::put(tx, &context.claims.new_claim(&route, &gateway.base, *now))?;
        }
        claims::check_soon(tx, &before.host, *now)?;
    }
    record(tx, caller, AuditAction { at: *now, method: action::ROUTES_UPDATE }, Some(&before), Some(&route))?;
    log_on_commit(tx, "route updated", caller, &route);
    Ok(status_of(tx, route, gateway)?)
}

/// Applies an update to a route, except for its version and time.
fn apply_update(before: &Route, change: RouteUpdate, base: &Host) -> Result<Route, DomainError> {
    let mut route = before.clone();
    let mode = change.command.mode.unwrap_or(before.destination.mode);
    route.host = match change.host {
        Some(host) => host.for_mode(mode)?,
        // A child of the base domain counts as a subdomain, however it was named when the route was created.
        None if mode != before.destination.mode && before.host.is_child_of(base) => {
            AdmittedHost::Subdomain(before.host.clone()).for_mode(mode)?
        }
        None => before.host.clone(),
    };
    let backends = change.backends.unwrap_or_else(|| before.destination.backends.clone());
    let mut options = (*before.destination.options).clone();
    if change.command.options.weights.is_keep() {
        // A weight goes with its backend.
        options.weights = options.weights.within(backends.as_slice());
    }
    let options = options.patched(change.command.options);
    route.destination = Destination::new(mode, backends, options)?;
    Ok(route)
}

/// Returns the route, if the caller can see it.
fn find_visible(tx: &mut Tx<'_>, caller: &Caller, id: RouteId) -> Result<Route, DomainError> {
    let found = routes::find(tx, id)?.filter(|route| caller.can_see(&route.owner));
    found.ok_or(DomainError::NoRoute(id))
}

/// Returns the route, if it is at the expected version.
fn require_version(route: Route, version: Option<u64>) -> Result<Route, DomainError> {
    match version.filter(|expected| *expected != route.version) {
        Some(expected) => Err(DomainError::Stale { expected, actual: route.version }),
        None => Ok(route),
    }
}
