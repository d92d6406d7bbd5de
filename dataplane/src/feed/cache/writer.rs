//! The thread that writes the cache: each batch to the journal, and a new snapshot when the journals have grown.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{debug, error, info};
use webgateway_seal::SecretKey;

use super::cache_dir::{CacheDir, FileKind};
use super::page::{self, Page};
use super::sealed::SealedWriter;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// The maximum time until a batch that removes nothing is synced to disk.
const SYNC_DELAY: Duration = Duration::from_millis(500);
/// The time between attempts to write a snapshot after a failure.
const RETRY: Duration = Duration::from_secs(10);
/// The minimum size of the journals at which a new snapshot replaces them, in bytes.
const MIN_COMPACT: u64 = 4 * 1024 * 1024;
/// The number of journals at which a new snapshot replaces them, however small they are. Each start creates one.
const MAX_JOURNALS: u64 = 64;

/// The way in which a batch is stored.
#[derive(Debug)]
pub(super) enum WriteMode {
    /// Append the page to the journal and sync it later, as the batch removes nothing.
    Append(Page),
    /// Append the page to the journal and sync it before the batch is acknowledged.
    AppendSync(Page),
    /// Write a new snapshot before the batch is acknowledged.
    Rewrite,
}

/// A batch to be stored.
pub(super) struct WriteJob {
    /// The way in which the batch is stored.
    pub(super) mode: WriteMode,
    /// The time at which the batch was applied, in Unix seconds.
    pub(super) at: i64,
    /// The snapshot after the batch.
    pub(super) snapshot: Arc<Snapshot>,
    /// Notified when the batch is stored, or cannot be.
    pub(super) done: oneshot::Sender<()>,
}

/// The writer of the cache, which runs on a thread of its own.
pub(super) struct CacheWriter {
    folder: CacheDir,
    key: SecretKey,
    jobs: Receiver<WriteJob>,
    metrics: Metrics,
    /// The full batch that arrived while a snapshot was being written.
    waiting: VecDeque<WriteJob>,
    state: WriterState,
    generation: u64,
    snapshot_bytes: u64,
    journal_bytes: u64,
    /// The latest snapshot and its time, for a retry after a failure.
    latest: Option<(Arc<Snapshot>, i64)>,
}

/// The reason for a new snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RewriteReason {
    /// The journals have grown. Batches that arrive meanwhile are appended to the next journal.
    Compact,
    /// A full batch, or one that is too large for the journal.
    Full,
    /// The last write failed.
    Retry,
}

enum WriterState {
    /// The cache has nothing that a journal could continue.
    Empty,
    /// The cache is up to date, apart from pages that have waited for a sync since this time.
    Good(SealedWriter, Option<Instant>),
    /// The last write failed, at this time. True if the cache still has files, which may contain removed resources.
    Failed(Instant, bool),
}

impl CacheWriter {
    /// Returns the writer for `folder`; it continues the existing files if they were `loaded`.
    pub(super) fn new(
        folder: CacheDir,
        key: SecretKey,
        jobs: Receiver<WriteJob>,
        metrics: Metrics,
        loaded: bool,
    ) -> Self {
        let mut writer = Self {
            folder,
            key,
            jobs,
            metrics,
            waiting: VecDeque::new(),
            state: WriterState::Empty,
            generation: 0,
            snapshot_bytes: 0,
            journal_bytes: 0,
            latest: None,
        };
        if let Err(error) = writer.begin(loaded) {
            writer.fail(&error, false);
        }
        writer
    }

    fn begin(&mut self, loaded: bool) -> io::Result<()> {
        self.folder.create()?;
        let found = self.folder.list()?;
        self.generation = found.last().map_or(0, |(generation, _)| *generation);
        if loaded {
            (self.snapshot_bytes, self.journal_bytes) = self.sizes_of(&found)?;
            self.next_journal(FileKind::Journal)?;
            self.metrics.cache_good.set(1);
        }
        Ok(())
    }

    /// Returns the size of the snapshot and of the journals, in bytes, with a minimum for each journal.
    fn sizes_of(&self, found: &[(u64, FileKind)]) -> io::Result<(u64, u64)> {
        let (mut snapshot, mut journals) = (0, 0);
        for (generation, kind) in found {
            let bytes = std::fs::metadata(self.folder.file(*kind, *generation))?.len();
            match kind {
                FileKind::Snapshot => snapshot = bytes,
                FileKind::Journal | FileKind::FreshJournal => {
                    journals += bytes.max(MIN_COMPACT / MAX_JOURNALS)
                }
            }
        }
        Ok((snapshot, journals))
    }

    /// Stores batches until every [`Cache`](super::Cache) handle is dropped.
    pub(super) fn run(mut self) -> Result<(), Infallible> {
        loop {
            if let Some(job) = self.waiting.pop_front() {
                self.store(job);
                continue;
            }
            match self.jobs.recv_timeout(self.next_timeout()) {
                Ok(job) => self.store(job),
                Err(RecvTimeoutError::Timeout) => self.on_timeout(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.sync();
                    return Ok(());
                }
            }
        }
    }

    fn next_timeout(&self) -> Duration {
        match &self.state {
            WriterState::Empty | WriterState::Good(_, None) => RETRY,
            WriterState::Good(_, Some(since)) => SYNC_DELAY.saturating_sub(since.elapsed()),
            WriterState::Failed(since, _) => RETRY.saturating_sub(since.elapsed()),
        }
    }

    fn on_timeout(&mut self) {
        match &self.state {
            WriterState::Empty | WriterState::Good(_, None) => {}
            WriterState::Good(_, Some(_)) => self.sync(),
            WriterState::Failed(_, has_files) => {
                self.state = WriterState::Failed(Instant::now(), *has_files);
                if let Some((snapshot, at)) = self.latest.clone() {
                    self.rewrite(&snapshot, at, RewriteReason::Retry);
                }
            }
        }
    }

    fn store(&mut self, job: WriteJob) {
        let WriteJob { mode, at, snapshot, done } = job;
        self.latest = Some((Arc::clone(&snapshot), at));
        match (mode, &self.state) {
            (WriteMode::Rewrite, _) | (_, WriterState::Empty) => {
                self.rewrite(&snapshot, at, RewriteReason::Full)
            }
            (WriteMode::Append(page), _) => self.append(&page, false),
            (WriteMode::AppendSync(page), _) => self.append(&page, true),
        }
        // Sending fails only if the feed's client no longer waits.
        let _ = done.send(());
        if matches!(self.state, WriterState::Good(..))
            && self.journal_bytes > self.snapshot_bytes.max(MIN_COMPACT)
        {
            self.rewrite(&snapshot, at, RewriteReason::Compact);
        }
    }

    fn append(&mut self, page: &[u8], sync: bool) {
        let appended = match &mut self.state {
            WriterState::Good(journal, unsynced) => append(journal, page, sync, &self.key).map(|bytes| {
                self.journal_bytes += bytes;
                *unsynced = if sync { None } else { unsynced.or_else(|| Some(Instant::now())) };
            }),
            WriterState::Empty | WriterState::Failed(_, false) => return,
            WriterState::Failed(_, true) if !sync => return,
            WriterState::Failed(_, true) => Err(io::Error::other("an earlier batch is missing in the cache")),
        };
        if let Err(error) = appended {
            self.fail(&error, sync);
        }
    }

    fn sync(&mut self) {
        let WriterState::Good(journal, unsynced) = &mut self.state else { return };
        *unsynced = None;
        if let Err(error) = journal.sync() {
            self.fail(&error, false);
        }
    }

    fn rewrite(&mut self, snapshot: &Snapshot, at: i64, reason: RewriteReason) {
        let started = Instant::now();
        let kind = match reason {
            RewriteReason::Compact => FileKind::Journal,
            RewriteReason::Full | RewriteReason::Retry => FileKind::FreshJournal,
        };
        match self.next_journal(kind).and_then(|()| self.write(snapshot, at, reason)) {
            Ok(true) => {
                self.metrics.cache_good.set(1);
                debug!(bytes = self.snapshot_bytes, took = ?started.elapsed(), "cache snapshot written");
            }
            Ok(false) => {}
            Err(error) => self.fail(&error, reason == RewriteReason::Full),
        }
    }

    fn write(&mut self, snapshot: &Snapshot, at: i64, reason: RewriteReason) -> io::Result<bool> {
        let generation = self.generation;
        let mut file =
            SealedWriter::create(&self.folder.unfinished(), CacheDir::name(FileKind::Snapshot, generation))?;
        let mut pages = page::snapshot_pages(snapshot, at).peekable();
        while let Some(page) = pages.next() {
            file.append(&page, pages.peek().is_none(), &self.key)?;
            if reason == RewriteReason::Compact && self.append_pending() {
                return Ok(false);
            }
        }
        file.sync()?;
        self.folder.finish(generation)?;
        (self.snapshot_bytes, self.journal_bytes) = (file.bytes(), 0);
        Ok(true)
    }

    /// Appends the batches that arrived meanwhile; returns whether the snapshot being written is useless now, because a
    /// full batch arrived or the journal failed.
    fn append_pending(&mut self) -> bool {
        while let Ok(job) = self.jobs.try_recv() {
            if matches!(job.mode, WriteMode::Rewrite) {
                self.waiting.push_back(job);
                return true;
            }
            let WriteJob { mode, at, snapshot, done } = job;
            self.latest = Some((snapshot, at));
            match mode {
                WriteMode::Append(page) => self.append(&page, false),
                WriteMode::AppendSync(page) => self.append(&page, true),
                WriteMode::Rewrite => {}
            }
            let _ = done.send(());
        }
        !matches!(self.state, WriterState::Good(..))
    }

    /// Creates the journal of the next generation, after syncing the current one.
    fn next_journal(&mut self, kind: FileKind) -> io::Result<()> {
        self.sync();
        self.folder.create()?;
        self.generation += 1;
        let path = self.folder.file(kind, self.generation);
        let journal = SealedWriter::create(&path, CacheDir::name(kind, self.generation))?;
        journal.sync()?;
        self.folder.sync()?;
        self.state = WriterState::Good(journal, None);
        Ok(())
    }

    /// Records a failed write. The batch is served nevertheless; if it `removes` resources, the cache is emptied, so
    /// that a restart does not serve them again.
    fn fail(&mut self, reason: &io::Error, removes: bool) {
        self.metrics.cache_failures.inc();
        self.metrics.cache_good.set(0);
        let folder = self.folder.path().display();
        error!(%folder, %reason, "`cache_dir`: cannot write the cache, trying again");
        let (since, mut has_files) = match self.state {
            WriterState::Failed(since, has_files) => (since, has_files),
            WriterState::Empty | WriterState::Good(..) => (Instant::now(), true),
        };
        if removes {
            match self.folder.remove_all() {
                Ok(()) => {
                    info!(%folder, "cache emptied, so that a restart does not serve removed resources");
                    has_files = false;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => has_files = false,
                Err(error) => error!(
                    %folder, %error,
                    "the cache CANNOT be emptied: a restart without the controlplane would serve removed resources; \
                     remove the folder by hand"
                ),
            }
        }
        self.state = WriterState::Failed(since, has_files);
    }
}

fn append(journal: &mut SealedWriter, page: &[u8], sync: bool, key: &SecretKey) -> io::Result<u64> {
    let before = journal.bytes();
    journal.append(page, false, key)?;
    if sync {
        journal.sync()?;
    }
    Ok(journal.bytes() - before)
}
