//! Reads the cache: the newest snapshot, and the journals after it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use thiserror::Error;
use tracing::warn;
use webgateway_proto::model::Prefixes;
use webgateway_seal::SecretKey;

use super::folder::{Folder, Kind};
use super::page;
use super::sealed::{Next, Reader, Refused};
use crate::feed::apply::{Applied, Reject, restore};
use crate::snapshot::Snapshot;

/// What was in the cache.
pub(crate) struct Restored {
    /// What the node knew.
    pub snapshot: Snapshot,
    /// When it was last written, in Unix seconds.
    pub at: i64,
}

/// The cache cannot be used.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub(super) struct Unusable {
    /// The file.
    pub(super) path: PathBuf,
    /// Why.
    pub(super) reason: Refused,
}

/// Reads what is kept, at `now` (Unix seconds); `None` if nothing is.
pub(super) fn load(
    folder: &Folder,
    key: &SecretKey,
    tickets: &Arc<dyn ProducesTickets>,
    now: i64,
) -> Result<Option<Restored>, Unusable> {
    let unreadable =
        |reason: std::io::Error| Unusable { path: folder.path().to_owned(), reason: reason.into() };
    let found = match folder.list() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(unreadable)?,
    };
    let Some((first, _)) = found.iter().rfind(|(_, kind)| *kind == Kind::Snapshot).copied() else {
        return Ok(None);
    };
    let mut loading = Loading {
        folder,
        key,
        tickets,
        now,
        allowed: Prefixes::default(),
        applied: Applied::from(Snapshot::default()),
        at: 0,
    };
    loading.take(Kind::Snapshot, first)?;
    for (follows, (generation, kind)) in (first..).zip(journals(&found, first)) {
        if follows != generation {
            let path = folder.file(kind, generation);
            return Err(Unusable { path, reason: Refused::Gap });
        }
        loading.take(kind, generation)?;
    }
    for Reject { resource, reason } in &loading.applied.rejects {
        warn!(resource, reason, "what is cached of it cannot be used");
    }
    Ok(Some(Restored { snapshot: loading.applied.snapshot, at: loading.at }))
}

/// The journals that follow the snapshot of generation `first`; one of a full batch whose snapshot did not come to be
/// ends them.
fn journals(found: &[(u64, Kind)], first: u64) -> impl Iterator<Item = (u64, Kind)> {
    let after =
        found.iter().copied().filter(move |(number, kind)| *number >= first && *kind != Kind::Snapshot);
    after.take_while(move |(number, kind)| *number == first || *kind == Kind::Journal)
}

struct Loading<'a> {
    folder: &'a Folder,
    key: &'a SecretKey,
    tickets: &'a Arc<dyn ProducesTickets>,
    now: i64,
    allowed: Prefixes,
    applied: Applied,
    at: i64,
}

impl Loading<'_> {
    fn take(&mut self, kind: Kind, generation: u64) -> Result<(), Unusable> {
        let path = self.folder.file(kind, generation);
        let taken = Reader::open(&path, Folder::name(kind, generation), self.key)
            .and_then(|mut reader| self.read(kind, &mut reader));
        taken.map_err(|reason| Unusable { path, reason })
    }

    fn read(&mut self, kind: Kind, reader: &mut Reader<'_>) -> Result<(), Refused> {
        loop {
            match (reader.next()?, kind) {
                (Next::Page(page, last), _) => {
                    self.page(&page).ok_or(Refused::Page(reader.pages()))?;
                    if last && kind == Kind::Snapshot {
                        return Ok(());
                    }
                }
                (Next::End | Next::Torn, Kind::Snapshot) => return Err(Refused::Cut(reader.pages())),
                (Next::End, Kind::Journal | Kind::Anew) => return Ok(()),
                (Next::Torn, Kind::Journal | Kind::Anew) => {
                    // It was not acknowledged: that comes after it is whole.
                    warn!("the last batch in the cache was not written whole, it is left out");
                    return Ok(());
                }
            }
        }
    }

    fn page(&mut self, bytes: &[u8]) -> Option<()> {
        let Self { allowed, applied, tickets, now, .. } = self;
        let at = page::read(bytes, allowed, |message| restore(applied, message, tickets, *now))?;
        self.at = self.at.max(at);
        Some(())
    }
}
