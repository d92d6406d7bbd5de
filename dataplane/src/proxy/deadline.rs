//! The total timeout of a request, up to the head of its response; that of its body is in [`crate::http::body`].

use std::future::Future;
use std::pin::Pin;

use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;

/// Awaits `response`, but not beyond the deadline of the exchange, if it has one.
///
/// The caller pins the future, because a future passed by value would occupy its space twice.
pub(super) async fn before_deadline<T>(
    exchange: &Exchange,
    response: Pin<&mut impl Future<Output = Result<T, ProxyError>>>,
) -> Result<T, ProxyError> {
    let Some(total) = exchange.bounds.total_timer() else { return response.await };
    tokio::select! {
        biased;
        response = response => response,
        () = total => Err(ProxyError::TotalTimeout),
    }
}
