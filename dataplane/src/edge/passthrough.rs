//! Passthrough: replays the ClientHello to a backend of the route and tunnels the connection.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::Timeout;

use crate::backend::connector::Selection;
use crate::backend::dial::DialError;
use crate::connections::{Membership, OpenConnection, Phase};
use crate::context::WorkerContext;
use crate::rate_limits::OpenRequest;
use crate::tls::{self, INTERNAL_ERROR};
use crate::tunnel::{TunnelEnd, TunnelObserver, tunnel};

/// A client's connection for a passthrough route.
pub(crate) struct Passthrough {
    /// The client's connection.
    pub client: TcpStream,
    /// The client's address.
    pub address: IpAddr,
    /// The bytes read from it so far: the ClientHello.
    pub hello: Vec<u8>,
    /// The route.
    pub route: Arc<FeedRoute>,
    /// The membership of the connection in the route.
    pub membership: Membership,
    /// The permit of the connection.
    pub open: OpenConnection,
    /// The count of the connection against the route's limit, if it has one.
    pub counted: Option<OpenRequest>,
}

/// Serves a passthrough until it ends or its route is cut.
pub(crate) async fn pass_through(worker: &WorkerContext, passthrough: Passthrough) {
    let Passthrough { client, address, hello, route, membership, open: _open, counted: _counted } =
        passthrough;
    worker.metrics.tunnels.inc();
    tokio::select! {
        () = pass(worker, client, hello, Selection::new(&route, address), &route) => {}
        () = membership.watch().reaches(Phase::Cut) => debug!("passthrough cut"),
    }
}

async fn pass(
    worker: &WorkerContext,
    mut client: TcpStream,
    hello: Vec<u8>,
    selection: Selection<'_>,
    route: &FeedRoute,
) {
    let Some(_guard) = worker.loop_detector.admit(&hello) else {
        debug!(host = %route.host, "passthrough loop detected");
        worker.metrics.count_backend_failure(DialError::OwnListener.proxy_error());
        return tls::refuse(client, &INTERNAL_ERROR).await;
    };
    let (mut backend, _open) = match worker.connector.connect(selection).await {
        Ok(backend) => backend,
        Err(error) => {
            debug!(host = %route.host, %error, "passthrough backend unreachable");
            return tls::refuse(client, &INTERNAL_ERROR).await;
        }
    };
    let replay = timeout(worker.limits.stall_timeout, backend.write_all(&hello)).await;
    drop(hello);
    if !matches!(replay, Ok(Ok(()))) {
        return;
    }
    let idle = route.destination.options.timeouts.idle;
    let (metrics, limit) = (&worker.metrics, idle.map_or(worker.limits.tunnel_timeout, Timeout::duration));
    let observer = TunnelObserver { inward: &metrics.tunnel_in, outward: &metrics.tunnel_out, on_sent: None };
    let ended = tunnel(&mut client, &mut backend, limit, observer).await;
    if let TunnelEnd::Failed(_) = ended {
        // A reset on one side becomes a reset on the other, not a clean end.
        let _ = (client.set_zero_linger(), backend.reset_at_end());
    }
    debug!(host = %route.host, ?ended, "passthrough ended");
}
