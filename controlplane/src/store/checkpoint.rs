//! Carries what was written from the log into the database's file, beside the writer: nobody's change waits for it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use tokio::task::spawn_blocking;
use tracing::warn;

/// After how many pieces of work it is done.
const WORK_PER_CHECKPOINT: usize = 100;
/// A log of so many pages, each 4 KiB, is begun anew, for which the writer and the readers stand back a moment.
const MAX_LOG_PAGES: i32 = 16_384;
/// How long that moment is waited for; else next time.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 50";

/// Does it every so often.
pub(super) struct Checkpointer {
    path: String,
    state: Mutex<CheckpointState>,
}

#[derive(Default)]
struct CheckpointState {
    /// What was written since the last one.
    written: usize,
    running: bool,
    conn: Option<SqliteConnection>,
}

/// What `PRAGMA wal_checkpoint` says.
#[derive(QueryableByName)]
struct WalStatus {
    #[diesel(sql_type = Integer)]
    log: i32,
}

impl Checkpointer {
    pub(super) fn new(path: &str) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), state: Mutex::default() })
    }

    /// So much more was written. Called outside of any transaction, on a thread of the runtime.
    pub(super) fn written(self: &Arc<Self>, more: usize) {
        let is_due = {
            let mut state = self.state();
            state.written += more;
            state.written >= WORK_PER_CHECKPOINT && !mem::replace(&mut state.running, true)
        };
        if is_due {
            let this = Arc::clone(self);
            drop(spawn_blocking(move || this.run()));
        }
    }

    fn run(&self) {
        let _over = RunningGuard(self);
        let conn = {
            let mut state = self.state();
            state.written = 0;
            state.conn.take()
        };
        let done = conn.map_or_else(|| self.open(), Ok).and_then(|mut conn| {
            checkpoint(&mut conn).map_err(|error| error.to_string())?;
            Ok(conn)
        });
        let conn = done.inspect_err(|reason| warn!(reason, "the log is not carried into the database")).ok();
        self.state().conn = conn;
    }

    fn open(&self) -> Result<SqliteConnection, String> {
        let mut conn = SqliteConnection::establish(&self.path).map_err(|error| error.to_string())?;
        // The log is synced before the database is written, the database before the log is begun anew.
        let pragmas = format!("{BUSY_TIMEOUT}; PRAGMA synchronous = FULL");
        conn.batch_execute(&pragmas).map_err(|error| error.to_string())?;
        Ok(conn)
    }

    fn state(&self) -> MutexGuard<'_, CheckpointState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets there be another one, also if this one panicked.
struct RunningGuard<'c>(&'c Checkpointer);

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.0.state().running = false;
    }
}

fn checkpoint(conn: &mut SqliteConnection) -> QueryResult<()> {
    // Waits for nobody.
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

    /// With somebody reading at any moment, which keeps SQLite from beginning the log anew by itself.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_does_not_grow_without_end_while_somebody_always_reads() {
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
            // 400 MB altogether.
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
