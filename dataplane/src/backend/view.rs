//! The view of a host from this node: what it would serve, and each backend dialled just now.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use webgateway_proto::feed::{BackendHealth, Explanation, FeedRoute, ServedCertificate};
use webgateway_proto::model::{Backend, Host, Mode, Probe};

use super::dial::Dialer;
use super::probe::probe;
use super::unhealthy::UnhealthySet;
use crate::clock::unix_now;
use crate::snapshot::Snapshot;

/// The number of explanations that are made at once.
pub(crate) const MAX_EXPLANATIONS: usize = 8;
/// The time a backend may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// This node's view of the backends.
#[derive(Debug, Clone)]
pub(crate) struct BackendView {
    /// The backends that are out.
    pub down: Arc<ArcSwap<UnhealthySet>>,
    /// The dialer of the probes.
    pub dialer: Dialer,
}

impl BackendView {
    /// Explains how `host` looks in `snapshot`, of `version`, in answer to the question `id`.
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

    /// Probes each backend; returns their health in the route's order.
    async fn probe_all(&self, route: &Arc<FeedRoute>) -> Vec<BackendHealth> {
        let mut probes = JoinSet::new();
        for (place, backend) in route.destination.backends.as_slice().iter().copied().enumerate() {
            let (view, route) = (self.clone(), Arc::clone(route));
            probes.spawn(async move { (place, view.probe(backend, &route).await) });
        }
        let mut seen = probes.join_all().await;
        seen.sort_unstable_by_key(|(place, _)| *place);
        seen.into_iter().map(|(_, health)| health).collect()
    }

    async fn probe(&self, backend: Backend, route: &FeedRoute) -> BackendHealth {
        let check = route.destination.options.health.as_ref();
        let how = check.map_or(&Probe::Tcp, |check| check.probe());
        let down = match probe(backend, how, route.host.as_str(), PROBE_TIMEOUT, &self.dialer).await {
            Err(error) => Some(error.to_string()),
            Ok(()) => {
                let down = self.down.load();
                down.reason(backend, check)
                    .map(|was| format!("it answers again, and will be back soon; it was out: {was}"))
            }
        };
        BackendHealth { backend, down }
    }
}
