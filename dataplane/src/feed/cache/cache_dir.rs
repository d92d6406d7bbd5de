//! The cache's folder: snapshots and the journals of what came after each, by generation.
//!
//! The journal of a generation is begun before its snapshot is written, so that batches need not wait for it; the
//! snapshots before it, with their journals, go when it is whole.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileKind {
    /// Everything, as it was when its journal was begun.
    Snapshot,
    /// The batches since, after this generation's snapshot or what came before it.
    Journal,
    /// The batches since, after this generation's snapshot alone: it was of a full batch.
    FreshJournal,
}

/// A folder of its own.
#[derive(Debug, Clone)]
pub(super) struct CacheDir(PathBuf);

impl FileKind {
    const ALL: [Self; 3] = [Self::Snapshot, Self::Journal, Self::FreshJournal];

    fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Journal => "journal",
            Self::FreshJournal => "anew",
        }
    }
}

impl CacheDir {
    /// The folder at `path`, whether it exists or not.
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it (mode 0700) if there is none.
    pub(super) fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// What a file is called, in the folder and in its seals.
    pub(super) fn name(kind: FileKind, generation: u64) -> String {
        format!("{}.{generation}", kind.word())
    }

    /// Where a file is.
    pub(super) fn file(&self, kind: FileKind, generation: u64) -> PathBuf {
        self.0.join(Self::name(kind, generation))
    }

    /// Where a snapshot is until it is whole.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.0.join("snapshot.new")
    }

    /// What there is, oldest first; what is not the cache's is left out.
    pub(super) fn list(&self) -> io::Result<Vec<(u64, FileKind)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let read = |kind: FileKind| {
                let number = name.to_str()?.strip_prefix(kind.word())?.strip_prefix('.')?;
                Some((number.parse().ok()?, kind))
            };
            found.extend(FileKind::ALL.into_iter().find_map(read));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Gives the snapshot its name, once it is on the disk whole, and drops all before it.
    pub(super) fn finish(&self, generation: u64) -> io::Result<()> {
        fs::rename(self.unfinished(), self.file(FileKind::Snapshot, generation))?;
        self.sync()?;
        self.drop_before(generation)
    }

    /// Drops everything of the cache, so that nothing of it comes back.
    pub(super) fn drop_all(&self) -> io::Result<()> {
        self.drop_before(u64::MAX)?;
        match fs::remove_file(self.unfinished()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.sync()
    }

    /// Waits until the folder itself, its names, is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// The snapshots go first: a journal without one says nothing.
    fn drop_before(&self, generation: u64) -> io::Result<()> {
        let mut old = self.list()?;
        old.retain(|(number, _)| *number < generation);
        old.sort_unstable_by_key(|(_, kind)| *kind);
        old.into_iter().try_for_each(|(number, kind)| fs::remove_file(self.file(kind, number)))
    }
}
