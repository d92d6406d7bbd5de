//! Which host goes where.

use std::sync::Arc;

use imbl::HashMap;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::{Host, RouteId};

/// The routes, by host and by id. A persistent map: a clone costs nothing, a change O(log n).
#[derive(Clone, Default)]
pub struct Table {
    by_host: HashMap<Host, Arc<FeedRoute>>,
    by_id: HashMap<RouteId, Arc<FeedRoute>>,
}

impl Table {
    /// The route of a lower-case host without trailing dot.
    #[must_use]
    pub fn lookup(&self, host: &str) -> Option<&Arc<FeedRoute>> {
        self.by_host.get(host)
    }

    /// The route of an id.
    #[must_use]
    pub fn by_id(&self, id: &RouteId) -> Option<&Arc<FeedRoute>> {
        self.by_id.get(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The ids of all.
    pub fn ids(&self) -> impl Iterator<Item = &RouteId> {
        self.by_id.keys()
    }

    /// Takes a route, in place of the one with its id.
    pub fn insert(&mut self, route: FeedRoute) {
        let route = Arc::new(route);
        if let Some(old) = self.by_id.insert(route.id, Arc::clone(&route)) {
            self.forget_host(&old);
        }
        self.by_host.insert(route.host.clone(), route);
    }

    /// Drops the route of an id.
    pub fn remove(&mut self, id: &RouteId) -> Option<Arc<FeedRoute>> {
        let old = self.by_id.remove(id)?;
        self.forget_host(&old);
        Some(old)
    }

    /// Within one batch another route may have taken the host already: that one stays.
    fn forget_host(&mut self, old: &FeedRoute) {
        if self.by_host.get(&old.host).is_some_and(|current| current.id == old.id) {
            self.by_host.remove(&old.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Model;

    use proptest::prelude::*;
    use webgateway_proto::model::{Backends, Balance, Destination, Mode, Prefixes};

    use super::*;

    fn route(id: u8, host: u8) -> FeedRoute {
        FeedRoute {
            id: RouteId::from_bytes([id; 16]),
            host: Host::parse(&format!("h{host}.gw.example")).unwrap(),
            destination: Destination {
                mode: Mode::Terminate,
                balance: Balance::Random,
                backends: Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap(),
                health: None,
            },
        }
    }

    #[test]
    fn a_host_taken_over_within_a_batch_stays_with_its_new_route() {
        let mut table = Table::default();
        table.insert(route(1, 1));
        table.insert(route(2, 1));
        table.remove(&RouteId::from_bytes([1; 16]));
        assert_eq!(table.lookup("h1.gw.example").unwrap().id, RouteId::from_bytes([2; 16]));
    }

    proptest! {
        #[test]
        fn it_is_a_map_by_id_whose_hosts_follow(steps in proptest::collection::vec((0u8..6, 0u8..6, any::<bool>()), 0..60)) {
            let mut table = Table::default();
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
