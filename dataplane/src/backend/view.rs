//! How a host looks from this node: what it would serve, and each backend dialled just now.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use webgateway_proto::feed::{BackendHealth, Explanation, FeedRoute, ServedCertificate};
use webgateway_proto::model::{Backend, Host, Mode, Probe};

use crate::backend::dial::Ourselves;
use crate::backend::down::Down;
use crate::backend::probe::probe;
use crate::snapshot::Snapshot;

/// How many questions are answered at once; more wait.
pub const AT_ONCE: usize = 8;
/// How long a backend may take.
const LIMIT: Duration = Duration::from_secs(2);

/// How the node sees backends.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Who is out.
    pub down: Arc<ArcSwap<Down>>,
    /// Where no backend may be.
    pub ourselves: Ourselves,
}

impl Sight {
    /// Answers the question `id`; `version` is what the node stands at.
    pub async fn explain(self, snapshot: Arc<Snapshot>, version: u64, id: u64, host: Host) -> Explanation {
        let route = snapshot.routes.lookup(host.as_str()).cloned();
        let ends_tls = route.as_ref().is_none_or(|route| route.destination.mode == Mode::Terminate);
        let served = snapshot.certs.lookup(host.as_str()).filter(|_| ends_tls);
        let certificate = served.map(|cert| ServedCertificate {
            id: cert.id.clone(),
            not_after: cert.not_after,
            fingerprint: cert.fingerprint,
        });
        let backends = match &route {
            Some(route) => self.look(route).await,
            None => Vec::new(),
        };
        Explanation { id, version, route: route.map(|route| route.id), certificate, backends }
    }

    /// Each backend, in the route's order.
    async fn look(&self, route: &Arc<FeedRoute>) -> Vec<BackendHealth> {
        let mut looks = JoinSet::new();
        for (place, backend) in route.destination.backends.as_slice().iter().copied().enumerate() {
            let (sight, route) = (self.clone(), Arc::clone(route));
            looks.spawn(async move { (place, sight.look_at(backend, &route).await) });
        }
        let mut seen = looks.join_all().await;
        seen.sort_unstable_by_key(|(place, _)| *place);
        seen.into_iter().map(|(_, health)| health).collect()
    }

    async fn look_at(&self, backend: Backend, route: &FeedRoute) -> BackendHealth {
        let check = route.destination.options.health.as_ref();
        let how = check.map_or(&Probe::Tcp, |check| check.probe());
        let down = match probe(backend, how, route.host.as_str(), LIMIT, &self.ourselves).await {
            Err(ill) => Some(ill.to_string()),
            Ok(()) => {
                let down = self.down.load();
                down.reason(backend, check)
                    .map(|was| format!("it answers again, and will be back soon; it was out: {was}"))
            }
        };
        BackendHealth { backend, down }
    }
}
