//! Which host goes where.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use imbl::OrdMap;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::RouteId;

/// The routes, by host and by id. Persistent maps: a clone costs nothing, a change O(log n).
///
/// With a million routes the maps' own entries are what counts, so these are B-trees of pointers, the keys being read
/// where the routes have them. A host is sought by its hash, which stands in the entry: only the route that is found
/// is looked at.
#[derive(Clone, Default)]
pub(crate) struct RouteTable {
    by_host: OrdMap<HostEntry, ()>,
    by_id: OrdMap<IdEntry, ()>,
    checked: OrdMap<RouteId, Arc<FeedRoute>>,
    hasher: RandomState,
}

/// A hash and the host that it is of, which decides between equal hashes.
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
    /// The route of a lower-case host without trailing dot.
    #[must_use]
    pub(crate) fn lookup(&self, host: &str) -> Option<&Arc<FeedRoute>> {
        let wanted: &dyn HostKey = &(self.hasher.hash_one(host), host);
        self.by_host.get_key_value(wanted).map(|(HostEntry(_, route), ())| route)
    }

    /// The route of an id.
    #[must_use]
    pub(crate) fn by_id(&self, id: &RouteId) -> Option<&Arc<FeedRoute>> {
        self.by_id.get_key_value(id).map(|(IdEntry(route), ())| route)
    }

    /// Those whose backends are checked, in an order that can be compared at the cost of what differs.
    #[must_use]
    pub(crate) fn checked(&self) -> &OrdMap<RouteId, Arc<FeedRoute>> {
        &self.checked
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<FeedRoute>> {
        self.by_id.keys().map(|IdEntry(route)| route)
    }

    /// The ids of all.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &RouteId> {
        self.by_id.keys().map(|IdEntry(route)| &route.id)
    }

    /// Takes a route, in place of the one with its id.
    pub(crate) fn insert(&mut self, route: FeedRoute) {
        let route = Arc::new(route);
        let old = self.by_id(&route.id).cloned();
        self.by_id.insert(IdEntry(Arc::clone(&route)), ());
        if let Some(old) = old {
            self.forget_host(&old);
            self.forget_check(&old);
        }
        if route.destination.options.health.is_some() {
            self.checked.insert(route.id, Arc::clone(&route));
        }
        let hash = self.hasher.hash_one(route.host.as_str());
        self.by_host.insert(HostEntry(hash, route), ());
    }

    /// Drops the route of an id.
    pub(crate) fn remove(&mut self, id: &RouteId) -> Option<Arc<FeedRoute>> {
        let (IdEntry(old), ()) = self.by_id.remove_with_key(id)?;
        self.forget_host(&old);
        self.forget_check(&old);
        Some(old)
    }

    fn forget_check(&mut self, old: &FeedRoute) {
        if old.destination.options.health.is_some() {
            self.checked.remove(&old.id);
        }
    }

    /// Within one batch another route may have taken the host already: that one stays.
    fn forget_host(&mut self, old: &FeedRoute) {
        if self.lookup(old.host.as_str()).is_some_and(|current| current.id == old.id) {
            let host = old.host.as_str();
            let gone: &dyn HostKey = &(self.hasher.hash_one(host), host);
            self.by_host.remove(gone);
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
    fn a_route_that_changed_is_found_as_it_is_now() {
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
        fn it_is_a_map_by_id_whose_hosts_follow(steps in proptest::collection::vec((0u8..6, 0u8..6, any::<bool>()), 0..60)) {
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
