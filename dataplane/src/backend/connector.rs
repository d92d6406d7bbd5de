//! The connector of one worker: it chooses backends, connects to them and observes their failures.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::{Backend, Backends};

use super::balance::{RoundRobin, candidates};
use super::dial::{DialError, Dialer};
use super::stream::BackendStream;
use super::tls::TlsFault;
use super::transport::Transport;
use super::unhealthy::UnhealthySet;
use crate::metrics::WorkerMetrics;

/// The number of consecutive requests without a valid response after which a backend is unhealthy.
const MAX_MISSING_RESPONSES: u32 = 5;
/// The maximum number of backends with a count of missing responses. Beyond it all counts are dropped, so that those of
/// removed backends do not accumulate.
const MAX_COUNTED: usize = 65_536;

/// An event of passive health checking: something that the traffic observed about a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observation {
    /// Connecting failed: by TCP, or what the transport does after that.
    ConnectFailed(Backend, Option<Arc<Transport>>, DialError),
    /// [`MAX_MISSING_RESPONSES`] consecutive requests had no valid response.
    NoResponses(Backend),
    /// Connecting to an unhealthy backend succeeded.
    Connected(Backend, Option<Arc<Transport>>),
}

/// Chooses backends of routes for one worker, connects to them, and reports failures and recoveries to the monitor.
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
    /// Creates a connector that avoids the backends in `unhealthy` and dials with `dialer`, for `timeout` at most.
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

    /// Returns a connector with other timeouts: `timeout` for connecting, `ack_timeout` as in [`Dialer`].
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

    /// Returns those of a route's `backends` to try, at most two, in order. If all are unhealthy, all are candidates.
    pub(crate) fn candidates(
        &self,
        route: &FeedRoute,
        backends: &Backends,
    ) -> impl Iterator<Item = Backend> + use<> {
        let (options, backends) = (&route.destination.options, backends.as_slice());
        let index = self.round_robin.next(route.id, options.balance, backends);
        let mut unhealthy = self.unhealthy.borrow_mut();
        let unhealthy = unhealthy.load();
        candidates(backends, index, |backend| !unhealthy.contains(backend, route)).into_iter().flatten()
    }

    /// Connects to `backend` and sends `header`, a PROXY protocol header or nothing. Counts a failure, and reports a
    /// failure or a recovery to the monitor.
    pub(crate) async fn dial(&self, backend: Backend, header: &[u8]) -> Result<BackendStream, DialError> {
        let dialled = self.dialer.dial(backend.address(), header, self.timeout).await;
        match &dialled {
            Ok(_) if self.unhealthy.borrow_mut().load().contains_passive(backend, None) => {
                self.report(Observation::Connected(backend, None));
            }
            Ok(_) => {}
            Err(error) => {
                self.metrics.count_backend_failure(error.proxy_error());
                // A lack of sockets on this node is not the backend's fault.
                if *error != DialError::Exhausted {
                    self.report(Observation::ConnectFailed(backend, None, *error));
                }
            }
        }
        dialled
    }

    /// Performs the TLS handshake of `transport` on a new connection.
    pub(crate) async fn secure(
        &self,
        stream: BackendStream,
        transport: &Transport,
    ) -> Result<TlsStream<BackendStream>, DialError> {
        let tls = transport.tls.as_ref().ok_or(TlsFault::Protocol)?;
        Ok(self.dialer.tls.handshake(stream, tls, transport.is_http2, self.timeout).await?)
    }

    /// Counts a failure of what `transport` does after connecting, and reports a failure or a recovery to the monitor.
    pub(crate) fn record_begin<T>(
        &self,
        backend: Backend,
        transport: &Transport,
        begun: Result<T, DialError>,
    ) -> Result<T, DialError> {
        match &begun {
            Ok(_) if self.unhealthy.borrow_mut().load().contains_passive(backend, Some(transport)) => {
                self.report(Observation::Connected(backend, Some(Arc::new(transport.clone()))));
            }
            Ok(_) => {}
            Err(error) => {
                self.metrics.count_backend_failure(error.proxy_error());
                if !error.is_own() {
                    let transport = Some(Arc::new(transport.clone()));
                    self.report(Observation::ConnectFailed(backend, transport, *error));
                }
            }
        }
        begun
    }

    /// Connects to the first candidate of `route` that accepts the connection, and sends `header` as [`dial`](Self::dial)
    /// does.
    pub(crate) async fn connect(&self, route: &FeedRoute, header: &[u8]) -> Result<BackendStream, DialError> {
        // A route has at least one backend, so this value is always replaced.
        let mut error = DialError::Refused;
        for backend in self.candidates(route, &route.destination.backends) {
            match self.dial(backend, header).await {
                Ok(stream) => return Ok(stream),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// Records a valid response to a request.
    pub(crate) fn record_response(&self, backend: Backend) {
        let mut missing = self.missing_responses.borrow_mut();
        if !missing.is_empty() {
            missing.remove(&backend);
        }
    }

    /// Records that a request was sent and got no valid response.
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

    /// Reports to the monitor. If its queue is full the observation is dropped: the next failure repeats it.
    fn report(&self, observation: Observation) {
        let _ = self.observations.try_send(observation);
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::FeedRoute;
    use webgateway_proto::model::{Backends, Host, Prefixes, RouteId};

    use super::super::dial::OwnListeners;
    use super::super::tls::BackendTlsConfigs;
    use super::super::unhealthy::CheckTarget;
    use super::*;
    use crate::metrics::Metrics;

    fn connector(unhealthy: &Arc<ArcSwap<UnhealthySet>>) -> (Connector, mpsc::Receiver<Observation>) {
        let (observations, observed) = mpsc::channel(8);
        let own_listeners = OwnListeners::new([], Arc::default());
        let dialer =
            Dialer { own_listeners, ack_timeout: Duration::from_secs(15), tls: BackendTlsConfigs::default() };
        let metrics = Metrics::default().worker(0);
        let timeout = Duration::from_secs(1);
        (Connector::new(Arc::clone(unhealthy), observations, dialer, metrics, timeout), observed)
    }

    #[test]
    fn unhealthy_backends_are_avoided_until_all_are_unhealthy() {
        let backends = ["[400::1]:80", "[400::2]:80"];
        let route = FeedRoute {
            id: RouteId::from_bytes([1; 16]),
            host: Host::parse("a.gw.example").unwrap(),
            destination: Backends::parse(&backends, &Prefixes::default()).unwrap().into(),
        };
        let [one, two] = backends.map(|text| text.parse::<Backend>().unwrap());
        let unhealthy = Arc::new(ArcSwap::from_pointee(UnhealthySet::default()));
        let (connector, _observed) = connector(&unhealthy);
        let own = &route.destination.backends;
        let firsts =
            || -> Vec<Backend> { (0..2).filter_map(|_| connector.candidates(&route, own).next()).collect() };
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two]);
        let mut set = UnhealthySet::default();
        set.insert(&CheckTarget { backend: one, transport: None, check: None }, "x");
        unhealthy.store(Arc::new(set.clone()));
        assert_eq!(firsts(), [two, two]);
        set.insert(&CheckTarget { backend: two, transport: None, check: None }, "x");
        unhealthy.store(Arc::new(set));
        let mut both = firsts();
        both.sort();
        assert_eq!(both, [one, two], "all are tried if all are unhealthy");
    }

    #[test]
    fn consecutive_missing_responses_are_reported_and_single_ones_are_not() {
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
