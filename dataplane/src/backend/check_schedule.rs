//! The schedule of health checks: the backends to check, when, and their health. Pure: time and randomness are
//! arguments.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::{Backend, Host, RouteId};

use super::health::{HealthState, Thresholds};
use super::transport::Transport;
use super::unhealthy::{ActiveCheck, CheckTarget, UnhealthySet};

/// The maximum number of backends that are checked because of failures in the traffic.
const MAX_PASSIVE: usize = 10_000;
/// The time without failures in the traffic after which a backend is no longer checked passively: no route uses it any
/// more.
const PASSIVE_EXPIRY: Duration = Duration::from_secs(600);

/// The health checks of all backends, and their state.
#[derive(Debug, Default)]
pub(crate) struct CheckSchedule {
    checks: HashMap<CheckTarget, CheckState>,
    due: BTreeMap<(Instant, u64), CheckTarget>,
    last_id: u64,
    passive_count: usize,
    unhealthy: UnhealthySet,
}

/// The state of the checks of one target.
#[derive(Debug)]
struct CheckState {
    /// The number that tells this state from an earlier one of the same target.
    id: u64,
    /// The time of the next check; `None` while one runs.
    due: Option<Instant>,
    thresholds: Thresholds,
    health: HealthState,
    /// The routes that have this check. The host of the first one is used in HTTP checks.
    routes: BTreeMap<RouteId, Host>,
    /// The time of the last failure in the traffic.
    last_failure: Instant,
}

/// A check that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueCheck {
    /// The target of the check.
    pub target: CheckTarget,
    /// The number that [`CheckSchedule::record_outcome`] matches the outcome by.
    pub id: u64,
    /// The Host field of an HTTP check.
    pub host: Option<Host>,
}

/// A change of a backend's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The backend.
    pub backend: Backend,
    /// The reason why it became unhealthy; `None` if it became healthy.
    pub reason: Option<String>,
}

impl CheckSchedule {
    /// Returns the unhealthy backends.
    #[must_use]
    pub(crate) fn unhealthy(&self) -> &UnhealthySet {
        &self.unhealthy
    }

    /// Returns the time of the next check, if there is one.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Adds the checks of a route. `random`, from 0 to 1, spreads the first checks over the interval.
    pub(crate) fn add_route(&mut self, route: &FeedRoute, now: Instant, random: impl Fn() -> f64) {
        for target in check_targets(route) {
            let check = target.check.as_ref();
            let thresholds = check.map_or(Thresholds::PASSIVE, |check| Thresholds::from_check(&check.health));
            if !self.checks.contains_key(&target) {
                self.insert(target.clone(), thresholds, now, thresholds.interval.mul_f64(random()));
            }
            if let Some(check) = self.checks.get_mut(&target) {
                check.routes.insert(route.id, route.host.clone());
            }
        }
    }

    /// Removes the checks of a route, except those that its replacement has too. Returns whether a removed one was
    /// unhealthy.
    pub(crate) fn remove_route(&mut self, route: &FeedRoute, replacement: Option<&FeedRoute>) -> bool {
        let remaining: Vec<CheckTarget> = replacement.into_iter().flat_map(check_targets).collect();
        let mut was_unhealthy = false;
        for target in check_targets(route).filter(|target| !remaining.contains(target)) {
            let Some(check) = self.checks.get_mut(&target) else { continue };
            check.routes.remove(&route.id);
            if check.routes.is_empty() {
                was_unhealthy |= self.remove(&target).is_some();
            }
        }
        was_unhealthy
    }

    /// Records a failure of a backend in the traffic. `transport` is `None` if it concerns all routes.
    pub(crate) fn record_failure(
        &mut self,
        backend: Backend,
        transport: Option<Arc<Transport>>,
        reason: &str,
        now: Instant,
    ) -> Option<Transition> {
        let target = CheckTarget { backend, transport, check: None };
        if !self.checks.contains_key(&target) {
            if self.passive_count >= MAX_PASSIVE {
                return None;
            }
            self.insert(target.clone(), Thresholds::PASSIVE, now, Thresholds::PASSIVE.interval);
        }
        let check = self.checks.get_mut(&target)?;
        check.last_failure = now;
        // If it is unhealthy already, only a successful check makes it healthy again.
        if check.health.is_unhealthy() || !check.health.record(false, Thresholds::PASSIVE) {
            return None;
        }
        self.unhealthy.insert(&target, reason);
        Some(Transition { backend, reason: Some(reason.to_owned()) })
    }

    /// Records that the traffic has connected to an unhealthy backend.
    pub(crate) fn record_success(
        &mut self,
        backend: Backend,
        transport: Option<Arc<Transport>>,
    ) -> Option<Transition> {
        let target = CheckTarget { backend, transport, check: None };
        self.checks.contains_key(&target).then(|| self.remove(&target))?
    }

    /// Removes and returns the first check that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<DueCheck> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, id), target) = first.remove_entry();
        let check = self.checks.get_mut(&target)?;
        check.due = None;
        let host = check.routes.first_key_value().map(|(_, host)| host.clone());
        Some(DueCheck { target, id, host })
    }

    /// Records the outcome of a check and schedules the next one. `random`, from 0 to 1, varies its delay by up to 10
    /// %.
    pub(crate) fn record_outcome(
        &mut self,
        DueCheck { target, id, .. }: &DueCheck,
        outcome: Result<(), String>,
        now: Instant,
        random: f64,
    ) -> Option<Transition> {
        let check = self.checks.get_mut(target).filter(|check| check.id == *id)?;
        let is_changed = check.health.record(outcome.is_ok(), check.thresholds);
        let is_passive = target.check.is_none();
        let is_expired = now.saturating_duration_since(check.last_failure) > PASSIVE_EXPIRY;
        if is_passive && (!check.health.is_unhealthy() || is_expired) {
            // It is healthy again, or unused: it is not checked any more, and what is not checked is healthy.
            let is_recovered = is_changed || check.health.is_unhealthy();
            self.remove(target);
            return is_recovered.then_some(Transition { backend: target.backend, reason: None });
        }
        let due = now + check.health.delay(check.thresholds).mul_f64(0.9 + random / 5.0);
        check.due = Some(due);
        self.due.insert((due, *id), target.clone());
        if !is_changed {
            return None;
        }
        match &outcome {
            Err(reason) => self.unhealthy.insert(target, reason),
            Ok(()) => self.unhealthy.remove(target),
        }
        Some(Transition { backend: target.backend, reason: outcome.err() })
    }

    fn insert(&mut self, target: CheckTarget, thresholds: Thresholds, now: Instant, delay: Duration) {
        self.last_id += 1;
        self.passive_count += usize::from(target.check.is_none());
        let (id, due) = (self.last_id, now + delay);
        let (health, routes) = (HealthState::default(), BTreeMap::new());
        self.due.insert((due, id), target.clone());
        let check = CheckState { id, due: Some(due), thresholds, health, routes, last_failure: now };
        self.checks.insert(target, check);
    }

    /// Removes a target, which makes it healthy; returns the change if it was unhealthy.
    fn remove(&mut self, target: &CheckTarget) -> Option<Transition> {
        let check = self.checks.remove(target)?;
        self.passive_count -= usize::from(target.check.is_none());
        if let Some(due) = check.due {
            self.due.remove(&(due, check.id));
        }
        self.unhealthy.remove(target);
        check.health.is_unhealthy().then_some(Transition { backend: target.backend, reason: None })
    }
}

/// Returns the targets of the configured checks of a route.
fn check_targets(route: &FeedRoute) -> impl Iterator<Item = CheckTarget> {
    let check = ActiveCheck::of(route).map(Arc::new);
    let transport = check.as_ref().and_then(|_| Transport::of(route)).map(Arc::new);
    route.destination.all_backends().filter_map(move |backend| {
        let check = Some(Arc::clone(check.as_ref()?));
        Some(CheckTarget { backend, transport: transport.clone(), check })
    })
}

#[cfg(test)]
mod tests;
