//! What one node must be told so that it holds what the catalog holds.

use std::iter;

use webgateway_proto::feed::{FeedVersion, ResourceName, ToNode};

use super::catalog::Catalog;
use crate::store::change::Change;

/// One batch for one node. It shares the catalog's tables: its size is the same whatever it carries.
#[derive(Clone)]
pub(crate) struct Batch {
    catalog: Catalog,
    after: Option<u64>,
}

/// Makes the batch that brings a node from `held` to `catalog`: the difference if the catalog knows that version,
/// else everything.
#[must_use]
pub(crate) fn diff(catalog: &Catalog, held: Option<&FeedVersion>) -> Batch {
    let after = held.filter(|held| catalog.knows(held)).map(|held| held.version);
    Batch { catalog: catalog.clone(), after }
}

impl Batch {
    /// Whether what it does not name is to be dropped.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.after.is_none()
    }

    /// What a node that applied it stands at.
    #[must_use]
    pub(crate) fn end(&self) -> FeedVersion {
        self.catalog.held()
    }

    /// Whether it says something about the resource, be it by leaving it out of a full batch.
    #[must_use]
    pub(crate) fn tells_of(&self, name: &ResourceName) -> bool {
        let Some(after) = self.after else { return true };
        self.catalog.version_of(name).is_some_and(|version| version > after)
    }

    /// The messages, made one at a time. The settings come first: the node reads the routes by them.
    pub(crate) fn messages(&self) -> impl Iterator<Item = ToNode> {
        let settings = &ResourceName::Settings;
        let told = self.catalog.since(self.after.unwrap_or(0)).filter(move |(name, _)| *name != settings);
        let first = self.catalog.change_of(settings).filter(|_| self.tells_of(settings));
        let first = first.map(|change| (settings, change));
        let told = first.into_iter().chain(told).filter_map(|(name, change)| self.message(name, change));
        let begin = ToNode::Begin { full: self.is_full() };
        iter::once(begin).chain(told).chain(iter::once_with(|| ToNode::End(self.end())))
    }

    fn message(&self, name: &ResourceName, change: &Change) -> Option<ToNode> {
        match change {
            Change::Put(resource) => Some(ToNode::Put(Box::new(resource.as_ref().clone()))),
            // A full batch removes by not naming; what is cut at once has to be said.
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
    fn a_stranger_gets_everything_there_is() {
        for from in [None, Some(held("other", 3)), Some(held("e", 9))] {
            let batch = diff(&catalog(), from.as_ref());
            let messages: Vec<_> = batch.messages().collect();
            assert_eq!(messages.first(), Some(&ToNode::Begin { full: true }), "{from:?}");
            assert_eq!(messages.last(), Some(&ToNode::End(held("e", 3))));
            assert_eq!(messages.len(), 4, "a full batch removes by not naming");
        }
    }

    #[test]
    fn a_full_batch_says_what_is_cut_at_once() {
        let mut catalog = catalog();
        catalog.apply(ChangeSet { version: 4, changed: vec![suspend(1, 4)] });
        let messages: Vec<_> = diff(&catalog, Some(&held("other", 3))).messages().collect();
        let removals: Vec<_> = messages.iter().filter(|m| matches!(m, ToNode::Remove { .. })).collect();
        assert_eq!(removals, [&ToNode::Remove { name: route_name(1), at_once: true }]);
    }

    #[test]
    fn the_settings_come_first_and_only_when_they_are_news() {
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
        assert!(batch.tells_of(&route_name(3)) && !batch.tells_of(&route_name(1)));
        assert_eq!(diff(&catalog(), Some(&held("e", 3))).messages().count(), 2);
    }
}
