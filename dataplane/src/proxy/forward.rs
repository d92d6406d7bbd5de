//! Forwarding of a request to a backend of its route, or to another one if the first was not reached.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::Instant;
use tracing::debug;
use webgateway_process::ResponseHeads;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Backend;
use webgateway_proto::model::options::HostHeader;

use crate::backend::dial::DialError;
use crate::backend::pool::{BackendConnection, announced, handshake};
use crate::context::WorkerContext;
use crate::http::body::{Lease, RequestBody};
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::framing::{Direction, TrailerRules, frame_response};

/// A backend's response, and its connection.
pub(crate) struct Answer {
    /// The response; its body is still to be read.
    pub response: Response<Incoming>,
    /// The connection.
    pub lease: Lease,
    /// The rules for its trailers.
    pub rules: TrailerRules,
}

/// The reason why there is no response.
enum SendError {
    /// Nothing was sent: the request comes back.
    Unsent(Box<Request<RequestBody>>, ProxyError),
    /// Something was sent, or may have been.
    Sent(ProxyError),
}

/// Sends `request` to a backend of `route`. It is boxed, as it changes hands more often than it is read.
pub(crate) async fn forward(
    worker: &Rc<WorkerContext>,
    route: &FeedRoute,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<Answer, ProxyError> {
    // Backends are never empty.
    let mut error = ProxyError::Dial(DialError::Refused);
    for (attempt, backend) in worker.connector.candidates(route).enumerate() {
        if attempt > 0 {
            worker.metrics.retried();
        }
        if route.destination.options.host_header == HostHeader::Backend
            && let Ok(own) = HeaderValue::try_from(backend.to_string())
        {
            request.headers_mut().insert(HOST, own);
        }
        match send(worker, backend, request, exchange).await {
            Ok(answer) => {
                worker.connector.answered(backend);
                return Ok(answer);
            }
            Err(SendError::Sent(error)) => {
                if error.is_of_backend() {
                    worker.connector.unanswered(backend);
                }
                count(worker, backend, &error);
                return Err(error);
            }
            Err(SendError::Unsent(back, why)) => {
                count(worker, backend, &why);
                (request, error) = (back, why);
            }
        }
    }
    Err(error)
}

/// Counts a failure of a backend, but for those of dialling, which the connector counts.
fn count(worker: &WorkerContext, backend: Backend, error: &ProxyError) {
    debug!(%backend, %error, "a backend failed");
    worker.refused.report(backend.address(), error);
    if !matches!(error, ProxyError::Dial(_)) {
        error.proxy_error().into_iter().for_each(|cause| worker.metrics.backend_failed(cause));
    }
}

/// Sends over an idle connection as long as one takes it, else over a new one. A request that breaks with a connection
/// that was idle before, and may be repeated, is sent once more, over a new one.
async fn send(
    worker: &Rc<WorkerContext>,
    backend: Backend,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<Answer, SendError> {
    let mut is_repeated = false;
    loop {
        let idle = match is_repeated {
            false => worker.pool.take(backend.address(), worker.clock.now()).await,
            true => None,
        };
        // The backend may hang up just as it is asked again.
        let copy = idle.as_ref().and_then(|_| replayable(&request));
        let is_new = idle.is_none();
        let connection = match idle {
            Some(connection) => connection,
            None => match Box::pin(connect(worker, backend)).await {
                Ok(connection) => connection,
                Err(error) => return Err(SendError::Unsent(request, error)),
            },
        };
        request = match (answer(worker, backend.address(), connection, request, exchange).await, copy) {
            (Err(SendError::Unsent(back, _)), _) if !is_new => back,
            (Err(SendError::Sent(ProxyError::HangUp)), Some(copy)) => {
                is_repeated = true;
                copy
            }
            (other, _) => return other,
        };
    }
}

async fn connect(
    worker: &WorkerContext,
    backend: Backend,
) -> Result<BackendConnection<RequestBody>, ProxyError> {
    let stream = worker.connector.dial(backend).await?;
    let begun = handshake(&worker.tasks, backend.address(), stream, &worker.limits).await;
    begun.map_err(|error| ProxyError::from(&error))
}

async fn answer(
    worker: &Rc<WorkerContext>,
    backend: SocketAddr,
    mut connection: BackendConnection<RequestBody>,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<Answer, SendError> {
    let is_head = request.method() == Method::HEAD;
    if request.headers().contains_key(TRANSFER_ENCODING) {
        request.body_mut().send_trailers_by(&connection.trailers);
    }
    connection.heads.wait();
    let sent = pin!(connection.sender.try_send_request(*request));
    match in_time(sent, exchange, worker.limits.response_timeout).await {
        Some(Ok(mut response)) => {
            let announced = announced(response.headers());
            let rules = TrailerRules::of(response.headers(), Direction::ToClient);
            let framed = frame_response(&mut response, is_head, &rules);
            let is_reusable = framed.map_err(|error| SendError::Sent(error.into()))?;
            let pool = Rc::clone(&worker.pool);
            let lease = Lease { pool, backend, connection, announced, is_reusable };
            Ok(Answer { response, lease, rules })
        }
        Some(Err(error)) => {
            debug!(%backend, error = %error.error(), "no answer from a backend");
            Err(unanswered(error, &connection.heads))
        }
        None => Err(SendError::Sent(ProxyError::ResponseTimeout)),
    }
}

/// Returns what `answer` resolves to, unless nothing moves for `limit`: an upload that goes on is no silence.
///
/// It is pinned by the caller: moved in here it would take its room twice.
async fn in_time<T>(
    mut answer: Pin<&mut impl Future<Output = T>>,
    exchange: &Exchange,
    limit: Duration,
) -> Option<T> {
    let mut timer = exchange.timer(exchange.last() + limit);
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answer));
        }
        while timer.poll(cx).is_ready() {
            let deadline = exchange.last() + limit;
            if deadline <= Instant::now() {
                return Poll::Ready(None);
            }
            timer.put_off(deadline);
        }
        Poll::Pending
    })
    .await
}

fn unanswered(mut failed: TrySendError<Request<RequestBody>>, heads: &ResponseHeads) -> SendError {
    let head = heads.error().filter(|_| failed.error().is_parse()).cloned();
    let error = head.map_or_else(|| ProxyError::from(failed.error()), ProxyError::Head);
    match failed.take_message() {
        Some(request) => SendError::Unsent(Box::new(request), error),
        None => SendError::Sent(error),
    }
}

/// Returns a copy of a request that does no more when it arrives twice (RFC 9110 §9.2.2), if it has no body.
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
