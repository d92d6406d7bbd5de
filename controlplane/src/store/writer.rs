//! The one writer. What waits while it writes is written together next, on the disk at the price of one, and each
//! piece of work fails for itself.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::result::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tracing::error;

use super::checkpoint::Checkpointer;
use super::transaction::WriteEffects;
use super::{StoreError, WriteTx, open, transaction};
use crate::metrics::Metrics;

/// How much is written together at most, so that nobody waits for long behind others.
const MAX_BATCH: usize = 64;

/// Writes, in the order in which it was asked to.
pub(super) struct Writer {
    path: String,
    metrics: Metrics,
    changed: watch::Sender<u64>,
    checkpoints: Arc<Checkpointer>,
    queue: Mutex<Queue>,
    /// Empty after a transaction that could not be rolled back; the next one opens it anew.
    conn: Mutex<Option<SqliteConnection>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<WriteJob>,
    /// Whether somebody is writing, and will look here again.
    busy: bool,
}

/// JobResult inside a transaction of many.
type WriteJob = Box<dyn FnOnce(&mut SqliteConnection) -> JobResult + Send>;

/// What was done, before it is on the disk.
struct JobResult {
    written: WriteEffects,
    /// Tells whoever waits whether it is on the disk.
    reply_with: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

type Reply = Box<dyn FnOnce() + Send>;

impl Writer {
    pub(super) fn new(path: &str, conn: SqliteConnection, revision: u64, metrics: Metrics) -> Self {
        Self {
            path: path.to_owned(),
            metrics,
            changed: watch::Sender::new(revision),
            checkpoints: Checkpointer::new(path),
            queue: Mutex::default(),
            conn: Mutex::new(Some(conn)),
        }
    }

    /// The database.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The revision after each commit that made one, beginning with the one now.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Runs `work` alone, after what was asked for before; when this gives `Ok`, what it wrote is on the disk.
    pub(super) fn write<T, E, F>(
        self: &Arc<Self>,
        name: &'static str,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let metrics = self.metrics.clone();
        let run = move |conn: &mut SqliteConnection| {
            let started = Instant::now();
            let (outcome, written) = match transaction::write_nested(conn, work) {
                Ok((value, written)) => (Ok(value), written),
                Err(error) => (Err(error), WriteEffects::default()),
            };
            let reply_with = move |committed: Result<(), StoreError>| {
                metrics.transaction("write", name, started.elapsed());
                // A refusal too may rest on what was not committed. Whoever asked may be gone: it was done all the same.
                drop(sender.send(committed.map_err(E::from).and(outcome)));
            };
            JobResult { written, reply_with: Box::new(reply_with) }
        };
        let is_idle = {
            let mut queue = self.queue();
            queue.waiting.push(Box::new(run));
            !mem::replace(&mut queue.busy, true)
        };
        if is_idle {
            let writer = Arc::clone(self);
            drop(spawn_blocking(move || writer.run()));
        }
        async { receiver.await.map_err(|_| StoreError::Interrupted)? }
    }

    /// Writes until nobody waits.
    fn run(self: Arc<Self>) {
        let _panicked = PanicGuard(Arc::downgrade(&self));
        loop {
            let work: Vec<WriteJob> = {
                let mut queue = self.queue();
                let most = queue.waiting.len().min(MAX_BATCH);
                queue.waiting.drain(..most).collect()
            };
            let replies = self.commit(work);
            self.checkpoints.written(replies.len());
            let is_over = {
                let mut queue = self.queue();
                queue.busy = !queue.waiting.is_empty();
                !queue.busy
            };
            if is_over {
                // Whoever got the last reply may close the database.
                drop(self);
                return replies.into_iter().for_each(|reply| reply());
            }
            replies.into_iter().for_each(|reply| reply());
        }
    }

    /// One transaction; gives what is to be said of it. What is dropped unanswered counts as interrupted.
    fn commit(&self, work: Vec<WriteJob>) -> Vec<Reply> {
        let mut slot = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut conn = match slot.take().map_or_else(|| open::writer(&self.path), Ok) {
            Ok(conn) => conn,
            Err(reason) => {
                error!(reason, "the database cannot be opened again");
                return Vec::new();
            }
        };
        let mut done = Vec::with_capacity(work.len());
        let committed = conn.immediate_transaction(|conn| {
            for work in work {
                done.push(work(conn));
                if !is_in_transaction(conn) {
                    return Err(Error::NotInTransaction);
                }
            }
            Ok(())
        });
        let is_broken = AnsiTransactionManager::is_broken_transaction_manager(&mut conn);
        *slot = (!is_broken).then_some(conn);
        if committed.is_ok() {
            self.committed(&mut done);
        }
        let reason = committed.err().map(|error| match error {
            Error::NotInTransaction => "SQLite undid it; is the disk full?".to_owned(),
            other => other.to_string(),
        });
        let result = || reason.clone().map_or(Ok(()), |reason| Err(StoreError::NotCommitted(reason)));
        done.into_iter()
            .map(|JobResult { reply_with, .. }| -> Reply {
                let result = result();
                Box::new(move || reply_with(result))
            })
            .collect()
    }

    /// Tells of what is on the disk now, before it is answered.
    fn committed(&self, done: &mut [JobResult]) {
        done.iter_mut().flat_map(|done| done.written.on_commit.drain(..)).for_each(|work| work());
        if let Some(revision) = done.iter().filter_map(|done| done.written.revised).max() {
            self.changed.send_replace(revision);
            self.metrics.revision(revision);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the transaction of many is still open. After some errors SQLite rolls it back by itself; each piece of work
/// would be a transaction of its own then, and done, though the one who asked is result that it is not.
fn is_in_transaction(conn: &mut SqliteConnection) -> bool {
    let depth = AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth();
    depth.is_ok_and(|depth| depth.is_some_and(|depth| depth.get() == 1))
}

/// Lets the next one write if this one panics. Weak: whoever got the last reply may close the database.
struct PanicGuard(Weak<Writer>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if let Some(writer) = self.0.upgrade().filter(|_| std::thread::panicking()) {
            writer.queue().busy = false;
        }
    }
}

#[cfg(test)]
mod tests;
