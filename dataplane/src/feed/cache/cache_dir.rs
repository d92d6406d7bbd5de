//! The folder of the cache: a snapshot, and journals of the batches after it, numbered by generation.
//!
//! The journal of a generation is created before the snapshot of that generation is written, so that batches can be
//! stored meanwhile. The files of earlier generations are removed once the new snapshot is complete.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The kind of a file in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileKind {
    /// All resources, as they were when the journal of the same generation was created.
    Snapshot,
    /// The batches after the snapshot of this generation, or, if that is missing, after the journals before.
    Journal,
    /// The batches after the snapshot of this generation only: a full batch replaced everything before.
    FreshJournal,
}

/// The folder of the cache.
#[derive(Debug, Clone)]
pub(super) struct CacheDir(PathBuf);

impl FileKind {
    const ALL: [Self; 3] = [Self::Snapshot, Self::Journal, Self::FreshJournal];

    fn prefix(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Journal => "journal",
            Self::FreshJournal => "anew",
        }
    }
}

impl CacheDir {
    /// Refers to the folder at `path`, which need not exist.
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Returns the path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the folder (mode 0700) if it is missing.
    pub(super) fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Returns the name of a file, to which its pages are bound as well.
    pub(super) fn name(kind: FileKind, generation: u64) -> String {
        format!("{}.{generation}", kind.prefix())
    }

    /// Returns the path of a file.
    pub(super) fn file(&self, kind: FileKind, generation: u64) -> PathBuf {
        self.0.join(Self::name(kind, generation))
    }

    /// Returns the path of a snapshot that is being written.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.0.join("snapshot.new")
    }

    /// Lists the files by generation, the oldest first; files with other names are ignored.
    pub(super) fn list(&self) -> io::Result<Vec<(u64, FileKind)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let parse = |kind: FileKind| {
                let number = name.to_str()?.strip_prefix(kind.prefix())?.strip_prefix('.')?;
                Some((number.parse().ok()?, kind))
            };
            found.extend(FileKind::ALL.into_iter().find_map(parse));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Renames the snapshot that was written to its final name, and removes the files of earlier generations.
    pub(super) fn finish(&self, generation: u64) -> io::Result<()> {
        fs::rename(self.unfinished(), self.file(FileKind::Snapshot, generation))?;
        self.sync()?;
        self.remove_before(generation)
    }

    /// Removes every file of the cache, durably.
    pub(super) fn remove_all(&self) -> io::Result<()> {
        self.remove_before(u64::MAX)?;
        match fs::remove_file(self.unfinished()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.sync()
    }

    /// Waits until the names of the files are on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// Removes the files before `generation`, snapshots first: after a crash in between, a journal without a snapshot
    /// is ignored.
    fn remove_before(&self, generation: u64) -> io::Result<()> {
        let mut old = self.list()?;
        old.retain(|(number, _)| *number < generation);
        old.sort_unstable_by_key(|(_, kind)| *kind);
        old.into_iter().try_for_each(|(number, kind)| fs::remove_file(self.file(kind, number)))
    }
}
