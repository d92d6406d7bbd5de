//! The one path of a proxied request, whichever port it came in by: to a backend of its route, and back.

use std::rc::Rc;

use http::{Request, Response, StatusCode, Uri, Version, request};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use webgateway_proto::feed::FeedRoute;

use super::forward::{BackendResponse, forward};
use super::span::record_route;
use super::upgrade::{Upgrade, spawn_tunnel};
use crate::connections::Phase;
use crate::context::ConnectionContext;
use crate::http::body::{RequestBody, ResponseBody, TrailerOutput, TrailerPath};
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::framing::{Content, Direction, TrailerRules, frame_request};
use crate::http::headers::{self, Forwarded, RequestError};
use crate::http::incoming::RequestStream;

/// The route of a request, and what its backend is told of the client.
pub(crate) struct ProxyTarget<'a> {
    /// The route.
    pub route: &'a FeedRoute,
    /// The fields that tell of the client. An upgrade is added as the request asks for one.
    pub forwarded: Forwarded<'a>,
}

/// Brings a request, whose head was checked, to a backend of its route and returns the response. Whatever connection it
/// came by, it ends with its own route.
pub(crate) async fn proxy_request(
    connection: &ConnectionContext,
    ProxyTarget { route, mut forwarded }: ProxyTarget<'_>,
    mut request: Request<RequestStream>,
    exchange: &Rc<Exchange>,
) -> Result<Response<ResponseBody>, ProxyError> {
    if headers::is_loop(request.headers(), forwarded.cdn_id.to_str().unwrap_or_default()) {
        return Err(ProxyError::Loop);
    }
    record_route(route);
    let worker = &connection.worker;
    if connection.membership.route() != Some(route.id) {
        // The connection belongs to another route, or to none.
        exchange.join_route(worker.connections.enter(Some(route.id)));
    }
    forwarded.upgrade = headers::is_websocket_upgrade(&request);
    let client = forwarded.upgrade.then(|| upgrade_of(&mut request, exchange)).transpose()?;
    let output = trailer_output(&request, connection);
    let rules = TrailerRules::from_head(request.headers(), Direction::ToBackend);
    headers::to_backend(request.headers_mut(), forwarded);
    let mut answered = std::pin::pin!(forward(worker, route, outgoing(request, exchange, rules), exchange));
    let answered = match exchange.membership() {
        None => answered.await,
        Some(own) => tokio::select! {
            biased;
            () = own.watch().reaches(Phase::Cut) => Err(ProxyError::UnknownHost),
            answered = &mut answered => answered,
        },
    };
    let BackendResponse { mut response, lease, rules } = answered?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let switched = switch(connection, exchange, response, client);
        switched
            .as_ref()
            .err()
            .into_iter()
            .for_each(|error| worker.refused_responses.report(lease.backend, error));
        return switched;
    }
    headers::to_client(response.headers_mut(), false);
    let (mut head, body) = response.into_parts();
    // The client's connection is none of the backend's: an HTTP/1.0 there would end it, and any content's framing.
    head.version = Version::HTTP_11;
    let (limit, trailers) = (worker.limits.backend_timeout, TrailerPath::new(rules, output));
    let body = ResponseBody::backend(body, Rc::clone(exchange), lease, limit, trailers);
    Ok(Response::from_parts(head, body))
}

/// Returns the output for the trailers of an answer. Over HTTP/1, a client says that it takes them.
fn trailer_output(request: &Request<RequestStream>, connection: &ConnectionContext) -> TrailerOutput {
    match request.version() {
        Version::HTTP_2 => TrailerOutput::Frame,
        Version::HTTP_11 if headers::accepts_trailers(request.headers()) => {
            TrailerOutput::Chunked(connection.progress.trailers().clone())
        }
        _ => TrailerOutput::Dropped,
    }
}

/// Returns the client's side of the upgrade that a request asks for.
fn upgrade_of(request: &mut Request<RequestStream>, exchange: &Exchange) -> Result<OnUpgrade, RequestError> {
    if !request.body().is_end_stream() {
        return Err(RequestError::UpgradeBody);
    }
    exchange.mark_upgrading();
    Ok(hyper::upgrade::on(request))
}

/// Makes a tunnel of the connection and its backend's, if the client asked for a WebSocket and the backend opens one.
fn switch(
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
        open: Rc::clone(&connection.open),
    };
    spawn_tunnel(Rc::clone(&connection.worker), upgrade);
    connection.progress.client().set_upgraded();
    headers::to_client(response.headers_mut(), true);
    Ok(response.map(|_| ResponseBody::Fixed(None)))
}

/// Makes the request that the backend gets: HTTP/1.1 in origin form, its path to the byte.
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

/// Makes a request's head, stripped of what is hop by hop, the one that the backend gets with this content.
pub(super) fn outgoing_head(head: &mut request::Parts, content: Content, rules: &TrailerRules) {
    frame_request(head, content, rules);
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() {
        head.uri = head.uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
    }
    head.extensions.clear();
}
