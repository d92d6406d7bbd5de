//! The policies of a terminated route: its options that decide about a request before it is forwarded.

use http::Request;
use http_body::Body;
use webgateway_proto::feed::FeedRoute;

use crate::context::ConnectionContext;
use crate::http::error::ProxyError;

/// Decides whether a request may be forwarded.
///
/// # Errors
///
/// Fails with the response that the client gets instead.
pub(crate) fn admit<B: Body>(
    connection: &ConnectionContext,
    route: &FeedRoute,
    request: &Request<B>,
) -> Result<(), ProxyError> {
    let options = &route.destination.options;
    if !options.admits(connection.client) {
        return Err(ProxyError::Denied);
    }
    // A body of unknown length is counted while it is forwarded.
    if options.max_body.is_some_and(|max| request.body().size_hint().lower() > max.bytes()) {
        return Err(ProxyError::BodyTooLarge);
    }
    Ok(())
}
