//! The policies of a terminated route: its options that decide about a request before it is forwarded.

mod maintenance;

use webgateway_proto::feed::FeedRoute;

use crate::context::ConnectionContext;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;

/// Decides whether a request may be forwarded, except for the authentication of its client, which comes next.
///
/// # Errors
///
/// Fails with the response that the client gets instead.
pub(crate) fn admit(
    connection: &ConnectionContext,
    route: &FeedRoute,
    exchange: &Exchange,
) -> Result<(), ProxyError> {
    let options = &route.destination.options;
    if !options.admits(connection.client) {
        return Err(ProxyError::Denied);
    }
    if let Some(maintenance) = &options.maintenance {
        maintenance::admit(maintenance, connection.client)?;
    }
    if let Some(limit) = &options.rate_limit {
        let admitted = connection.worker.rate_limits.admit(route.id, connection.client, limit);
        let open = admitted.map_err(|error| ProxyError::RateLimited { retry_after: error.seconds() })?;
        open.into_iter().for_each(|open| exchange.keep(Box::new(open)));
    }
    Ok(())
}
