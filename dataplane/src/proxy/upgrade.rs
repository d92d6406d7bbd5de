//! Upgraded connections: tunnels of WebSocket frames between client and backend.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tracing::{Instrument, debug};

use crate::backend::open_requests::OpenRequest;
use crate::connections::{Membership, OpenConnection, Phase};
use crate::context::WorkerContext;
use crate::http::websocket::{FrameTracker, GOING_AWAY};
use crate::tunnel::{TunnelObserver, tunnel};

/// The maximum time to send a Close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An upgrade after its 101 response: both sides, and the guards of the connection that the tunnel keeps.
pub(crate) struct Upgrade {
    /// The client's side.
    pub client: OnUpgrade,
    /// The backend's side.
    pub backend: OnUpgrade,
    /// The membership of the request in its route. The tunnel takes it over with its phase: if the route was deleted
    /// meanwhile, the tunnel is draining from the start.
    pub membership: Rc<Membership>,
    /// The permit of the connection.
    pub open: Rc<OpenConnection>,
    /// The guards that the exchange kept.
    pub kept: Option<Box<dyn Any>>,
    /// The maximum time without a byte in either direction.
    pub idle: Duration,
    /// The count of the tunnel among the open requests of its backend.
    pub open_request: Option<OpenRequest>,
}

/// Runs the tunnel in its own task until it ends, is idle for too long, or its route is cut.
pub(crate) fn spawn_tunnel(worker: Rc<WorkerContext>, upgrade: Upgrade) {
    let tasks = worker.tasks.clone();
    tasks.spawn("upgraded connection", run(worker, upgrade).in_current_span());
}

async fn run(worker: Rc<WorkerContext>, upgrade: Upgrade) {
    let Upgrade { client, backend, membership, open: _open, kept: _kept, idle, open_request: _open_request } =
        upgrade;
    let mut cut = std::pin::pin!(membership.watch().reaches(Phase::Cut));
    let both = tokio::select! {
        both = async { tokio::try_join!(client, backend) } => both,
        () = &mut cut => return,
    };
    let (client, backend) = match both {
        Ok(both) => both,
        Err(error) => return debug!(%error, "upgrade failed"),
    };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    let (metrics, frames) = (&worker.metrics, FrameTracker::default());
    let on_sent = |bytes: &[u8]| frames.record(bytes);
    let observer =
        TunnelObserver { inward: &metrics.tunnel_in, outward: &metrics.tunnel_out, on_sent: Some(&on_sent) };
    tokio::select! {
        ended = tunnel(&mut client, &mut backend, idle, observer) => {
            debug!(?ended, "upgraded connection ended");
        }
        () = cut => {
            // Within a frame no Close frame can be inserted; the client only sees the end of the stream.
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
