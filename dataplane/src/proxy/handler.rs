//! The request handler of terminated connections: it sends each request to the controlplane or to the route of its
//! host.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Mode;

use super::api;
use super::auth::{self, Authentication, PendingRequest};
use super::request::{ProxyTarget, proxy_request};
use super::serve::{mark_last, serve_http1, serve_http2};
use super::span::{self, within_span};
use crate::context::ConnectionContext;
use crate::http::body::ResponseBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::grpc;
use crate::http::headers::{self, Forwarded};
use crate::http::incoming::RequestStream;
use crate::policy::{self, paths::PathDecision};
use crate::snapshot::{ServedCert, Snapshot};
use crate::stats::RequestHead;

/// A client's connection whose TLS the gateway terminates.
pub(crate) struct TerminatedConnection {
    /// The state of the connection, of the same type as for a connection at port 80.
    pub context: ConnectionContext,
    /// The client's address, as a value of X-Forwarded-For.
    pub client_value: HeaderValue,
    /// The certificate of the handshake.
    pub cert: Arc<ServedCert>,
    /// The gateway's name in CDN-Loop.
    pub cdn_id: HeaderValue,
}

/// The upstream of a request.
#[derive(Debug)]
pub(crate) enum Upstream {
    /// The controlplane.
    Controlplane,
    /// A backend of this route.
    Route(Arc<FeedRoute>),
}

/// Serves a connection after its TLS handshake, to its end.
pub(crate) async fn serve_terminated<I>(connection: Rc<TerminatedConnection>, io: I, is_h2: bool)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = Rc::clone(&connection);
    let service = service_fn(move |request| {
        let progress = &serving.context.progress;
        handle(Rc::clone(&serving), RequestStream::wrap(request, progress), progress.begin_exchange())
    });
    if is_h2 {
        serve_http2(&connection.context, io, service).await;
    } else {
        serve_http1(&connection.context, io, service).await;
    }
}

/// Handles a request and creates its response. On a connection that is closing, an HTTP/1 response has `Connection:
/// close`.
async fn handle(
    connection: Rc<TerminatedConnection>,
    request: Request<RequestStream>,
    exchange: Rc<Exchange>,
) -> Result<Response<ResponseBody>, Infallible> {
    let is_h1 = request.version() < Version::HTTP_2;
    let is_head = request.method() == Method::HEAD;
    let is_grpc = grpc::is_call(&request);
    let context = &connection.context;
    if context.worker.access_log {
        exchange.record.begin(|record| record.log(request_head(&request, context)));
    }
    let mut route = None;
    let answered = if span::is_on() {
        let id = context.progress.request_count();
        Box::pin(within_span(id, respond(&connection, request, &exchange, &mut route))).await
    } else {
        respond(&connection, request, &exchange, &mut route).await
    };
    exchange.mark_answered();
    let error = answered.as_ref().err().and_then(ProxyError::proxy_error);
    let mut response = policy::finish(route.as_deref(), answered, is_grpc);
    if is_head && !is_h1 {
        // hyper drops the body of a response to HEAD over HTTP/1.1, but not over HTTP/2.
        *response.body_mut() = ResponseBody::fixed("");
    }
    if is_h1 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        mark_last(&mut response, context.membership.watch().phase());
    }
    context.worker.metrics.count_response(response.status());
    exchange.record.note(|record| {
        record.answer(response.status());
        error.into_iter().for_each(|error| record.fail(error));
        record.add_sent(if is_head { 0 } else { own_size(response.body()) });
    });
    Ok(response)
}

/// Responds to a request. If it is for a route, that is put into `served_route`.
async fn respond(
    connection: &TerminatedConnection,
    mut request: Request<RequestStream>,
    exchange: &Rc<Exchange>,
    served_route: &mut Option<Arc<FeedRoute>>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let TerminatedConnection { context, client_value, cert, cdn_id } = connection;
    let sni = &*context.origin.server_name;
    let target = headers::validate(&request, sni)?;
    let upstream = upstream(&context.worker.snapshot.load(), sni, cert, &target.host)?;
    if request.method() == Method::CONNECT {
        return Err(ProxyError::Connect);
    }
    let route = match upstream {
        Upstream::Controlplane => {
            let authority = target.authority.to_owned();
            return Box::pin(api::call(context, request, &authority, exchange)).await;
        }
        Upstream::Route(route) => &*served_route.insert(route),
    };
    exchange.record.begin(|record| {
        record.set_route(&context.worker.stats, route.id, || request_head(&request, context));
    });
    policy::admit(context, route, &request, exchange)?;
    let authority = &target.authority_value()?;
    let options = &route.destination.options;
    let forwarded =
        Forwarded { client: client_value, authority, proto: "https", cdn_id, upgrade: false, changes: &[] };
    let changes = match &options.auth {
        None => Vec::new(),
        // Boxed, so that requests without authentication do not reserve its space.
        Some(auth) => {
            let (request, forwarded) = (&request, &forwarded);
            let pending = PendingRequest { connection: context, route, request, forwarded, exchange };
            match Box::pin(auth::authenticate(pending, auth)).await? {
                Authentication::Accepted(changes) => changes,
                Authentication::Answered(mut response) => {
                    policy::headers::change(options.headers.response(), response.headers_mut());
                    return Ok(*response);
                }
            }
        }
    };
    let path = match policy::paths::apply(&options.paths, &mut request)? {
        PathDecision::Forward(path) => path,
        PathDecision::Redirect(response) => return Ok(policy::own_response(options, response)),
    };
    let forwarded = Forwarded { changes: &changes, ..forwarded };
    proxy_request(context, ProxyTarget { route, path, forwarded }, request, exchange).await
}

/// Returns the upstream of a request for `host` on a connection with this server name and certificate.
///
/// # Errors
///
/// Fails if the connection is not authoritative for the host (RFC 9110 §7.4), or if the host has no route.
pub(crate) fn upstream(
    snapshot: &Snapshot,
    sni: &str,
    cert: &ServedCert,
    host: &str,
) -> Result<Upstream, ProxyError> {
    let is_covered = host == sni || cert.covers(host);
    if snapshot.is_base(host) {
        return if is_covered { Ok(Upstream::Controlplane) } else { Err(ProxyError::Misdirected) };
    }
    match snapshot.routes.lookup(host) {
        Some(route) if route.destination.mode == Mode::Passthrough => Err(ProxyError::Misdirected),
        Some(route) if is_covered => Ok(Upstream::Route(Arc::clone(route))),
        Some(_) => Err(ProxyError::Misdirected),
        None if is_covered => Err(ProxyError::UnknownHost),
        None => Err(ProxyError::Misdirected),
    }
}

/// Returns the size of a body that is not a backend's, in bytes. The frames of a backend are counted one by one.
fn own_size(body: &ResponseBody) -> u64 {
    match body {
        ResponseBody::Backend(_) => 0,
        ResponseBody::Fixed(_) | ResponseBody::Api(_) => body.size_hint().exact().unwrap_or_default(),
    }
}

/// Copies what access logs show of a request, before it is forwarded.
fn request_head(request: &Request<RequestStream>, context: &ConnectionContext) -> RequestHead {
    let host = headers::target(request, "").map(|target| target.host.into_owned());
    RequestHead {
        client: context.client,
        host: host.unwrap_or_default(),
        method: Some(request.method().clone()),
        path: request.uri().path().to_owned(),
        request_id: RequestHead::request_id(request.headers()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::ClientTls;

    fn size<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// hyper's future of a connection reserves the space for that of a request, so that an idle one occupies both.
    #[test]
    fn the_futures_of_connections_and_requests_are_small() {
        let serving = size(serve_terminated::<Box<ClientTls>>);
        assert!(serving <= 2304, "{serving} bytes");
        assert!(size(handle) <= 3456, "{} bytes", size(handle));
    }
}
