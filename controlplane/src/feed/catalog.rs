//! Everything the nodes shall hold, once in memory for all of them, ordered by the version of its last change.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use webgateway_proto::feed::{FeedVersion, ResourceName};

use crate::store::change::{Change, ChangeSet};
use crate::store::history::{EpochHistory, NodePosition};

/// How many removals are remembered; a node that missed older ones gets everything anew.
pub(crate) const MAX_TOMBSTONES: u32 = 100_000;

/// What the nodes shall hold at one version, and what was removed on the way there.
///
/// Cloning is cheap and the clone never changes: the tables are persistent maps that share their structure.
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
    /// An empty catalog of the database with this past. A difference from before `floor` cannot be told.
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

    /// The version it stands at.
    #[must_use]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What a node that applied all of it stands at.
    #[must_use]
    pub(crate) fn held(&self) -> FeedVersion {
        FeedVersion { epoch: self.history.epoch().to_owned(), version: self.version }
    }

    /// The version at which a resource last changed or was removed, if it is remembered.
    #[must_use]
    pub(crate) fn version_of(&self, name: &ResourceName) -> Option<u64> {
        self.versions.get(name).copied()
    }

    /// What last became of a resource, if it is remembered.
    #[must_use]
    pub(crate) fn change_of(&self, name: &ResourceName) -> Option<&Change> {
        let version = self.version_of(name)?;
        self.log.get(&(version, name.clone()))
    }

    /// Whether a node that stands at `held` can be told the difference alone.
    #[must_use]
    pub(crate) fn knows(&self, held: &FeedVersion) -> bool {
        held.version >= self.floor && self.position(held) == NodePosition::Known
    }

    /// Where in the database's past a node stands that holds this.
    #[must_use]
    pub(crate) fn position(&self, held: &FeedVersion) -> NodePosition {
        self.history.locate(held, self.version)
    }

    /// What changed after `version`, oldest first; costs what changed, not what there is.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = (&ResourceName, &Change)> {
        // `Settings` is the least of all names, so that this is the first key after `version`.
        let first = version.checked_add(1).map(|next| (next, ResourceName::Settings));
        let range = first.map(|first| self.log.range((Bound::Included(first), Bound::Unbounded)));
        range.into_iter().flatten().map(|((_, name), change)| (name, change))
    }

    /// Moves on by what the store says has changed.
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

    /// Forgets the removals up to `floor`: who stands before it is told everything anew.
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
    fn tells_what_changed_since_a_version() {
        let mut catalog = Catalog::new(history("e"), 0);
        catalog.apply(ChangeSet { version: 2, changed: vec![put(1, 1), put(2, 2)] });
        assert_eq!(catalog.since(0).count(), 2);
        assert_eq!(catalog.since(1).map(|(name, _)| name.clone()).collect::<Vec<_>>(), [route_name(2)]);
        let before = catalog.clone();
        catalog.apply(ChangeSet { version: 4, changed: vec![put(1, 3), remove(2, 4)] });
        assert_eq!(catalog.since(2).count(), 2);
        assert_eq!(catalog.since(3).map(|(name, _)| name.clone()).collect::<Vec<_>>(), [route_name(2)]);
        assert_eq!(catalog.since(4).count() + catalog.since(u64::MAX).count(), 0);
        assert_eq!((before.version(), before.since(1).count()), (2, 1), "a clone never changes");
    }

    #[test]
    fn a_difference_is_told_only_from_a_version_of_its_own() {
        let mut catalog = Catalog::new(history("e"), 3);
        catalog.apply(ChangeSet { version: 5, changed: vec![] });
        let held = |epoch: &str, version| FeedVersion { epoch: epoch.into(), version };
        assert!(catalog.knows(&held("e", 3)) && catalog.knows(&held("e", 5)));
        assert!(!catalog.knows(&held("e", 2)), "before the floor");
        assert!(!catalog.knows(&held("e", 6)), "from the future");
        assert!(!catalog.knows(&held("f", 5)), "of another database");
    }

    #[test]
    fn forgets_the_oldest_removals_and_says_so() {
        let mut catalog = Catalog::new(history("e"), 0);
        let many = u64::from(MAX_TOMBSTONES) + 10;
        let changed = (1..=many).map(|i| remove(i, i)).collect();
        catalog.apply(ChangeSet { version: many, changed });
        assert_eq!(catalog.since(0).count(), MAX_TOMBSTONES as usize);
        assert!(!catalog.knows(&FeedVersion { epoch: "e".into(), version: 9 }));
        assert!(catalog.knows(&FeedVersion { epoch: "e".into(), version: 10 }));
        catalog.forget_until(many - 5);
        assert_eq!(catalog.since(0).count(), 5);
        assert!(!catalog.knows(&FeedVersion { epoch: "e".into(), version: many - 6 }));
        assert!(catalog.knows(&FeedVersion { epoch: "e".into(), version: many - 5 }));
    }
}
