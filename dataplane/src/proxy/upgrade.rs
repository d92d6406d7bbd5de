//! A connection that became a WebSocket.

use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tracing::{Instrument, debug};

use crate::connections::{Membership, OpenConnection, Phase};
use crate::context::WorkerContext;
use crate::http::websocket::{FrameTracker, GOING_AWAY};
use crate::tunnel::{TunnelObserver, tunnel};

/// The time a client has to take the Close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Both sides of a 101, and what of the connection goes on with them.
pub(crate) struct Upgrade {
    /// The client's side.
    pub client: OnUpgrade,
    /// The backend's side.
    pub backend: OnUpgrade,
    /// The entry of the request among the connections of its route. The tunnel keeps it, as its phase is the tunnel's:
    /// of a route that was deleted meanwhile it drains already.
    pub membership: Rc<Membership>,
    /// The connection's place within the limit of connections.
    pub open: Rc<OpenConnection>,
}

/// Joins both sides in a task of its own until one is done, nothing moves, or the route is gone.
pub(crate) fn spawn_tunnel(worker: Rc<WorkerContext>, upgrade: Upgrade) {
    let tasks = worker.tasks.clone();
    tasks.spawn("upgraded connection", run(worker, upgrade).in_current_span());
}

async fn run(worker: Rc<WorkerContext>, upgrade: Upgrade) {
    let Upgrade { client, backend, membership, open: _open } = upgrade;
    let mut cut = std::pin::pin!(membership.watch().reaches(Phase::Cut));
    let both = tokio::select! {
        both = async { tokio::try_join!(client, backend) } => both,
        () = &mut cut => return,
    };
    let (client, backend) = match both {
        Ok(both) => both,
        Err(error) => return debug!(%error, "an upgrade failed"),
    };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    let (metrics, frames) = (&worker.metrics, FrameTracker::default());
    let sent = |bytes: &[u8]| frames.record(bytes);
    let flow = TunnelObserver { inward: &metrics.tunnel_in, outward: &metrics.tunnel_out, sent: Some(&sent) };
    tokio::select! {
        ended = tunnel(&mut client, &mut backend, worker.limits.tunnel_timeout, flow) => {
            debug!(?ended, "an upgraded connection ended");
        }
        () = cut => {
            // Without a boundary there is no place for a frame of ours; the client sees the end of the stream.
            if frames.is_at_boundary() {
                let close = async {
                    client.write_all(&GOING_AWAY).await?;
                    client.shutdown().await
                };
                let _ = timeout(CLOSE_TIMEOUT, close).await;
            }
        }
    }
}
