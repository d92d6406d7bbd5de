//! One connection at :443: its ClientHello, the split, and then either way.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, debug_span};
use webgateway_proto::model::RouteId;

use super::hello::{self, Hello, HelloError};
use super::passthrough::{Passthrough, pass_through};
use super::split::{Verdict, split};
use crate::connections::{Membership, OpenConnection, connection_id};
use crate::context::{ConnectionContext, WorkerContext, cdn_id, client_value};
use crate::http::exchange::Progress;
use crate::metrics::Refusal;
use crate::proxy::handler::{TerminatedConnection, serve_terminated};
use crate::snapshot::ServedCert;
use crate::tls::{self, UNRECOGNIZED_NAME};

/// A connection as it was accepted.
struct Accepted {
    worker: Rc<WorkerContext>,
    open: OpenConnection,
    stream: TcpStream,
    peer: SocketAddr,
}

/// The certificate to serve, and the gateway's name in CDN-Loop.
struct Terminate {
    cert: Arc<ServedCert>,
    cdn_id: HeaderValue,
}

/// Takes a connection to its end.
pub async fn connection(
    worker: Rc<WorkerContext>,
    open: OpenConnection,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let span = debug_span!("connection", id = connection_id(), client = %peer, port = "https", sni = Empty, route = Empty);
    let accepted = Accepted { worker, open, stream, peer };
    // A span that is off costs this branch.
    if span.is_disabled() {
        serve(accepted, &span).await;
    } else {
        Box::pin(serve(accepted, &span)).instrument(span.clone()).await;
    }
}

async fn serve(mut accepted: Accepted, span: &Span) {
    let worker = Rc::clone(&accepted.worker);
    let arrived = worker.connections.enter(None);
    let hello = tokio::select! {
        hello = timeout(worker.limits.hello_timeout, hello::read(&mut accepted.stream)) => hello,
        () = arrived.watch().lingered() => return,
    };
    let hello = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(HelloError { reason, alert })) => return refuse(accepted, reason, &alert).await,
        Err(_) => return refuse(accepted, Refusal::HelloTimeout, &[]).await,
    };
    span.record("sni", hello.sni.as_deref());
    // Held no longer than the verdict: an old snapshot must not live as long as a connection.
    let (verdict, cdn_id) = {
        let snapshot = worker.snapshot.load();
        (split(&snapshot, hello.sni.as_deref(), hello.acme), cdn_id(&snapshot))
    };
    match verdict {
        Verdict::Refuse(reason) => refuse(accepted, reason, &UNRECOGNIZED_NAME).await,
        Verdict::Passthrough(route) => {
            span.record("route", display(route.id));
            let membership = enter(&worker, Some(route.id), arrived);
            let Accepted { open, stream: client, .. } = accepted;
            let passthrough = Passthrough { client, hello: hello.raw, route, membership, open };
            Box::pin(pass_through(&worker, passthrough)).await;
        }
        Verdict::Challenge(config) => {
            // The handshake is the answer: the CA reads the certificate and leaves.
            let limit = worker.limits.handshake_timeout;
            let handshake = tls::finish(hello.accepted, accepted.stream, config, limit);
            if Box::pin(handshake).await.is_none() {
                worker.metrics.refused(Refusal::Handshake);
            }
        }
        Verdict::Terminate { .. } if hello.unfed > 0 => refuse(accepted, Refusal::NotTls, &[]).await,
        Verdict::Terminate { cert, route } => {
            span.record("route", route.map(display));
            let membership = enter(&worker, route, arrived);
            terminate(accepted, hello, membership, Terminate { cert, cdn_id }).await;
        }
    }
}

/// Enters a connection among those of its route, no longer among those whose route is not known yet.
fn enter(worker: &WorkerContext, route: Option<RouteId>, arrived: Membership) -> Membership {
    let membership = worker.connections.enter(route);
    drop(arrived);
    membership
}

async fn terminate(accepted: Accepted, hello: Hello, membership: Membership, terminate: Terminate) {
    let Accepted { worker, open, stream, peer } = accepted;
    let Terminate { cert, cdn_id } = terminate;
    let limit = worker.limits.handshake_timeout;
    let handshake = tls::finish(hello.accepted, stream, Arc::clone(&cert.tls), limit);
    let Some(stream) = Box::pin(handshake).await else {
        debug!("TLS handshake failed");
        return worker.metrics.refused(Refusal::Handshake);
    };
    let client = peer.ip().to_canonical();
    let context = ConnectionContext {
        client,
        progress: Progress::new(Rc::clone(&worker.clock)),
        membership: Rc::new(membership),
        open: Rc::new(open),
        worker,
    };
    let sni = hello.sni.unwrap_or_default();
    let client_value = client_value(client);
    let is_h2 = tls::is_h2(&stream);
    let connection = Rc::new(TerminatedConnection { context, client_value, sni, cert, cdn_id });
    Box::pin(serve_terminated(connection, stream, is_h2)).await;
}

async fn refuse(accepted: Accepted, reason: Refusal, alert: &[u8]) {
    debug!(?reason, "connection refused");
    accepted.worker.metrics.refused(reason);
    if !alert.is_empty() {
        tls::refuse(accepted.stream, alert).await;
    }
}
