//! The cache: the last snapshot on disk, encrypted, from which a node starts without a controlplane.

mod cache_dir;
mod load;
mod page;
mod sealed;
mod writer;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use rustls::server::ProducesTickets;
use tokio::sync::oneshot;
use tracing::{error, info};
use webgateway_seal::{SecretKey, SecretKeyError};

use self::cache_dir::CacheDir;
pub(crate) use self::load::RestoredCache;
use self::page::Page;
use self::writer::{CacheWriter, WriteJob, WriteMode};
use super::apply::CompleteBatch;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// The file with the encryption key of the cache, in `state_dir`.
const KEY_FILE: &str = "cache.key";
/// The maximum size of a batch in the journal, in bytes; a larger one is stored by a new snapshot.
const MAX_BATCH: usize = 16 * 1024 * 1024;

/// A handle to the thread that writes the cache.
pub(crate) struct Cache(Sender<WriteJob>);

/// A cache that has been opened and read.
pub(crate) struct OpenCache {
    /// The content of the cache; `None` if it is empty or cannot be used.
    pub restored: Option<RestoredCache>,
    /// The handle through which batches are stored.
    pub cache: Cache,
    /// The body of the writer's thread; blocks until the handle is dropped.
    pub write: Box<dyn FnOnce() -> Result<(), Infallible> + Send>,
}

/// A batch in the form in which the cache stores it.
pub(crate) struct CacheRecord {
    mode: WriteMode,
    at: i64,
}

/// Opens the cache in `folder` and reads it at `now` (Unix seconds), with the key in `state`, which is generated at the
/// first start. A cache that cannot be used is logged and ignored. Blocks.
pub(crate) fn open(
    folder: &Path,
    state: &Path,
    tickets: &Arc<dyn ProducesTickets>,
    metrics: Metrics,
    now: i64,
) -> Result<OpenCache, SecretKeyError> {
    // If the folder cannot be created, loading the key fails with a better error.
    let _ = CacheDir::new(state).create();
    let key = SecretKey::load_or_create(&state.join(KEY_FILE), "state_dir")?;
    let folder = CacheDir::new(folder);
    let restored = match load::load(&folder, &key, tickets, now) {
        Ok(restored) => restored,
        Err(error) => {
            error!(%error, "cache cannot be used, starting without it");
            None
        }
    };
    if restored.is_none() {
        info!(folder = %folder.path().display(), "cache is empty");
    }
    let (jobs, work) = channel();
    let loaded = restored.is_some();
    let write = Box::new(move || CacheWriter::new(folder, key, work, metrics, loaded).run());
    Ok(OpenCache { restored, cache: Cache(jobs), write })
}

impl CacheRecord {
    /// Encodes a batch that is applied at `at` (Unix seconds).
    pub(crate) fn new(batch: &CompleteBatch, at: i64) -> Self {
        let page = (!batch.is_full()).then(|| page::batch_page(batch, at));
        let mode = match page.filter(|page: &Page| page.len() <= MAX_BATCH) {
            None => WriteMode::Rewrite,
            Some(page) if batch.may_remove() => WriteMode::AppendSync(page),
            Some(page) => WriteMode::Append(page),
        };
        Self { mode, at }
    }
}

impl Cache {
    /// Stores a batch that resulted in `snapshot`. The receiver resolves once it is stored, or cannot be.
    pub(crate) fn store(&self, record: CacheRecord, snapshot: Arc<Snapshot>) -> oneshot::Receiver<()> {
        let (done, persisted) = oneshot::channel();
        let CacheRecord { mode, at } = record;
        // If the thread has ended, the process is stopping, and dropping the job resolves the receiver.
        let _ = self.0.send(WriteJob { mode, at, snapshot, done });
        persisted
    }
}

#[cfg(test)]
mod tests;
