//! Which backends are looked at, when the next time, and what came of it. Pure: the time and the chance are given.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::{Backend, Host, RouteId};

use super::down::{Down, Subject};
use super::health::{Judgement, Terms};

/// How many backends are looked at because the traffic could not reach them.
const MAX_BY_TRAFFIC: usize = 10_000;
/// Without another failure in the traffic for so long, nobody asks for the backend any more.
const FORGET: Duration = Duration::from_secs(600);

/// The backends that are looked at.
#[derive(Debug, Default)]
pub(crate) struct Watchlist {
    watched: HashMap<Subject, Watched>,
    due: BTreeMap<(Instant, u64), Subject>,
    numbers: u64,
    by_traffic: usize,
    down: Down,
}

#[derive(Debug)]
struct Watched {
    number: u64,
    /// When the next check is due; none while one runs.
    at: Option<Instant>,
    terms: Terms,
    judgement: Judgement,
    /// Who names it. A GET asks for the host of the first.
    routes: BTreeMap<RouteId, Host>,
    /// When the traffic last failed there.
    failed: Instant,
}

/// A check to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// What is looked at.
    pub subject: Subject,
    /// Comes back with the outcome.
    pub number: u64,
    /// What a GET asks for.
    pub host: Option<Host>,
}

/// A backend that is out now, or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turned {
    /// Which.
    pub backend: Backend,
    /// Why it is out; none: it is back.
    pub down: Option<String>,
}

impl Watchlist {
    /// What is out.
    #[must_use]
    pub(crate) fn down(&self) -> &Down {
        &self.down
    }

    /// When the next check is due.
    #[must_use]
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// A route names its backends. The first checks are spread over the interval by `chance`, from 0 to 1.
    pub(crate) fn add(&mut self, route: &FeedRoute, now: Instant, chance: impl Fn() -> f64) {
        for subject in subjects(route) {
            let terms = subject.check.as_deref().map_or(Terms::TRAFFIC, Terms::of);
            if !self.watched.contains_key(&subject) {
                self.watch(subject.clone(), terms, now, terms.interval.mul_f64(chance()));
            }
            if let Some(watched) = self.watched.get_mut(&subject) {
                watched.routes.insert(route.id, route.host.clone());
            }
        }
    }

    /// A route names no more what it named, but for what `now` names as well. Says whether one of them was out.
    pub(crate) fn remove(&mut self, route: &FeedRoute, now: Option<&FeedRoute>) -> bool {
        let kept: Vec<Subject> = now.into_iter().flat_map(subjects).collect();
        let mut turned = false;
        for subject in subjects(route).filter(|subject| !kept.contains(subject)) {
            let Some(watched) = self.watched.get_mut(&subject) else { continue };
            watched.routes.remove(&route.id);
            if watched.routes.is_empty() {
                turned |= self.forget(&subject).is_some();
            }
        }
        turned
    }

    /// The traffic could not use a backend.
    pub(crate) fn failed(&mut self, backend: Backend, why: &str, now: Instant) -> Option<Turned> {
        let subject = Subject { backend, check: None };
        if !self.watched.contains_key(&subject) {
            if self.by_traffic >= MAX_BY_TRAFFIC {
                return None;
            }
            self.watch(subject.clone(), Terms::TRAFFIC, now, Terms::TRAFFIC.interval);
        }
        let watched = self.watched.get_mut(&subject)?;
        watched.failed = now;
        // When it is out already, its own checks say how it goes on.
        if watched.judgement.is_out() || !watched.judgement.note(false, Terms::TRAFFIC) {
            return None;
        }
        self.down.insert(&subject, why);
        Some(Turned { backend, down: Some(why.to_owned()) })
    }

    /// The traffic has reached a backend that was out.
    pub(crate) fn reached(&mut self, backend: Backend) -> Option<Turned> {
        let subject = Subject { backend, check: None };
        self.watched.contains_key(&subject).then(|| self.forget(&subject))?
    }

    /// The next check whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, number), subject) = first.remove_entry();
        let watched = self.watched.get_mut(&subject)?;
        watched.at = None;
        let host = watched.routes.first_key_value().map(|(_, host)| host.clone());
        Some(Due { subject, number, host })
    }

    /// A check is over. The next one comes after a pause that `chance`, from 0 to 1, moves by a tenth.
    pub(crate) fn checked(
        &mut self,
        Due { subject, number, .. }: &Due,
        outcome: Result<(), String>,
        now: Instant,
        chance: f64,
    ) -> Option<Turned> {
        let watched = self.watched.get_mut(subject).filter(|watched| watched.number == *number)?;
        let turned = watched.judgement.note(outcome.is_ok(), watched.terms);
        let is_traffics = subject.check.is_none();
        let unasked = now.saturating_duration_since(watched.failed) > FORGET;
        if is_traffics && (!watched.judgement.is_out() || unasked) {
            // It is back, or nobody asks any more: either way it is out no longer.
            let back = turned || watched.judgement.is_out();
            self.forget(subject);
            return back.then_some(Turned { backend: subject.backend, down: None });
        }
        let at = now + watched.judgement.pause(watched.terms).mul_f64(0.9 + chance / 5.0);
        watched.at = Some(at);
        self.due.insert((at, *number), subject.clone());
        if !turned {
            return None;
        }
        match &outcome {
            Err(why) => self.down.insert(subject, why),
            Ok(()) => self.down.remove(subject),
        }
        Some(Turned { backend: subject.backend, down: outcome.err() })
    }

    fn watch(&mut self, subject: Subject, terms: Terms, now: Instant, after: Duration) {
        self.numbers += 1;
        self.by_traffic += usize::from(subject.check.is_none());
        let (number, at) = (self.numbers, now + after);
        let (judgement, routes) = (Judgement::default(), BTreeMap::new());
        self.due.insert((at, number), subject.clone());
        let watched = Watched { number, at: Some(at), terms, judgement, routes, failed: now };
        self.watched.insert(subject, watched);
    }

    /// What is not looked at is not out.
    fn forget(&mut self, subject: &Subject) -> Option<Turned> {
        let watched = self.watched.remove(subject)?;
        self.by_traffic -= usize::from(subject.check.is_none());
        if let Some(at) = watched.at {
            self.due.remove(&(at, watched.number));
        }
        self.down.remove(subject);
        watched.judgement.is_out().then_some(Turned { backend: subject.backend, down: None })
    }
}

/// What a route has looked at.
fn subjects(route: &FeedRoute) -> impl Iterator<Item = Subject> {
    let check = route.destination.options.health.clone().map(Arc::new);
    let backends = route.destination.backends.as_slice().iter();
    backends.filter_map(move |backend| {
        Some(Subject { backend: *backend, check: Some(Arc::clone(check.as_ref()?)) })
    })
}

#[cfg(test)]
mod tests;
