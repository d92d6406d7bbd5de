//! The policies of a terminated route: its options that decide about a request before it is forwarded.

use webgateway_proto::feed::FeedRoute;

use crate::context::ConnectionContext;
use crate::http::error::ProxyError;

/// Decides whether a request may be forwarded.
///
/// # Errors
///
/// Fails with the response that the client gets instead.
pub(crate) fn admit(connection: &ConnectionContext, route: &FeedRoute) -> Result<(), ProxyError> {
    let options = &route.destination.options;
    if !options.admits(connection.client) {
        return Err(ProxyError::Denied);
    }
    Ok(())
}
