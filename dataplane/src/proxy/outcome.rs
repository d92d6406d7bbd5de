//! The outcome of sending a request to a backend, whatever the protocol.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use webgateway_proto::model::Backend;

use crate::backend::lease::Lease;
use crate::clock::TICK;
use crate::http::body::RequestBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::framing::TrailerRules;

/// A backend's response and the connection that it came on.
pub(crate) struct BackendResponse {
    /// The response, its body unread.
    pub response: Response<Incoming>,
    /// The backend.
    pub backend: Backend,
    /// The lease of the backend connection.
    pub lease: Lease<RequestBody>,
    /// The rules for the trailers of the response.
    pub rules: TrailerRules,
}

/// The reason why a request got no response.
pub(super) enum SendError {
    /// Nothing was sent; the request is returned for a retry.
    Unsent(Box<Request<RequestBody>>, ProxyError),
    /// The request was sent, at least in part, or may have been.
    Sent(ProxyError),
}

/// Awaits `response`; returns `None` after `limit` without progress of the exchange, or after the route's own limit once
/// the request was read. A continuing upload is progress.
///
/// The caller pins the future, because a future passed by value would occupy its space twice.
pub(super) async fn in_time<T>(
    mut response: Pin<&mut impl Future<Output = T>>,
    exchange: &Exchange,
    limit: Duration,
) -> Option<T> {
    let own = exchange.bounds.first_byte_or(limit);
    // The clock of the exchange is too coarse for a short limit.
    let begun = if own == limit { exchange.last_progress() } else { Instant::now() };
    let mut timer = exchange.timer(begun + own);
    poll_fn(|cx| {
        if let Poll::Ready(response) = response.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        while timer.poll(cx).is_ready() {
            let (now, limit) = (Instant::now(), if exchange.is_request_read() { own } else { limit });
            let deadline = begun.max(exchange.last_progress() + TICK) + limit;
            if deadline <= now {
                return Poll::Ready(None);
            }
            timer.reset(deadline.min(now + own));
        }
        Poll::Pending
    })
    .await
}
