//! Sending a request to a backend: to the one whose turn it is, and if it was not reached, to another.

use std::net::SocketAddr;
use std::rc::Rc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::feed::FeedRoute;

use super::body::{Lease, RequestBody};
use super::error::Fault;
use super::exchange::Exchange;
use crate::backend::balance::candidates;
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

/// Sends `request` to a backend of `route`.
pub async fn forward(
    proxy: &Rc<Proxy>,
    route: &FeedRoute,
    mut request: Request<RequestBody>,
    exchange: &Exchange,
) -> Result<Answer, Fault> {
    let backends = route.destination.backends.as_slice();
    let turn = proxy.turns.next(route.id, route.destination.balance, backends.len());
    let now = proxy.clock.now();
    let chosen = candidates(backends, turn, |backend| proxy.health.borrow().is_up(backend.address(), now));
    // Backends are never empty.
    let mut fault = Fault::Dial(DialError::Refused);
    for (attempt, backend) in chosen.into_iter().flatten().enumerate() {
        if attempt > 0 {
            proxy.metrics.retried();
        }
        match send(proxy, backend.address(), request, exchange).await {
            Ok(answer) => return Ok(answer),
            Err(Failed::Sent(fault)) => return Err(failed(proxy, fault)),
            Err(Failed::Unsent(back, why)) => (request, fault) = (*back, failed(proxy, why)),
        }
    }
    Err(fault)
}

fn failed(proxy: &Proxy, fault: Fault) -> Fault {
    fault.error_type().into_iter().for_each(|cause| proxy.metrics.backend_failed(cause));
    fault
}

/// Sends over an idle connection if one still takes it, else over a new one.
async fn send(
    proxy: &Rc<Proxy>,
    backend: SocketAddr,
    mut request: Request<RequestBody>,
    exchange: &Exchange,
) -> Result<Answer, Failed> {
    while let Some(sender) = proxy.pool.take(backend, proxy.clock.now()).await {
        // The backend may hang up just as it is asked again.
        let copy = replayable(&request);
        match answer(proxy, backend, sender, request, exchange).await {
            Err(Failed::Unsent(back, _)) => request = *back,
            Err(Failed::Sent(Fault::Hangup)) if copy.is_some() => match copy {
                Some(copy) => request = copy,
                None => return Err(Failed::Sent(Fault::Hangup)),
            },
            other => return other,
        }
    }
    match connect(backend, proxy.limits.connect_timeout).await {
        Ok(sender) => {
            proxy.health.borrow_mut().succeeded(backend);
            answer(proxy, backend, sender, request, exchange).await
        }
        Err(error) => {
            // Being out of sockets is no fault of the backend's.
            if error != DialError::Exhausted {
                proxy.health.borrow_mut().failed(backend, Instant::now());
            }
            Err(Failed::Unsent(Box::new(request), Fault::Dial(error)))
        }
    }
}

async fn answer(
    proxy: &Rc<Proxy>,
    backend: SocketAddr,
    mut sender: SendRequest<RequestBody>,
    request: Request<RequestBody>,
    exchange: &Exchange,
) -> Result<Answer, Failed> {
    let limit = proxy.limits.response_timeout;
    let mut sent = std::pin::pin!(sender.try_send_request(request));
    let mut deadline = proxy.clock.now() + limit;
    let result = loop {
        match timeout_at(deadline, &mut sent).await {
            Ok(result) => break result,
            // An upload that moves is no silence.
            Err(_) if exchange.last() + limit > Instant::now() => deadline = exchange.last() + limit,
            Err(_) => return Err(Failed::Sent(Fault::Silence)),
        }
    };
    match result {
        Ok(response) => {
            let lease = Lease { pool: Rc::clone(&proxy.pool), backend, sender };
            Ok(Answer { response, lease })
        }
        Err(error) => Err(unanswered(error)),
    }
}

fn unanswered(mut error: TrySendError<Request<RequestBody>>) -> Failed {
    let fault = Fault::from(error.error());
    match error.take_message() {
        Some(request) => Failed::Unsent(Box::new(request), fault),
        None => Failed::Sent(fault),
    }
}

/// A copy of a request that does no harm twice (RFC 9110 §9.2.1) and has no body.
fn replayable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
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
    Some(copy)
}
