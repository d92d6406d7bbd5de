//! Authentication of requests, with the method that the route has.

mod basic;
mod forward;
mod pending;

use webgateway_proto::model::options::Auth;

pub(crate) use self::pending::{Authentication, PendingRequest};
use crate::http::error::ProxyError;

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
        Auth::Basic(auth) => {
            let changes = basic::authenticate(connection, route, auth, request.headers()).await;
            changes.map(Authentication::Accepted)
        }
        Auth::Forward(auth) => forward::authenticate(&pending, auth).await,
    };
    exchange.set_waiting_for_backend(false);
    exchange.record_progress();
    // The route may have been deleted or suspended meanwhile.
    if connection.worker.snapshot.load().routes.by_id(&route.id).is_none() {
        return Err(ProxyError::UnknownHost);
    }
    outcome
}
