//! The readiness of the node: the first sync is there, and the base domain's certificate can be served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::interval;
use tracing::{info, warn};
use webgateway_process::{Blocker, Readiness, Stop};

use crate::clock::unix_now;
use crate::snapshot::Snapshot;

/// The interval at which the certificate is judged anew: the clock moves on, and may be set.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The gate that keeps the node from being ready. Clones are the same.
#[derive(Clone)]
pub(crate) struct ReadyGate(Arc<Mutex<GateState>>);

struct GateState {
    readiness: Readiness,
    first_sync: Option<Blocker>,
    certificate: Option<Blocker>,
}

impl ReadyGate {
    /// Blocks `readiness` until the first sync.
    #[must_use]
    pub(crate) fn new(readiness: Readiness) -> Self {
        let first_sync = Some(readiness.block("the first sync"));
        Self(Arc::new(Mutex::new(GateState { readiness, first_sync, certificate: None })))
    }

    /// Opens for a snapshot that is in use, unless its certificate is in the way at `now` (Unix seconds); returns whether
    /// it is the first one.
    pub(crate) fn synced(&self, snapshot: &Snapshot, now: i64) -> bool {
        let mut blocked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.judge(snapshot, now);
        blocked.first_sync.take().is_some()
    }

    /// Judges the certificate of the snapshot in use until the process stops.
    pub(crate) async fn run(self, snapshot: Arc<ArcSwap<Snapshot>>, stop: Stop) {
        let mut look = interval(CHECK_INTERVAL);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.begun() => return,
            }
            self.0.lock().unwrap_or_else(PoisonError::into_inner).judge(&snapshot.load(), unix_now());
        }
    }
}

impl GateState {
    /// Blocks while there are certificates for the base domain and none of them can be served. A gateway that has none yet
    /// is ready: its name server, which the CA is to ask, may be reached by way of ready nodes only.
    fn judge(&mut self, snapshot: &Snapshot, now: i64) {
        let base = snapshot.settings.as_ref().map(|settings| settings.base_domain.as_str());
        let is_missing =
            base.is_some_and(|base| snapshot.certs.holds(base) && snapshot.certs.lookup(base, now).is_none());
        if is_missing && self.certificate.is_none() {
            self.certificate = Some(self.readiness.block("the base domain's certificate: check the clock"));
            warn!(
                now,
                "not ready: the base domain's certificate is not valid yet by this machine's clock, check the clock"
            );
        } else if !is_missing && self.certificate.take().is_some() {
            info!(now, "the base domain's certificate can be served");
        }
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::Settings;
    use webgateway_proto::model::{Host, Prefixes};

    use super::*;
    use crate::snapshot::ServedCert;
    use crate::snapshot::tests::{certificate, tickets};

    fn snapshot(names: &[&str]) -> Snapshot {
        let base_domain = Host::parse("gw.example").unwrap();
        let settings = Some(Arc::new(Settings {
            base_domain,
            allowed_backends: Prefixes::default(),
            listeners: vec![],
        }));
        let mut snapshot = Snapshot { settings, ..Snapshot::default() };
        let cert = certificate(names, 100, 200);
        snapshot.certs.insert(ServedCert::load(&cert, &tickets()).unwrap(), 0);
        snapshot
    }

    #[test]
    fn a_node_is_ready_while_the_base_domain_can_be_served_or_has_no_certificate() {
        let base = ["gw.example", "*.gw.example"];
        for (names, now, ready) in [
            (&base[..], 99, false),
            (&base[..], 100, true),
            (&base[..], 200, true),
            (&["own.example"], 99, true),
            (&base[1..], 99, true),
        ] {
            let readiness = Readiness::new();
            let gate = ReadyGate::new(readiness.clone());
            assert_eq!(readiness.blockers(), ["the first sync"]);
            assert!(gate.synced(&snapshot(names), now));
            assert_eq!(readiness.is_ready(), ready, "{names:?} at {now}: {:?}", readiness.blockers());
            assert!(!gate.synced(&snapshot(names), 0), "not the first one");
        }
    }

    #[test]
    fn readiness_follows_the_clock() {
        let (readiness, snapshot) = (Readiness::new(), snapshot(&["gw.example"]));
        let gate = ReadyGate::new(readiness.clone());
        for (now, ready) in [(0, false), (1, false), (150, true), (151, true), (0, false), (1000, true)] {
            gate.synced(&snapshot, now);
            assert_eq!(readiness.is_ready(), ready, "at {now}");
        }
        gate.synced(&snapshot, 0);
        gate.synced(&Snapshot { certs: crate::snapshot::Certs::default(), ..snapshot }, 0);
        assert!(readiness.is_ready(), "the certificate is gone");
    }
}
