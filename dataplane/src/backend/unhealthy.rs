//! The set of unhealthy backends: an immutable value that the monitor replaces and all workers read.

use std::sync::Arc;

use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::ProxyProtocol;
use webgateway_proto::model::{Backend, HealthCheck};

use super::transport::Transport;

/// The target of a health check: a backend and how it is checked. Routes with the same backend, transport and check
/// share one target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CheckTarget {
    /// The backend.
    pub backend: Backend,
    /// The transport; `None` for plain HTTP/1.1, and in passive health checking for failures to connect by TCP, which
    /// concern all routes.
    pub transport: Option<Arc<Transport>>,
    /// The configured check; `None` for passive health checking, by the failures that the traffic observes.
    pub check: Option<Arc<ActiveCheck>>,
}

/// A configured check, and the PROXY protocol header that its connections begin with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ActiveCheck {
    /// The check.
    pub health: HealthCheck,
    /// The version of the header.
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
    transport: Option<Arc<Transport>>,
    check: Option<Arc<ActiveCheck>>,
    reason: Arc<str>,
}

impl UnhealthySet {
    /// Returns whether the backend is unhealthy for a route.
    #[must_use]
    pub(crate) fn contains(&self, backend: Backend, route: &FeedRoute) -> bool {
        !self.0.is_empty() && self.reason(backend, route).is_some()
    }

    /// Returns whether the traffic has observed that connections with this transport fail; `None` stands for TCP.
    #[must_use]
    pub(crate) fn contains_passive(&self, backend: Backend, transport: Option<&Transport>) -> bool {
        let is_passive =
            |entry: &UnhealthyEntry| entry.check.is_none() && entry.transport.as_deref() == transport;
        !self.0.is_empty() && self.0.get(&backend).is_some_and(|entries| entries.iter().any(is_passive))
    }

    /// Returns the reason why the backend is unhealthy for a route, if it is.
    #[must_use]
    pub(crate) fn reason(&self, backend: Backend, route: &FeedRoute) -> Option<&str> {
        let entries = self.0.get(&backend)?;
        entries.iter().find(|entry| entry.applies_to(route)).map(|entry| &*entry.reason)
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
        entries.retain(|entry| !entry.is_of(target));
        let (transport, check) = (target.transport.clone(), target.check.clone());
        entries.push(UnhealthyEntry { transport, check, reason: reason.into() });
    }

    /// Marks a target as healthy.
    pub(crate) fn remove(&mut self, target: &CheckTarget) {
        let Some(entries) = self.0.get_mut(&target.backend) else { return };
        entries.retain(|entry| !entry.is_of(target));
        if entries.is_empty() {
            self.0.remove(&target.backend);
        }
    }
}

impl UnhealthyEntry {
    fn is_of(&self, target: &CheckTarget) -> bool {
        self.check == target.check && self.transport == target.transport
    }

    fn applies_to(&self, route: &FeedRoute) -> bool {
        match (&self.check, self.transport.as_deref()) {
            (None, None) => true,
            (check, transport) => {
                check.as_ref().is_none_or(|check| check.is_of(route)) && Transport::fits(transport, route)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use webgateway_proto::model::options::BackendProtocol;
    use webgateway_proto::model::{Backends, Destination, Host, Mode, Prefixes, RouteId, RouteOptions};

    use super::*;

    fn route(backend_protocol: BackendProtocol, health: Option<&HealthCheck>) -> FeedRoute {
        let backends = Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap();
        let options = RouteOptions { backend_protocol, health: health.cloned(), ..RouteOptions::default() };
        FeedRoute {
            id: RouteId::from_bytes([1; 16]),
            host: Host::parse("a.gw.example").unwrap(),
            destination: Destination::new(Mode::Terminate, backends, options).unwrap(),
        }
    }

    fn without_header(health: &HealthCheck) -> Arc<ActiveCheck> {
        Arc::new(ActiveCheck { health: health.clone(), proxy_protocol: ProxyProtocol::Off })
    }

    #[test]
    fn a_failed_check_with_a_header_does_not_concern_routes_without() {
        let backend: Backend = "[400::1]:80".parse().unwrap();
        let check = HealthCheck::tcp();
        let words = [ProxyProtocol::Off, ProxyProtocol::V1, ProxyProtocol::V2];
        let routes = words.map(|proxy_protocol| {
            let mut route = route(BackendProtocol::Http1, Some(&check));
            Arc::make_mut(&mut route.destination.options).proxy_protocol = proxy_protocol;
            route
        });
        for failing in &routes {
            let mut set = UnhealthySet::default();
            let check = ActiveCheck::of(failing).map(Arc::new);
            set.insert(&CheckTarget { backend, transport: None, check }, "x");
            for other in &routes {
                assert_eq!(set.contains(backend, other), other == failing);
            }
        }
    }

    #[test]
    fn a_failed_check_applies_to_its_routes_and_a_passive_failure_to_all() {
        let backend: Backend = "[400::1]:80".parse().unwrap();
        let check = |path| HealthCheck::new(Some(path), Duration::from_secs(10), 2, 3).unwrap();
        let (one, other) = (check("/one"), check("/other"));
        let target = |check: Option<&HealthCheck>| {
            let check = check.map(without_header);
            CheckTarget { backend, transport: None, check }
        };
        let route = |check| route(BackendProtocol::Http1, check);
        let mut set = UnhealthySet::default();
        set.insert(&target(Some(&one)), "answered 500");
        assert!(set.contains(backend, &route(Some(&one))));
        assert!(!set.contains(backend, &route(Some(&other))) && !set.contains(backend, &route(None)));
        set.insert(&target(None), "connection refused");
        assert!(set.contains(backend, &route(Some(&other))) && set.contains(backend, &route(None)));
        assert_eq!((set.len(), set.reason(backend, &route(None))), (1, Some("connection refused")));
        assert!(!set.contains("[400::2]:80".parse().unwrap(), &route(None)));
        set.remove(&target(Some(&one)));
        set.remove(&target(None));
        assert_eq!(set, UnhealthySet::default());
    }

    #[test]
    fn a_failure_of_one_transport_does_not_concern_another() {
        let backend: Backend = "[400::1]:80".parse().unwrap();
        let check = HealthCheck::new(Some("/up"), Duration::from_secs(10), 2, 3).unwrap();
        let protocols = [BackendProtocol::Http1, BackendProtocol::H2c, BackendProtocol::Https];
        for failing in protocols {
            let transport = Transport::of(&route(failing, None)).map(Arc::new);
            for checked in [None, Some(without_header(&check))] {
                let mut set = UnhealthySet::default();
                set.insert(
                    &CheckTarget { backend, transport: transport.clone(), check: checked.clone() },
                    "x",
                );
                for other in protocols {
                    let is_tcp = transport.is_none() && checked.is_none();
                    let applies = set.contains(backend, &route(other, checked.as_ref().map(|_| &check)));
                    assert_eq!(applies, is_tcp || other == failing, "{failing}, {other}, {checked:?}");
                }
            }
        }
    }
}
