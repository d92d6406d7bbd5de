//! The history of the database in epochs, which tells the feed if a node has received changes that were lost since.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use webgateway_proto::feed::FeedVersion;

use super::schema::meta;
use super::{StoreError, WriteTx};

const EPOCHS_KEY: &str = "feed_epochs";
/// The key used by the first builds, which stored only one epoch.
const LEGACY_EPOCH_KEY: &str = "epoch";
/// The maximum number of recorded epochs. A node that was away for more starts gets a full snapshot.
const MAX_EPOCHS: usize = 256;

/// The epochs of the database. Each start of the controlplane begins an epoch with a random id at the current revision
/// and thereby ends the previous epoch.
///
/// A version is meaningful only together with its epoch. A database that is restored from a backup continues at the
/// backup's revision in a new epoch. A node that received later versions is then either ahead of the end of its epoch
/// or in an epoch that is not recorded here. It gets a full snapshot, even if the restored database has reached or
/// reused those version numbers since. A node at a version from before the backup, or one that only saw the
/// controlplane restart, gets the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpochHistory(Vec<Epoch>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    id: String,
    from: u64,
}

/// The position of a node relative to the history of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodePosition {
    /// The node is at a point of this history.
    Known,
    /// The node's epoch is recorded, but its version is later than the end of that epoch: the database was restored
    /// from an earlier backup.
    Ahead {
        /// The last version of the epoch in this history.
        last: u64,
    },
    /// The node's epoch is not recorded.
    Unknown,
}

impl EpochHistory {
    /// Reads the history and begins a new epoch at the current revision.
    pub(super) fn begin(tx: &mut WriteTx<'_>) -> Result<Self, StoreError> {
        let mut history = Self::read(tx)?;
        history.0.push(Epoch { id: Uuid::new_v4().to_string(), from: tx.revision()? });
        let surplus = history.0.len().saturating_sub(MAX_EPOCHS);
        history.0.drain(..surplus);
        let text =
            serde_json::to_string(&history.0).map_err(|e| StoreError::damaged("meta", EPOCHS_KEY, e))?;
        let row = (meta::key.eq(EPOCHS_KEY), meta::value.eq(text));
        diesel::replace_into(meta::table).values(row).execute(tx.conn)?;
        Ok(history)
    }

    fn read(tx: &mut WriteTx<'_>) -> Result<Self, StoreError> {
        let mut value = |key: &str| -> Result<Option<String>, StoreError> {
            Ok(meta::table.find(key).select(meta::value).first(tx.conn).optional()?)
        };
        if let Some(text) = value(EPOCHS_KEY)? {
            return serde_json::from_str(&text)
                .map(Self)
                .map_err(|e| StoreError::damaged("meta", EPOCHS_KEY, e));
        }
        Ok(Self(value(LEGACY_EPOCH_KEY)?.map(|id| Epoch { id, from: 0 }).into_iter().collect()))
    }

    /// Returns the id of the current epoch.
    #[must_use]
    pub(crate) fn epoch(&self) -> &str {
        self.0.last().map_or("", |epoch| &epoch.id)
    }

    /// Returns the position of a node that last received `held`; `revision` is that of the database.
    #[must_use]
    pub(crate) fn locate(&self, held: &FeedVersion, revision: u64) -> NodePosition {
        let Some(at) = self.0.iter().position(|epoch| epoch.id == held.epoch) else {
            return NodePosition::Unknown;
        };
        let last = self.0.get(at + 1).map_or(revision, |next| next.from);
        if held.version <= last { NodePosition::Known } else { NodePosition::Ahead { last } }
    }
}

impl From<&str> for EpochHistory {
    /// Creates a history with one epoch of this id, which begins at revision 0.
    fn from(id: &str) -> Self {
        Self(vec![Epoch { id: id.to_owned(), from: 0 }])
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prometheus_client::registry::Registry;
    use tempfile::TempDir;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::Store;

    fn open(path: &Path) -> Store {
        Store::open(path, Metrics::register(&mut Registry::default())).unwrap()
    }

    async fn revise(store: &Store) -> FeedVersion {
        let version = store.write::<_, StoreError, _>("test", |tx| tx.revise()).await.unwrap();
        FeedVersion { epoch: store.history().epoch().to_owned(), version }
    }

    fn position(store: &Store, held: &FeedVersion) -> NodePosition {
        store.history().locate(held, *store.changed().borrow())
    }

    #[tokio::test]
    async fn a_restart_continues_the_history_and_a_restore_does_not() {
        let dir = TempDir::new().unwrap();
        let (path, backup) = (dir.path().join("a.db"), dir.path().join("b.db"));
        let store = open(&path);
        let first = revise(&store).await;
        drop(store);
        std::fs::copy(&path, &backup).unwrap();

        let store = open(&path);
        assert_ne!(store.history().epoch(), first.epoch, "each start is an epoch");
        assert_eq!(position(&store, &first), NodePosition::Known);
        let lost = revise(&store).await;
        assert_eq!(position(&store, &lost), NodePosition::Known);
        drop(store);

        std::fs::copy(&backup, &path).unwrap();
        let store = open(&path);
        assert_eq!(position(&store, &first), NodePosition::Known, "before the backup");
        assert_eq!(position(&store, &lost), NodePosition::Unknown);
        let again = revise(&store).await;
        assert_eq!(again.version, lost.version, "the same version of another change");
        assert_eq!(position(&store, &lost), NodePosition::Unknown);
        assert_eq!(position(&store, &again), NodePosition::Known);
    }

    #[tokio::test]
    async fn a_version_after_the_backup_is_ahead_of_its_epoch() {
        let dir = TempDir::new().unwrap();
        let (path, backup) = (dir.path().join("a.db"), dir.path().join("b.db"));
        let store = open(&path);
        let backed_up = revise(&store).await;
        std::fs::copy(&path, &backup).unwrap();
        std::fs::copy(dir.path().join("a.db-wal"), dir.path().join("b.db-wal")).unwrap();
        let lost = revise(&store).await;
        drop(store);
        let store = open(&backup);
        assert_eq!(position(&store, &backed_up), NodePosition::Known);
        assert_eq!(position(&store, &lost), NodePosition::Ahead { last: backed_up.version });
        while revise(&store).await.version <= lost.version {}
        assert_eq!(position(&store, &lost), NodePosition::Ahead { last: backed_up.version }, "for ever");
    }

    #[tokio::test]
    async fn legacy_databases_are_read_and_old_epochs_are_dropped() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir.path().join("a.db"));
        let begun = store
            .write::<_, StoreError, _>("test", |tx| {
                diesel::delete(meta::table.find(EPOCHS_KEY)).execute(tx.conn)?;
                let old = (meta::key.eq(LEGACY_EPOCH_KEY), meta::value.eq("old"));
                diesel::replace_into(meta::table).values(old).execute(tx.conn)?;
                let first = EpochHistory::begin(tx)?;
                for _ in 0..MAX_EPOCHS {
                    EpochHistory::begin(tx)?;
                }
                Ok((first, EpochHistory::begin(tx)?))
            })
            .await
            .unwrap();
        let old = FeedVersion { epoch: "old".to_owned(), version: 1 };
        assert_eq!(begun.0.locate(&old, 1), NodePosition::Known);
        assert_eq!(begun.1.locate(&old, 1), NodePosition::Unknown);
        assert_eq!(begun.1.0.len(), MAX_EPOCHS);
    }
}
