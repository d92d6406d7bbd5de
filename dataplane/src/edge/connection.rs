//! A connection at port 443: reads its ClientHello, asks the split for the action, and serves, tunnels or refuses it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::timeout;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, debug_span};
use webgateway_proto::feed::FeedRoute;

use super::admission::AdmittedConnection;
use super::hello::{self, HelloError};
use super::passthrough::{Passthrough, pass_through};
use super::split::{SplitAction, split};
use crate::connections::{Membership, OpenConnection, connection_id};
use crate::context::{ConnectionContext, WorkerContext, cdn_id, client_value};
use crate::metrics::Refusal;
use crate::proxy::handler::{TerminatedConnection, serve_terminated};
use crate::proxy_protocol::Origin;
use crate::snapshot::ServedCert;
use crate::tls::{self, ACCESS_DENIED, ClientTls, ReadAhead, UNRECOGNIZED_NAME};

/// The action on a connection after its ClientHello.
enum ConnectionAction {
    /// The gateway terminates its TLS.
    Terminate(TlsTermination),
    /// The bytes are forwarded unchanged to a backend.
    PassThrough(Passthrough),
    /// The handshake answers a TLS-ALPN-01 challenge: the CA reads the certificate and closes.
    Challenge { handshake: Handshake, membership: Membership, open: OpenConnection },
    /// The client is refused with an alert.
    Refuse(AdmittedConnection, HelloError),
    /// The connection is closed without an alert, as the process stops.
    Close,
}

/// A TLS handshake under way; it resolves to `None` if it fails.
type Handshake = Pin<Box<dyn Future<Output = Option<Box<ClientTls>>>>>;

/// A connection whose TLS is terminated, with its pending handshake.
struct TlsTermination {
    handshake: Handshake,
    origin: Box<Origin>,
    cert: Arc<ServedCert>,
    /// The gateway's name in CDN-Loop.
    cdn_id: HeaderValue,
    membership: Membership,
    open: OpenConnection,
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<WorkerContext>, admitted: AdmittedConnection) {
    let client = admitted.origin.endpoints.source();
    let span =
        debug_span!("connection", id = connection_id(), %client, port = "https", sni = Empty, route = Empty);
    // Without a subscriber for the span, this branch is its only cost.
    if span.is_disabled() {
        serve_admitted(worker, admitted, &span).await;
    } else {
        Box::pin(serve_admitted(worker, admitted, &span)).instrument(span.clone()).await;
    }
}

/// Serves a connection within its span. This future lives as long as the connection, so its large branches are boxed:
/// each needs memory only while it runs.
async fn serve_admitted(worker: Rc<WorkerContext>, admitted: AdmittedConnection, span: &Span) {
    let action = Box::pin(classify(&worker, admitted, span)).await;
    match action {
        ConnectionAction::Terminate(termination) => terminate(worker, termination).await,
        ConnectionAction::PassThrough(passthrough) => Box::pin(pass_through(&worker, passthrough)).await,
        ConnectionAction::Challenge { handshake, membership: _membership, open: _open } => {
            if handshake.await.is_none() {
                worker.metrics.count_refusal(Refusal::Handshake);
            }
        }
        ConnectionAction::Refuse(refused, HelloError { reason, alert }) => {
            debug!(?reason, "connection refused");
            worker.metrics.count_refusal(reason);
            if !alert.is_empty() {
                tls::refuse(refused.stream, &alert).await;
            }
        }
        ConnectionAction::Close => {}
    }
}

/// Reads the ClientHello and decides what to do.
async fn classify(
    worker: &Rc<WorkerContext>,
    mut admitted: AdmittedConnection,
    span: &Span,
) -> ConnectionAction {
    let arrived = worker.connections.enter(None);
    let read = tokio::select! {
        read = timeout(worker.limits.hello_timeout, hello::read(&mut admitted.stream)) => read,
        () = arrived.watch().lingered() => return ConnectionAction::Close,
    };
    let hello = match read {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return ConnectionAction::Refuse(admitted, error),
        Err(_) => return ConnectionAction::Refuse(admitted, HelloError::new(Refusal::HelloTimeout, &[])),
    };
    span.record("sni", hello.sni.as_deref());
    let snapshot = worker.snapshot.load();
    let action = split(&snapshot, hello.sni.as_deref(), hello.acme, worker.clock.unix());
    admitted.origin.server_name = hello.sni.unwrap_or_default();
    let limit = worker.limits.handshake_timeout;
    let tls =
        hello.accepted.map(|accepted| (accepted, ReadAhead::tail(&hello.raw, hello.unfed, hello.early_data)));
    match (action, tls) {
        (SplitAction::Passthrough(route), _) => {
            span.record("route", display(route.id));
            admit_passthrough(worker, admitted, route, hello.raw)
        }
        (_, Err(refusal)) => ConnectionAction::Refuse(admitted, refusal),
        (SplitAction::Refuse(reason), _) => {
            ConnectionAction::Refuse(admitted, HelloError::new(reason, &UNRECOGNIZED_NAME))
        }
        (SplitAction::Challenge(config), Ok((tls, read_ahead))) => {
            let AdmittedConnection { open, stream, .. } = admitted;
            let handshake = Box::pin(tls::finish(tls, read_ahead, stream, config, limit));
            ConnectionAction::Challenge { handshake, membership: arrived, open }
        }
        (SplitAction::Terminate { cert, route }, Ok((tls, read_ahead))) => {
            span.record("route", route.map(display));
            let AdmittedConnection { open, stream, origin } = admitted;
            let handshake = tls::finish(tls, read_ahead, stream, Arc::clone(&cert.tls), limit);
            ConnectionAction::Terminate(TlsTermination {
                handshake: Box::pin(handshake),
                origin,
                cert,
                cdn_id: cdn_id(&snapshot),
                membership: worker.connections.enter(route),
                open,
            })
        }
    }
}

/// Decides whether the route admits a passthrough connection that began with the bytes `hello`.
fn admit_passthrough(
    worker: &WorkerContext,
    admitted: AdmittedConnection,
    route: Arc<FeedRoute>,
    hello: Vec<u8>,
) -> ConnectionAction {
    let (options, client) = (&route.destination.options, admitted.origin.endpoints.client());
    let refuse = |admitted, reason| {
        worker.stats.count_refused_connection(route.id, "http_request_denied");
        ConnectionAction::Refuse(admitted, HelloError::new(reason, &ACCESS_DENIED))
    };
    if !options.admits(client) {
        return refuse(admitted, Refusal::Denied);
    }
    let counted = options.rate_limit.map(|limit| worker.rate_limits.admit(route.id, client, &limit));
    let Ok(counted) = counted.transpose() else { return refuse(admitted, Refusal::RateLimited) };
    let membership = worker.connections.enter(Some(route.id));
    let AdmittedConnection { open, stream: client, origin } = admitted;
    let counted = counted.flatten();
    ConnectionAction::PassThrough(Passthrough { client, hello, route, origin, membership, open, counted })
}

async fn terminate(worker: Rc<WorkerContext>, termination: TlsTermination) {
    let TlsTermination { handshake, origin, cert, cdn_id, membership, open } = termination;
    let Some(stream) = handshake.await else {
        debug!("TLS handshake failed");
        return worker.metrics.count_refusal(Refusal::Handshake);
    };
    let context = ConnectionContext::new(worker, origin, membership, open);
    let (client_value, is_h2) = (client_value(context.client), stream.is_h2());
    let connection = Rc::new(TerminatedConnection { context, client_value, cert, cdn_id });
    Box::pin(serve_terminated(connection, stream, is_h2)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Each connection has one of these futures, idle ones too.
    #[test]
    fn the_future_of_a_connection_is_small() {
        assert!(size(serve) <= 1024, "{} bytes", size(serve));
    }
}
