//! The cache: what a node served last, sealed, so that it starts without a controlplane.

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
use self::writer::{WriteJob, WriteMode, Writer};
use super::apply::CompleteBatch;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// The file of the key that seals the cache, in `state_dir`.
const KEY_FILE: &str = "cache.key";
/// The largest batch that is kept by itself, in bytes; beyond that everything is written anew.
const LARGEST_BATCH: usize = 16 * 1024 * 1024;

/// Where batches go to be kept.
pub(crate) struct Cache(Sender<WriteJob>);

/// The cache as it was found.
pub(crate) struct OpenCache {
    /// What was in it.
    pub restored: Option<RestoredCache>,
    /// Takes what comes.
    pub cache: Cache,
    /// Does the writing; blocks until the cache is dropped.
    pub write: Box<dyn FnOnce() -> Result<(), Infallible> + Send>,
}

/// A batch, to be kept once it is applied.
pub(crate) struct CacheRecord {
    keep: WriteMode,
    at: i64,
}

/// Opens the cache in `folder` under the key in `state`, made at the first start; reads it at `now` (Unix seconds).
/// One that cannot be used is said and left out. Blocks.
pub(crate) fn open(
    folder: &Path,
    state: &Path,
    tickets: &Arc<dyn ProducesTickets>,
    metrics: Metrics,
    now: i64,
) -> Result<OpenCache, SecretKeyError> {
    // Whether it is there now shows when the key is made.
    let _ = CacheDir::new(state).create();
    let key = SecretKey::load_or_create(&state.join(KEY_FILE), "state_dir")?;
    let folder = CacheDir::new(folder);
    let restored = match load::load(&folder, &key, tickets, now) {
        Ok(restored) => restored,
        Err(unusable) => {
            error!(%unusable, "the cache is refused, starting empty");
            None
        }
    };
    if restored.is_none() {
        info!(folder = %folder.path().display(), "nothing is cached");
    }
    let (jobs, work) = channel();
    let loaded = restored.is_some();
    let write = Box::new(move || Writer::new(folder, key, work, metrics, loaded).run());
    Ok(OpenCache { restored, cache: Cache(jobs), write })
}

impl CacheRecord {
    /// Of a batch applied at `at` (Unix seconds).
    pub(crate) fn new(batch: &CompleteBatch, at: i64) -> Self {
        let page = (!batch.is_full()).then(|| page::of_batch(batch, at));
        let keep = match page.filter(|page: &Page| page.len() <= LARGEST_BATCH) {
            None => WriteMode::Rewrite,
            Some(page) if batch.may_remove() => WriteMode::AppendSync(page),
            Some(page) => WriteMode::Append(page),
        };
        Self { keep, at }
    }
}

impl Cache {
    /// Keeps a batch that made `snapshot`. What is returned is told once it is, or cannot be.
    pub(crate) fn store(&self, record: CacheRecord, snapshot: Arc<Snapshot>) -> oneshot::Receiver<()> {
        let (done, kept) = oneshot::channel();
        let CacheRecord { keep, at } = record;
        // Without the thread the process stops; the receiver is told by the drop.
        let _ = self.0.send(WriteJob { keep, at, snapshot, done });
        kept
    }
}

#[cfg(test)]
mod tests;
