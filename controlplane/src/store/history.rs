//! The past of this database, so that a node which stands in another one is not told a difference from it.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use webgateway_proto::feed::Held;

use super::schema::meta;
use super::{StoreError, WriteTx};

const EPOCHS_KEY: &str = "feed_epochs";
/// What databases of the first builds have instead.
const LEGACY_EPOCH_KEY: &str = "epoch";
/// How many starts are remembered: a node that was away for more gets everything anew.
const MAX_EPOCHS: usize = 256;

/// The epochs of this database: each start of the controlplane begins one, of a random name, at the revision it finds,
/// and each ends where the next began.
///
/// A version means something only together with the epoch it was handed out in. A database that is restored from a
/// backup goes on from the backup's revision in a new epoch. A node that learned more in the lost one then stands
/// beyond the end of that epoch, one that came to know a lost epoch names one that is not on the list; both get
/// everything anew, however far the restored database has moved on since and whether or not it has used the same
/// numbers again. A node that stands before the point of return, or whose controlplane only restarted, is told the
/// difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpochHistory(Vec<Epoch>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    id: String,
    from: u64,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodePosition {
    /// At a point this database went through.
    Known,
    /// In an epoch of this database, but at a version that it never had: it was restored from before that.
    Ahead {
        /// The last version of that epoch here.
        last: u64,
    },
    /// In an epoch that is not of this database, or long ago.
    Unknown,
}

impl EpochHistory {
    /// Reads it and begins a new epoch at the revision of now.
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

    /// The epoch of now.
    #[must_use]
    pub(crate) fn epoch(&self) -> &str {
        self.0.last().map_or("", |epoch| &epoch.id)
    }

    /// Where a node stands that holds this, if the database is at `revision`.
    #[must_use]
    pub(crate) fn locate(&self, held: &Held, revision: u64) -> NodePosition {
        let Some(at) = self.0.iter().position(|epoch| epoch.id == held.epoch) else {
            return NodePosition::Unknown;
        };
        let last = self.0.get(at + 1).map_or(revision, |next| next.from);
        if held.version <= last { NodePosition::Known } else { NodePosition::Ahead { last } }
    }
}

impl From<&str> for EpochHistory {
    /// One that has an epoch of this name alone, from the beginning.
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

    async fn revise(store: &Store) -> Held {
        let version = store.write::<_, StoreError, _>("test", |tx| tx.revise()).await.unwrap();
        Held { epoch: store.history().epoch().to_owned(), version }
    }

    fn position(store: &Store, held: &Held) -> NodePosition {
        store.history().locate(held, *store.changed().borrow())
    }

    #[tokio::test]
    async fn restarts_are_its_past_and_a_restore_is_not() {
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
        assert_eq!(position(&store, &first), NodePosition::Known, "before the point of return");
        assert_eq!(position(&store, &lost), NodePosition::Unknown);
        let again = revise(&store).await;
        assert_eq!(again.version, lost.version, "the same number for something else");
        assert_eq!(position(&store, &lost), NodePosition::Unknown);
        assert_eq!(position(&store, &again), NodePosition::Known);
    }

    #[tokio::test]
    async fn a_version_after_the_backup_of_its_own_epoch_is_beyond() {
        let dir = TempDir::new().unwrap();
        let (path, backup) = (dir.path().join("a.db"), dir.path().join("b.db"));
        let store = open(&path);
        let kept = revise(&store).await;
        std::fs::copy(&path, &backup).unwrap();
        std::fs::copy(dir.path().join("a.db-wal"), dir.path().join("b.db-wal")).unwrap();
        let lost = revise(&store).await;
        drop(store);
        let store = open(&backup);
        assert_eq!(position(&store, &kept), NodePosition::Known);
        assert_eq!(position(&store, &lost), NodePosition::Ahead { last: kept.version });
        while revise(&store).await.version <= lost.version {}
        assert_eq!(position(&store, &lost), NodePosition::Ahead { last: kept.version }, "for ever");
    }

    #[tokio::test]
    async fn old_databases_go_on_and_long_ones_forget() {
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
        let old = Held { epoch: "old".to_owned(), version: 1 };
        assert_eq!(begun.0.locate(&old, 1), NodePosition::Known);
        assert_eq!(begun.1.locate(&old, 1), NodePosition::Unknown);
        assert_eq!(begun.1.0.len(), MAX_EPOCHS);
    }
}
