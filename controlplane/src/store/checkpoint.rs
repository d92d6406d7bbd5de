//! Checkpoints, which move changes from the write-ahead log into the database file. Transactions do not wait for them.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use tokio::task::spawn_blocking;
use tracing::warn;

/// The number of transactions between two checkpoints.
const TRANSACTIONS_PER_CHECKPOINT: usize = 100;
/// The size of the log, in pages of 4 KiB, above which a checkpoint restarts it. A restart briefly blocks the writer.
const MAX_LOG_PAGES: i32 = 16_384;
/// The time limit for a restart to wait for readers and the writer. After it, the next checkpoint tries again.
const BUSY_TIMEOUT_PRAGMA: &str = "PRAGMA busy_timeout = 50";

/// A task that makes checkpoints from time to time.
pub(super) struct Checkpointer {
    path: String,
    state: Mutex<CheckpointState>,
}

#[derive(Default)]
struct CheckpointState {
    /// The number of transactions since the last checkpoint.
    transactions: usize,
    running: bool,
    conn: Option<SqliteConnection>,
}

/// The result row of `PRAGMA wal_checkpoint`.
#[derive(QueryableByName)]
struct WalStatus {
    #[diesel(sql_type = Integer)]
    log: i32,
}

impl Checkpointer {
    pub(super) fn new(path: &str) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), state: Mutex::default() })
    }

    /// Counts transactions, and starts a checkpoint if one is due. Called outside of any transaction, on a thread of
    /// the runtime.
    pub(super) fn count_transactions(self: &Arc<Self>, count: usize) {
        let is_due = {
            let mut state = self.state();
            state.transactions += count;
            state.transactions >= TRANSACTIONS_PER_CHECKPOINT && !mem::replace(&mut state.running, true)
        };
        if is_due {
            let this = Arc::clone(self);
            drop(spawn_blocking(move || this.run()));
        }
    }

    fn run(&self) {
        let _guard = RunningGuard(self);
        let conn = {
            let mut state = self.state();
            state.transactions = 0;
            state.conn.take()
        };
        let outcome = conn.map_or_else(|| self.open(), Ok).and_then(|mut conn| {
            checkpoint(&mut conn).map_err(|error| error.to_string())?;
            Ok(conn)
        });
        let conn = outcome.inspect_err(|reason| warn!(reason, "checkpoint failed")).ok();
        self.state().conn = conn;
    }

    fn open(&self) -> Result<SqliteConnection, String> {
        let mut conn = SqliteConnection::establish(&self.path).map_err(|error| error.to_string())?;
        // With FULL, SQLite syncs the log before it writes the database, and the database before it restarts the log.
        let pragmas = format!("{BUSY_TIMEOUT_PRAGMA}; PRAGMA synchronous = FULL");
        conn.batch_execute(&pragmas).map_err(|error| error.to_string())?;
        Ok(conn)
    }

    fn state(&self) -> MutexGuard<'_, CheckpointState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard that permits the next checkpoint when this one ends, even by a panic.
struct RunningGuard<'c>(&'c Checkpointer);

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.0.state().running = false;
    }
}

fn checkpoint(conn: &mut SqliteConnection) -> QueryResult<()> {
    // A passive checkpoint waits for no one.
    let WalStatus { log } = diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result(conn)?;
    if log > MAX_LOG_PAGES {
        diesel::sql_query("PRAGMA wal_checkpoint(RESTART)").get_result::<WalStatus>(conn)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use prometheus_client::registry::Registry;
    use tempfile::TempDir;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::schema::meta;
    use crate::store::{Store, StoreError, Tx, WriteTx};

    /// Readers at every moment keep SQLite from restarting the log by itself.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_stays_bounded_while_readers_are_always_active() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.db");
        let store = Store::open(&path, Metrics::register(&mut Registry::default())).unwrap();
        let log = path.with_file_name("a.db-wal");
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (store, stop) = (store.clone(), Arc::clone(&stop));
                let read = |tx: &mut Tx<'_>| {
                    tx.revision()?;
                    std::thread::sleep(Duration::from_millis(3));
                    Ok::<_, StoreError>(())
                };
                async move {
                    while !stop.load(Ordering::Relaxed) {
                        store.read("test", read).await.unwrap();
                    }
                }
            })
            .collect();
        let writes = async {
            // 400 MB in total.
            for n in 0..1000 {
                let work = move |tx: &mut WriteTx<'_>| {
                    let value = (meta::key.eq(format!("{}", n % 10)), meta::value.eq("x".repeat(400_000)));
                    diesel::replace_into(meta::table).values(value).execute(tx.conn)?;
                    tx.revise()
                };
                store.write::<_, StoreError, _>("test", work).await.unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(writes, futures_util::future::join_all(readers));
        let size = std::fs::metadata(&log).unwrap().len();
        assert!(size < 200_000_000, "the log has {size} bytes");
    }
}
