//! The set of unhealthy backends: an immutable value that the monitor replaces and all workers read.

use std::sync::Arc;

use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::ProxyProtocol;
use webgateway_proto::model::{Backend, HealthCheck};

/// The target of a health check: a backend and how it is checked. Routes with the same backend and check share one
/// target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CheckTarget {
    /// The backend.
    pub backend: Backend,
    /// The configured check; `None` for passive health checking, by the failures that the traffic observes.
    pub check: Option<Arc<ActiveCheck>>,
}

/// A configured check, and how it connects to the backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ActiveCheck {
    /// The check.
    pub health: HealthCheck,
    /// The PROXY protocol header that its connections begin with.
    pub proxy_protocol: ProxyProtocol,
}

impl ActiveCheck {
    /// Returns the check of a route, if it has one.
    #[must_use]
    pub(crate) fn of(route: &FeedRoute) -> Option<Self> {
        let options = &route.destination.options;
        let health = options.health.clone()?;
        Some(Self { health, proxy_protocol: options.proxy_protocol })
    }

    /// Returns whether this is the check of `route`.
    fn is_of(&self, route: &FeedRoute) -> bool {
        let options = &route.destination.options;
        options.health.as_ref() == Some(&self.health) && options.proxy_protocol == self.proxy_protocol
    }
}

/// The unhealthy backends. Clones share their structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnhealthySet(imbl::HashMap<Backend, Vec<UnhealthyEntry>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct UnhealthyEntry {
    check: Option<Arc<ActiveCheck>>,
    reason: Arc<str>,
}

impl UnhealthyEntry {
    /// Returns whether the entry concerns `route`, or any route without an own check if there is none.
    fn applies_to(&self, route: Option<&FeedRoute>) -> bool {
        self.check.as_ref().is_none_or(|check| route.is_some_and(|route| check.is_of(route)))
    }
}

impl UnhealthySet {
    /// Returns whether the backend is unhealthy for `route`; without one, whether it is so because of the traffic.
    #[must_use]
    pub(crate) fn contains(&self, backend: Backend, route: Option<&FeedRoute>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        self.0.get(&backend).is_some_and(|entries| entries.iter().any(|entry| entry.applies_to(route)))
    }

    /// Returns the reason why the backend is unhealthy for `route`, if it is.
    #[must_use]
    pub(crate) fn reason(&self, backend: Backend, route: &FeedRoute) -> Option<&str> {
        let entries = self.0.get(&backend)?;
        entries.iter().find(|entry| entry.applies_to(Some(route))).map(|entry| &*entry.reason)
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

    use webgateway_proto::model::{Backends, Destination, Host, Mode, Prefixes, RouteId, RouteOptions};

    use super::*;

    fn route(path: Option<&str>, proxy_protocol: ProxyProtocol) -> FeedRoute {
        let health = path.map(|path| HealthCheck::new(Some(path), Duration::from_secs(10), 2, 3).unwrap());
        let options = RouteOptions { health, proxy_protocol, ..RouteOptions::default() };
        let backends = Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap();
        FeedRoute {
            id: RouteId::from_bytes([1; 16]),
            host: Host::parse("a.gw.example").unwrap(),
            destination: Destination::new(Mode::Terminate, backends, options).unwrap(),
        }
    }

    #[test]
    fn a_failed_check_applies_to_its_routes_and_a_passive_failure_to_all() {
        let backend: Backend = "[400::1]:80".parse().unwrap();
        let one = route(Some("/one"), ProxyProtocol::Off);
        let others = [
            route(Some("/other"), ProxyProtocol::Off),
            route(Some("/one"), ProxyProtocol::V1),
            route(None, ProxyProtocol::Off),
        ];
        let target = |route: Option<&FeedRoute>| CheckTarget {
            backend,
            check: route.and_then(ActiveCheck::of).map(Arc::new),
        };
        let mut set = UnhealthySet::default();
        set.insert(&target(Some(&one)), "answered 500");
        assert!(set.contains(backend, Some(&one)) && !set.contains(backend, None));
        assert!(others.iter().all(|other| !set.contains(backend, Some(other))));
        set.insert(&target(None), "connection refused");
        assert!(set.contains(backend, None));
        for other in &others {
            assert!(set.contains(backend, Some(other)));
            assert_eq!(set.reason(backend, other), Some("connection refused"));
        }
        assert_eq!((set.len(), set.reason(backend, &one)), (1, Some("answered 500")));
        assert!(!set.contains("[400::2]:80".parse().unwrap(), None));
        set.remove(&target(Some(&one)));
        set.remove(&target(None));
        assert_eq!(set, UnhealthySet::default());
    }
}
