//! A scenario's own directory, whose logs are shown if the scenario fails.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tempfile::TempDir;

const MAX_LINES: usize = 40;

/// The directory of one scenario.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    /// Creates an empty directory.
    pub fn new() -> Result<Self> {
        Ok(Self { dir: tempfile::Builder::new().prefix("webgateway-").tempdir()? })
    }

    /// Returns the directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path in the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in the directory and returns its path.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Fails if a log has a panic, a private key or a password hash, which no scenario allows.
    pub fn check_logs(&self) -> Result<()> {
        for path in logs_in(self.dir.path()) {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            for word in ["panicked at", "PRIVATE KEY", "$argon2", "$2a$", "$2y$"] {
                ensure!(!text.contains(word), "{} says {word:?}", path.display());
            }
        }
        Ok(())
    }

    /// Returns the last lines of every log.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut shown = String::new();
        for path in logs_in(self.dir.path()) {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(MAX_LINES)..];
            // Writing to a String cannot fail.
            let _ = writeln!(shown, "--- {}\n{}", path.display(), last.join("\n"));
        }
        shown
    }
}

fn logs_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "log") && p.is_file())
        .collect();
    logs.sort();
    logs
}
