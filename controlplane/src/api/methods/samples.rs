//! The values of the examples in the OpenRPC document: a user with a few routes on a gateway with two nodes.

mod constants;
mod gateway;
mod users;

use webgateway_proto::api::{
    BackendStatus, ExplainParams, NodeExplanation, Problem, RouteCreate, RouteDelete, RouteExplanation,
    RouteList, RouteListParams, RouteRef, RouteState, RouteUpdate, RouteView, ServedCertificateView,
    WaitParams, WaitState,
};
use webgateway_proto::model::options::Weights;
use webgateway_proto::model::{Balance, HealthCheck, Mode, Patch, RouteOptions, RouteOptionsPatch};

use self::constants::{BACKEND, CREATED, NOT_AFTER, OTHER_BACKEND, ROUTE, UPDATED, USER};
pub(super) use self::gateway::{
    audit, build, certificate, certificate_ref, document, drain, export, invite, nodes, remove, root,
};
pub(super) use self::users::{quotas, suspend, unsuspended, user_ref, users};
use super::method::Example;

pub(super) fn route() -> RouteView {
    RouteView {
        id: ROUTE.to_string(),
        owner: USER.to_owned(),
        host: "myapp.gateway.example.com".to_owned(),
        mode: Mode::Terminate,
        backends: vec![BACKEND.to_owned()],
        options: RouteOptions::default(),
        state: RouteState::Active,
        reason: None,
        records: Vec::new(),
        version: 1207,
        created_at: CREATED.to_owned(),
        updated_at: CREATED.to_owned(),
    }
}

pub(super) fn route_ref() -> RouteRef {
    RouteRef { id: ROUTE.to_string() }
}

pub(super) fn delete() -> RouteDelete {
    RouteDelete { id: ROUTE.to_string(), expected_version: Some(1211) }
}

fn random() -> RouteOptions {
    RouteOptions { balance: Balance::Random, ..RouteOptions::default() }
}

/// Returns options that all differ from their defaults, for a route with the example backend.
fn all_options() -> RouteOptions {
    let weight = BACKEND.parse().map(|backend| (backend, 3));
    RouteOptions { weights: Weights::new(weight).unwrap_or_default(), ..RouteOptions::sample() }
}

/// Returns the example route after an update, at this version.
fn updated(version: u64) -> RouteView {
    let backends = vec![BACKEND.to_owned(), OTHER_BACKEND.to_owned()];
    RouteView { backends, options: random(), version, updated_at: UPDATED.to_owned(), ..route() }
}

pub(super) fn deleted() -> RouteView {
    RouteView { host: "app.example.org".to_owned(), ..updated(1214) }
}

pub(super) fn create() -> Example<RouteCreate, RouteView> {
    let params = RouteCreate {
        subdomain: Some("myapp".to_owned()),
        backends: vec![BACKEND.to_owned()],
        id: Some(ROUTE),
        ..RouteCreate::default()
    };
    Example { name: "A subdomain", params, result: route() }
}

pub(super) fn create_passthrough() -> Example<RouteCreate, RouteView> {
    let options = RouteOptions { health: Some(HealthCheck::tcp()), ..RouteOptions::default() };
    let params = RouteCreate {
        fqdn: Some("vault.example.org".to_owned()),
        backends: vec![BACKEND.to_owned()],
        mode: Mode::Passthrough,
        options: options.clone(),
        ..RouteCreate::default()
    };
    let result = RouteView {
        id: "019cade3-5b08-7a41-9d27-80c6e2f4b913".to_owned(),
        host: "vault.example.org".to_owned(),
        mode: Mode::Passthrough,
        options,
        version: 1208,
        ..route()
    };
    Example { name: "Your own host with TLS passthrough", params, result }
}

/// Returns an example with all options, so that each of them occurs in an example.
pub(super) fn create_with_options() -> Example<RouteCreate, RouteView> {
    let options = all_options();
    let params = RouteCreate {
        subdomain: Some("docs".to_owned()),
        options: options.clone(),
        id: None,
        ..create().params
    };
    let result = RouteView { host: "docs.gateway.example.com".to_owned(), options, ..route() };
    Example { name: "With every option", params, result }
}

pub(super) fn create_dry_run() -> Example<RouteCreate, RouteView> {
    let params = RouteCreate { dry_run: true, ..create().params };
    Example { name: "A dry run", params, result: route() }
}

pub(super) fn list() -> Vec<Example<RouteListParams, RouteList>> {
    let filtered = RouteListParams {
        host: Some("my".to_owned()),
        owner: Some(USER.to_owned()),
        mode: Some(Mode::Terminate),
        limit: Some(1),
        ..RouteListParams::default()
    };
    // The host of the page's last route, base64url without padding.
    let cursor = "bXlhcHAuZ2F0ZXdheS5leGFtcGxlLmNvbQ".to_owned();
    let next = RouteListParams { cursor: Some(cursor.clone()), ..filtered.clone() };
    let page = RouteList { routes: vec![route()], next_cursor: Some(cursor), version: 1207 };
    vec![
        Example { name: "A page of filtered routes", params: filtered, result: page },
        Example {
            name: "The next page",
            params: next,
            result: RouteList { routes: Vec::new(), next_cursor: None, version: 1207 },
        },
        Example {
            name: "Waiting for a change",
            // Every gateway has a version above 0, so the example returns at once.
            params: RouteListParams { newer_than: Some(0), wait: Some(20), ..RouteListParams::default() },
            result: RouteList { routes: vec![route()], next_cursor: None, version: 1207 },
        },
    ]
}

pub(super) fn updates() -> Vec<Example<RouteUpdate, RouteView>> {
    let this = || RouteUpdate { id: ROUTE.to_string(), ..RouteUpdate::default() };
    let backends = RouteUpdate {
        backends: Some(vec![BACKEND.to_owned(), OTHER_BACKEND.to_owned()]),
        options: RouteOptions::default().patch_to(&random()),
        expected_version: Some(1207),
        ..this()
    };
    let options = RouteOptions::default().patch_to(&all_options());
    let every_option = RouteUpdate { options, ..this() };
    let options = RouteOptionsPatch { health: Patch::Reset, ..RouteOptionsPatch::default() };
    let renamed = RouteUpdate { subdomain: Some("shop".to_owned()), options, ..this() };
    let own = RouteUpdate { fqdn: Some("app.example.org".to_owned()), mode: Some(Mode::Terminate), ..this() };
    let shop = RouteView { host: "shop.gateway.example.com".to_owned(), ..updated(1210) };
    let waiting = RouteView {
        host: "app.example.org".to_owned(),
        state: RouteState::WaitingForCertificate,
        ..updated(1211)
    };
    vec![
        Example { name: "Another backend, and random balancing", params: backends, result: updated(1208) },
        Example {
            name: "Every option",
            params: every_option,
            result: RouteView { options: all_options(), ..updated(1209) },
        },
        Example { name: "Another subdomain, and no health checks", params: renamed, result: shop },
        Example { name: "Your own host", params: own.clone(), result: waiting.clone() },
        Example { name: "A dry run", params: RouteUpdate { dry_run: true, ..own }, result: waiting },
    ]
}

pub(super) fn explain() -> Example<ExplainParams, RouteExplanation> {
    let problem = Problem {
        message: format!("{OTHER_BACKEND} is not reachable: connection refused"),
        hint: Some("start the service on this backend, or remove the backend from the route".to_owned()),
    };
    let seen = |backend: &str, reason: Option<&str>| BackendStatus {
        backend: backend.to_owned(),
        up: reason.is_none(),
        reason: reason.map(str::to_owned),
    };
    let node = NodeExplanation {
        node: "edge1".to_owned(),
        version: Some(1211),
        certificate: Some(ServedCertificateView {
            id: "app.example.org".to_owned(),
            not_after: NOT_AFTER.to_owned(),
            fingerprint: "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4".to_owned(),
        }),
        backends: vec![seen(BACKEND, None), seen(OTHER_BACKEND, Some("connection refused"))],
        problem: Some(problem.clone()),
    };
    let problem = Problem { message: format!("edge1: {}", problem.message), ..problem };
    let host = "app.example.org".to_owned();
    let route = RouteView { host: host.clone(), ..updated(1211) };
    let result = RouteExplanation {
        host: host.clone(),
        route: Some(route),
        problem: Some(problem),
        nodes: vec![node],
    };
    Example { name: "A backend that is down", params: ExplainParams { host }, result }
}

pub(super) fn wait() -> Example<WaitParams, WaitState> {
    let params = WaitParams { version: 1207, route: Some(ROUTE.to_string()), known: Some(0), timeout: 10 };
    Example {
        name: "One of two nodes has acknowledged",
        params,
        result: WaitState { nodes: 2, acked: 1, rejects: Vec::new() },
    }
}
