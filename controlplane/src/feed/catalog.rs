//! The catalog of all resources that nodes must have, ordered by the version of the last change. All nodes share it.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use webgateway_proto::feed::{FeedVersion, ResourceName};

use crate::store::change::{Change, ChangeSet};
use crate::store::history::{EpochHistory, NodePosition};

/// The maximum number of removals that are remembered. A node that missed an older one receives all resources again.
pub(crate) const MAX_TOMBSTONES: u32 = 100_000;

/// The resources that nodes must have at one version, and the removals before it.
///
/// Cloning is cheap, and a clone does not change: the tables are persistent maps that share their structure.
#[derive(Clone)]
pub(crate) struct Catalog {
    history: Arc<EpochHistory>,
    version: u64,
    floor: u64,
    log: OrdMap<(u64, ResourceName), Change>,
    versions: OrdMap<ResourceName, u64>,
    tombstones: OrdSet<(u64, ResourceName)>,
}

impl Catalog {
    /// Creates an empty catalog of the database with this history. No difference can be computed from versions before
    /// `floor`.
    #[must_use]
    pub(crate) fn new(history: Arc<EpochHistory>, floor: u64) -> Self {
        Self {
            history,
            version: 0,
            floor,
            log: OrdMap::new(),
            versions: OrdMap::new(),
            tombstones: OrdSet::new(),
        }
    }

    /// Returns the catalog's version.
    #[must_use]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the position of a node that has applied the whole catalog.
    #[must_use]
    pub(crate) fn held(&self) -> FeedVersion {
        FeedVersion { epoch: self.history.epoch().to_owned(), version: self.version }
    }

    /// Returns the version at which a resource last changed or was removed, if that is remembered.
    #[must_use]
    pub(crate) fn version_of(&self, name: &ResourceName) -> Option<u64> {
        self.versions.get(name).copied()
    }

    /// Returns the last change of a resource, if that is remembered.
    #[must_use]
    pub(crate) fn change_of(&self, name: &ResourceName) -> Option<&Change> {
        let version = self.version_of(name)?;
        self.log.get(&(version, name.clone()))
    }

    /// Returns true if a node at the position `held` can be sent only the difference.
    #[must_use]
    pub(crate) fn can_diff_from(&self, held: &FeedVersion) -> bool {
        held.version >= self.floor && self.position(held) == NodePosition::Known
    }

    /// Locates a node's position in the history of the database.
    #[must_use]
    pub(crate) fn position(&self, held: &FeedVersion) -> NodePosition {
        self.history.locate(held, self.version)
    }

    /// Iterates over the changes after `version`, oldest first. The cost depends on the number of changes, not on the
    /// size of the catalog.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = (&ResourceName, &Change)> {
        // `Settings` is the smallest name, so that this is the first key after `version`.
        let first = version.checked_add(1).map(|next| (next, ResourceName::Settings));
        let range = first.map(|first| self.log.range((Bound::Included(first), Bound::Unbounded)));
        range.into_iter().flatten().map(|((_, name), change)| (name, change))
    }

    /// Applies changes from the store.
    pub(crate) fn apply(&mut self, changes: ChangeSet) {
        for changed in changes.changed {
            self.forget(&changed.name);
            self.versions.insert(changed.name.clone(), changed.version);
            let key = (changed.version, changed.name);
            if matches!(changed.change, Change::Remove { .. }) {
                self.tombstones.insert(key.clone());
            }
            self.log.insert(key, changed.change);
        }
        self.version = self.version.max(changes.version);
        while self.tombstones.len() > MAX_TOMBSTONES as usize {
            self.drop_oldest_tombstone();
        }
    }

    /// Forgets the removals up to `floor`. A node at an earlier version receives all resources again.
    pub(crate) fn forget_until(&mut self, floor: u64) {
        while self.tombstones.get_min().is_some_and(|(version, _)| *version <= floor) {
            self.drop_oldest_tombstone();
        }
        self.floor = self.floor.max(floor);
    }

    fn forget(&mut self, name: &ResourceName) {
        if let Some(version) = self.versions.remove(name) {
            let key = (version, name.clone());
            self.log.remove(&key);
            self.tombstones.remove(&key);
        }
    }

    fn drop_oldest_tombstone(&mut self) {
        if let Some((version, name)) = self.tombstones.get_min().cloned() {
            self.forget(&name);
            self.floor = self.floor.max(version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::samples::{history, put, remove, route_name};

    #[test]
    fn lists_the_changes_since_a_version() {
        let mut catalog = Catalog::new(history("e"), 0);
        catalog.apply(ChangeSet { version: 2, changed: vec![put(1, 1), put(2, 2)] });
        assert_eq!(catalog.since(0).count(), 2);
        assert_eq!(catalog.since(1).map(|(name, _)| name.clone()).collect::<Vec<_>>(), [route_name(2)]);
        let before = catalog.clone();
        catalog.apply(ChangeSet { version: 4, changed: vec![put(1, 3), remove(2, 4)] });
        assert_eq!(catalog.since(2).count(), 2);
        assert_eq!(catalog.since(3).map(|(name, _)| name.clone()).collect::<Vec<_>>(), [route_name(2)]);
        assert_eq!(catalog.since(4).count() + catalog.since(u64::MAX).count(), 0);
        assert_eq!((before.version(), before.since(1).count()), (2, 1), "a clone does not change");
    }

    #[test]
    fn a_difference_needs_a_known_version_of_the_same_database() {
        let mut catalog = Catalog::new(history("e"), 3);
        catalog.apply(ChangeSet { version: 5, changed: vec![] });
        let held = |epoch: &str, version| FeedVersion { epoch: epoch.into(), version };
        assert!(catalog.can_diff_from(&held("e", 3)) && catalog.can_diff_from(&held("e", 5)));
        assert!(!catalog.can_diff_from(&held("e", 2)), "before the floor");
        assert!(!catalog.can_diff_from(&held("e", 6)), "from the future");
        assert!(!catalog.can_diff_from(&held("f", 5)), "of another database");
    }

    #[test]
    fn forgets_the_oldest_removals_and_raises_the_floor() {
        let mut catalog = Catalog::new(history("e"), 0);
        let many = u64::from(MAX_TOMBSTONES) + 10;
        let changed = (1..=many).map(|i| remove(i, i)).collect();
        catalog.apply(ChangeSet { version: many, changed });
        assert_eq!(catalog.since(0).count(), MAX_TOMBSTONES as usize);
        assert!(!catalog.can_diff_from(&FeedVersion { epoch: "e".into(), version: 9 }));
        assert!(catalog.can_diff_from(&FeedVersion { epoch: "e".into(), version: 10 }));
        catalog.forget_until(many - 5);
        assert_eq!(catalog.since(0).count(), 5);
        assert!(!catalog.can_diff_from(&FeedVersion { epoch: "e".into(), version: many - 6 }));
        assert!(catalog.can_diff_from(&FeedVersion { epoch: "e".into(), version: many - 5 }));
    }
}
