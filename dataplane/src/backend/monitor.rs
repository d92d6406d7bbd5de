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

use super::connector::Observation;
use super::dial::Dialer;
use super::down::Down;
use super::probe::probe;
use super::watchlist::{Due, Turned, Watchlist};
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// How many checks run at once; more wait for their turn.
const MAX_CHECKS: usize = 512;
/// How often it looks whether the routes have changed.
const FOLLOW: Duration = Duration::from_millis(250);
/// A check takes no longer than this, nor than its interval.
const LONGEST: Duration = Duration::from_secs(5);

type Checked = OrdMap<RouteId, Arc<FeedRoute>>;

/// What looks after the backends.
pub(crate) struct Monitor {
    /// What is known.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where it publishes who is out.
    pub down: Arc<ArcSwap<Down>>,
    /// The workers' observations.
    pub observations: mpsc::Receiver<Observation>,
    /// The dialer of the checks.
    pub dialer: Dialer,
    /// Counts.
    pub metrics: Metrics,
}

type Checks = JoinSet<(Due, Result<(), String>)>;

impl Monitor {
    /// Looks after them until the process stops.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), Infallible> {
        let (mut list, mut known) = (Watchlist::default(), Checked::new());
        let (mut checks, mut follow) = (Checks::new(), interval(FOLLOW));
        loop {
            while checks.len() < MAX_CHECKS
                && let Some(due) = list.due(Instant::now())
            {
                self.check(&mut checks, due);
            }
            let next = list.next().filter(|_| checks.len() < MAX_CHECKS);
            let turned = tokio::select! {
                Some(observation) = self.observations.recv() => observe(&mut list, observation),
                Some(Ok((due, outcome))) = checks.join_next() => {
                    list.checked(&due, outcome, Instant::now(), fastrand::f64())
                }
                () = sleep_until(next.unwrap_or_else(far)), if next.is_some() => None,
                _ = follow.tick() => {
                    self.follow(&mut list, &mut known);
                    None
                }
                () = stop.begun() => return Ok(()),
            };
            if let Some(turned) = turned {
                self.publish(&list, &turned);
            }
        }
    }

    fn publish(&self, list: &Watchlist, Turned { backend, down }: &Turned) {
        match down {
            Some(reason) => warn!(%backend, reason, "a backend is out"),
            None => info!(%backend, "a backend is back"),
        }
        self.store(list);
    }

    fn store(&self, list: &Watchlist) {
        self.metrics.backends_down.set(i64::try_from(list.down().len()).unwrap_or(i64::MAX));
        self.down.store(Arc::new(list.down().clone()));
    }

    /// Takes over what has changed about the routes that have checks; costs what has changed.
    fn follow(&self, list: &mut Watchlist, known: &mut Checked) {
        let current = self.snapshot.load().routes.checked().clone();
        if current.ptr_eq(known) {
            return;
        }
        let now = Instant::now();
        // What comes is named before what goes is dropped: a backend named by both keeps its judgement.
        for difference in known.diff(&current) {
            match difference {
                DiffItem::Add(_, route) | DiffItem::Update { new: (_, route), .. } => {
                    list.add(route, now, fastrand::f64);
                }
                DiffItem::Remove(..) => {}
            }
        }
        let mut turned = false;
        for difference in known.diff(&current) {
            turned |= match difference {
                DiffItem::Remove(_, route) => list.remove(route, None),
                DiffItem::Update { old: (_, old), new: (_, new) } => list.remove(old, Some(new)),
                DiffItem::Add(..) => false,
            };
        }
        *known = current;
        if turned {
            self.store(list);
        }
    }

    fn check(&self, checks: &mut Checks, due: Due) {
        let allowed = self.snapshot.load().allowed_backends();
        let (dialer, backend) = (self.dialer.clone(), due.subject.backend);
        checks.spawn(async move {
            if let Err(prohibited) = allowed.admit(backend) {
                return (due, Err(prohibited.to_string()));
            }
            let (how, limit) = due
                .subject
                .check
                .as_deref()
                .map_or((&Probe::Tcp, LONGEST), |check| (check.probe(), check.interval().min(LONGEST)));
            let host = due.host.as_ref().map_or("", Host::as_str);
            let outcome = probe(backend, how, host, limit, &dialer).await;
            let outcome = outcome.map_err(|ill| ill.to_string());
            (due, outcome)
        });
    }
}

fn observe(list: &mut Watchlist, observation: Observation) -> Option<Turned> {
    match observation {
        Observation::Failed(backend, error) => list.failed(backend, &error.to_string(), Instant::now()),
        Observation::Unanswered(backend) => {
            list.failed(backend, "several requests in a row had no answer", Instant::now())
        }
        Observation::Reached(backend) => list.reached(backend),
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
