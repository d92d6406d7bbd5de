//! `routes.*`

use std::time::Duration;

use webgateway_proto::api::{
    self, DnsRecord, LONGEST_WAIT, RouteCreate, RouteDelete, RouteList, RouteListParams, RouteRef,
    RouteUpdate, RouteView, method,
};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::fault::Kind;
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
    const SUMMARY: &'static str = "Creates a route: one host and where it goes";
    const DESCRIPTION: &'static str = "A subdomain is served at once, under the gateway's own certificate. A host of one's own is terminated as soon as it has a certificate, or passed through as it is. With an `id` made by the client the call can be repeated: it returns the same route.";
    const ERRORS: &'static [Kind] = &[
        Kind::InvalidId,
        Kind::HostMissing,
        Kind::TwoHosts,
        Kind::InvalidHost,
        Kind::HostReserved,
        Kind::PassthroughNeedsFqdn,
        Kind::BackendMissing,
        Kind::TooManyBackends,
        Kind::DuplicateBackend,
        Kind::InvalidBackend,
        Kind::InvalidHealth,
        Kind::PassthroughHealth,
        Kind::PassthroughOption,
        Kind::Suspended,
        Kind::HostTaken,
        Kind::IdTaken,
    ];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = RouteCreate;
    type Outcome = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![
            samples::create(),
            samples::create_with_options(),
            samples::create_passthrough(),
            samples::create_dry_run(),
        ]
    }

    async fn call(services: &Services, who: Caller, params: RouteCreate) -> Result<RouteView, DomainError> {
        let RouteCreate { id, fqdn, subdomain, mode, backends, options, dry_run } = params;
        let id = id.map(|id| id.to_string().parse()).transpose()?;
        let command = CreateRoute { id, fqdn, subdomain, mode, backends, options, dry_run };
        services.domain.create_route(&who, command).await.map(view)
    }
}

impl Method for List {
    const NAME: &'static str = method::ROUTES_LIST;
    const SUMMARY: &'static str =
        "Lists the caller's routes by host, a page at a time; the admin's list has everybody's";
    const DESCRIPTION: &'static str = "Filters and `limit` are for a page; the next one is asked for with the same params and `cursor`. What is not the caller's is not there for them. To follow changes, call it again with the answer's `version` as `newer_than` and a `wait`: it answers as soon as anything is newer. A caller may have 16 calls that wait at once.";
    const ERRORS: &'static [Kind] =
        &[Kind::InvalidLimit, Kind::InvalidCursor, Kind::InvalidWait, Kind::RateLimited];
    type Who = Caller;
    type Params = RouteListParams;
    type Outcome = RouteList;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        samples::list()
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: RouteListParams,
    ) -> Result<RouteList, DomainError> {
        if let Some(limit) = params.wait {
            let known = params.newer_than.ok_or(DomainError::Wait(LONGEST_WAIT))?;
            if !(1..=LONGEST_WAIT).contains(&limit) {
                return Err(DomainError::Wait(LONGEST_WAIT));
            }
            let (mut revision, limit) = (services.domain.store.changed(), Duration::from_secs(limit));
            // Fails if the store is gone: whoever reads it next is told.
            let risen = async { revision.wait_for(|now| *now > known).await.is_ok() };
            services.waiting.wait(who.key_id(), limit, risen).await?;
        }
        let RouteListParams { host, owner, mode, limit, cursor, .. } = params;
        let query = ListRoutes { host, owner, mode, page: PageRequest { limit, cursor } };
        let (version, page) = services.domain.list_routes(&who, query).await?;
        let routes = page.entries.into_iter().map(view).collect();
        Ok(RouteList { routes, next_cursor: page.next, version })
    }
}

impl Method for Get {
    const NAME: &'static str = method::ROUTES_GET;
    const SUMMARY: &'static str = "Shows one route";
    const DESCRIPTION: &'static str =
        "For its owner and the admin. To everybody else there is no such route.";
    const ERRORS: &'static [Kind] = &[Kind::InvalidId, Kind::RouteNotFound];
    type Who = Caller;
    type Params = RouteRef;
    type Outcome = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example { name: "A route", params: samples::route_ref(), result: samples::route() }]
    }

    async fn call(services: &Services, who: Caller, params: RouteRef) -> Result<RouteView, DomainError> {
        services.domain.route(&who, params.id.parse()?).await.map(view)
    }
}

impl Method for Update {
    const NAME: &'static str = method::ROUTES_UPDATE;
    const SUMMARY: &'static str = "Changes what is given of one route; the rest stays";
    const DESCRIPTION: &'static str = "For its owner and the admin. With `expected_version` nothing that somebody else changed meanwhile is overwritten.";
    const ERRORS: &'static [Kind] = &[
        Kind::InvalidId,
        Kind::TwoHosts,
        Kind::InvalidHost,
        Kind::HostReserved,
        Kind::PassthroughNeedsFqdn,
        Kind::BackendMissing,
        Kind::TooManyBackends,
        Kind::DuplicateBackend,
        Kind::InvalidBackend,
        Kind::InvalidHealth,
        Kind::PassthroughHealth,
        Kind::PassthroughOption,
        Kind::Suspended,
        Kind::RouteNotFound,
        Kind::HostTaken,
        Kind::StaleVersion,
    ];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = RouteUpdate;
    type Outcome = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        samples::updates()
    }

    async fn call(services: &Services, who: Caller, params: RouteUpdate) -> Result<RouteView, DomainError> {
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
        services.domain.update_route(&who, command).await.map(view)
    }
}

impl Method for Delete {
    const NAME: &'static str = method::ROUTES_DELETE;
    const SUMMARY: &'static str = "Deletes one route and returns what it was";
    const DESCRIPTION: &'static str = "For its owner and the admin. The version returned is that of the deletion: what `nodes.wait` waits for. With `expected_version` nothing that somebody else made of it meanwhile is deleted.";
    const ERRORS: &'static [Kind] =
        &[Kind::InvalidId, Kind::Suspended, Kind::RouteNotFound, Kind::StaleVersion];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = RouteDelete;
    type Outcome = RouteView;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example {
            name: "A route that is not needed any more",
            params: samples::delete(),
            result: samples::deleted(),
        }]
    }

    async fn call(services: &Services, who: Caller, params: RouteDelete) -> Result<RouteView, DomainError> {
        let command = DeleteRoute { id: params.id.parse()?, expected_version: params.expected_version };
        services.domain.delete_route(&who, command).await.map(view)
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
    }
}
