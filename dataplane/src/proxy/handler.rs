//! One request: whose it is, whether this connection is for it, and where it goes.

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::{Mode, RouteId};

use super::api;
use super::body::{RequestBody, ResponseBody};
use super::error::Fault;
use super::exchange::{Exchange, Progress};
use super::forward::{Answer, forward};
use super::headers::{self, BadRequest, Forwarded};
use super::upgrade;
use crate::access;
use crate::connections::{Phase, Watch};
use crate::proxy::Proxy;
use crate::snapshot::{ServedCert, Snapshot};

/// A visitor's terminated connection.
pub struct Visit {
    /// The worker it is on.
    pub proxy: Rc<Proxy>,
    /// The visitor's address.
    pub client: IpAddr,
    /// The same, as X-Forwarded-For says it.
    pub client_value: HeaderValue,
    /// The name it asked for in the handshake.
    pub sni: Box<str>,
    /// The route of that name.
    pub route: Option<RouteId>,
    /// The certificate it was shown.
    pub cert: Arc<ServedCert>,
    /// Our name in CDN-Loop.
    pub cdn_id: HeaderValue,
    /// Whether it moves.
    pub progress: Rc<Progress>,
    /// How it is to end.
    pub watch: Rc<Watch>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Way {
    /// To the controlplane.
    Api,
    /// To a backend of this route.
    Route(Arc<FeedRoute>),
}

/// Answers a request that `exchange` stands for. On a connection that is to end, its HTTP/1 answer says so.
pub async fn handle(
    visit: Rc<Visit>,
    request: Request<Incoming>,
    exchange: Rc<Exchange>,
) -> Result<Response<ResponseBody>, Infallible> {
    let h1 = request.version() < Version::HTTP_2;
    let line = visit.proxy.access_log.then(|| Line::of(&request));
    let mut response = match answer(&visit, request, &exchange).await {
        Ok(response) => response,
        Err(fault) => fault.response(),
    };
    if h1 && visit.watch.phase() > Phase::Open && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    visit.proxy.metrics.answered(response.status());
    if let Some(line) = line {
        line.write(&visit, response.status());
    }
    Ok(response)
}

async fn answer(
    visit: &Rc<Visit>,
    request: Request<Incoming>,
    exchange: &Rc<Exchange>,
) -> Result<Response<ResponseBody>, Fault> {
    let target = headers::target(&request, &visit.sni)?;
    headers::check_framing(request.headers())?;
    let proxy = &visit.proxy;
    let way = way(&proxy.snapshot.load(), &visit.sni, &visit.cert, &target.host)?;
    if request.method() == Method::CONNECT {
        return Err(Fault::Connect);
    }
    let route = match way {
        Way::Api => {
            let authority = target.authority.to_owned();
            return Box::pin(api::call(&proxy.api, request, &authority, visit.client, exchange)).await;
        }
        Way::Route(route) => route,
    };
    if headers::is_loop(request.headers(), visit.cdn_id.to_str().unwrap_or_default()) {
        return Err(Fault::Loop);
    }
    let authority = target.authority_value()?;
    let mut proxied = std::pin::pin!(pass_on(visit, &route, request, exchange, &authority));
    if visit.route == Some(route.id) {
        return proxied.as_mut().await;
    }
    // The connection belongs to another route: this request ends with its own.
    let membership = proxy.connections.enter(Some(route.id));
    tokio::select! {
        response = proxied => response,
        () = membership.watch().reaches(Phase::Cut) => Err(Fault::UnknownHost),
    }
}

/// Where a request for `host` goes on a connection that was opened for `sni` with `cert`. Pure.
pub fn way(snapshot: &Snapshot, sni: &str, cert: &ServedCert, host: &str) -> Result<Way, Fault> {
    let covered = host == sni || cert.covers(host);
    if snapshot.is_base(host) {
        return if covered { Ok(Way::Api) } else { Err(Fault::Misdirected) };
    }
    match snapshot.routes.lookup(host) {
        Some(route) if route.destination.mode == Mode::Passthrough => Err(Fault::Misdirected),
        Some(route) if covered => Ok(Way::Route(Arc::clone(route))),
        Some(_) => Err(Fault::Misdirected),
        None if covered => Err(Fault::UnknownHost),
        None => Err(Fault::Misdirected),
    }
}

async fn pass_on(
    visit: &Rc<Visit>,
    route: &Arc<FeedRoute>,
    mut request: Request<Incoming>,
    exchange: &Rc<Exchange>,
    authority: &HeaderValue,
) -> Result<Response<ResponseBody>, Fault> {
    let proxy = &visit.proxy;
    let protocol = headers::upgrade_of(&request);
    let upgrading = protocol.is_some();
    if upgrading && !request.body().is_end_stream() {
        return Err(BadRequest::UpgradeBody.into());
    }
    let visitor = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (client, cdn_id) = (&visit.client_value, &visit.cdn_id);
    let forwarded = Forwarded { client, authority, proto: "https", cdn_id, upgrade: protocol.clone() };
    headers::to_backend(request.headers_mut(), forwarded);
    let Answer { mut response, lease } = forward(proxy, route, outgoing(request, exchange), exchange).await?;
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switched {
        let agreed = response.headers().get(http::header::UPGRADE) == protocol.as_ref();
        let visitor = visitor.filter(|_| agreed).ok_or(Fault::Upgrade)?;
        let websocket = protocol.is_some_and(|p| p.as_bytes().eq_ignore_ascii_case(b"websocket"));
        upgrade::join(Rc::clone(proxy), route.id, websocket, visitor, hyper::upgrade::on(&mut response));
    }
    headers::to_visitor(response.headers_mut(), switched);
    let (head, body) = response.into_parts();
    if switched {
        return Ok(Response::from_parts(head, ResponseBody::Fixed(None)));
    }
    let body = ResponseBody::backend(body, Rc::clone(exchange), lease, proxy.limits.backend_timeout);
    Ok(Response::from_parts(head, body))
}

/// The request as the backend gets it: HTTP/1.1 in origin form, its path to the byte.
pub fn outgoing(request: Request<Incoming>, exchange: &Rc<Exchange>) -> Box<Request<RequestBody>> {
    let (mut head, incoming) = request.into_parts();
    let body = if incoming.is_end_stream() {
        exchange.request_done();
        RequestBody::Empty
    } else {
        RequestBody::Visitor(incoming, Rc::clone(exchange))
    };
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() {
        head.uri = head.uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
    }
    head.extensions.clear();
    Box::new(Request::from_parts(head, body))
}

/// What the access log tells of a request, taken before it goes.
struct Line {
    host: String,
    method: Method,
    path: String,
    begun: Instant,
}

impl Line {
    fn of(request: &Request<Incoming>) -> Self {
        let host = headers::target(request, "").map(|target| target.host.into_owned());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        Self { host: host.unwrap_or_default(), method, path, begun: Instant::now() }
    }

    fn write(&self, visit: &Visit, status: StatusCode) {
        access::log(&access::Entry {
            client: visit.client,
            host: &self.host,
            method: &self.method,
            path: &self.path,
            status,
            took: self.begun.elapsed(),
        });
    }
}
