//! Passthrough: replays the ClientHello to a backend of the route and tunnels the connection.

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
use crate::proxy_protocol::Origin;
use crate::rate_limits::OpenRequest;
use crate::stats::TrafficRecord;
use crate::tls::{self, INTERNAL_ERROR};
use crate::tunnel::{TunnelEnd, TunnelObserver, tunnel};

/// A client's connection for a passthrough route.
pub(crate) struct Passthrough {
    /// The client's connection.
    pub client: TcpStream,
    /// The bytes read from it so far: the ClientHello.
    pub hello: Vec<u8>,
    /// The route.
    pub route: Arc<FeedRoute>,
    /// The origin of the connection.
    pub origin: Box<Origin>,
    /// The membership of the connection in the route.
    pub membership: Membership,
    /// The permit of the connection.
    pub open: OpenConnection,
    /// The count of the connection against the route's limit, if it has one.
    pub counted: Option<OpenRequest>,
}

/// Serves a passthrough until it ends or its route is cut.
pub(crate) async fn pass_through(worker: &WorkerContext, passthrough: Passthrough) {
    let Passthrough { client, hello, route, origin, membership, open: _open, counted: _counted } =
        passthrough;
    let header = origin.header(route.destination.options.proxy_protocol);
    let address = origin.endpoints.client();
    worker.metrics.tunnels.inc();
    let record = TrafficRecord::connection(&worker.stats, route.id, address);
    tokio::select! {
        () = pass(worker, client, hello, (Selection::new(&route, address), &header), &record) => {}
        () = membership.watch().reaches(Phase::Cut) => debug!("passthrough cut"),
    }
}

async fn pass(
    worker: &WorkerContext,
    mut client: TcpStream,
    hello: Vec<u8>,
    (selection, header): (Selection<'_>, &[u8]),
    record: &TrafficRecord,
) {
    let route = selection.route;
    let Some(_guard) = worker.loop_detector.admit(&hello) else {
        debug!(host = %route.host, "passthrough loop detected");
        worker.metrics.count_backend_failure(DialError::OwnListener.proxy_error());
        record.fail(DialError::OwnListener.proxy_error());
        return tls::refuse(client, &INTERNAL_ERROR).await;
    };
    let (mut backend, _open) = match worker.connector.connect(selection, header).await {
        Ok(backend) => backend,
        Err(error) => {
            debug!(host = %route.host, %error, "passthrough backend unreachable");
            record.fail(error.proxy_error());
            return tls::refuse(client, &INTERNAL_ERROR).await;
        }
    };
    let replay = timeout(worker.limits.stall_timeout, backend.write_all(&hello)).await;
    record.add_received(hello.len() as u64);
    drop(hello);
    if !matches!(replay, Ok(Ok(()))) {
        return record.fail("connection_terminated");
    }
    let idle = route.destination.options.timeouts.idle;
    let (metrics, limit) = (&worker.metrics, idle.map_or(worker.limits.tunnel_timeout, Timeout::duration));
    let inward = |bytes| {
        metrics.tunnel_in.inc_by(bytes);
        record.add_received(bytes);
    };
    let outward = |bytes| {
        metrics.tunnel_out.inc_by(bytes);
        record.add_sent(bytes);
    };
    let observer = TunnelObserver { inward: &inward, outward: &outward, on_sent: None };
    let ended = tunnel(&mut client, &mut backend, limit, observer).await;
    if let TunnelEnd::Failed(_) = ended {
        // A reset on one side becomes a reset on the other, not a clean end.
        let _ = (client.set_zero_linger(), backend.reset_at_end());
    }
    debug!(host = %route.host, ?ended, "passthrough ended");
}
