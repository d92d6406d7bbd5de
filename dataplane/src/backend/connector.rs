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

use super::balance::{Turns, candidates};
use super::dial::{DialError, Dialer};
use super::down::Down;
use super::stream::BackendStream;
use crate::metrics::WorkerMetrics;

/// The number of requests in a row without an answer that takes a backend out.
const UNANSWERED: u32 = 5;
/// Beyond that many backends the counts start over, so that those long gone do not pile up.
const MAX_COUNTED: usize = 65_536;

/// An observation that the traffic made of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The backend cannot be reached.
    Failed(Backend, DialError),
    /// [`UNANSWERED`] requests in a row had no answer.
    Unanswered(Backend),
    /// A backend that was out was reached.
    Reached(Backend),
}

/// Chooses backends of routes for one worker, connects to them, and reports how that went.
pub(crate) struct Connector {
    down: RefCell<Cache<Arc<ArcSwap<Down>>, Arc<Down>>>,
    unanswered: RefCell<HashMap<Backend, u32>>,
    turns: Turns,
    observations: mpsc::Sender<Observation>,
    dialer: Dialer,
    metrics: WorkerMetrics,
    timeout: Duration,
}

impl Connector {
    /// Passes over what is out in `down`, and dials by `dialer`, for `timeout` at most.
    #[must_use]
    pub(crate) fn new(
        down: Arc<ArcSwap<Down>>,
        observations: mpsc::Sender<Observation>,
        dialer: Dialer,
        metrics: WorkerMetrics,
        timeout: Duration,
    ) -> Self {
        let (down, turns) = (RefCell::new(Cache::new(down)), Turns::default());
        Self { down, unanswered: RefCell::default(), turns, observations, dialer, metrics, timeout }
    }

    /// Returns one that connects within `timeout`, to backends whose hosts acknowledge within `ack_timeout`.
    #[must_use]
    pub(crate) fn with_timeouts(&self, timeout: Duration, ack_timeout: Duration) -> Self {
        Self {
            down: RefCell::new(self.down.borrow().clone()),
            unanswered: RefCell::default(),
            turns: Turns::default(),
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
        let turn = self.turns.next(route.id, destination.options.balance, backends.len());
        let mut down = self.down.borrow_mut();
        let (down, check) = (down.load(), destination.options.health.as_ref());
        candidates(backends, turn, |backend| !down.is_out(backend, check)).into_iter().flatten()
    }

    /// Connects to `backend`; a failure is counted, and both outcomes say how it is.
    pub(crate) async fn dial(&self, backend: Backend) -> Result<BackendStream, DialError> {
        let dialled = self.dialer.dial(backend.address(), self.timeout).await;
        match &dialled {
            Ok(_) if self.down.borrow_mut().load().is_out(backend, None) => {
                self.report(Observation::Reached(backend));
            }
            Ok(_) => {}
            Err(error) => {
                self.metrics.count_backend_failure(error.proxy_error());
                // Being out of sockets is no fault of the backend's.
                if *error != DialError::Exhausted {
                    self.report(Observation::Failed(backend, *error));
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
    pub(crate) fn answered(&self, backend: Backend) {
        let mut unanswered = self.unanswered.borrow_mut();
        if !unanswered.is_empty() {
            unanswered.remove(&backend);
        }
    }

    /// Takes note that a request was sent and not answered, or with something that is no answer.
    pub(crate) fn unanswered(&self, backend: Backend) {
        let mut unanswered = self.unanswered.borrow_mut();
        if unanswered.len() >= MAX_COUNTED {
            unanswered.clear();
        }
        let times = unanswered.entry(backend).or_default();
        *times += 1;
        if *times >= UNANSWERED {
            unanswered.remove(&backend);
            self.report(Observation::Unanswered(backend));
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

    use super::super::dial::Ourselves;
    use super::super::down::Subject;
    use super::*;
    use crate::metrics::Metrics;

    fn connector(down: &Arc<ArcSwap<Down>>) -> (Connector, mpsc::Receiver<Observation>) {
        let (observations, observed) = mpsc::channel(8);
        let ourselves = Ourselves::new([], Arc::default());
        let dialer = Dialer { ourselves, ack_timeout: Duration::from_secs(15) };
        let metrics = Metrics::default().worker(0);
        let timeout = Duration::from_secs(1);
        (Connector::new(Arc::clone(down), observations, dialer, metrics, timeout), observed)
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
        let down = Arc::new(ArcSwap::from_pointee(Down::default()));
        let (connector, _observed) = connector(&down);
        let firsts =
            || -> Vec<Backend> { (0..2).filter_map(|_| connector.candidates(&route).next()).collect() };
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two]);
        let mut out = Down::default();
        out.insert(&Subject { backend: one, check: None }, "x");
        down.store(Arc::new(out.clone()));
        assert_eq!(firsts(), [two, two]);
        out.insert(&Subject { backend: two, check: None }, "x");
        down.store(Arc::new(out));
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two], "better to ask than to refuse");
    }

    #[test]
    fn answers_missing_in_a_row_are_told_of_and_single_ones_are_not() {
        let (connector, mut observed) = connector(&Arc::default());
        let backend: Backend = "[400::1]:80".parse().unwrap();
        for _ in 0..10 {
            (1..UNANSWERED).for_each(|_| connector.unanswered(backend));
            connector.answered(backend);
        }
        assert!(observed.try_recv().is_err());
        (0..UNANSWERED).for_each(|_| connector.unanswered(backend));
        assert_eq!(observed.try_recv(), Ok(Observation::Unanswered(backend)));
    }
}
