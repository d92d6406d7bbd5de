//! The connector of one worker: it chooses backends, connects to them and observes their failures.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::Timeout;
use webgateway_proto::model::{Backend, Balance, RouteOptions};

use super::balance::{BackendList, BackendSet, RoundRobin, candidates};
use super::dial::{DialError, Dialer};
use super::open_requests::OpenRequest;
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

/// The choice of backends for one request or connection: one for each attempt.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    /// The route.
    pub route: &'a FeedRoute,
    /// The backends to choose from.
    pub backends: &'a [Backend],
    /// The options of the route.
    pub options: &'a RouteOptions,
    /// The client's address.
    pub client: IpAddr,
    /// The backend to use if it is healthy, even if its weight is 0.
    pub preferred: Option<Backend>,
    tried: BackendSet,
}

impl<'a> Selection<'a> {
    /// Creates the choice among the backends of `route`.
    #[must_use]
    pub(crate) fn new(route: &'a FeedRoute, client: IpAddr) -> Self {
        let destination = &route.destination;
        Self {
            route,
            backends: destination.backends.as_slice(),
            options: &destination.options,
            client,
            preferred: None,
            tried: BackendSet::default(),
        }
    }

    /// Makes the backends that were tried candidates again.
    pub(crate) fn forget_tried(&mut self) {
        self.tried = BackendSet::default();
    }

    /// Counts a request or tunnel to `backend` as open, if the balancing policy needs the count.
    #[must_use]
    pub(crate) fn count_open(&self, backend: Backend) -> Option<OpenRequest> {
        (self.options.balance == Balance::LeastConnections).then(|| OpenRequest::new(backend))
    }
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

    /// Returns the backend for the next attempt; `None` once all were tried. If all are unhealthy, all are candidates.
    pub(crate) fn next(&self, selection: &mut Selection<'_>) -> Option<Backend> {
        let Selection { route, backends, options, client, preferred, tried } = *selection;
        let (balance, weights) = (options.balance, &options.weights);
        let mut unhealthy = self.unhealthy.borrow_mut();
        let unhealthy = unhealthy.load();
        let backend = |index: usize| backends.get(index).copied();
        let is_healthy = |index| backend(index).is_some_and(|backend| !unhealthy.contains(backend, route));
        let weight = |index| backend(index).map_or(1, |backend| weights.of(backend));
        let among = candidates(backends.len(), tried, weight, is_healthy);
        let preferred = preferred.and_then(|preferred| backends.iter().position(|other| *other == preferred));
        let preferred = preferred.filter(|index| !tried.contains(*index));
        let chosen =
            preferred.filter(|index| among.contains(*index) || is_healthy(*index)).or_else(|| {
                let list = BackendList { route: route.id, backends, balance, weights, client };
                self.round_robin.choose(&list, among, tried == BackendSet::default())
            })?;
        selection.tried.insert(chosen);
        backend(chosen)
    }

    /// Connects to `backend` within `limit`, or within the limit of the node. Counts a failure, and reports a failure or
    /// a recovery to the monitor.
    pub(crate) async fn dial(
        &self,
        backend: Backend,
        limit: Option<Timeout>,
    ) -> Result<BackendStream, DialError> {
        let limit = limit.map_or(self.timeout, Timeout::duration);
        let is_impatient = limit < self.timeout;
        let dialled = self.dialer.dial(backend.address(), limit).await;
        match &dialled {
            Ok(_) if self.unhealthy.borrow_mut().load().contains_passive(backend, None) => {
                self.report(Observation::Connected(backend, None));
            }
            Ok(_) => {}
            Err(error) => {
                self.metrics.count_backend_failure(error.proxy_error());
                // A lack of sockets on this node is not the backend's fault. A short limit of one route says nothing about
                // the backend for others.
                let is_fault = match error {
                    DialError::Exhausted => false,
                    DialError::Timeout => !is_impatient,
                    _ => true,
                };
                if is_fault {
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

    /// Connects to a backend, or to a second one if the first does not accept the connection.
    pub(crate) async fn connect(
        &self,
        mut selection: Selection<'_>,
    ) -> Result<(BackendStream, Option<OpenRequest>), DialError> {
        // A route has at least one backend, so this value is always replaced.
        let mut error = DialError::Refused;
        for _ in 0..2 {
            let Some(backend) = self.next(&mut selection) else { break };
            let open = selection.count_open(backend);
            match self.dial(backend, selection.options.timeouts.connect).await {
                Ok(stream) => return Ok((stream, open)),
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
    use webgateway_proto::model::options::Weights;
    use webgateway_proto::model::{Backends, Destination, Host, Mode, Prefixes, RouteId};

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

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const BACKENDS: [&str; 2] = ["[400::1]:80", "[400::2]:80"];

    fn route(options: RouteOptions) -> FeedRoute {
        let backends = Backends::parse(&BACKENDS, &Prefixes::default()).unwrap();
        FeedRoute {
            id: RouteId::from_bytes([1; 16]),
            host: Host::parse("a.gw.example").unwrap(),
            destination: Destination::new(Mode::Terminate, backends, options).unwrap(),
        }
    }

    fn set_unhealthy(unhealthy: &ArcSwap<UnhealthySet>, backends: &[Backend]) {
        let mut set = UnhealthySet::default();
        backends.iter().for_each(|backend| {
            set.insert(&CheckTarget { backend: *backend, transport: None, check: None }, "x")
        });
        unhealthy.store(Arc::new(set));
    }

    #[test]
    fn unhealthy_backends_are_avoided_until_all_are_unhealthy() {
        let route = route(RouteOptions::default());
        let [one, two] = BACKENDS.map(|text| text.parse::<Backend>().unwrap());
        let unhealthy = Arc::new(ArcSwap::from_pointee(UnhealthySet::default()));
        let (connector, _observed) = connector(&unhealthy);
        let firsts = || {
            let mut firsts = [(), ()].map(|()| connector.next(&mut Selection::new(&route, CLIENT)).unwrap());
            firsts.sort();
            firsts
        };
        assert_eq!(firsts(), [one, two]);
        set_unhealthy(&unhealthy, &[one]);
        assert_eq!(firsts(), [two, two]);
        let mut selection = Selection::new(&route, CLIENT);
        let order = [(); 3].map(|()| connector.next(&mut selection));
        assert_eq!(order, [Some(two), Some(one), None], "an unhealthy one is tried last");
        set_unhealthy(&unhealthy, &[one, two]);
        assert_eq!(firsts(), [one, two], "all are tried if all are unhealthy");
    }

    #[test]
    fn a_preferred_backend_is_used_while_it_is_healthy_even_if_it_is_drained() {
        let [one, two] = BACKENDS.map(|text| text.parse::<Backend>().unwrap());
        let weights = Weights::new([(one, 0)]).unwrap();
        let route = route(RouteOptions { weights, ..RouteOptions::default() });
        let unhealthy = Arc::new(ArcSwap::from_pointee(UnhealthySet::default()));
        let (connector, _observed) = connector(&unhealthy);
        let order = |preferred: Option<&str>| {
            let preferred = preferred.map(|text| text.parse().unwrap());
            let mut selection = Selection { preferred, ..Selection::new(&route, CLIENT) };
            [(); 2].map(|()| connector.next(&mut selection))
        };
        assert_eq!(order(None), [Some(two), None]);
        assert_eq!(order(Some(BACKENDS[0])), [Some(one), Some(two)]);
        assert_eq!(order(Some("[400::3]:80")), [Some(two), None], "it was removed");
        set_unhealthy(&unhealthy, &[one]);
        assert_eq!(order(Some(BACKENDS[0])), [Some(two), None]);
        set_unhealthy(&unhealthy, &[one, two]);
        assert_eq!(order(Some(BACKENDS[1])), [Some(two), None]);
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
