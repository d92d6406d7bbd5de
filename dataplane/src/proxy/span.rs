//! The span of a request, which every log line below it carries: its number on the connection, its host and its route.
//!
//! Spans are of the debug level. Without debug logs a request costs the one branch on [`is_on`]: its future is not
//! wrapped, nor any field computed.

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

/// Responds within the span of the request that is the `id`th of its connection.
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
