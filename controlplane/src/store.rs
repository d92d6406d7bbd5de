//! The store: SQLite behind named, measured transactions. Diesel is used here and nowhere else.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod budgets;
pub(crate) mod certificates;
pub(crate) mod challenges;
pub(crate) mod change;
mod checkpoint;
pub(crate) mod coverage;
mod error;
pub(crate) mod feed;
pub(crate) mod history;
pub(crate) mod invites;
pub(crate) mod issuance;
pub(crate) mod node_authority;
pub(crate) mod nodes;
pub(crate) mod nonces;
mod open;
pub(crate) mod orders;
pub(crate) mod routes;
mod schema;
pub(crate) mod tickets;
pub(crate) mod tombstones;
mod transaction;
pub(crate) mod users;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(crate) use self::error::{OpenError, StoreError};
use self::history::EpochHistory;
pub(crate) use self::transaction::{Tx, WriteTx};
use self::writer::Writer;
use crate::metrics::Metrics;

/// How many transactions read at once.
const READERS: u32 = 4;
/// How long a reader waits for its connection.
const READER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a route is terminated. The sign keeps SQLite from taking the index of the modes, which is nearly all routes.
const IS_TERMINATED: &str = "+routes.mode = 'terminate'";
/// Whether a route has not changed after a version. The sign keeps SQLite from taking the index of the versions, which
/// is nearly all routes here, instead of the owners'.
const UNCHANGED_SINCE: &str = "+routes.version <= ";

type Readers = Pool<ConnectionManager<SqliteConnection>>;

/// The database: one writer, a few readers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store(Arc<StoreInner>);

struct StoreInner {
    history: Arc<EpochHistory>,
    writer: Arc<Writer>,
    readers: Readers,
    /// One permit for each of them, so that who waits for one holds no thread.
    reading: Arc<Semaphore>,
    metrics: Metrics,
    _lock: File,
}

impl Store {
    /// Opens the database at `path`, making it (mode 0600) if there is none, and brings its schema up to date.
    /// Blocks.
    pub(crate) fn open(path: &Path, metrics: Metrics) -> Result<Self, OpenError> {
        let failed = |detail: String| OpenError::Failed { path: path.to_owned(), detail };
        let mut opened = open::open(path)?;
        let begun =
            transaction::write(&mut opened.writer, |tx| Ok((EpochHistory::begin(tx)?, tx.revision()?)));
        let ((history, revision), _) = begun.map_err(|e: StoreError| failed(e.to_string()))?;
        let readers = Pool::builder()
            .max_size(READERS)
            .min_idle(Some(0))
            .connection_timeout(READER_TIMEOUT)
            .test_on_check_out(false)
            .connection_customizer(Box::new(ReadOnly))
            .build(ConnectionManager::new(&opened.path))
            .map_err(|e| failed(e.to_string()))?;
        metrics.revision(revision);
        Ok(Self(Arc::new(StoreInner {
            history: Arc::new(history),
            writer: Arc::new(Writer::new(&opened.path, opened.writer, revision, metrics.clone())),
            readers,
            reading: Arc::new(Semaphore::new(READERS as usize)),
            metrics,
            _lock: opened.lock,
        })))
    }

    /// Its past, up to the epoch that began when it was opened.
    #[must_use]
    pub(crate) fn history(&self) -> &Arc<EpochHistory> {
        &self.0.history
    }

    /// The revision after each commit that made one, beginning with the one now.
    #[must_use]
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.0.writer.changed()
    }

    /// Runs `work` over one consistent state of the database.
    pub(crate) async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let started = Instant::now();
        let permit = timeout(READER_TIMEOUT, Arc::clone(&inner.reading).acquire_owned()).await;
        let busy = || StoreError::Connection("all readers are busy".to_owned());
        let permit = permit.map_err(|_| busy())?.map_err(|_| StoreError::Interrupted)?;
        let run = move || {
            let _permit = permit;
            let mut conn = inner.readers.get().map_err(|e| StoreError::Connection(e.to_string()))?;
            let outcome = transaction::read(&mut conn, work);
            inner.metrics.transaction("read", name, started.elapsed());
            outcome
        };
        spawn_blocking(run).await.map_err(|_| StoreError::Interrupted)?
    }

    /// Runs `work` with nobody else writing, after the writes that were asked for before this call. When this gives
    /// `Ok`, what it wrote is on the disk; else nothing of it is kept. Runs to its end even if the future is dropped.
    pub(crate) fn write<T, E, F>(
        &self,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.0.writer.write(name, work)
    }

    /// Returns what [`write`](Self::write) would return; nothing of it is kept.
    pub(crate) async fn dry_run<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let rolled_back = self.write(name, |tx| Err::<(), _>(RolledBack(work(tx)))).await;
        rolled_back.map_or_else(|RolledBack(outcome)| outcome, |()| Err(StoreError::Interrupted.into()))
    }
}

/// An outcome that a transaction fails with, so that it is rolled back.
struct RolledBack<T, E>(Result<T, E>);

impl<T, E: From<StoreError>> From<StoreError> for RolledBack<T, E> {
    fn from(error: StoreError) -> Self {
        Self(Err(error.into()))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.0.writer.path()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ReadOnly;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for ReadOnly {
    fn on_acquire(&self, conn: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        open::make_reader(conn).map_err(diesel::r2d2::Error::QueryError)
    }
}

#[cfg(test)]
mod tests;
