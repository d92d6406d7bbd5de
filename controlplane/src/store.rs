//! The store: an SQLite database behind named and measured transactions. No other module uses Diesel.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod budgets;
pub(crate) mod certificate_counts;
pub(crate) mod certificates;
pub(crate) mod challenges;
pub(crate) mod change;
mod checkpoint;
pub(crate) mod claims;
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
pub(crate) mod tenure;
pub(crate) mod tickets;
pub(crate) mod tombstones;
pub(crate) mod traffic;
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

/// The maximum number of concurrent read transactions.
const READERS: u32 = 4;
/// The time limit for a reader to get its connection.
const READER_TIMEOUT: Duration = Duration::from_secs(5);

/// A condition for terminated routes that hold their hosts. The unary plus keeps SQLite from using the indexes of modes
/// and of held hosts, which nearly all routes match.
const IS_SERVED: &str = "+routes.mode = 'terminate' AND +routes.held = 1";
/// A condition for routes that have not changed since a version. The unary plus keeps SQLite from using the index of
/// versions, which nearly all routes match here, instead of the index of owners.
const UNCHANGED_SINCE: &str = "+routes.version <= ";

type Readers = Pool<ConnectionManager<SqliteConnection>>;

/// The database, with one writer and a few readers. Clones share it.
#[derive(Clone)]
pub(crate) struct Store(Arc<StoreInner>);

struct StoreInner {
    history: Arc<EpochHistory>,
    writer: Arc<Writer>,
    readers: Readers,
    /// One permit per reader. A task waits for a permit, not for a connection, so that it occupies no thread.
    reader_permits: Arc<Semaphore>,
    metrics: Metrics,
    _lock: File,
}

impl Store {
    /// Opens the database at `path`, creates it (mode 0600) if it does not exist, and migrates its schema. Blocks.
    pub(crate) fn open(path: &Path, metrics: Metrics) -> Result<Self, OpenError> {
        let failed = |detail: String| OpenError::Failed { path: path.to_owned(), detail };
        let mut database = open::open(path)?;
        let begin =
            transaction::write(&mut database.writer, |tx| Ok((EpochHistory::begin(tx)?, tx.revision()?)));
        let ((history, revision), _) = begin.map_err(|e: StoreError| failed(e.to_string()))?;
        let readers = Pool::builder()
            .max_size(READERS)
            .min_idle(Some(0))
            .connection_timeout(READER_TIMEOUT)
            .test_on_check_out(false)
            .connection_customizer(Box::new(ReadOnly))
            .build(ConnectionManager::new(&database.path))
            .map_err(|e| failed(e.to_string()))?;
        metrics.revision(revision);
        Ok(Self(Arc::new(StoreInner {
            history: Arc::new(history),
            writer: Arc::new(Writer::new(&database.path, database.writer, revision, metrics.clone())),
            readers,
            reader_permits: Arc::new(Semaphore::new(READERS as usize)),
            metrics,
            _lock: database.lock,
        })))
    }

    /// Returns the history of the database, which ends with the epoch that began when it was database.
    #[must_use]
    pub(crate) fn history(&self) -> &Arc<EpochHistory> {
        &self.0.history
    }

    /// Returns the current revision and a notification of each new one.
    #[must_use]
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.0.writer.changed()
    }

    /// Runs `work` in a read transaction, which sees one consistent state of the database.
    pub(crate) async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let started = Instant::now();
        let permit = timeout(READER_TIMEOUT, Arc::clone(&inner.reader_permits).acquire_owned()).await;
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

    /// Runs `work` in a write transaction, after the writes that were requested before. On `Ok` the changes are on the
    /// disk; on an error none of them is kept. The transaction completes even if the future is dropped.
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

    /// Runs `work` as [`write`](Self::write) does and returns its result, but keeps none of the changes.
    pub(crate) async fn dry_run<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let rolled_back = self.write(name, |tx| Err::<(), _>(DryRunResult(work(tx)))).await;
        rolled_back.map_or_else(|DryRunResult(outcome)| outcome, |()| Err(StoreError::Interrupted.into()))
    }
}

/// The result of a transaction, as an error that rolls it back.
struct DryRunResult<T, E>(Result<T, E>);

impl<T, E: From<StoreError>> From<StoreError> for DryRunResult<T, E> {
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
