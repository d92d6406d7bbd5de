//! The difference between a node's position and the catalog, as a batch of messages.

use std::iter;

use webgateway_proto::feed::{FeedVersion, ResourceName, ToNode};

use super::catalog::Catalog;
use crate::store::change::Change;

/// A batch of changes for one node. It shares the catalog's tables, so that its size does not depend on its contents.
#[derive(Clone)]
pub(crate) struct Batch {
    catalog: Catalog,
    after: Option<u64>,
}

/// Returns the batch that brings a node from `held` to `catalog`: the difference if that can be computed, otherwise all
/// resources.
#[must_use]
pub(crate) fn diff(catalog: &Catalog, held: Option<&FeedVersion>) -> Batch {
    let after = held.filter(|held| catalog.can_diff_from(held)).map(|held| held.version);
    Batch { catalog: catalog.clone(), after }
}

impl Batch {
    /// Returns true if the batch contains all resources, so that the node drops those that it does not name.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.after.is_none()
    }

    /// Returns the position of a node that has applied the batch.
    #[must_use]
    pub(crate) fn end(&self) -> FeedVersion {
        self.catalog.held()
    }

    /// Returns true if the batch determines the state of the resource. A full batch determines that of every resource.
    #[must_use]
    pub(crate) fn affects(&self, name: &ResourceName) -> bool {
        let Some(after) = self.after else { return true };
        self.catalog.version_of(name).is_some_and(|version| version > after)
    }

    /// Iterates over the messages, which are created one at a time. The settings come first, because the node needs
    /// them to read the routes.
    pub(crate) fn messages(&self) -> impl Iterator<Item = ToNode> {
        let settings = &ResourceName::Settings;
        let changes = self.catalog.since(self.after.unwrap_or(0)).filter(move |(name, _)| *name != settings);
        let first = self.catalog.change_of(settings).filter(|_| self.affects(settings));
        let first = first.map(|change| (settings, change));
        let changes =
            first.into_iter().chain(changes).filter_map(|(name, change)| self.message(name, change));
        let begin = ToNode::Begin { full: self.is_full() };
        iter::once(begin).chain(changes).chain(iter::once_with(|| ToNode::End(self.end())))
    }

    fn message(&self, name: &ResourceName, change: &Change) -> Option<ToNode> {
        match change {
            Change::Put(resource) => Some(ToNode::Put(Box::new(resource.as_ref().clone()))),
            // A full batch removes what it does not name. Only an immediate removal needs a message of its own.
            Change::Remove { at_once: false } if self.is_full() => None,
            Change::Remove { at_once } => Some(ToNode::Remove { name: name.clone(), at_once: *at_once }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::samples::{history, put, remove, route_name, settings, suspend};
    use crate::store::change::ChangeSet;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::new(history("e"), 0);
        catalog.apply(ChangeSet { version: 3, changed: vec![put(1, 1), put(2, 2), remove(3, 3)] });
        catalog
    }

    fn held(epoch: &str, version: u64) -> FeedVersion {
        FeedVersion { epoch: epoch.into(), version }
    }

    #[test]
    fn a_node_at_an_unknown_position_gets_a_full_batch() {
        for from in [None, Some(held("other", 3)), Some(held("e", 9))] {
            let batch = diff(&catalog(), from.as_ref());
            let messages: Vec<_> = batch.messages().collect();
            assert_eq!(messages.first(), Some(&ToNode::Begin { full: true }), "{from:?}");
            assert_eq!(messages.last(), Some(&ToNode::End(held("e", 3))));
            assert_eq!(messages.len(), 4, "a full batch names no removed resources");
        }
    }

    #[test]
    fn a_full_batch_names_immediate_removals() {
        let mut catalog = catalog();
        catalog.apply(ChangeSet { version: 4, changed: vec![suspend(1, 4)] });
        let messages: Vec<_> = diff(&catalog, Some(&held("other", 3))).messages().collect();
        let removals: Vec<_> = messages.iter().filter(|m| matches!(m, ToNode::Remove { .. })).collect();
        assert_eq!(removals, [&ToNode::Remove { name: route_name(1), at_once: true }]);
    }

    #[test]
    fn changed_settings_come_first_and_unchanged_ones_are_left_out() {
        let mut catalog = catalog();
        catalog.apply(ChangeSet { version: 4, changed: vec![settings(4)] });
        for from in [None, Some(held("e", 1))] {
            let messages: Vec<_> = diff(&catalog, from.as_ref()).messages().collect();
            let Some(ToNode::Put(first)) = messages.get(1) else { panic!("{messages:?}") };
            assert_eq!(first.name(), ResourceName::Settings);
            let puts = messages.iter().filter(|m| matches!(m, ToNode::Put(r) if r.name() == first.name()));
            assert_eq!(puts.count(), 1);
        }
        assert_eq!(diff(&catalog, Some(&held("e", 4))).messages().count(), 2);
    }

    #[test]
    fn a_known_node_gets_the_difference() {
        let batch = diff(&catalog(), Some(&held("e", 2)));
        let removal = ToNode::Remove { name: route_name(3), at_once: false };
        let messages: Vec<_> = batch.messages().collect();
        assert_eq!(messages, [ToNode::Begin { full: false }, removal, ToNode::End(held("e", 3))]);
        assert!(batch.affects(&route_name(3)) && !batch.affects(&route_name(1)));
        assert_eq!(diff(&catalog(), Some(&held("e", 3))).messages().count(), 2);
    }
}
