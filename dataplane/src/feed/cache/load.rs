//! Reads the cache: the newest snapshot, and the journals after it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use thiserror::Error;
use tracing::warn;
use webgateway_proto::model::Prefixes;
use webgateway_seal::SecretKey;

use super::cache_dir::{CacheDir, FileKind};
use super::page;
use super::sealed::{CacheFileError, Next, Reader};
use crate::feed::apply::{ApplyOutcome, Rejection, apply_stored};
use crate::snapshot::Snapshot;

/// What was in the cache.
pub(crate) struct RestoredCache {
    /// What the node knew.
    pub snapshot: Snapshot,
    /// When it was last written, in Unix seconds.
    pub at: i64,
}

/// The cache cannot be used.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub(super) struct LoadCacheError {
    /// The file.
    pub(super) path: PathBuf,
    /// Why.
    pub(super) reason: CacheFileError,
}

/// Reads what is kept, at `now` (Unix seconds); `None` if nothing is.
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
    let mut loading = CacheLoader {
        folder,
        key,
        tickets,
        now,
        allowed: Prefixes::default(),
        applied: ApplyOutcome::from(Snapshot::default()),
        at: 0,
    };
    loading.take(FileKind::Snapshot, first)?;
    for (follows, (generation, kind)) in (first..).zip(journals(&found, first)) {
        if follows != generation {
            let path = folder.file(kind, generation);
            return Err(LoadCacheError { path, reason: CacheFileError::Gap });
        }
        loading.take(kind, generation)?;
    }
    for Rejection { resource, reason } in &loading.applied.rejections {
        warn!(resource, reason, "what is cached of it cannot be used");
    }
    Ok(Some(RestoredCache { snapshot: loading.applied.snapshot, at: loading.at }))
}

/// The journals that follow the snapshot of generation `first`; one of a full batch whose snapshot did not come to be
/// ends them.
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
    allowed: Prefixes,
    applied: ApplyOutcome,
    at: i64,
}

impl CacheLoader<'_> {
    fn take(&mut self, kind: FileKind, generation: u64) -> Result<(), LoadCacheError> {
        let path = self.folder.file(kind, generation);
        let taken = Reader::open(&path, CacheDir::name(kind, generation), self.key)
            .and_then(|mut reader| self.read(kind, &mut reader));
        taken.map_err(|reason| LoadCacheError { path, reason })
    }

    fn read(&mut self, kind: FileKind, reader: &mut Reader<'_>) -> Result<(), CacheFileError> {
        loop {
            match (reader.next()?, kind) {
                (Next::Page(page, last), _) => {
                    self.page(&page).ok_or(CacheFileError::Page(reader.pages()))?;
                    if last && kind == FileKind::Snapshot {
                        return Ok(());
                    }
                }
                (Next::End | Next::Torn, FileKind::Snapshot) => {
                    return Err(CacheFileError::Cut(reader.pages()));
                }
                (Next::End, FileKind::Journal | FileKind::FreshJournal) => return Ok(()),
                (Next::Torn, FileKind::Journal | FileKind::FreshJournal) => {
                    // It was not acknowledged: that comes after it is whole.
                    warn!("the last batch in the cache was not written whole, it is left out");
                    return Ok(());
                }
            }
        }
    }

    fn page(&mut self, bytes: &[u8]) -> Option<()> {
        let Self { allowed, applied, tickets, now, .. } = self;
        let at = page::read(bytes, allowed, |message| apply_stored(applied, message, tickets, *now))?;
        self.at = self.at.max(at);
        Some(())
    }
}
