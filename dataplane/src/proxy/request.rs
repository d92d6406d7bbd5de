//! The path of a proxied request to a backend of its route and of the response back, the same for ports 443 and 80.

use std::rc::Rc;

use http::{Request, Response, StatusCode, Uri, Version, request};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::HeaderChanges;

use super::deadline::before_deadline;
use super::forward::forward;
use super::outcome::BackendResponse;
use super::span::record_route;
use super::sticky::StickySession;
use super::upgrade::{Upgrade, spawn_tunnel};
use crate::backend::connector::Selection;
use crate::backend::lease::Lease;
use crate::connections::Phase;
use crate::context::ConnectionContext;
use crate::http::body::{RequestBody, ResponseBody, TrailerOutput, TrailerPath};
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::framing::{Content, Direction, TrailerRules, frame_request};
use crate::http::headers::{self, Forwarded, RequestError};
use crate::http::incoming::RequestStream;
use crate::policy::{self, paths::PathTarget};

/// The route of a request, and the header fields that describe the client to the backend.
pub(crate) struct ProxyTarget<'a> {
    /// The route.
    pub route: &'a FeedRoute,
    /// The target by the path rules of the route.
    pub path: PathTarget<'a>,
    /// The header fields that describe the client. `upgrade` is overwritten according to the request.
    pub forwarded: Forwarded<'a>,
}

/// Forwards a request with a validated head to a backend of its route and returns the response. If the route is cut,
/// the request ends, even if its connection is a member of another route.
pub(crate) async fn proxy_request(
    connection: &ConnectionContext,
    ProxyTarget { route, path, mut forwarded }: ProxyTarget<'_>,
    mut request: Request<RequestStream>,
    exchange: &Rc<Exchange>,
) -> Result<Response<ResponseBody>, ProxyError> {
    if headers::is_loop(request.headers(), forwarded.cdn_id.to_str().unwrap_or_default()) {
        return Err(ProxyError::Loop);
    }
    record_route(route);
    let worker = &connection.worker;
    if connection.membership.route() != Some(route.id) {
        // The connection is a member of another route, or of none.
        exchange.join_route(worker.connections.enter(Some(route.id)));
    }
    forwarded.upgrade = headers::is_websocket_upgrade(&request);
    let client = forwarded.upgrade.then(|| upgrade_of(&mut request, exchange)).transpose()?;
    let output = trailer_output(&request, connection);
    let changes = &route.destination.options.headers;
    let rules = TrailerRules::from_head(request.headers(), Direction::ToBackend)
        .excluding(forwarded.changes.iter().map(|(name, _)| name))
        .excluding(changes.request().replaced());
    headers::to_backend(request.headers_mut(), forwarded);
    path.describe(request.headers_mut());
    policy::headers::change(changes.request(), request.headers_mut());
    let options = &route.destination.options;
    exchange.bounds.set(options);
    let backends = path.backends.unwrap_or(&route.destination.backends).as_slice();
    let mut selection = Selection::new(route, connection.client);
    selection.backends = backends;
    let sticky = options
        .sticky
        .as_ref()
        .map(|sticky| StickySession::take(sticky, &mut selection, request.headers_mut()));
    let request = outgoing(request, exchange, rules);
    let forwarding = std::pin::pin!(forward(connection, &mut selection, request, exchange));
    let mut forwarding = std::pin::pin!(before_deadline(exchange, forwarding));
    let response = match exchange.membership() {
        None => forwarding.await,
        Some(own) => tokio::select! {
            biased;
            () = own.watch().reaches(Phase::Cut) => Err(ProxyError::UnknownHost),
            response = &mut forwarding => response,
        },
    };
    let is_too_large = exchange.bounds.is_body_too_large();
    let response = response.map_err(|error| if is_too_large { ProxyError::BodyTooLarge } else { error });
    let mut response = response?;
    if let Some(sticky) = sticky {
        sticky.set_cookie(response.backend, response.response.headers_mut());
    }
    respond(connection, response, changes.response(), ClientSide { exchange, upgrade: client, output })
}

/// The client's side of an exchange.
struct ClientSide<'a> {
    exchange: &'a Rc<Exchange>,
    /// The upgrade that the request asks for.
    upgrade: Option<OnUpgrade>,
    /// The output for the trailers of the response.
    output: TrailerOutput,
}

/// Turns a backend's response into the one to the client, with the route's changes of its fields.
fn respond(
    connection: &ConnectionContext,
    BackendResponse { mut response, lease, rules, .. }: BackendResponse,
    changes: &HeaderChanges,
    ClientSide { exchange, upgrade, output }: ClientSide<'_>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let worker = &connection.worker;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let mut upgraded = upgrade_connection(connection, exchange, response, upgrade);
        if let Ok(upgraded) = &mut upgraded {
            policy::headers::change(changes, upgraded.headers_mut());
        }
        if let Lease::Connection(lease) = &lease {
            lease.connection.control.set_in_flight(upgraded.is_err());
            if let Err(error) = &upgraded {
                worker.refused_responses.report(lease.key.backend.address(), error);
            }
        }
        return upgraded;
    }
    headers::to_client(response.headers_mut(), false);
    policy::headers::change(changes, response.headers_mut());
    let rules = rules.excluding(changes.replaced());
    let (mut head, body) = response.into_parts();
    // The version is per hop: HTTP/1.0 here would close the client's connection and change the framing.
    head.version = Version::HTTP_11;
    let limit = exchange.bounds.idle_or(worker.limits.backend_timeout);
    let trailers = TrailerPath::new(rules, output);
    let body = ResponseBody::backend(body, Rc::clone(exchange), lease, limit, trailers);
    Ok(Response::from_parts(head, body))
}

/// Returns the output for the trailers of a response. An HTTP/1.1 client has to ask for them with TE.
fn trailer_output(request: &Request<RequestStream>, connection: &ConnectionContext) -> TrailerOutput {
    match request.version() {
        Version::HTTP_2 => TrailerOutput::Frame,
        Version::HTTP_11 if headers::accepts_trailers(request.headers()) => {
            TrailerOutput::Chunked(connection.progress.trailers().clone())
        }
        _ => TrailerOutput::Dropped,
    }
}

/// Returns the client's side of the upgrade that a request asks for. Fails if the request has a body.
fn upgrade_of(request: &mut Request<RequestStream>, exchange: &Exchange) -> Result<OnUpgrade, RequestError> {
    if !request.body().is_end_stream() {
        return Err(RequestError::UpgradeBody);
    }
    exchange.mark_upgrading();
    Ok(hyper::upgrade::on(request))
}

/// Upgrades a connection to a tunnel, if both the client's request and the 101 response are for WebSocket.
fn upgrade_connection(
    connection: &ConnectionContext,
    exchange: &Exchange,
    mut response: Response<Incoming>,
    client: Option<OnUpgrade>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let client = client
        .filter(|_| headers::switches_to_websocket(response.headers()))
        .ok_or(ProxyError::UnexpectedUpgrade)?;
    let upgrade = Upgrade {
        client,
        backend: hyper::upgrade::on(&mut response),
        membership: Rc::clone(exchange.membership().unwrap_or(&connection.membership)),
        kept: exchange.kept.take(),
        open: Rc::clone(&connection.open),
        record: exchange.record.take().inspect(|record| record.answer(StatusCode::SWITCHING_PROTOCOLS)),
        idle: exchange.bounds.idle_or(connection.worker.limits.tunnel_timeout),
        open_request: exchange.open_request.take(),
    };
    spawn_tunnel(Rc::clone(&connection.worker), upgrade);
    connection.progress.client().set_upgraded();
    headers::to_client(response.headers_mut(), true);
    Ok(response.map(|_| ResponseBody::Fixed(None)))
}

/// Creates the request to the backend: HTTP/1.1 in origin form, with the path unchanged.
fn outgoing(
    request: Request<RequestStream>,
    exchange: &Rc<Exchange>,
    rules: TrailerRules,
) -> Box<Request<RequestBody>> {
    let (mut head, incoming) = request.into_parts();
    let content = Content::of_body(&incoming);
    outgoing_head(&mut head, content, &rules);
    let body = if content == Content::Empty {
        exchange.mark_request_read();
        RequestBody::Empty
    } else {
        RequestBody::client(incoming, Rc::clone(exchange), rules)
    };
    Box::new(Request::from_parts(head, body))
}

/// Rewrites a head, whose hop-by-hop fields are already removed, for the request to the backend: framing for `content`,
/// HTTP/1.1, and origin form.
pub(super) fn outgoing_head(head: &mut request::Parts, content: Content, rules: &TrailerRules) {
    frame_request(head, content, rules);
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() {
        head.uri = head.uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
    }
    head.extensions.clear();
}
