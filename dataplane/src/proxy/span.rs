//! The span of a request: log lines within it have its number on the connection, its host and its route.
//!
//! Spans have the debug level. Without debug logs a request costs one branch on [`is_on`]: its future is not wrapped
//! and no field is computed.

use http::Response;
use tracing::field::{Empty, display};
use tracing::{Instrument, Level, Span, debug, debug_span, enabled};
use webgateway_proto::feed::FeedRoute;

use crate::http::body::ResponseBody;
use crate::http::error::ProxyError;

/// Returns whether requests have spans.
#[must_use]
pub(crate) fn is_on() -> bool {
    enabled!(Level::DEBUG)
}

/// Runs `respond` within the span of a request; `id` is its number on the connection.
pub(crate) async fn within_span(
    id: u64,
    respond: impl Future<Output = Result<Response<ResponseBody>, ProxyError>>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let responding = async {
        let answered = respond.await;
        if let Err(error) = &answered {
            debug!(%error, "request refused");
        }
        answered
    };
    responding.instrument(debug_span!("request", id, host = Empty, route = Empty)).await
}

/// Records the route of the current request.
pub(crate) fn record_route(route: &FeedRoute) {
    if is_on() {
        Span::current().record("host", route.host.as_str()).record("route", display(route.id));
    }
}
