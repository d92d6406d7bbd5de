//! One worker's connector to the backends, for requests and connections alike: they are chosen, dialled, and counted
//! by how that went.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::mpsc;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Backend;

use super::balance::{RoundRobin, candidates};
use super::dial::{DialError, Dialer};
use super::stream::BackendStream;
use super::unhealthy::UnhealthySet;
use crate::metrics::WorkerMetrics;

/// The number of requests in a row without an answer that takes a backend out.
const MAX_MISSING_RESPONSES: u32 = 5;
/// Beyond that many backends the counts start over, so that those long gone do not pile up.
const MAX_COUNTED: usize = 65_536;

/// An observation that the traffic made of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The backend cannot be reached.
    ConnectFailed(Backend, DialError),
    /// [`MAX_MISSING_RESPONSES`] requests in a row had no answer.
    NoResponses(Backend),
    /// A backend that was out was reached.
    Connected(Backend),
}

/// Chooses backends of routes for one worker, connects to them, and reports how that went.
pub(crate) struct Connector {
    unhealthy: RefCell<Cache<Arc<ArcSwap<UnhealthySet>>, Arc<UnhealthySet>>>,
    missing_responses: RefCell<HashMap<Backend, u32>>,
    round_robin: RoundRobin,
    observations: mpsc::Sender<Observation>,
    dialer: Dialer,
    metrics: WorkerMetrics,
    timeout: Duration,
}

impl Connector {
    /// Passes over what is out in `unhealthy`, and dials by `dialer`, for `timeout` at most.
    #[must_use]
    pub(crate) fn new(
        unhealthy: Arc<ArcSwap<UnhealthySet>>,
        observations: mpsc::Sender<Observation>,
        dialer: Dialer,
        metrics: WorkerMetrics,
        timeout: Duration,
    ) -> Self {
        let (unhealthy, round_robin) = (RefCell::new(Cache::new(unhealthy)), RoundRobin::default());
        Self {
            unhealthy,
            missing_responses: RefCell::default(),
            round_robin,
            observations,
            dialer,
            metrics,
            timeout,
        }
    }

    /// Returns one that connects within `timeout`, to backends whose hosts acknowledge within `ack_timeout`.
    #[must_use]
    pub(crate) fn with_timeouts(&self, timeout: Duration, ack_timeout: Duration) -> Self {
        Self {
            unhealthy: RefCell::new(self.unhealthy.borrow().clone()),
            missing_responses: RefCell::default(),
            round_robin: RoundRobin::default(),
            observations: self.observations.clone(),
            dialer: Dialer { ack_timeout, ..self.dialer.clone() },
            metrics: self.metrics.clone(),
            timeout,
        }
    }

    /// Returns the backends of a route to try, at most two, in order. When all are out, all count as well.
    pub(crate) fn candidates(&self, route: &FeedRoute) -> impl Iterator<Item = Backend> + use<> {
        let destination = &route.destination;
        let backends = destination.backends.as_slice();
        let turn = self.round_robin.next(route.id, destination.options.balance, backends.len());
        let mut unhealthy = self.unhealthy.borrow_mut();
        let (unhealthy, check) = (unhealthy.load(), destination.options.health.as_ref());
        candidates(backends, turn, |backend| !unhealthy.contains(backend, check)).into_iter().flatten()
    }

    /// Connects to `backend`; a failure is counted, and both outcomes say how it is.
    pub(crate) async fn dial(&self, backend: Backend) -> Result<BackendStream, DialError> {
        let dialled = self.dialer.dial(backend.address(), self.timeout).await;
        match &dialled {
            Ok(_) if self.unhealthy.borrow_mut().load().contains(backend, None) => {
                self.report(Observation::Connected(backend));
            }
            Ok(_) => {}
            Err(error) => {
                self.metrics.backend_failed(error.proxy_error());
                // Being out of sockets is no fault of the backend's.
                if *error != DialError::Exhausted {
                    self.report(Observation::ConnectFailed(backend, *error));
                }
            }
        }
        dialled
    }

    /// Connects to the first backend of `route` that can be reached.
    pub(crate) async fn connect(&self, route: &FeedRoute) -> Result<BackendStream, DialError> {
        // Backends are never empty.
        let mut error = DialError::Refused;
        for backend in self.candidates(route) {
            match self.dial(backend).await {
                Ok(stream) => return Ok(stream),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// Takes note that a request was answered.
    pub(crate) fn record_response(&self, backend: Backend) {
        let mut missing = self.missing_responses.borrow_mut();
        if !missing.is_empty() {
            missing.remove(&backend);
        }
    }

    /// Takes note that a request was sent and not answered, or with something that is no answer.
    pub(crate) fn record_missing_response(&self, backend: Backend) {
        let mut missing = self.missing_responses.borrow_mut();
        if missing.len() >= MAX_COUNTED {
            missing.clear();
        }
        let times = missing.entry(backend).or_default();
        *times += 1;
        if *times >= MAX_MISSING_RESPONSES {
            missing.remove(&backend);
            self.report(Observation::NoResponses(backend));
        }
    }

    /// Reports to the monitor; what there is no room for will be observed again.
    fn report(&self, observation: Observation) {
        let _ = self.observations.try_send(observation);
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::FeedRoute;
    use webgateway_proto::model::{Backends, Host, Prefixes, RouteId};

    use super::super::dial::OwnListeners;
    use super::super::unhealthy::CheckTarget;
    use super::*;
    use crate::metrics::Metrics;

    fn connector(unhealthy: &Arc<ArcSwap<UnhealthySet>>) -> (Connector, mpsc::Receiver<Observation>) {
        let (observations, observed) = mpsc::channel(8);
        let own_listeners = OwnListeners::new([], Arc::default());
        let dialer = Dialer { own_listeners, ack_timeout: Duration::from_secs(15) };
        let metrics = Metrics::default().worker(0);
        let timeout = Duration::from_secs(1);
        (Connector::new(Arc::clone(unhealthy), observations, dialer, metrics, timeout), observed)
    }

    #[test]
    fn what_is_out_is_passed_over_until_all_are() {
        let backends = ["[400::1]:80", "[400::2]:80"];
        let route = FeedRoute {
            id: RouteId::from_bytes([1; 16]),
            host: Host::parse("a.gw.example").unwrap(),
            destination: Backends::parse(&backends, &Prefixes::default()).unwrap().into(),
        };
        let [one, two] = backends.map(|text| text.parse::<Backend>().unwrap());
        let unhealthy = Arc::new(ArcSwap::from_pointee(UnhealthySet::default()));
        let (connector, _observed) = connector(&unhealthy);
        let firsts =
            || -> Vec<Backend> { (0..2).filter_map(|_| connector.candidates(&route).next()).collect() };
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two]);
        let mut out = UnhealthySet::default();
        out.insert(&CheckTarget { backend: one, check: None }, "x");
        unhealthy.store(Arc::new(out.clone()));
        assert_eq!(firsts(), [two, two]);
        out.insert(&CheckTarget { backend: two, check: None }, "x");
        unhealthy.store(Arc::new(out));
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two], "better to ask than to refuse");
    }

    #[test]
    fn answers_missing_in_a_row_are_told_of_and_single_ones_are_not() {
        let (connector, mut observed) = connector(&Arc::default());
        let backend: Backend = "[400::1]:80".parse().unwrap();
        for _ in 0..10 {
            (1..MAX_MISSING_RESPONSES).for_each(|_| connector.record_missing_response(backend));
            connector.record_response(backend);
        }
        assert!(observed.try_recv().is_err());
        (0..MAX_MISSING_RESPONSES).for_each(|_| connector.record_missing_response(backend));
        assert_eq!(observed.try_recv(), Ok(Observation::NoResponses(backend)));
    }
}
