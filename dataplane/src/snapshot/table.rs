//! The routes, by host and by id.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use imbl::OrdMap;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::RouteId;

/// The routes, by host and by id, in persistent maps: a clone is O(1), a change O(log n).
///
/// With a million routes the memory of the maps' own entries matters, so their keys are not copied: an entry is a
/// pointer to a route, which contains the key. Hosts are ordered by a hash that is stored in the entry, so that a
/// lookup compares strings only where hashes are equal.
#[derive(Clone, Default)]
pub(crate) struct RouteTable {
    by_host: OrdMap<HostEntry, ()>,
    by_id: OrdMap<IdEntry, ()>,
    checked: OrdMap<RouteId, Arc<FeedRoute>>,
    hasher: RandomState,
}

/// A key of the map by host: the hash of a host, and the host itself to order equal hashes.
trait HostKey {
    fn key(&self) -> (u64, &str);
}

#[derive(Clone)]
struct HostEntry(u64, Arc<FeedRoute>);

#[derive(Clone)]
struct IdEntry(Arc<FeedRoute>);

impl HostKey for HostEntry {
    fn key(&self) -> (u64, &str) {
        (self.0, self.1.host.as_str())
    }
}

impl HostKey for (u64, &str) {
    fn key(&self) -> (u64, &str) {
        *self
    }
}

impl Ord for dyn HostKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for dyn HostKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn HostKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn HostKey + '_ {}

impl<'a> Borrow<dyn HostKey + 'a> for HostEntry {
    fn borrow(&self) -> &(dyn HostKey + 'a) {
        self
    }
}

impl Ord for HostEntry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0).then_with(|| self.1.host.cmp(&other.1.host))
    }
}

impl PartialOrd for HostEntry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for HostEntry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for HostEntry {}

impl Borrow<RouteId> for IdEntry {
    fn borrow(&self) -> &RouteId {
        &self.0.id
    }
}

impl Ord for IdEntry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for IdEntry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for IdEntry {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for IdEntry {}

impl RouteTable {
    /// Returns the route of a lower-case host without a trailing dot.
    #[must_use]
    pub(crate) fn lookup(&self, host: &str) -> Option<&Arc<FeedRoute>> {
        let key: &dyn HostKey = &(self.hasher.hash_one(host), host);
        self.by_host.get_key_value(key).map(|(HostEntry(_, route), ())| route)
    }

    /// Returns the route with this id.
    #[must_use]
    pub(crate) fn by_id(&self, id: &RouteId) -> Option<&Arc<FeedRoute>> {
        self.by_id.get_key_value(id).map(|(IdEntry(route), ())| route)
    }

    /// Returns the routes with health checks. Two such maps can be compared at a cost proportional to their difference.
    #[must_use]
    pub(crate) fn checked(&self) -> &OrdMap<RouteId, Arc<FeedRoute>> {
        &self.checked
    }

    /// Returns the number of routes.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Iterates over all routes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<FeedRoute>> {
        self.by_id.keys().map(|IdEntry(route)| route)
    }

    /// Iterates over the ids of all routes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &RouteId> {
        self.by_id.keys().map(|IdEntry(route)| &route.id)
    }

    /// Inserts a route, replacing the one with the same id.
    pub(crate) fn insert(&mut self, route: FeedRoute) {
        let route = Arc::new(route);
        let old = self.by_id(&route.id).cloned();
        self.by_id.insert(IdEntry(Arc::clone(&route)), ());
        if let Some(old) = old {
            self.remove_host(&old);
            self.remove_checked(&old);
        }
        if route.destination.options.health.is_some() {
            self.checked.insert(route.id, Arc::clone(&route));
        }
        let hash = self.hasher.hash_one(route.host.as_str());
        self.by_host.insert(HostEntry(hash, route), ());
    }

    /// Removes the route with this id, and returns it.
    pub(crate) fn remove(&mut self, id: &RouteId) -> Option<Arc<FeedRoute>> {
        let (IdEntry(old), ()) = self.by_id.remove_with_key(id)?;
        self.remove_host(&old);
        self.remove_checked(&old);
        Some(old)
    }

    fn remove_checked(&mut self, old: &FeedRoute) {
        if old.destination.options.health.is_some() {
            self.checked.remove(&old.id);
        }
    }

    /// Removes the host of a route, unless another route has taken it over earlier in the same batch.
    fn remove_host(&mut self, old: &FeedRoute) {
        if self.lookup(old.host.as_str()).is_some_and(|current| current.id == old.id) {
            let host = old.host.as_str();
            let key: &dyn HostKey = &(self.hasher.hash_one(host), host);
            self.by_host.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Model;

    use proptest::prelude::*;
    use webgateway_proto::model::{Backends, Host, Mode, Prefixes};

    use super::*;

    fn route(id: u8, host: u8) -> FeedRoute {
        FeedRoute {
            id: RouteId::from_bytes([id; 16]),
            host: Host::parse(&format!("h{host}.gw.example")).unwrap(),
            destination: Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap().into(),
        }
    }

    #[test]
    fn a_host_taken_over_within_a_batch_stays_with_its_new_route() {
        let mut table = RouteTable::default();
        table.insert(route(1, 1));
        table.insert(route(2, 1));
        table.remove(&RouteId::from_bytes([1; 16]));
        assert_eq!(table.lookup("h1.gw.example").unwrap().id, RouteId::from_bytes([2; 16]));
    }

    #[test]
    fn a_changed_route_replaces_the_old_one() {
        let mut table = RouteTable::default();
        table.insert(route(1, 1));
        let before = table.clone();
        let mut changed = route(1, 1);
        changed.destination.mode = Mode::Passthrough;
        table.insert(changed.clone());
        assert_eq!(**table.lookup("h1.gw.example").unwrap(), changed);
        assert_eq!(**table.by_id(&changed.id).unwrap(), changed);
        assert_eq!(**before.by_id(&changed.id).unwrap(), route(1, 1), "a clone never changes");
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_map_by_id_with_an_index_of_hosts(steps in proptest::collection::vec((0u8..6, 0u8..6, any::<bool>()), 0..60)) {
            let mut table = RouteTable::default();
            let mut model: Model<u8, u8> = Model::new();
            for (id, host, put) in steps {
                // Hosts are unique over all routes, as in the store.
                if put && !model.iter().any(|(i, h)| *h == host && *i != id) {
                    table.insert(route(id, host));
                    model.insert(id, host);
                } else if !put {
                    prop_assert_eq!(table.remove(&RouteId::from_bytes([id; 16])).is_some(), model.remove(&id).is_some());
                }
                prop_assert_eq!(table.len(), model.len());
                for host in 0..6 {
                    let expected = model.iter().find(|(_, h)| **h == host).map(|(id, _)| RouteId::from_bytes([*id; 16]));
                    let found = table.lookup(&format!("h{host}.gw.example")).map(|route| route.id);
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
