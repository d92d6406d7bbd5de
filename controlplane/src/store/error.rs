//! What can go wrong with the store: at start, and later.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the database cannot be opened. Nothing was written to it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Its path is not UTF-8.
    #[error("the database path {0:?} is not UTF-8: choose another services_storage.db_path")]
    Path(PathBuf),
    /// Another process has it.
    #[error("the database {0} is in use by another process: is another controlplane running?")]
    Locked(PathBuf),
    /// It cannot be made or written.
    #[error(
        "cannot write to {path}: {source}; the database and its folder must be writable by this user (services_storage.db_path)"
    )]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another kind of file.
    #[error("{0} is not an SQLite database: choose another services_storage.db_path")]
    NotADatabase(PathBuf),
    /// Somebody else's database.
    #[error("{0} is the database of another program: choose another services_storage.db_path")]
    Foreign(PathBuf),
    /// Damaged.
    #[error("the database {path} is damaged ({detail}): restore it from a backup; it has not been touched")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// A newer build has changed it.
    #[error(
        "the database {path} was made by a newer version (migration {migration}): run that version or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first migration this build does not know.
        migration: String,
    },
    /// The copy to be made before migrating failed.
    #[error("cannot back up the database to {path} before migrating it: {detail}")]
    Backup {
        /// The copy.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// Anything else that SQLite says.
    #[error("cannot open the database {path}: {detail}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
}

/// Why a transaction did not happen. Nothing of it was kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the database: {0}")]
    Database(#[from] diesel::result::Error),
    /// No connection within the time allowed.
    #[error("no connection to the database: {0}")]
    Connection(String),
    /// SQLite could not put it on the disk.
    #[error("the database did not commit: {0}")]
    NotCommitted(String),
    /// A row that this program cannot have written.
    #[error("the row `{key}` of {table} is damaged: {reason}")]
    Damaged {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The request that asks for it was made before.
    #[error("the nonce was used before")]
    Replayed,
    /// The transaction's code panicked, or the process is stopping.
    #[error("the transaction was interrupted")]
    Interrupted,
}

impl StoreError {
    /// A row of `table` that does not parse.
    pub(super) fn damaged(table: &'static str, key: &str, reason: impl ToString) -> Self {
        Self::Damaged { table, key: key.to_owned(), reason: reason.to_string() }
    }
}
