//! The answer of this node to `explain`: the route and certificate of a host, and a fresh probe of each backend.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use webgateway_proto::feed::{BackendHealth, Explanation, FeedRoute, ServedCertificate};
use webgateway_proto::model::{Backend, Host, Mode, Probe};

use super::probe::{ProbeDialer, ProbeTarget, probe};
use super::transport::Transport;
use super::unhealthy::UnhealthySet;
use crate::clock::unix_now;
use crate::snapshot::Snapshot;

/// The maximum number of explanations under way at once.
pub(crate) const MAX_EXPLANATIONS: usize = 8;
/// The time limit of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// This node's view of the backends.
#[derive(Debug, Clone)]
pub(crate) struct BackendView {
    /// The unhealthy backends.
    pub unhealthy: Arc<ArcSwap<UnhealthySet>>,
    /// The dialer of the probes.
    pub dialer: ProbeDialer,
}

impl BackendView {
    /// Explains how this node serves `host` by `snapshot`, which has this `version`, as the answer to the question
    /// `id`.
    pub(crate) async fn explain(
        self,
        snapshot: Arc<Snapshot>,
        version: u64,
        id: u64,
        host: Host,
    ) -> Explanation {
        let route = snapshot.routes.lookup(host.as_str()).cloned();
        let ends_tls = route.as_ref().is_none_or(|route| route.destination.mode == Mode::Terminate);
        let served = snapshot.certs.lookup(host.as_str(), unix_now()).filter(|_| ends_tls);
        let certificate = served.map(|cert| ServedCertificate {
            id: cert.id.clone(),
            not_after: cert.not_after,
            fingerprint: cert.fingerprint,
        });
        let backends = match &route {
            Some(route) => self.probe_all(route).await,
            None => Vec::new(),
        };
        Explanation { id, version, route: route.map(|route| route.id), certificate, backends }
    }

    /// Probes all backends of a route and of its path rules; returns their health in the route's order.
    async fn probe_all(&self, route: &Arc<FeedRoute>) -> Vec<BackendHealth> {
        let mut probes = JoinSet::new();
        for (place, backend) in route.destination.all_backends().enumerate() {
            let (view, route) = (self.clone(), Arc::clone(route));
            probes.spawn(async move { (place, view.probe(backend, &route).await) });
        }
        let mut results = probes.join_all().await;
        results.sort_unstable_by_key(|(place, _)| *place);
        results.into_iter().map(|(_, health)| health).collect()
    }

    async fn probe(&self, backend: Backend, route: &FeedRoute) -> BackendHealth {
        let check = route.destination.options.health.as_ref();
        let kind = check.map_or(&Probe::Tcp, |check| check.probe());
        let transport = Transport::of(route);
        let target = ProbeTarget { backend, transport: transport.as_ref(), host: route.host.as_str() };
        let dialer = self.dialer.announcing(route.destination.options.proxy_protocol);
        let probed = probe(target, kind, PROBE_TIMEOUT, &dialer).await;
        let down = match probed {
            Err(error) => Some(error.to_string()),
            Ok(()) => {
                let unhealthy = self.unhealthy.load();
                unhealthy.reason(backend, route).map(|reason| {
                    format!("it answers again, and will be used again soon; it was unhealthy: {reason}")
                })
            }
        };
        BackendHealth { backend, down }
    }
}
