//! The policies of a terminated route: its options that decide about a request before it is forwarded.

mod auth;
mod basic_auth;
mod forward_auth;
mod maintenance;
pub(crate) mod passwords;
pub(crate) mod rate_limit;

use std::rc::Rc;

use http::Request;
use webgateway_proto::feed::FeedRoute;

pub(crate) use self::auth::Authentication;
use crate::context::ConnectionContext;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::headers::Forwarded;
use crate::http::incoming::RequestStream;

/// A request that may be forwarded, if the policies of its route admit it.
pub(crate) struct PendingRequest<'a> {
    /// The connection of the request.
    pub connection: &'a ConnectionContext,
    /// The route.
    pub route: &'a FeedRoute,
    /// The request, its body unread.
    pub request: &'a Request<RequestStream>,
    /// The header fields that describe the client.
    pub forwarded: &'a Forwarded<'a>,
    /// The exchange of the request.
    pub exchange: &'a Rc<Exchange>,
}

/// Decides whether a request may be forwarded, and with which changes.
///
/// # Errors
///
/// Fails with the response that the client gets instead.
pub(crate) async fn admit(pending: PendingRequest<'_>) -> Result<Authentication, ProxyError> {
    let PendingRequest { connection, route, exchange, .. } = pending;
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
    match &options.auth {
        // Boxed, so that requests without authentication do not reserve its space.
        Some(auth) => Box::pin(auth::authenticate(pending, auth)).await,
        None => Ok(Authentication::Accepted(Vec::new())),
    }
}
