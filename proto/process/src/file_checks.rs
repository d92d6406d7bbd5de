//! Checks of the files and directories that a configuration names. They change nothing.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use thiserror::Error;

/// A file or directory with which the process could not run.
#[derive(Debug, Error)]
pub enum FileCheckError {
    /// A file or directory does not exist.
    #[error("`{key}`: {} does not exist", path.display())]
    Missing {
        /// The configuration key.
        key: &'static str,
        /// The missing path.
        path: PathBuf,
    },
    /// A path leads to something else than is needed.
    #[error("`{key}`: {} is not a {expected}", path.display())]
    Kind {
        /// The configuration key.
        key: &'static str,
        /// The path.
        path: PathBuf,
        /// The kind that is needed: a file or a directory.
        expected: &'static str,
    },
    /// The user who runs the check may not do what the process has to.
    #[error("`{key}`: {} cannot be {action}: {source}", path.display())]
    Denied {
        /// The configuration key.
        key: &'static str,
        /// The path.
        path: PathBuf,
        /// The action that is refused: read, written or reached.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// The configuration key that names a file or directory.
#[derive(Debug, Clone, Copy)]
pub struct FileCheck(pub &'static str);

impl FileCheck {
    /// Checks a directory whose files the process reads.
    pub fn readable_directory(self, path: &Path) -> Result<(), FileCheckError> {
        self.directory(path)?;
        self.may(path, AccessFlags::R_OK | AccessFlags::X_OK, "read")
    }

    /// Checks a file that the process reads.
    pub fn readable_file(self, path: &Path) -> Result<(), FileCheckError> {
        self.kind(path, "file", Metadata::is_file)?;
        self.may(path, AccessFlags::R_OK, "read")
    }

    /// Checks a file that the process reads and writes, or creates in an existing directory.
    pub fn writable_file(self, path: &Path) -> Result<(), FileCheckError> {
        match self.kind(path, "file", Metadata::is_file) {
            Ok(()) => self.may(path, AccessFlags::R_OK | AccessFlags::W_OK, "written")?,
            Err(FileCheckError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        self.existing_writable_directory(parent.unwrap_or(Path::new(".")))
    }

    /// Checks a directory that the process creates with its parents unless it exists.
    pub fn creatable_directory(self, path: &Path) -> Result<(), FileCheckError> {
        let existing = path.ancestors().find(|ancestor| fs::symlink_metadata(ancestor).is_ok());
        self.existing_writable_directory(existing.unwrap_or(Path::new(".")))
    }

    /// Checks an existing directory in which the process creates files.
    pub fn existing_writable_directory(self, path: &Path) -> Result<(), FileCheckError> {
        self.directory(path)?;
        self.may(path, AccessFlags::W_OK | AccessFlags::X_OK, "written")
    }

    fn directory(self, path: &Path) -> Result<(), FileCheckError> {
        self.kind(path, "directory", Metadata::is_dir)
    }

    fn kind(
        self,
        path: &Path,
        expected: &'static str,
        fits: fn(&Metadata) -> bool,
    ) -> Result<(), FileCheckError> {
        let (key, owned) = (self.0, path.to_owned());
        match fs::metadata(path) {
            Ok(metadata) if fits(&metadata) => Ok(()),
            Ok(_) => Err(FileCheckError::Kind { key, path: owned, expected }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FileCheckError::Missing { key, path: owned })
            }
            Err(source) => Err(FileCheckError::Denied { key, path: owned, action: "reached", source }),
        }
    }

    fn may(self, path: &Path, flags: AccessFlags, action: &'static str) -> Result<(), FileCheckError> {
        access(path, flags).map_err(|error| FileCheckError::Denied {
            key: self.0,
            path: path.to_owned(),
            action,
            source: error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_names_the_key_and_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let (file, none) = (dir.path().join("file"), dir.path().join("none/deeper"));
        fs::write(&file, "x").unwrap();
        let check = FileCheck("some_key");
        let inside = file.join("inside");
        for (checked, problem) in [
            (check.readable_directory(dir.path()), None),
            (check.readable_directory(&none), Some("does not exist")),
            (check.readable_directory(&file), Some("is not a directory")),
            (check.readable_file(&file), None),
            (check.readable_file(&none), Some("does not exist")),
            (check.readable_file(dir.path()), Some("is not a file")),
            (check.writable_file(&file), None),
            (check.writable_file(&dir.path().join("new")), None),
            (check.writable_file(&none), Some("does not exist")),
            (check.writable_file(dir.path()), Some("is not a file")),
            (check.creatable_directory(dir.path()), None),
            (check.creatable_directory(&none), None),
            (check.creatable_directory(&inside), Some("is not a directory")),
        ] {
            let said = checked.err().map(|error| error.to_string());
            let is_expected = said.as_deref().is_none_or(|said| {
                said.starts_with("`some_key`: /") && problem.is_some_and(|problem| said.contains(problem))
            });
            assert!(is_expected && said.is_some() == problem.is_some(), "{said:?} instead of {problem:?}");
        }
        assert!(!none.exists() && !dir.path().join("new").exists());
    }
}
