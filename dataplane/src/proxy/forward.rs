//! Forwarding of a request to a backend of its route, with retries where they are safe.

use std::pin::pin;
use std::rc::Rc;

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request};
use hyper::client::conn::TrySendError;
use tracing::debug;
use webgateway_process::ResponseHeads;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Backend;
use webgateway_proto::model::options::HostHeader;

use super::http2;
use super::outcome::{BackendResponse, SendError, in_time};
use super::retries::Attempts;
use crate::backend::connector::Selection;
use crate::backend::dial::DialError;
use crate::backend::lease::{ConnectionLease, Lease};
use crate::backend::pool::{BackendConnection, handshake, handshake_tls, keep_alive_timeout};
use crate::backend::pool_key::PoolKey;
use crate::backend::transport::Transport;
use crate::context::{ConnectionContext, WorkerContext};
use crate::http::body::RequestBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::framing::{Direction, TrailerRules, frame_response};

/// Sends `request` to a backend of `selection`, and again after the failures that the route's retries name.
///
/// The request is boxed because it is moved more often than it is read.
pub(crate) async fn forward(
    ConnectionContext { worker, origin, .. }: &ConnectionContext,
    selection: &mut Selection<'_>,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<BackendResponse, ProxyError> {
    let (route, options) = (selection.route, selection.options);
    let header = origin.header(options.proxy_protocol);
    let mut attempts = Attempts::new(options.retries.as_ref());
    // A route has at least one backend, so this value is always replaced.
    let mut error = ProxyError::Dial(DialError::Refused);
    while let Some(backend) = attempts.next_backend(&worker.connector, selection).await {
        if attempts.is_repeating() {
            worker.metrics.count_retry();
        }
        if options.host_header == HostHeader::Backend
            && let Ok(own) = HeaderValue::try_from(backend.to_string())
        {
            request.headers_mut().insert(HOST, own);
        }
        exchange.open_request.replace(selection.count_open(backend));
        let copy = attempts.may_repeat_sent().then(|| replayable(&request)).flatten();
        let key = PoolKey { backend, header: header.clone() };
        let sent = if options.backend_protocol.is_http2() {
            Box::pin(http2::send(worker, route, key, request, exchange)).await
        } else {
            send(worker, route, key, request, exchange).await
        };
        (request, error) = match (sent, copy) {
            (Ok(response), Some(copy)) if attempts.repeats_status(response.response.status()) => {
                debug!(%backend, status = %response.response.status(), "request is repeated");
                worker.connector.record_response(backend);
                (copy, ProxyError::ConnectionClosed)
            }
            (Ok(response), _) => {
                worker.connector.record_response(backend);
                return Ok(response);
            }
            (Err(SendError::Sent(error)), copy) => {
                if error.is_backend_fault() && !is_impatient(worker, &error, exchange) {
                    worker.connector.record_missing_response(backend);
                }
                report(worker, backend, &error);
                match copy.filter(|_| attempts.repeats_error(&error)) {
                    Some(copy) => (copy, error),
                    None => return Err(error),
                }
            }
            (Err(SendError::Unsent(unsent, cause)), _) => {
                report(worker, backend, &cause);
                if !attempts.repeats_unsent() {
                    return Err(cause);
                }
                (unsent, cause)
            }
        };
    }
    Err(error)
}

/// Returns whether an error is that a route's own limit has elapsed, before that of the node. It says nothing about the
/// backend for other routes.
fn is_impatient(worker: &WorkerContext, error: &ProxyError, exchange: &Exchange) -> bool {
    let limit = worker.limits.response_timeout;
    *error == ProxyError::ResponseTimeout && exchange.bounds.first_byte_or(limit) < limit
}

/// Logs and counts a failure of a backend, except that the connector has already counted a failure to connect.
fn report(worker: &WorkerContext, backend: Backend, error: &ProxyError) {
    debug!(%backend, %error, "backend request failed");
    worker.refused_responses.report(backend.address(), error);
    if !matches!(error, ProxyError::Dial(_)) {
        error.proxy_error().into_iter().for_each(|cause| worker.metrics.count_backend_failure(cause));
    }
}

/// Sends a request on an idle connection, or on a new one if no idle one accepts it. If an idle connection is closed
/// without a response and the request may be repeated, it is sent once more on a new connection.
async fn send(
    worker: &Rc<WorkerContext>,
    route: &FeedRoute,
    key: PoolKey,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<BackendResponse, SendError> {
    let mut is_repeated = false;
    loop {
        let idle = match is_repeated {
            false => worker.pool.take(&key, route, worker.clock.now()).await,
            true => None,
        };
        // The backend may close an idle connection at the moment the request is sent.
        let copy = idle.as_ref().and_then(|_| replayable(&request));
        let is_new = idle.is_none();
        let connection = match idle {
            Some(connection) => connection,
            None => match Box::pin(connect(worker, route, &key, exchange)).await {
                Ok(connection) => connection,
                Err(error) => return Err(SendError::Unsent(request, error)),
            },
        };
        request = match (send_on(worker, key.clone(), connection, request, exchange).await, copy) {
            (Err(SendError::Unsent(unsent, _)), _) if !is_new => unsent,
            (Err(SendError::Sent(ProxyError::ConnectionClosed)), Some(copy)) => {
                is_repeated = true;
                copy
            }
            (other, _) => return other,
        };
    }
}

/// Opens a new connection to a backend, which begins with the header of `key`, with TLS if the route has it.
async fn connect(
    worker: &WorkerContext,
    route: &FeedRoute,
    key: &PoolKey,
    exchange: &Exchange,
) -> Result<BackendConnection<RequestBody>, ProxyError> {
    let PoolKey { backend, header } = key;
    let stream = worker.connector.dial(*backend, header, exchange.bounds.connect()).await?;
    let (tasks, address, limits) = (&worker.tasks, backend.address(), &worker.limits);
    let connection = match Transport::of(route) {
        Some(transport) if transport.tls.is_some() => {
            let secured = worker.connector.secure(stream, &transport).await;
            let stream = worker.connector.record_begin(*backend, &transport, secured)?;
            handshake_tls(tasks, address, stream, transport, limits).await
        }
        _ => handshake(tasks, address, stream, limits).await,
    };
    connection.map_err(|error| ProxyError::from(&error))
}

/// Sends a request on one connection and waits for the response head.
async fn send_on(
    worker: &Rc<WorkerContext>,
    key: PoolKey,
    mut connection: BackendConnection<RequestBody>,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<BackendResponse, SendError> {
    let is_head = request.method() == Method::HEAD;
    if request.headers().contains_key(TRANSFER_ENCODING) {
        request.body_mut().send_trailers_by(&connection.trailers);
    }
    connection.heads.wait();
    connection.control.set_in_flight(true);
    let sent = pin!(connection.sender.try_send_request(*request));
    match in_time(sent, exchange, worker.limits.response_timeout).await {
        Some(Ok(mut response)) => {
            let keep_alive = keep_alive_timeout(response.headers());
            let rules = TrailerRules::from_head(response.headers(), Direction::ToClient);
            let framed = frame_response(&mut response, is_head, &rules);
            let is_reusable = framed.map_err(|error| SendError::Sent(error.into()))?;
            let pool = Rc::clone(&worker.pool);
            let backend = key.backend;
            let lease = ConnectionLease { pool, key, connection, keep_alive, is_reusable };
            Ok(BackendResponse { response, backend, lease: Lease::Connection(lease), rules })
        }
        Some(Err(error)) => {
            debug!(backend = %key.backend, error = %error.error(), "no response from backend");
            Err(send_error(error, &connection.heads))
        }
        None => Err(SendError::Sent(ProxyError::ResponseTimeout)),
    }
}

/// Classifies a failure to send. If hyper cannot parse the response head, the error that `heads` found is the cause.
fn send_error(mut failed: TrySendError<Request<RequestBody>>, heads: &ResponseHeads) -> SendError {
    let head = heads.error().filter(|_| failed.error().is_parse()).cloned();
    let error = head.map_or_else(|| ProxyError::from(failed.error()), ProxyError::InvalidHead);
    match failed.take_message() {
        Some(request) => SendError::Unsent(Box::new(request), error),
        None => SendError::Sent(error),
    }
}

/// Returns a copy of a request that may be sent twice, because it is idempotent (RFC 9110 §9.2.2) and has no body;
/// `None` for any other request.
fn replayable(request: &Request<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    if !request.method().is_idempotent() || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(Box::new(copy))
}
