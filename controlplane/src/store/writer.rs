//! The writer, which commits the waiting write transactions in batches. A batch costs one sync to disk; a transaction
//! that fails does not affect the others in its batch.

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

/// The maximum size of a batch, so that no transaction waits for long behind others.
const MAX_BATCH: usize = 64;

/// The executor of write transactions, in the order of the calls.
pub(super) struct Writer {
    path: String,
    metrics: Metrics,
    changed: watch::Sender<u64>,
    checkpoints: Arc<Checkpointer>,
    queue: Mutex<WriteQueue>,
    /// The connection. Empty after a transaction that could not be rolled back; the next batch opens another.
    conn: Mutex<Option<SqliteConnection>>,
}

#[derive(Default)]
struct WriteQueue {
    waiting: Vec<WriteJob>,
    /// True while a thread runs batches. That thread looks at the queue again before it ends.
    busy: bool,
}

/// A function that runs one transaction, nested in the transaction of its batch.
type WriteJob = Box<dyn FnOnce(&mut SqliteConnection) -> JobResult + Send>;

/// The result of a nested transaction before the batch is committed.
struct JobResult {
    effects: WriteEffects,
    /// Sends the result to the caller, given the outcome of the commit.
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

    /// Returns the path of the database.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the current revision and a notification of each new one.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Runs `work` in a write transaction, after those of earlier calls. On `Ok` the changes are on the disk.
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
            let (outcome, effects) = match transaction::write_nested(conn, work) {
                Ok((value, effects)) => (Ok(value), effects),
                Err(error) => (Err(error), WriteEffects::default()),
            };
            let reply_with = move |committed: Result<(), StoreError>| {
                metrics.transaction("write", name, started.elapsed());
                // If the commit failed, its error replaces even an error of `work`, which may be due to changes of the
                // same batch that are now rolled back. Sending fails if the caller no longer waits.
                drop(sender.send(committed.map_err(E::from).and(outcome)));
            };
            JobResult { effects, reply_with: Box::new(reply_with) }
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

    /// Runs batches until the queue is empty.
    fn run(self: Arc<Self>) {
        let _guard = PanicGuard(Arc::downgrade(&self));
        loop {
            let work: Vec<WriteJob> = {
                let mut queue = self.queue();
                let size = queue.waiting.len().min(MAX_BATCH);
                queue.waiting.drain(..size).collect()
            };
            let replies = self.commit(work);
            self.checkpoints.count_transactions(replies.len());
            let is_over = {
                let mut queue = self.queue();
                queue.busy = !queue.waiting.is_empty();
                !queue.busy
            };
            if is_over {
                // The caller that gets the last reply may close the database: this reference must not keep it open.
                drop(self);
                return replies.into_iter().for_each(|reply| reply());
            }
            replies.into_iter().for_each(|reply| reply());
        }
    }

    /// Commits one batch and returns the replies. If a reply is dropped instead of being called, its caller gets
    /// [`StoreError::Interrupted`].
    fn commit(&self, work: Vec<WriteJob>) -> Vec<Reply> {
        let mut slot = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut conn = match slot.take().map_or_else(|| open::writer(&self.path), Ok) {
            Ok(conn) => conn,
            Err(reason) => {
                error!(reason, "cannot reopen the database");
                return Vec::new();
            }
        };
        let mut results = Vec::with_capacity(work.len());
        let committed = conn.immediate_transaction(|conn| {
            for work in work {
                results.push(work(conn));
                if !is_in_transaction(conn) {
                    return Err(Error::NotInTransaction);
                }
            }
            Ok(())
        });
        let is_broken = AnsiTransactionManager::is_broken_transaction_manager(&mut conn);
        *slot = (!is_broken).then_some(conn);
        if committed.is_ok() {
            self.apply_effects(&mut results);
        }
        let reason = committed.err().map(|error| match error {
            Error::NotInTransaction => "SQLite rolled it back; is the disk full?".to_owned(),
            other => other.to_string(),
        });
        let outcome = || reason.clone().map_or(Ok(()), |reason| Err(StoreError::NotCommitted(reason)));
        results
            .into_iter()
            .map(|JobResult { reply_with, .. }| -> Reply {
                let outcome = outcome();
                Box::new(move || reply_with(outcome))
            })
            .collect()
    }

    /// Applies the effects of the committed transactions, before the replies are sent.
    fn apply_effects(&self, results: &mut [JobResult]) {
        results.iter_mut().flat_map(|result| result.effects.on_commit.drain(..)).for_each(|work| work());
        if let Some(revision) = results.iter().filter_map(|result| result.effects.new_revision).max() {
            self.changed.send_replace(revision);
            self.metrics.revision(revision);
        }
    }

    fn queue(&self) -> MutexGuard<'_, WriteQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if the batch's transaction is still open. After some errors SQLite rolls it back by itself. Each
/// further piece of work would then be committed on its own although its caller gets an error.
fn is_in_transaction(conn: &mut SqliteConnection) -> bool {
    let depth = AnsiTransactionManager::transaction_manager_status_mut(conn).transaction_depth();
    depth.is_ok_and(|depth| depth.is_some_and(|depth| depth.get() == 1))
}

/// A guard that lets another thread run batches if this one panics. The reference is weak because the caller that gets
/// the last reply may close the database.
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
