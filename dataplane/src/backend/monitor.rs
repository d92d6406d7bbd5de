//! The one task that looks after the backends, on the control runtime: checks, judges, and publishes who is out.

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
use webgateway_proto::model::{Host, Probe, RouteId};

use super::check_schedule::{CheckSchedule, DueCheck, Transition};
use super::connector::Observation;
use super::dial::Dialer;
use super::probe::probe;
use super::unhealthy::UnhealthySet;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// How many checks run at once; more wait for their turn.
const MAX_CHECKS: usize = 512;
/// How often it looks whether the routes have changed.
const ROUTES_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A check takes no longer than this, nor than its interval.
const MAX_CHECK_DURATION: Duration = Duration::from_secs(5);

type Checked = OrdMap<RouteId, Arc<FeedRoute>>;

/// What looks after the backends.
pub(crate) struct Monitor {
    /// What is known.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where it publishes who is out.
    pub down: Arc<ArcSwap<UnhealthySet>>,
    /// The workers' observations.
    pub observations: mpsc::Receiver<Observation>,
    /// The dialer of the checks.
    pub dialer: Dialer,
    /// Counts.
    pub metrics: Metrics,
}

type Checks = JoinSet<(DueCheck, Result<(), String>)>;

impl Monitor {
    /// Looks after them until the process stops.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), Infallible> {
        let (mut schedule, mut known) = (CheckSchedule::default(), Checked::new());
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
            Some(reason) => warn!(%backend, reason, "a backend is out"),
            None => info!(%backend, "a backend is back"),
        }
        self.store(schedule);
    }

    fn store(&self, schedule: &CheckSchedule) {
        self.metrics.backends_down.set(i64::try_from(schedule.unhealthy().len()).unwrap_or(i64::MAX));
        self.down.store(Arc::new(schedule.unhealthy().clone()));
    }

    /// Takes over what has changed about the routes that have checks; costs what has changed.
    fn follow_routes(&self, schedule: &mut CheckSchedule, known: &mut Checked) {
        let current = self.snapshot.load().routes.checked().clone();
        if current.ptr_eq(known) {
            return;
        }
        let now = Instant::now();
        // What comes is named before what goes is dropped: a backend named by both keeps its judgement.
        for difference in known.diff(&current) {
            match difference {
                DiffItem::Add(_, route) | DiffItem::Update { new: (_, route), .. } => {
                    schedule.add_route(route, now, fastrand::f64);
                }
                DiffItem::Remove(..) => {}
            }
        }
        let mut transition = false;
        for difference in known.diff(&current) {
            transition |= match difference {
                DiffItem::Remove(_, route) => schedule.remove_route(route, None),
                DiffItem::Update { old: (_, old), new: (_, new) } => schedule.remove_route(old, Some(new)),
                DiffItem::Add(..) => false,
            };
        }
        *known = current;
        if transition {
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
            let (how, limit) =
                due.target.check.as_deref().map_or((&Probe::Tcp, MAX_CHECK_DURATION), |check| {
                    (check.probe(), check.interval().min(MAX_CHECK_DURATION))
                });
            let host = due.host.as_ref().map_or("", Host::as_str);
            let outcome = probe(backend, how, host, limit, &dialer).await;
            let outcome = outcome.map_err(|error| error.to_string());
            (due, outcome)
        });
    }
}

fn observe(schedule: &mut CheckSchedule, observation: Observation) -> Option<Transition> {
    match observation {
        Observation::ConnectFailed(backend, error) => {
            schedule.record_failure(backend, &error.to_string(), Instant::now())
        }
        Observation::NoResponses(backend) => {
            schedule.record_failure(backend, "several requests in a row had no answer", Instant::now())
        }
        Observation::Connected(backend) => schedule.record_success(backend),
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
