//! The methods `routes.*`, without `routes.explain`.

use std::time::Duration;

use webgateway_proto::api::{
    self, DnsRecord, LONGEST_WAIT, RouteCreate, RouteDelete, RouteList, RouteListParams, RouteRef,
    RouteUpdate, RouteView, method,
};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::errors::ErrorKind;
use crate::clock::rfc3339;
use crate::domain::{
    Caller, CreateRoute, DeleteRoute, DomainError, ListRoutes, PageRequest, RouteState, RouteStatus,
    UpdateRoute,
};

pub(super) struct Create;
pub(super) struct List;
pub(super) struct Get;
pub(super) struct Update;
pub(super) struct Delete;

impl Method for Create {
    const NAME: &'static str = method::ROUTES_CREATE;
    const SUMMARY: &'static str = "Creates a route from one host to its backends";
    const DESCRIPTION: &'static str = "\
        A subdomain is served at once, with the gateway's own certificate. A host of your own is claimed \
        first: its `state` is `unproven` until the DNS proves that it is yours, and `records` are the DNS \
        records to create. Then it is served as soon as it has a certificate, or at once if its TLS is \
        passed through. If the client chooses the \
        `id`, the call can be repeated: it returns the same route.";
    const ERRORS: &'static [ErrorKind] = &[
        ErrorKind::InvalidId,
        ErrorKind::HostMissing,
        ErrorKind::TwoHosts,
        ErrorKind::InvalidHost,
        ErrorKind::HostReserved,
        ErrorKind::PassthroughNeedsFqdn,
        ErrorKind::BackendMissing,
        ErrorKind::TooManyBackends,
        ErrorKind::DuplicateBackend,
        ErrorKind::InvalidBackend,
        ErrorKind::InvalidHealth,
        ErrorKind::PassthroughHealth,
        ErrorKind::PassthroughOption,
        ErrorKind::Suspended,
        ErrorKind::HostTaken,
        ErrorKind::HostNested,
        ErrorKind::IdTaken,
    ];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = RouteCreate;
    type Output = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![
            samples::create(),
            samples::create_with_options(),
            samples::create_passthrough(),
            samples::create_dry_run(),
        ]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: RouteCreate,
    ) -> Result<RouteView, DomainError> {
        let RouteCreate { id, fqdn, subdomain, mode, backends, options, dry_run } = params;
        let id = id.map(|id| id.to_string().parse()).transpose()?;
        let command = CreateRoute { id, fqdn, subdomain, mode, backends, options, dry_run };
        services.domain.create_route(&caller, command).await.map(view)
    }
}

impl Method for List {
    const NAME: &'static str = method::ROUTES_LIST;
    const SUMMARY: &'static str =
        "Lists the routes of the caller in pages, ordered by host; for the admin, the routes of all users";
    const DESCRIPTION: &'static str = "\
        For the next page, repeat the call with the same params and the `next_cursor` of the result as \
        `cursor`. To follow changes, repeat the call with the `version` of the result as `newer_than` and \
        with `wait`: the call returns as soon as the gateway has a newer version. A caller may have 16 \
        such calls waiting at once.";
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::InvalidLimit, ErrorKind::InvalidCursor, ErrorKind::InvalidWait, ErrorKind::RateLimited];
    type Caller = Caller;
    type Params = RouteListParams;
    type Output = RouteList;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        samples::list()
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: RouteListParams,
    ) -> Result<RouteList, DomainError> {
        if let Some(limit) = params.wait {
            let known = params.newer_than.ok_or(DomainError::Wait(LONGEST_WAIT))?;
            if !(1..=LONGEST_WAIT).contains(&limit) {
                return Err(DomainError::Wait(LONGEST_WAIT));
            }
            let (mut revision, limit) = (services.domain.store.changed(), Duration::from_secs(limit));
            // Fails only if the store is closed; the read below reports that.
            let change = async { revision.wait_for(|now| *now > known).await.is_ok() };
            services.long_polls.wait(caller.key_id(), limit, change).await?;
        }
        let RouteListParams { host, owner, mode, limit, cursor, .. } = params;
        let query = ListRoutes { host, owner, mode, page: PageRequest { limit, cursor } };
        let (version, page) = services.domain.list_routes(&caller, query).await?;
        let routes = page.entries.into_iter().map(view).collect();
        Ok(RouteList { routes, next_cursor: page.next, version })
    }
}

impl Method for Get {
    const NAME: &'static str = method::ROUTES_GET;
    const SUMMARY: &'static str = "Returns one route";
    const DESCRIPTION: &'static str =
        "For the owner of the route and the admin. Other users get `route_not_found`.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::InvalidId, ErrorKind::RouteNotFound];
    type Caller = Caller;
    type Params = RouteRef;
    type Output = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example { name: "A route", params: samples::route_ref(), result: samples::route() }]
    }

    async fn call(services: &Services, caller: Caller, params: RouteRef) -> Result<RouteView, DomainError> {
        services.domain.route(&caller, params.id.parse()?).await.map(view)
    }
}

impl Method for Update {
    const NAME: &'static str = method::ROUTES_UPDATE;
    const SUMMARY: &'static str = "Changes the given properties of one route";
    const DESCRIPTION: &'static str = "\
        For the owner of the route and the admin. Properties that are not given stay as they are. With \
        `expected_version`, the call fails if the route was changed since that version.";
    const ERRORS: &'static [ErrorKind] = &[
        ErrorKind::InvalidId,
        ErrorKind::TwoHosts,
        ErrorKind::InvalidHost,
        ErrorKind::HostReserved,
        ErrorKind::PassthroughNeedsFqdn,
        ErrorKind::BackendMissing,
        ErrorKind::TooManyBackends,
        ErrorKind::DuplicateBackend,
        ErrorKind::InvalidBackend,
        ErrorKind::InvalidHealth,
        ErrorKind::PassthroughHealth,
        ErrorKind::PassthroughOption,
        ErrorKind::Suspended,
        ErrorKind::RouteNotFound,
        ErrorKind::HostTaken,
        ErrorKind::HostNested,
        ErrorKind::StaleVersion,
    ];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = RouteUpdate;
    type Output = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        samples::updates()
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: RouteUpdate,
    ) -> Result<RouteView, DomainError> {
        let command = UpdateRoute {
            id: params.id.parse()?,
            fqdn: params.fqdn,
            subdomain: params.subdomain,
            mode: params.mode,
            backends: params.backends,
            options: params.options,
            expected_version: params.expected_version,
            dry_run: params.dry_run,
        };
        services.domain.update_route(&caller, command).await.map(view)
    }
}

impl Method for Delete {
    const NAME: &'static str = method::ROUTES_DELETE;
    const SUMMARY: &'static str = "Deletes one route and returns its last state";
    const DESCRIPTION: &'static str = "\
        For the owner of the route and the admin. The returned `version` is that of the deletion, for \
        `nodes.wait`. With `expected_version`, the call fails if the route was changed since that version.";
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::InvalidId, ErrorKind::Suspended, ErrorKind::RouteNotFound, ErrorKind::StaleVersion];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = RouteDelete;
    type Output = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example {
            name: "A route that is no longer needed",
            params: samples::delete(),
            result: samples::deleted(),
        }]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: RouteDelete,
    ) -> Result<RouteView, DomainError> {
        let command = DeleteRoute { id: params.id.parse()?, expected_version: params.expected_version };
        services.domain.delete_route(&caller, command).await.map(view)
    }
}

pub(super) fn view(RouteStatus { route, state, problem }: RouteStatus) -> RouteView {
    let (reason, records) = problem.map(|problem| (problem.reason, problem.records)).unzip();
    RouteView {
        id: route.id.to_string(),
        owner: route.owner.to_string(),
        host: route.host.to_string(),
        mode: route.destination.mode,
        backends: route.destination.backends.as_slice().iter().map(ToString::to_string).collect(),
        options: (*route.destination.options).clone(),
        state: state_view(state),
        version: route.version,
        created_at: rfc3339(route.created_at),
        updated_at: rfc3339(route.updated_at),
        reason,
        records: records.unwrap_or_default().into_iter().map(DnsRecord::from).collect(),
    }
}

const fn state_view(state: RouteState) -> api::RouteState {
    match state {
        RouteState::Active => api::RouteState::Active,
        RouteState::WaitingForCertificate => api::RouteState::WaitingForCertificate,
        RouteState::Suspended => api::RouteState::Suspended,
        RouteState::Unproven => api::RouteState::Unproven,
        RouteState::Displaced => api::RouteState::Displaced,
    }
}
