//! A connection at port 443: reads its ClientHello, asks the split for the action, and serves, tunnels or refuses it.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, debug_span};
use webgateway_proto::feed::FeedRoute;

use super::hello::{self, HelloError};
use super::passthrough::{Passthrough, pass_through};
use super::split::{SplitAction, split};
use crate::connections::{Membership, OpenConnection, connection_id};
use crate::context::{ConnectionContext, WorkerContext, cdn_id, client_value};
use crate::http::exchange::Progress;
use crate::metrics::Refusal;
use crate::proxy::handler::{TerminatedConnection, serve_terminated};
use crate::snapshot::ServedCert;
use crate::tls::{self, ACCESS_DENIED, ClientTls, ReadAhead, UNRECOGNIZED_NAME};

/// A connection that was accepted and not yet read from.
struct AcceptedConnection {
    worker: Rc<WorkerContext>,
    open: OpenConnection,
    stream: TcpStream,
    peer: SocketAddr,
}

/// The action on a connection after its ClientHello.
enum ConnectionAction {
    /// The gateway terminates its TLS.
    Terminate(TlsTermination),
    /// The bytes are forwarded unchanged to a backend.
    PassThrough(Passthrough),
    /// The handshake answers a TLS-ALPN-01 challenge: the CA reads the certificate and closes.
    Challenge { handshake: Handshake, membership: Membership, open: OpenConnection },
    /// The client is refused with an alert.
    Refuse(AcceptedConnection, HelloError),
    /// The connection is closed without an alert, as the process stops.
    Close,
}

/// A TLS handshake under way; it resolves to `None` if it fails.
type Handshake = Pin<Box<dyn Future<Output = Option<Box<ClientTls>>>>>;

/// A connection whose TLS is terminated, with its pending handshake.
struct TlsTermination {
    handshake: Handshake,
    sni: Option<Box<str>>,
    cert: Arc<ServedCert>,
    /// The gateway's name in CDN-Loop.
    cdn_id: HeaderValue,
    membership: Membership,
    open: OpenConnection,
    client: IpAddr,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    worker: Rc<WorkerContext>,
    open: OpenConnection,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let span = debug_span!("connection", id = connection_id(), client = %peer, port = "https", sni = Empty, route = Empty);
    let accepted = AcceptedConnection { worker, open, stream, peer };
    // Without a subscriber for the span, this branch is its only cost.
    if span.is_disabled() {
        serve_accepted(accepted, &span).await;
    } else {
        Box::pin(serve_accepted(accepted, &span)).instrument(span.clone()).await;
    }
}

/// Serves a connection within its span. This future lives as long as the connection, so its large branches are boxed:
/// each needs memory only while it runs.
async fn serve_accepted(accepted: AcceptedConnection, span: &Span) {
    let worker = Rc::clone(&accepted.worker);
    let action = Box::pin(classify(accepted, span)).await;
    match action {
        ConnectionAction::Terminate(termination) => terminate(worker, termination).await,
        ConnectionAction::PassThrough(passthrough) => Box::pin(pass_through(&worker, passthrough)).await,
        ConnectionAction::Challenge { handshake, membership: _membership, open: _open } => {
            if handshake.await.is_none() {
                worker.metrics.count_refusal(Refusal::Handshake);
            }
        }
        ConnectionAction::Refuse(accepted, HelloError { reason, alert }) => {
            debug!(?reason, "connection refused");
            worker.metrics.count_refusal(reason);
            if !alert.is_empty() {
                tls::refuse(accepted.stream, &alert).await;
            }
        }
        ConnectionAction::Close => {}
    }
}

/// Reads the ClientHello and decides what to do.
async fn classify(mut accepted: AcceptedConnection, span: &Span) -> ConnectionAction {
    let worker = Rc::clone(&accepted.worker);
    let arrived = worker.connections.enter(None);
    let read = tokio::select! {
        read = timeout(worker.limits.hello_timeout, hello::read(&mut accepted.stream)) => read,
        () = arrived.watch().lingered() => return ConnectionAction::Close,
    };
    let hello = match read {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return ConnectionAction::Refuse(accepted, error),
        Err(_) => return ConnectionAction::Refuse(accepted, HelloError::new(Refusal::HelloTimeout, &[])),
    };
    span.record("sni", hello.sni.as_deref());
    let snapshot = worker.snapshot.load();
    let action = split(&snapshot, hello.sni.as_deref(), hello.acme, worker.clock.unix());
    let limit = worker.limits.handshake_timeout;
    let tls =
        hello.accepted.map(|accepted| (accepted, ReadAhead::tail(&hello.raw, hello.unfed, hello.early_data)));
    match (action, tls) {
        (SplitAction::Passthrough(route), _) => {
            span.record("route", display(route.id));
            admit_passthrough(accepted, route, hello.raw)
        }
        (_, Err(refusal)) => ConnectionAction::Refuse(accepted, refusal),
        (SplitAction::Refuse(reason), _) => {
            ConnectionAction::Refuse(accepted, HelloError::new(reason, &UNRECOGNIZED_NAME))
        }
        (SplitAction::Challenge(config), Ok((tls, read_ahead))) => {
            let AcceptedConnection { open, stream, .. } = accepted;
            let handshake = Box::pin(tls::finish(tls, read_ahead, stream, config, limit));
            ConnectionAction::Challenge { handshake, membership: arrived, open }
        }
        (SplitAction::Terminate { cert, route }, Ok((tls, read_ahead))) => {
            span.record("route", route.map(display));
            let AcceptedConnection { open, stream, peer, .. } = accepted;
            let handshake = tls::finish(tls, read_ahead, stream, Arc::clone(&cert.tls), limit);
            ConnectionAction::Terminate(TlsTermination {
                handshake: Box::pin(handshake),
                sni: hello.sni,
                cert,
                cdn_id: cdn_id(&snapshot),
                membership: worker.connections.enter(route),
                open,
                client: peer.ip().to_canonical(),
            })
        }
    }
}

/// Decides whether the route admits a passthrough connection that began with the bytes `hello`.
fn admit_passthrough(
    accepted: AcceptedConnection,
    route: Arc<FeedRoute>,
    hello: Vec<u8>,
) -> ConnectionAction {
    let (options, client) = (&route.destination.options, accepted.peer.ip());
    let refuse =
        |accepted, reason| ConnectionAction::Refuse(accepted, HelloError::new(reason, &ACCESS_DENIED));
    if !options.admits(client) {
        return refuse(accepted, Refusal::Denied);
    }
    let worker = &accepted.worker;
    let counted = options.rate_limit.map(|limit| worker.rate_limits.admit(route.id, client, &limit));
    let Ok(counted) = counted.transpose() else { return refuse(accepted, Refusal::RateLimited) };
    let membership = worker.connections.enter(Some(route.id));
    let (address, counted) = (client.to_canonical(), counted.flatten());
    let AcceptedConnection { open, stream: client, .. } = accepted;
    ConnectionAction::PassThrough(Passthrough { client, address, hello, route, membership, open, counted })
}

async fn terminate(worker: Rc<WorkerContext>, termination: TlsTermination) {
    let TlsTermination { handshake, sni, cert, cdn_id, membership, open, client } = termination;
    let Some(stream) = handshake.await else {
        debug!("TLS handshake failed");
        return worker.metrics.count_refusal(Refusal::Handshake);
    };
    let context = ConnectionContext {
        client,
        progress: Progress::new(Rc::clone(&worker.clock), worker.tasks.clone(), Rc::clone(&worker.backlog)),
        membership: Rc::new(membership),
        open: Rc::new(open),
        worker,
    };
    let (sni, client_value, is_h2) = (sni.unwrap_or_default(), client_value(client), stream.is_h2());
    let connection = Rc::new(TerminatedConnection { context, client_value, sni, cert, cdn_id });
    Box::pin(serve_terminated(connection, stream, is_h2)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Each connection has one of these futures, idle ones too.
    #[test]
    fn the_future_of_a_connection_is_small() {
        assert!(size(serve) <= 1024, "{} bytes", size(serve));
    }
}
