//! The policies of a terminated route: its options that decide about a request before it is forwarded.

pub(crate) mod headers;
mod maintenance;
pub(crate) mod paths;

use http::{Request, Response};
use http_body::Body;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::RouteOptions;

use crate::context::ConnectionContext;
use crate::http::body::ResponseBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::grpc;

/// Decides whether a request may be forwarded, except for the authentication of its client, which comes next.
///
/// # Errors
///
/// Fails with the response that the client gets instead.
pub(crate) fn admit<B: Body>(
    connection: &ConnectionContext,
    route: &FeedRoute,
    request: &Request<B>,
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
    // A body of unknown length is counted while it is forwarded.
    if options.max_body.is_some_and(|max| request.body().size_hint().lower() > max.bytes()) {
        return Err(ProxyError::BodyTooLarge);
    }
    Ok(())
}

/// Returns a response of the gateway itself, such as a redirect, with the fields that these options add.
pub(crate) fn own_response(
    options: &RouteOptions,
    mut response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    headers::change_own(options.headers.response(), response.headers_mut());
    response
}

/// Returns the response to a request for `route`, with the fields that its options require. An error is answered in the
/// form that the client understands.
pub(crate) fn finish(
    route: Option<&FeedRoute>,
    answered: Result<Response<ResponseBody>, ProxyError>,
    is_grpc: bool,
) -> Response<ResponseBody> {
    let of_error = |error: ProxyError| if is_grpc { grpc::error_response(&error) } else { error.response() };
    let Some(options) = route.map(|route| &route.destination.options) else {
        return answered.unwrap_or_else(of_error);
    };
    let mut response = answered.unwrap_or_else(|error| own_response(options, of_error(error)));
    headers::set_hsts(options, response.headers_mut());
    response
}
