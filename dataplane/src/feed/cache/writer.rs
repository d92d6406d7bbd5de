//! The thread that writes the cache: each batch to the journal, everything anew when the journal has grown.

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
use super::sealed;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

/// How long a batch that takes nothing away may wait for the disk.
const SYNC: Duration = Duration::from_millis(500);
/// How long until everything is written again after it could not be.
const RETRY: Duration = Duration::from_secs(10);
/// A journal is not worth a new snapshot before it has so many bytes.
const SMALL: u64 = 4 * 1024 * 1024;

/// So many journals, one for each start, are worth one too.
const MANY: u64 = 64;

/// How a batch is kept.
#[derive(Debug)]
pub(super) enum WriteMode {
    /// In the journal, on the disk soon: it takes nothing away.
    Append(Page),
    /// In the journal, on the disk before it is answered.
    AppendSync(Page),
    /// Everything anew, on the disk before it is answered.
    Rewrite,
}

/// A batch that was applied.
pub(super) struct WriteJob {
    /// How it is kept.
    pub(super) keep: WriteMode,
    /// When it was applied, in Unix seconds.
    pub(super) at: i64,
    /// What is in use since.
    pub(super) snapshot: Arc<Snapshot>,
    /// Told when it is kept, or cannot be.
    pub(super) done: oneshot::Sender<()>,
}

/// What the thread has.
pub(super) struct Writer {
    folder: CacheDir,
    key: SecretKey,
    jobs: Receiver<WriteJob>,
    metrics: Metrics,
    /// Full batches that came while a snapshot was being written.
    waiting: VecDeque<WriteJob>,
    state: State,
    generation: u64,
    /// The size of the last snapshot, and of the journals since.
    sizes: (u64, u64),
    /// What is in use, for when it has to be written again.
    latest: Option<(Arc<Snapshot>, i64)>,
}

/// Why everything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RewriteReason {
    /// The journal has grown; batches that come meanwhile go to the next one.
    Compact,
    /// A full batch.
    Full,
    /// It could not be written the last time.
    Retry,
}

enum State {
    /// Nothing is in the cache to be continued.
    Empty,
    /// What is in use is in the cache, but for what waits for the disk since then.
    Good(sealed::Writer, Option<Instant>),
    /// It is not, until it is written again; whether anything is left there that should not come back.
    Failed(Instant, bool),
}

impl Writer {
    /// Continues after what `folder` has, if that was `loaded`.
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
            state: State::Empty,
            generation: 0,
            sizes: (0, 0),
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
            self.sizes = self.sizes_of(&found)?;
            self.next_journal(FileKind::Journal)?;
            self.metrics.cache_good.set(1);
        }
        Ok(())
    }

    fn sizes_of(&self, found: &[(u64, FileKind)]) -> io::Result<(u64, u64)> {
        let (mut snapshot, mut journals) = (0, 0);
        for (generation, kind) in found {
            let bytes = std::fs::metadata(self.folder.file(*kind, *generation))?.len();
            match kind {
                FileKind::Snapshot => snapshot = bytes,
                FileKind::Journal | FileKind::FreshJournal => journals += bytes.max(SMALL / MANY),
            }
        }
        Ok((snapshot, journals))
    }

    /// Writes what comes until nobody is left to send it.
    pub(super) fn run(mut self) -> Result<(), Infallible> {
        loop {
            if let Some(job) = self.waiting.pop_front() {
                self.take(job);
                continue;
            }
            match self.jobs.recv_timeout(self.pause()) {
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.sync();
                    return Ok(());
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        match &self.state {
            State::Empty | State::Good(_, None) => RETRY,
            State::Good(_, Some(since)) => SYNC.saturating_sub(since.elapsed()),
            State::Failed(since, _) => RETRY.saturating_sub(since.elapsed()),
        }
    }

    fn tick(&mut self) {
        match &self.state {
            State::Empty | State::Good(_, None) => {}
            State::Good(_, Some(_)) => self.sync(),
            State::Failed(_, left) => {
                self.state = State::Failed(Instant::now(), *left);
                if let Some((snapshot, at)) = self.latest.clone() {
                    self.rewrite(&snapshot, at, RewriteReason::Retry);
                }
            }
        }
    }

    fn take(&mut self, job: WriteJob) {
        let WriteJob { keep, at, snapshot, done } = job;
        self.latest = Some((Arc::clone(&snapshot), at));
        match (keep, &self.state) {
            (WriteMode::Rewrite, _) | (_, State::Empty) => self.rewrite(&snapshot, at, RewriteReason::Full),
            (WriteMode::Append(page), _) => self.append(&page, false),
            (WriteMode::AppendSync(page), _) => self.append(&page, true),
        }
        // Who sent it may have given up waiting.
        let _ = done.send(());
        if matches!(self.state, State::Good(..)) && self.sizes.1 > self.sizes.0.max(SMALL) {
            self.rewrite(&snapshot, at, RewriteReason::Compact);
        }
    }

    fn append(&mut self, page: &[u8], now: bool) {
        let appended = match &mut self.state {
            State::Good(journal, waits) => append(journal, page, now, &self.key).map(|bytes| {
                self.sizes.1 += bytes;
                *waits = if now { None } else { waits.or_else(|| Some(Instant::now())) };
            }),
            State::Empty | State::Failed(_, false) => return,
            State::Failed(_, true) if !now => return,
            State::Failed(_, true) => Err(io::Error::other("the cache is behind")),
        };
        if let Err(error) = appended {
            self.fail(&error, now);
        }
    }

    fn sync(&mut self) {
        let State::Good(journal, waits) = &mut self.state else { return };
        *waits = None;
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
                debug!(bytes = self.sizes.0, took = ?started.elapsed(), "the cache was written anew");
            }
            Ok(false) => {}
            Err(error) => self.fail(&error, reason == RewriteReason::Full),
        }
    }

    fn write(&mut self, snapshot: &Snapshot, at: i64, reason: RewriteReason) -> io::Result<bool> {
        let generation = self.generation;
        let mut file = sealed::Writer::create(
            &self.folder.unfinished(),
            CacheDir::name(FileKind::Snapshot, generation),
        )?;
        let mut pages = page::of_snapshot(snapshot, at).peekable();
        while let Some(page) = pages.next() {
            file.append(&page, pages.peek().is_none(), &self.key)?;
            if reason == RewriteReason::Compact && self.interrupted() {
                return Ok(false);
            }
        }
        file.sync()?;
        self.folder.finish(generation)?;
        self.sizes = (file.bytes(), 0);
        Ok(true)
    }

    /// Takes what has come meanwhile; says whether that was a full batch, after which nobody wants what is being
    /// written, or the journal failed.
    fn interrupted(&mut self) -> bool {
        while let Ok(job) = self.jobs.try_recv() {
            if matches!(job.keep, WriteMode::Rewrite) {
                self.waiting.push_back(job);
                return true;
            }
            let WriteJob { keep, at, snapshot, done } = job;
            self.latest = Some((snapshot, at));
            match keep {
                WriteMode::Append(page) => self.append(&page, false),
                WriteMode::AppendSync(page) => self.append(&page, true),
                WriteMode::Rewrite => {}
            }
            let _ = done.send(());
        }
        !matches!(self.state, State::Good(..))
    }

    /// Begins the journal of the next generation. The one before it is on the disk by then.
    fn next_journal(&mut self, kind: FileKind) -> io::Result<()> {
        self.sync();
        self.folder.create()?;
        self.generation += 1;
        let path = self.folder.file(kind, self.generation);
        let journal = sealed::Writer::create(&path, CacheDir::name(kind, self.generation))?;
        journal.sync()?;
        self.folder.sync()?;
        self.state = State::Good(journal, None);
        Ok(())
    }

    /// What cannot be kept is served nevertheless. What it `removes` must not come back after a restart: then no
    /// cache is better than this one.
    fn fail(&mut self, reason: &io::Error, removes: bool) {
        self.metrics.cache_failures.inc();
        self.metrics.cache_good.set(0);
        let folder = self.folder.path().display();
        error!(%folder, %reason, "`cache_dir`: what is served cannot be written, trying again");
        let (since, mut left) = match self.state {
            State::Failed(since, left) => (since, left),
            State::Empty | State::Good(..) => (Instant::now(), true),
        };
        if removes {
            match self.folder.drop_all() {
                Ok(()) => {
                    info!(%folder, "the cache is emptied: it would bring back what was removed");
                    left = false;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => left = false,
                Err(error) => error!(
                    %folder, %error,
                    "the cache CANNOT be emptied: a restart without the controlplane would serve what was removed; \
                     remove the folder by hand"
                ),
            }
        }
        self.state = State::Failed(since, left);
    }
}

fn append(journal: &mut sealed::Writer, page: &[u8], now: bool, key: &SecretKey) -> io::Result<u64> {
    let before = journal.bytes();
    journal.append(page, false, key)?;
    if now {
        journal.sync()?;
    }
    Ok(journal.bytes() - before)
}
