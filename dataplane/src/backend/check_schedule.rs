//! Which backends are looked at, when the next time, and what came of it. Pure: the time and the chance are given.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::{Backend, Host, RouteId};

use super::health::{HealthState, Thresholds};
use super::unhealthy::{CheckTarget, UnhealthySet};

/// How many backends are looked at because the traffic could not reach them.
const MAX_PASSIVE: usize = 10_000;
/// Without another failure in the traffic for so long, nobody asks for the backend any more.
const PASSIVE_EXPIRY: Duration = Duration::from_secs(600);

/// The backends that are looked at.
#[derive(Debug, Default)]
pub(crate) struct CheckSchedule {
    checks: HashMap<CheckTarget, CheckState>,
    due: BTreeMap<(Instant, u64), CheckTarget>,
    last_id: u64,
    passive_count: usize,
    unhealthy: UnhealthySet,
}

#[derive(Debug)]
struct CheckState {
    id: u64,
    /// When the next check is due; none while one runs.
    at: Option<Instant>,
    thresholds: Thresholds,
    health: HealthState,
    /// Who names it. A GET asks for the host of the first.
    routes: BTreeMap<RouteId, Host>,
    /// When the traffic last failed there.
    failed: Instant,
}

/// A check to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueCheck {
    /// What is looked at.
    pub target: CheckTarget,
    /// Comes back with the outcome.
    pub id: u64,
    /// What a GET asks for.
    pub host: Option<Host>,
}

/// A backend that is out now, or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    /// Which.
    pub backend: Backend,
    /// Why it is out; none: it is back.
    pub reason: Option<String>,
}

impl CheckSchedule {
    /// What is out.
    #[must_use]
    pub(crate) fn unhealthy(&self) -> &UnhealthySet {
        &self.unhealthy
    }

    /// When the next check is due.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// A route names its backends. The first checks are spread over the interval by `chance`, from 0 to 1.
    pub(crate) fn add_route(&mut self, route: &FeedRoute, now: Instant, chance: impl Fn() -> f64) {
        for target in check_targets(route) {
            let thresholds = target.check.as_deref().map_or(Thresholds::PASSIVE, Thresholds::from_check);
            if !self.checks.contains_key(&target) {
                self.insert(target.clone(), thresholds, now, thresholds.interval.mul_f64(chance()));
            }
            if let Some(check) = self.checks.get_mut(&target) {
                check.routes.insert(route.id, route.host.clone());
            }
        }
    }

    /// A route names no more what it named, but for what `now` names as well. Says whether one of them was out.
    pub(crate) fn remove_route(&mut self, route: &FeedRoute, now: Option<&FeedRoute>) -> bool {
        let kept: Vec<CheckTarget> = now.into_iter().flat_map(check_targets).collect();
        let mut transition = false;
        for target in check_targets(route).filter(|target| !kept.contains(target)) {
            let Some(check) = self.checks.get_mut(&target) else { continue };
            check.routes.remove(&route.id);
            if check.routes.is_empty() {
                transition |= self.remove(&target).is_some();
            }
        }
        transition
    }

    /// The traffic could not use a backend.
    pub(crate) fn record_failure(&mut self, backend: Backend, why: &str, now: Instant) -> Option<Transition> {
        let target = CheckTarget { backend, check: None };
        if !self.checks.contains_key(&target) {
            if self.passive_count >= MAX_PASSIVE {
                return None;
            }
            self.insert(target.clone(), Thresholds::PASSIVE, now, Thresholds::PASSIVE.interval);
        }
        let check = self.checks.get_mut(&target)?;
        check.failed = now;
        // When it is out already, its own checks say how it goes on.
        if check.health.is_unhealthy() || !check.health.record(false, Thresholds::PASSIVE) {
            return None;
        }
        self.unhealthy.insert(&target, why);
        Some(Transition { backend, reason: Some(why.to_owned()) })
    }

    /// The traffic has reached a backend that was out.
    pub(crate) fn record_success(&mut self, backend: Backend) -> Option<Transition> {
        let target = CheckTarget { backend, check: None };
        self.checks.contains_key(&target).then(|| self.remove(&target))?
    }

    /// The next check whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<DueCheck> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, id), target) = first.remove_entry();
        let check = self.checks.get_mut(&target)?;
        check.at = None;
        let host = check.routes.first_key_value().map(|(_, host)| host.clone());
        Some(DueCheck { target, id, host })
    }

    /// A check is over. The next one comes after a pause that `chance`, from 0 to 1, moves by a tenth.
    pub(crate) fn record_outcome(
        &mut self,
        DueCheck { target, id, .. }: &DueCheck,
        outcome: Result<(), String>,
        now: Instant,
        chance: f64,
    ) -> Option<Transition> {
        let check = self.checks.get_mut(target).filter(|check| check.id == *id)?;
        let transition = check.health.record(outcome.is_ok(), check.thresholds);
        let is_passive = target.check.is_none();
        let unasked = now.saturating_duration_since(check.failed) > PASSIVE_EXPIRY;
        if is_passive && (!check.health.is_unhealthy() || unasked) {
            // It is back, or nobody asks any more: either way it is out no longer.
            let back = transition || check.health.is_unhealthy();
            self.remove(target);
            return back.then_some(Transition { backend: target.backend, reason: None });
        }
        let at = now + check.health.delay(check.thresholds).mul_f64(0.9 + chance / 5.0);
        check.at = Some(at);
        self.due.insert((at, *id), target.clone());
        if !transition {
            return None;
        }
        match &outcome {
            Err(why) => self.unhealthy.insert(target, why),
            Ok(()) => self.unhealthy.remove(target),
        }
        Some(Transition { backend: target.backend, reason: outcome.err() })
    }

    fn insert(&mut self, target: CheckTarget, thresholds: Thresholds, now: Instant, after: Duration) {
        self.last_id += 1;
        self.passive_count += usize::from(target.check.is_none());
        let (id, at) = (self.last_id, now + after);
        let (health, routes) = (HealthState::default(), BTreeMap::new());
        self.due.insert((at, id), target.clone());
        let check = CheckState { id, at: Some(at), thresholds, health, routes, failed: now };
        self.checks.insert(target, check);
    }

    /// What is not looked at is not out.
    fn remove(&mut self, target: &CheckTarget) -> Option<Transition> {
        let check = self.checks.remove(target)?;
        self.passive_count -= usize::from(target.check.is_none());
        if let Some(at) = check.at {
            self.due.remove(&(at, check.id));
        }
        self.unhealthy.remove(target);
        check.health.is_unhealthy().then_some(Transition { backend: target.backend, reason: None })
    }
}

/// What a route has looked at.
fn check_targets(route: &FeedRoute) -> impl Iterator<Item = CheckTarget> {
    let check = route.destination.options.health.clone().map(Arc::new);
    let backends = route.destination.backends.as_slice().iter();
    backends.filter_map(move |backend| {
        Some(CheckTarget { backend: *backend, check: Some(Arc::clone(check.as_ref()?)) })
    })
}

#[cfg(test)]
mod tests;
