//! The set of unhealthy backends: an immutable value that the monitor replaces and all workers read.

use std::sync::Arc;

use webgateway_proto::model::{Backend, HealthCheck};

/// The target of a health check: a backend and how it is checked. Routes with the same backend and check share one
/// target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CheckTarget {
    /// The backend.
    pub backend: Backend,
    /// The configured check; `None` for passive health checking, by the failures that the traffic observes.
    pub check: Option<Arc<HealthCheck>>,
}

/// The unhealthy backends. Clones share their structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnhealthySet(imbl::HashMap<Backend, Vec<UnhealthyEntry>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct UnhealthyEntry {
    check: Option<Arc<HealthCheck>>,
    reason: Arc<str>,
}

impl UnhealthySet {
    /// Returns whether the backend is unhealthy for a route with this check.
    #[must_use]
    pub(crate) fn contains(&self, backend: Backend, check: Option<&HealthCheck>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let applies = |entry: &UnhealthyEntry| entry.check.is_none() || entry.check.as_deref() == check;
        self.0.get(&backend).is_some_and(|entries| entries.iter().any(applies))
    }

    /// Returns the reason why the backend is unhealthy for a route with this check, if it is.
    #[must_use]
    pub(crate) fn reason(&self, backend: Backend, check: Option<&HealthCheck>) -> Option<&str> {
        let entries = self.0.get(&backend)?;
        entries
            .iter()
            .find(|entry| entry.check.is_none() || entry.check.as_deref() == check)
            .map(|entry| &*entry.reason)
    }

    /// Iterates over the backends that are unhealthy for any route, each with one reason.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Backend, &str)> {
        self.0.iter().filter_map(|(backend, entries)| Some((*backend, &*entries.first()?.reason)))
    }

    /// Returns the reason why a backend is unhealthy for any route, if it is.
    #[must_use]
    pub(crate) fn first_reason(&self, backend: Backend) -> Option<&str> {
        Some(&*self.0.get(&backend)?.first()?.reason)
    }

    /// Returns the number of unhealthy backends.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Marks a target as unhealthy, or replaces the reason.
    pub(crate) fn insert(&mut self, target: &CheckTarget, reason: &str) {
        let entries = self.0.entry(target.backend).or_default();
        entries.retain(|entry| entry.check != target.check);
        entries.push(UnhealthyEntry { check: target.check.clone(), reason: reason.into() });
    }

    /// Marks a target as healthy.
    pub(crate) fn remove(&mut self, target: &CheckTarget) {
        let Some(entries) = self.0.get_mut(&target.backend) else { return };
        entries.retain(|entry| entry.check != target.check);
        if entries.is_empty() {
            self.0.remove(&target.backend);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failed_check_applies_to_its_routes_and_a_passive_failure_to_all() {
        let backend: Backend = "[400::1]:80".parse().unwrap();
        let check = |path| HealthCheck::new(Some(path), Duration::from_secs(10), 2, 3).unwrap();
        let (one, other) = (check("/one"), check("/other"));
        let target =
            |check: Option<&HealthCheck>| CheckTarget { backend, check: check.cloned().map(Arc::new) };
        let mut set = UnhealthySet::default();
        set.insert(&target(Some(&one)), "answered 500");
        assert!(set.contains(backend, Some(&one)));
        assert!(!set.contains(backend, Some(&other)) && !set.contains(backend, None));
        set.insert(&target(None), "connection refused");
        assert!(set.contains(backend, Some(&other)) && set.contains(backend, None));
        assert_eq!((set.len(), set.reason(backend, None)), (1, Some("connection refused")));
        assert!(!set.contains("[400::2]:80".parse().unwrap(), None));
        set.remove(&target(Some(&one)));
        set.remove(&target(None));
        assert_eq!(set, UnhealthySet::default());
    }
}
