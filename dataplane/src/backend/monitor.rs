//! The health checker: one task on the control runtime that runs the checks and publishes the unhealthy backends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};
use tracing::{info, warn};
use webgateway_process::Stop;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::ProxyProtocol;
use webgateway_proto::model::{Host, Probe, RouteId};

use super::check_schedule::{CheckSchedule, DueCheck, Transition};
use super::connector::Observation;
use super::probe::{ProbeDialer, ProbeTarget, probe};
use super::unhealthy::{ActiveCheck, UnhealthySet};
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// The maximum number of checks that run at once; others wait.
const MAX_CHECKS: usize = 512;
/// The interval at which the monitor looks for changed routes.
const ROUTES_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The maximum duration of a check, unless its interval is shorter.
const MAX_CHECK_DURATION: Duration = Duration::from_secs(5);

/// The routes that have health checks.
type CheckedRoutes = OrdMap<RouteId, Arc<FeedRoute>>;

/// The health checker of all backends.
pub(crate) struct Monitor {
    /// The snapshot in use.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The unhealthy backends, as published to the workers.
    pub unhealthy: Arc<ArcSwap<UnhealthySet>>,
    /// The workers' observations.
    pub observations: mpsc::Receiver<Observation>,
    /// The dialer of the checks.
    pub dialer: ProbeDialer,
    /// The metrics of this process.
    pub metrics: Metrics,
}

/// The checks under way, each with its outcome.
type Checks = JoinSet<(DueCheck, Result<(), String>)>;

impl Monitor {
    /// Runs until the process stops.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), Infallible> {
        let (mut schedule, mut known) = (CheckSchedule::default(), CheckedRoutes::new());
        let (mut checks, mut follow) = (Checks::new(), interval(ROUTES_POLL_INTERVAL));
        loop {
            while checks.len() < MAX_CHECKS
                && let Some(due) = schedule.pop_due(Instant::now())
            {
                self.check(&mut checks, due);
            }
            let next = schedule.next_due().filter(|_| checks.len() < MAX_CHECKS);
            let transition = tokio::select! {
                Some(observation) = self.observations.recv() => observe(&mut schedule, observation),
                Some(Ok((due, outcome))) = checks.join_next() => {
                    schedule.record_outcome(&due, outcome, Instant::now(), fastrand::f64())
                }
                () = sleep_until(next.unwrap_or_else(far_future)), if next.is_some() => None,
                _ = follow.tick() => {
                    self.follow_routes(&mut schedule, &mut known);
                    None
                }
                () = stop.begun() => return Ok(()),
            };
            if let Some(transition) = transition {
                self.publish(&schedule, &transition);
            }
        }
    }

    fn publish(&self, schedule: &CheckSchedule, Transition { backend, reason }: &Transition) {
        match reason {
            Some(reason) => warn!(%backend, reason, "backend unhealthy"),
            None => info!(%backend, "backend healthy"),
        }
        self.store(schedule);
    }

    fn store(&self, schedule: &CheckSchedule) {
        self.metrics.backends_down.set(i64::try_from(schedule.unhealthy().len()).unwrap_or(i64::MAX));
        self.unhealthy.store(Arc::new(schedule.unhealthy().clone()));
    }

    /// Applies changes of the routes that have checks. Its cost is proportional to the changes, not to the routes.
    fn follow_routes(&self, schedule: &mut CheckSchedule, known: &mut CheckedRoutes) {
        let current = self.snapshot.load().routes.checked().clone();
        if current.ptr_eq(known) {
            return;
        }
        let now = Instant::now();
        // Additions come before removals, so that a backend that moves from one route to another keeps its health.
        for difference in known.diff(&current) {
            match difference {
                DiffItem::Add(_, route) | DiffItem::Update { new: (_, route), .. } => {
                    schedule.add_route(route, now, fastrand::f64);
                }
                DiffItem::Remove(..) => {}
            }
        }
        let mut was_unhealthy = false;
        for difference in known.diff(&current) {
            was_unhealthy |= match difference {
                DiffItem::Remove(_, route) => schedule.remove_route(route, None),
                DiffItem::Update { old: (_, old), new: (_, new) } => schedule.remove_route(old, Some(new)),
                DiffItem::Add(..) => false,
            };
        }
        *known = current;
        if was_unhealthy {
            self.store(schedule);
        }
    }

    fn check(&self, checks: &mut Checks, due: DueCheck) {
        let allowed = self.snapshot.load().allowed_backends();
        let (dialer, backend) = (self.dialer.clone(), due.target.backend);
        checks.spawn(async move {
            if let Err(prohibited) = allowed.admit(backend) {
                return (due, Err(prohibited.to_string()));
            }
            let (kind, limit, protocol) = match due.target.check.as_deref() {
                None => (&Probe::Tcp, MAX_CHECK_DURATION, ProxyProtocol::Off),
                Some(ActiveCheck { health, proxy_protocol }) => {
                    (health.probe(), health.interval().min(MAX_CHECK_DURATION), *proxy_protocol)
                }
            };
            let dialer = dialer.announcing(protocol);
            let host = due.host.as_ref().map_or("", Host::as_str);
            let target = ProbeTarget { backend, transport: due.target.transport.as_deref(), host };
            let outcome = probe(target, kind, limit, &dialer).await;
            let outcome = outcome.map_err(|error| error.to_string());
            (due, outcome)
        });
    }
}

fn observe(schedule: &mut CheckSchedule, observation: Observation) -> Option<Transition> {
    match observation {
        Observation::ConnectFailed(backend, transport, error) => {
            schedule.record_failure(backend, transport, &error.to_string(), Instant::now())
        }
        Observation::NoResponses(backend) => schedule.record_failure(
            backend,
            None,
            "several consecutive requests had no valid response",
            Instant::now(),
        ),
        Observation::Connected(backend, transport) => schedule.record_success(backend, transport),
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
