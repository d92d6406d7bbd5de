//! Authentication of requests, with the method that the route has.

use http::Response;
use webgateway_proto::model::options::Auth;

use super::{PendingRequest, basic_auth, forward_auth};
use crate::http::body::ResponseBody;
use crate::http::error::ProxyError;
use crate::http::headers::FieldChange;

/// The outcome of an authentication.
pub(crate) enum Authentication {
    /// The request may be forwarded, with these changes of its fields.
    Accepted(Vec<FieldChange>),
    /// The client gets this response of the authentication service.
    Answered(Box<Response<ResponseBody>>),
}

/// Authenticates a request.
///
/// # Errors
///
/// Fails with the response that the client gets instead. In doubt, the request is refused.
pub(super) async fn authenticate(
    pending: PendingRequest<'_>,
    auth: &Auth,
) -> Result<Authentication, ProxyError> {
    let PendingRequest { connection, route, request, exchange, .. } = pending;
    // Meanwhile, a client that sends nothing waits for the gateway.
    exchange.set_waiting_for_backend(true);
    let outcome = match auth {
        Auth::Basic(basic) => {
            let changes = basic_auth::authenticate(connection, route, basic, request.headers()).await;
            changes.map(Authentication::Accepted)
        }
        Auth::Forward(forward) => forward_auth::authenticate(&pending, forward).await,
    };
    exchange.set_waiting_for_backend(false);
    exchange.record_progress();
    // The route may have been deleted or suspended meanwhile.
    if connection.worker.snapshot.load().routes.by_id(&route.id).is_none() {
        return Err(ProxyError::UnknownHost);
    }
    outcome
}
