//! One connection at :443: its ClientHello, the split, and then either way.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::HeaderValue;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;
use webgateway_proto::feed::FeedRoute;

use super::hello::{self, Hello, NoHello};
use super::split::{Verdict, split};
use crate::backend::dial::DialError;
use crate::connections::{Membership, Phase};
use crate::http::error::Fault;
use crate::http::exchange::Progress;
use crate::http::handler::Visit;
use crate::http::serve::serve;
use crate::metrics::Refusal;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::tls::{self, INTERNAL_ERROR, UNRECOGNIZED_NAME};
use crate::tunnel::{Ended, Flow, tunnel};

/// Takes a connection to its end.
pub async fn connection(proxy: Rc<Proxy>, mut stream: TcpStream, peer: SocketAddr) {
    let client = peer.ip().to_canonical();
    let arrived = proxy.connections.enter(None);
    let hello = tokio::select! {
        hello = timeout(proxy.limits.hello_timeout, hello::read(&mut stream)) => hello,
        () = arrived.watch().lingered() => return,
    };
    let hello = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(NoHello { reason, alert })) => return refuse(&proxy, stream, reason, &alert).await,
        Err(_) => return refuse(&proxy, stream, Refusal::HelloTimeout, &[]).await,
    };
    // Held no longer than the verdict: an old snapshot must not live as long as a connection.
    let (verdict, cdn_id) = {
        let snapshot = proxy.snapshot.load();
        (split(&snapshot, hello.sni.as_deref(), hello.acme), cdn_id(&snapshot))
    };
    match verdict {
        Verdict::Refuse(reason) => refuse(&proxy, stream, reason, &UNRECOGNIZED_NAME).await,
        Verdict::Passthrough(route) => {
            let membership = proxy.connections.enter(Some(route.id));
            drop(arrived);
            Box::pin(pass(proxy, stream, hello.raw, (route, membership))).await;
        }
        Verdict::Challenge(config) => {
            // The handshake is the answer: the CA reads the certificate and leaves.
            let handshake = tls::finish(hello.accepted, stream, config, proxy.limits.handshake_timeout);
            if Box::pin(handshake).await.is_none() {
                proxy.metrics.refused(Refusal::Handshake);
            }
        }
        Verdict::Terminate { .. } if hello.unfed > 0 => refuse(&proxy, stream, Refusal::NotTls, &[]).await,
        Verdict::Terminate { cert, route } => {
            let Hello { accepted, sni, .. } = hello;
            let membership = proxy.connections.enter(route);
            drop(arrived);
            let handshake = tls::finish(accepted, stream, cert.tls.clone(), proxy.limits.handshake_timeout);
            let Some(stream) = Box::pin(handshake).await else {
                return proxy.metrics.refused(Refusal::Handshake);
            };
            let visit = Visit {
                client,
                client_value: client_value(client),
                sni: sni.unwrap_or_default(),
                route,
                cert,
                cdn_id,
                progress: Progress::new(Rc::clone(&proxy.clock)),
                watch: Rc::clone(membership.watch()),
                proxy,
            };
            let h2 = tls::is_h2(&stream);
            Box::pin(serve(Rc::new(visit), stream, h2)).await;
        }
    }
}

/// The base domain names this gateway in CDN-Loop.
fn cdn_id(snapshot: &Snapshot) -> HeaderValue {
    let base = snapshot.settings.as_ref().map(|settings| settings.base_domain.as_str());
    base.and_then(|base| HeaderValue::from_str(base).ok()).unwrap_or(HeaderValue::from_static("webgateway"))
}

async fn refuse(proxy: &Proxy, stream: TcpStream, reason: Refusal, alert: &[u8]) {
    proxy.metrics.refused(reason);
    if !alert.is_empty() {
        tls::refuse(stream, alert).await;
    }
}

fn client_value(client: IpAddr) -> HeaderValue {
    // An address is always a valid field value.
    HeaderValue::from_str(&client.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Brings a connection untouched to a backend: first what was read of it, then all else both ways.
async fn pass(
    proxy: Rc<Proxy>,
    mut visitor: TcpStream,
    raw: Vec<u8>,
    (route, membership): (std::sync::Arc<FeedRoute>, Membership),
) {
    let flow = Flow { inward: &proxy.metrics.tunnel_in, outward: &proxy.metrics.tunnel_out, sent: None };
    proxy.metrics.tunnels.inc();
    let passing = async {
        let mut backend = match reach(&proxy, &route).await {
            Ok(backend) => backend,
            Err(error) => {
                debug!(host = %route.host, %error, "a passthrough found no backend");
                return tls::refuse(visitor, &INTERNAL_ERROR).await;
            }
        };
        let replay = timeout(proxy.limits.stall_timeout, backend.write_all(&raw)).await;
        drop(raw);
        if !matches!(replay, Ok(Ok(()))) {
            return;
        }
        let ended = tunnel(&mut visitor, &mut backend, proxy.limits.tunnel_timeout, flow).await;
        if let Ended::Failed(_) = ended {
            // A reset on one side is a reset on the other, never a clean end.
            let _ = (visitor.set_zero_linger(), backend.set_zero_linger());
        }
        debug!(host = %route.host, ?ended, "a passthrough ended");
    };
    tokio::select! {
        () = passing => {}
        () = membership.watch().reaches(Phase::Cut) => {}
    }
}

async fn reach(proxy: &Proxy, route: &FeedRoute) -> Result<TcpStream, DialError> {
    let mut error = DialError::Refused;
    for backend in proxy.backends.candidates(route) {
        match proxy.backends.dial(backend).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
        Fault::Dial(error).error_type().into_iter().for_each(|cause| proxy.metrics.backend_failed(cause));
    }
    Err(error)
}
