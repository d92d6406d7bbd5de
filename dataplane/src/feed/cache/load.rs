//! The reading of the cache: the newest snapshot, then the journals after it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use thiserror::Error;
use tracing::warn;
use webgateway_proto::model::Prefixes;
use webgateway_seal::SecretKey;

use super::cache_dir::{CacheDir, FileKind};
use super::page;
use super::sealed::{CacheFileError, NextPage, SealedReader};
use crate::feed::apply::{ApplyOutcome, Rejection, apply_stored};
use crate::snapshot::Snapshot;

/// The content of the cache.
pub(crate) struct RestoredCache {
    /// The last snapshot that was stored.
    pub snapshot: Snapshot,
    /// The time of the last batch in the cache, in Unix seconds.
    pub at: i64,
}

/// A file of the cache cannot be used.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub(super) struct LoadCacheError {
    /// The file.
    pub(super) path: PathBuf,
    /// The fault.
    pub(super) reason: CacheFileError,
}

/// Reads the cache at `now` (Unix seconds); `None` if it is empty.
pub(super) fn load(
    folder: &CacheDir,
    key: &SecretKey,
    tickets: &Arc<dyn ProducesTickets>,
    now: i64,
) -> Result<Option<RestoredCache>, LoadCacheError> {
    let unreadable =
        |reason: std::io::Error| LoadCacheError { path: folder.path().to_owned(), reason: reason.into() };
    let found = match folder.list() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(unreadable)?,
    };
    let Some((first, _)) = found.iter().rfind(|(_, kind)| *kind == FileKind::Snapshot).copied() else {
        return Ok(None);
    };
    let mut loader = CacheLoader {
        folder,
        key,
        tickets,
        now,
        allowed_backends: Prefixes::default(),
        outcome: ApplyOutcome::from(Snapshot::default()),
        at: 0,
    };
    loader.load_file(FileKind::Snapshot, first)?;
    for (expected, (generation, kind)) in (first..).zip(journals(&found, first)) {
        if generation != expected {
            let path = folder.file(kind, generation);
            return Err(LoadCacheError { path, reason: CacheFileError::Gap });
        }
        loader.load_file(kind, generation)?;
    }
    for Rejection { resource, reason } in &loader.outcome.rejections {
        warn!(resource, reason, "cached resource cannot be used");
    }
    Ok(Some(RestoredCache { snapshot: loader.outcome.snapshot, at: loader.at }))
}

/// Iterates over the journals that follow the snapshot of generation `first`. A later journal of a full batch ends
/// them: its snapshot was not completed, so its batches do not continue the earlier ones.
fn journals(found: &[(u64, FileKind)], first: u64) -> impl Iterator<Item = (u64, FileKind)> {
    let after =
        found.iter().copied().filter(move |(number, kind)| *number >= first && *kind != FileKind::Snapshot);
    after.take_while(move |(number, kind)| *number == first || *kind == FileKind::Journal)
}

struct CacheLoader<'a> {
    folder: &'a CacheDir,
    key: &'a SecretKey,
    tickets: &'a Arc<dyn ProducesTickets>,
    now: i64,
    allowed_backends: Prefixes,
    outcome: ApplyOutcome,
    at: i64,
}

impl CacheLoader<'_> {
    fn load_file(&mut self, kind: FileKind, generation: u64) -> Result<(), LoadCacheError> {
        let path = self.folder.file(kind, generation);
        let result = SealedReader::open(&path, CacheDir::name(kind, generation), self.key)
            .and_then(|mut reader| self.read_pages(kind, &mut reader));
        result.map_err(|reason| LoadCacheError { path, reason })
    }

    fn read_pages(&mut self, kind: FileKind, reader: &mut SealedReader<'_>) -> Result<(), CacheFileError> {
        loop {
            match (reader.next()?, kind) {
                (NextPage::Page(page, last), _) => {
                    self.apply_page(&page).ok_or(CacheFileError::Page(reader.pages()))?;
                    if last && kind == FileKind::Snapshot {
                        return Ok(());
                    }
                }
                (NextPage::End | NextPage::Torn, FileKind::Snapshot) => {
                    return Err(CacheFileError::Truncated(reader.pages()));
                }
                (NextPage::End, FileKind::Journal | FileKind::FreshJournal) => return Ok(()),
                (NextPage::Torn, FileKind::Journal | FileKind::FreshJournal) => {
                    // Removals are on disk before they are acknowledged, so none is lost. The version in the cache is
                    // the one before this batch: the controlplane sends the batch again.
                    warn!("last batch in the cache is incomplete, ignoring it");
                    return Ok(());
                }
            }
        }
    }

    fn apply_page(&mut self, bytes: &[u8]) -> Option<()> {
        let Self { allowed_backends, outcome, tickets, now, .. } = self;
        let at =
            page::read(bytes, allowed_backends, |message| apply_stored(outcome, message, tickets, *now))?;
        self.at = self.at.max(at);
        Some(())
    }
}
