//! A connection that switched protocols: a WebSocket, most often.

use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::debug;
use webgateway_proto::model::RouteId;

use crate::connections::Phase;
use crate::proxy::Proxy;
use crate::tunnel::{Flow, tunnel};

/// Joins both sides of a 101 until one is done, nothing moves, or the route is gone.
pub fn join(proxy: Rc<Proxy>, route: RouteId, visitor: OnUpgrade, backend: OnUpgrade) {
    tokio::task::spawn_local(async move {
        let (visitor, backend) = match tokio::try_join!(visitor, backend) {
            Ok(both) => both,
            Err(error) => return debug!(%error, "an upgrade came to nothing"),
        };
        let membership = proxy.connections.enter(Some(route));
        let (mut visitor, mut backend) = (TokioIo::new(visitor), TokioIo::new(backend));
        let flow = Flow { inward: &proxy.metrics.tunnel_in, outward: &proxy.metrics.tunnel_out };
        proxy.metrics.open.inc();
        tokio::select! {
            ended = tunnel(&mut visitor, &mut backend, proxy.limits.tunnel_timeout, flow) => {
                debug!(?ended, "an upgraded connection ended");
            }
            () = membership.watch().reaches(Phase::Cut) => {}
        }
        proxy.metrics.open.dec();
    });
}
