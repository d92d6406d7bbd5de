//! `routes.*`

use time::format_description::well_known::Rfc3339;
use webgateway_proto::api::{
    HealthSpec, RouteCreate, RouteList, RouteListParams, RouteRef, RouteUpdate, RouteView, method,
};

use super::{Method, Services};
use crate::domain::{Caller, Refusal, Shown};

pub(super) struct Create;
pub(super) struct List;
pub(super) struct Get;
pub(super) struct Update;
pub(super) struct Delete;

impl Method for Create {
    const NAME: &'static str = method::ROUTES_CREATE;
    const SUMMARY: &'static str = "Creates a route: one host and where it goes";
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = RouteCreate;
    type Outcome = RouteView;

    async fn call(services: &Services, who: Caller, params: RouteCreate) -> Result<RouteView, Refusal> {
        services.domain.create_route(&who, &params).await.map(view)
    }
}

impl Method for List {
    const NAME: &'static str = method::ROUTES_LIST;
    const SUMMARY: &'static str =
        "Lists the caller's routes by host, a page at a time; the admin's list has everybody's";
    type Who = Caller;
    type Params = RouteListParams;
    type Outcome = RouteList;

    async fn call(services: &Services, who: Caller, params: RouteListParams) -> Result<RouteList, Refusal> {
        let page = services.domain.list_routes(&who, params).await?;
        Ok(RouteList { routes: page.entries.into_iter().map(view).collect(), next_cursor: page.next })
    }
}

impl Method for Get {
    const NAME: &'static str = method::ROUTES_GET;
    const SUMMARY: &'static str = "Shows one route";
    type Who = Caller;
    type Params = RouteRef;
    type Outcome = RouteView;

    async fn call(services: &Services, who: Caller, params: RouteRef) -> Result<RouteView, Refusal> {
        services.domain.route(&who, &params.id).await.map(view)
    }
}

impl Method for Update {
    const NAME: &'static str = method::ROUTES_UPDATE;
    const SUMMARY: &'static str = "Changes what is given of one route; the rest stays";
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = RouteUpdate;
    type Outcome = RouteView;

    async fn call(services: &Services, who: Caller, params: RouteUpdate) -> Result<RouteView, Refusal> {
        services.domain.update_route(&who, params).await.map(view)
    }
}

impl Method for Delete {
    const NAME: &'static str = method::ROUTES_DELETE;
    const SUMMARY: &'static str = "Deletes one route and returns what it was";
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = RouteRef;
    type Outcome = RouteView;

    async fn call(services: &Services, who: Caller, params: RouteRef) -> Result<RouteView, Refusal> {
        services.domain.delete_route(&who, &params.id).await.map(view)
    }
}

pub(super) fn view(Shown { route, state, obstacle }: Shown) -> RouteView {
    // Formatting a date of this era cannot fail.
    let time = |at: time::OffsetDateTime| at.format(&Rfc3339).unwrap_or_default();
    let (reason, records) = obstacle.map(|obstacle| (obstacle.reason, obstacle.records)).unzip();
    RouteView {
        id: route.id.to_string(),
        owner: route.owner.to_string(),
        host: route.host.to_string(),
        mode: route.destination.mode,
        balance: route.destination.balance,
        backends: route.destination.backends.as_slice().iter().map(ToString::to_string).collect(),
        health: route.destination.health.as_deref().map(HealthSpec::from),
        state,
        version: route.version,
        created_at: time(route.created_at),
        updated_at: time(route.updated_at),
        reason,
        records: records.unwrap_or_default(),
    }
}
