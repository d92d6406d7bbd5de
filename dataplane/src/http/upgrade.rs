//! A connection that switched protocols: a WebSocket, most often.

use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tracing::debug;
use webgateway_proto::model::RouteId;

use super::websocket::{Frames, GOING_AWAY};
use crate::connections::Phase;
use crate::proxy::Proxy;
use crate::tunnel::{Flow, tunnel};

/// A visitor that does not take the goodbye is not waited for.
const GOODBYE: Duration = Duration::from_secs(1);

/// Joins both sides of a 101 until one is done, nothing moves, or the route is gone; a WebSocket is told so.
pub fn join(proxy: Rc<Proxy>, route: RouteId, websocket: bool, visitor: OnUpgrade, backend: OnUpgrade) {
    let tasks = proxy.tasks.clone();
    tasks.spawn("upgraded connection", async move {
        let (visitor, backend) = match tokio::try_join!(visitor, backend) {
            Ok(both) => both,
            Err(error) => return debug!(%error, "an upgrade came to nothing"),
        };
        let membership = proxy.connections.enter(Some(route));
        let (mut visitor, mut backend) = (TokioIo::new(visitor), TokioIo::new(backend));
        let frames = Frames::default();
        let sent = |bytes: &[u8]| frames.passed(bytes);
        let flow =
            Flow { inward: &proxy.metrics.tunnel_in, outward: &proxy.metrics.tunnel_out, sent: Some(&sent) };
        proxy.metrics.open.inc();
        tokio::select! {
            ended = tunnel(&mut visitor, &mut backend, proxy.limits.tunnel_timeout, flow) => {
                debug!(?ended, "an upgraded connection ended");
            }
            () = membership.watch().reaches(Phase::Cut) => {
                // Without a boundary there is no place for a frame of ours; the visitor sees the end of the stream.
                if websocket && frames.at_boundary() {
                    let goodbye = async {
                        visitor.write_all(&GOING_AWAY).await?;
                        visitor.shutdown().await
                    };
                    let _ = timeout(GOODBYE, goodbye).await;
                }
            }
        }
        proxy.metrics.open.dec();
    });
}
