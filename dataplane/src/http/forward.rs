//! Sending a request to a backend: to the one whose turn it is, and if it was not reached, to another.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Backend;

use super::body::{Lease, RequestBody};
use super::error::Fault;
use super::exchange::Exchange;
use crate::backend::dial::DialError;
use crate::backend::pool::connect;
use crate::proxy::Proxy;

/// A backend's answer, and its connection.
pub struct Answer {
    /// The answer; its body is still to be read.
    pub response: Response<Incoming>,
    /// The connection.
    pub lease: Lease,
}

/// Why there is no answer.
enum Failed {
    /// Nothing was sent: here is the request again.
    Unsent(Box<Request<RequestBody>>, Fault),
    /// Something was, or may have been.
    Sent(Fault),
}

/// Sends `request` to a backend of `route`. It is boxed, as it changes hands more often than it is read.
pub async fn forward(
    proxy: &Rc<Proxy>,
    route: &FeedRoute,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<Answer, Fault> {
    // Backends are never empty.
    let mut fault = Fault::Dial(DialError::Refused);
    for (attempt, backend) in proxy.backends.candidates(route).enumerate() {
        if attempt > 0 {
            proxy.metrics.retried();
        }
        match send(proxy, backend, request, exchange).await {
            Ok(answer) => {
                proxy.backends.answered(backend);
                return Ok(answer);
            }
            Err(Failed::Sent(fault)) => {
                if fault.is_backends() {
                    proxy.backends.unanswered(backend);
                }
                return Err(failed(proxy, fault));
            }
            Err(Failed::Unsent(back, why)) => (request, fault) = (back, failed(proxy, why)),
        }
    }
    Err(fault)
}

fn failed(proxy: &Proxy, fault: Fault) -> Fault {
    fault.error_type().into_iter().for_each(|cause| proxy.metrics.backend_failed(cause));
    fault
}

/// Sends over an idle connection as long as one takes it, else over a new one.
async fn send(
    proxy: &Rc<Proxy>,
    backend: Backend,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<Answer, Failed> {
    loop {
        let idle = proxy.pool.take(backend.address(), proxy.clock.now()).await;
        // The backend may hang up just as it is asked again.
        let copy = idle.as_ref().and_then(|_| replayable(&request));
        let is_new = idle.is_none();
        let sender = match idle {
            Some(sender) => sender,
            None => match Box::pin(reach(proxy, backend)).await {
                Ok(sender) => sender,
                Err(error) => return Err(Failed::Unsent(request, Fault::Dial(error))),
            },
        };
        request = match (answer(proxy, backend.address(), sender, request, exchange).await, copy) {
            (Err(Failed::Unsent(back, _)), _) if !is_new => back,
            (Err(Failed::Sent(Fault::Hangup)), Some(copy)) => copy,
            (other, _) => return other,
        };
    }
}

async fn reach(proxy: &Proxy, backend: Backend) -> Result<SendRequest<RequestBody>, DialError> {
    connect(&proxy.tasks, backend.address(), proxy.backends.dial(backend).await?).await
}

async fn answer(
    proxy: &Rc<Proxy>,
    backend: SocketAddr,
    mut sender: SendRequest<RequestBody>,
    request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<Answer, Failed> {
    let result = in_time(sender.try_send_request(*request), exchange, proxy.limits.response_timeout).await;
    match result {
        Some(Ok(response)) => {
            let lease = Lease { pool: Rc::clone(&proxy.pool), backend, sender };
            Ok(Answer { response, lease })
        }
        Some(Err(error)) => Err(unanswered(error)),
        None => Err(Failed::Sent(Fault::Silence)),
    }
}

/// What `answer` resolves to, unless nothing moves for `limit`: an upload that goes on is no silence.
async fn in_time<T>(answer: impl Future<Output = T>, exchange: &Exchange, limit: Duration) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
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

fn unanswered(mut error: TrySendError<Request<RequestBody>>) -> Failed {
    let fault = Fault::from(error.error());
    match error.take_message() {
        Some(request) => Failed::Unsent(Box::new(request), fault),
        None => Failed::Sent(fault),
    }
}

/// A copy of a request that does no harm twice (RFC 9110 §9.2.1) and has no body.
fn replayable(request: &Request<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    // An upgrade's other half cannot be copied; it goes over a new connection or fails.
    if request.headers().contains_key(http::header::UPGRADE) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(Box::new(copy))
}
