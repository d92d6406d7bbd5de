//! Which backends are out, as one immutable value that all workers read and one task replaces.

use std::sync::Arc;

use webgateway_proto::model::{Backend, HealthCheck};

/// What is judged: a backend by the traffic, or by one kind of check, however many routes name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CheckTarget {
    /// The backend.
    pub backend: Backend,
    /// The check; none for what the traffic says.
    pub check: Option<Arc<HealthCheck>>,
}

/// The backends that are out. Cloning shares structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnhealthySet(imbl::HashMap<Backend, Vec<UnhealthyEntry>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct UnhealthyEntry {
    check: Option<Arc<HealthCheck>>,
    reason: Arc<str>,
}

impl UnhealthySet {
    /// Whether a route with this check passes the backend over.
    #[must_use]
    pub(crate) fn contains(&self, backend: Backend, check: Option<&HealthCheck>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let concerns = |out: &UnhealthyEntry| out.check.is_none() || out.check.as_deref() == check;
        self.0.get(&backend).is_some_and(|outs| outs.iter().any(concerns))
    }

    /// Why it does.
    #[must_use]
    pub(crate) fn reason(&self, backend: Backend, check: Option<&HealthCheck>) -> Option<&str> {
        let outs = self.0.get(&backend)?;
        outs.iter().find(|out| out.check.is_none() || out.check.as_deref() == check).map(|out| &*out.reason)
    }

    /// Every backend that is out for some route, and why.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Backend, &str)> {
        self.0.iter().filter_map(|(backend, outs)| Some((*backend, &*outs.first()?.reason)))
    }

    /// Why a backend is out for some route.
    #[must_use]
    pub(crate) fn first_reason(&self, backend: Backend) -> Option<&str> {
        Some(&*self.0.get(&backend)?.first()?.reason)
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes one out.
    pub(crate) fn insert(&mut self, subject: &CheckTarget, reason: &str) {
        let outs = self.0.entry(subject.backend).or_default();
        outs.retain(|out| out.check != subject.check);
        outs.push(UnhealthyEntry { check: subject.check.clone(), reason: reason.into() });
    }

    /// Brings one back.
    pub(crate) fn remove(&mut self, subject: &CheckTarget) {
        let Some(outs) = self.0.get_mut(&subject.backend) else { return };
        outs.retain(|out| out.check != subject.check);
        if outs.is_empty() {
            self.0.remove(&subject.backend);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failed_check_concerns_the_routes_that_have_it_and_the_traffic_concerns_all() {
        let backend: Backend = "[400::1]:80".parse().unwrap();
        let check = |path| HealthCheck::new(Some(path), Duration::from_secs(10), 2, 3).unwrap();
        let (one, other) = (check("/one"), check("/other"));
        let subject =
            |check: Option<&HealthCheck>| CheckTarget { backend, check: check.cloned().map(Arc::new) };
        let mut down = UnhealthySet::default();
        down.insert(&subject(Some(&one)), "answered 500");
        assert!(down.contains(backend, Some(&one)));
        assert!(!down.contains(backend, Some(&other)) && !down.contains(backend, None));
        down.insert(&subject(None), "connection refused");
        assert!(down.contains(backend, Some(&other)) && down.contains(backend, None));
        assert_eq!((down.len(), down.reason(backend, None)), (1, Some("connection refused")));
        assert!(!down.contains("[400::2]:80".parse().unwrap(), None));
        down.remove(&subject(Some(&one)));
        down.remove(&subject(None));
        assert_eq!(down, UnhealthySet::default());
    }
}
