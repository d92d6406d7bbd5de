//! The readiness of the node: it has a snapshot, and the base domain's certificate can be served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::interval;
use tracing::{info, warn};
use webgateway_process::{Blocker, Readiness, Stop};

use crate::clock::unix_now;
use crate::snapshot::Snapshot;

/// The interval between checks of the certificate, whose validity depends on the clock.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The gate that blocks readiness. Clones share it.
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

    /// Opens the gate, as `snapshot` is in use, unless its certificate for the base domain is not valid yet at `now`
    /// (Unix seconds); returns whether this is the first snapshot.
    pub(crate) fn open(&self, snapshot: &Snapshot, now: i64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.check_certificate(snapshot, now);
        state.first_sync.take().is_some()
    }

    /// Checks the certificate in the snapshot in use every second until the process stops.
    pub(crate) async fn run(self, snapshot: Arc<ArcSwap<Snapshot>>, stop: Stop) {
        let mut tick = interval(CHECK_INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.begun() => return,
            }
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.check_certificate(&snapshot.load(), unix_now());
        }
    }
}

impl GateState {
    /// Blocks readiness while there are certificates for the base domain, but none of them can be served. A node
    /// without any is ready: the CA may reach the gateway's name server, which it needs to issue the first one, through
    /// ready nodes only.
    fn check_certificate(&mut self, snapshot: &Snapshot, now: i64) {
        let base = snapshot.settings.as_ref().map(|settings| settings.base_domain.as_str());
        let is_missing = base
            .is_some_and(|base| snapshot.certs.contains(base) && snapshot.certs.lookup(base, now).is_none());
        if is_missing && self.certificate.is_none() {
            self.certificate = Some(self.readiness.block("the base domain's certificate: check the clock"));
            warn!(
                now,
                "not ready: the base domain's certificate is not valid yet by this machine's clock, check the clock"
            );
        } else if !is_missing && self.certificate.take().is_some() {
            info!(now, "base domain's certificate is valid by this machine's clock");
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
    fn a_node_is_ready_if_the_base_domain_has_a_served_certificate_or_none_at_all() {
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
            assert!(gate.open(&snapshot(names), now));
            assert_eq!(readiness.is_ready(), ready, "{names:?} at {now}: {:?}", readiness.blockers());
            assert!(!gate.open(&snapshot(names), 0), "not the first one");
        }
    }

    #[test]
    fn readiness_follows_the_clock() {
        let (readiness, snapshot) = (Readiness::new(), snapshot(&["gw.example"]));
        let gate = ReadyGate::new(readiness.clone());
        for (now, ready) in [(0, false), (1, false), (150, true), (151, true), (0, false), (1000, true)] {
            gate.open(&snapshot, now);
            assert_eq!(readiness.is_ready(), ready, "at {now}");
        }
        gate.open(&snapshot, 0);
        gate.open(&Snapshot { certs: crate::snapshot::Certs::default(), ..snapshot }, 0);
        assert!(readiness.is_ready(), "the certificate is gone");
    }
}
