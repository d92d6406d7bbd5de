//! Errors of the store: while it is opened, and in transactions.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An error while opening the database. Nothing was written to it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The path is not UTF-8.
    #[error("the database path {0:?} is not UTF-8: choose another services_storage.db_path")]
    Path(PathBuf),
    /// Another process uses the database.
    #[error("the database {0} is in use by another process: is another controlplane running?")]
    Locked(PathBuf),
    /// The database or its folder cannot be written.
    #[error(
        "cannot write to {path}: {source}; the database and its folder must be writable by this user (services_storage.db_path)"
    )]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is not an SQLite database.
    #[error("{0} is not an SQLite database: choose another services_storage.db_path")]
    NotADatabase(PathBuf),
    /// The database belongs to another program.
    #[error("{0} is the database of another program: choose another services_storage.db_path")]
    Foreign(PathBuf),
    /// The database is damaged.
    #[error("the database {path} is damaged ({detail}): restore it from a backup; it has not been touched")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's description.
        detail: String,
    },
    /// The database was migrated by a newer build.
    #[error(
        "the database {path} was made by a newer version (migration {migration}): run that version or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The first migration that this build does not know.
        migration: String,
    },
    /// The backup before the migration failed.
    #[error("cannot back up the database to {path} before migrating it: {detail}")]
    Backup {
        /// The path of the backup.
        path: PathBuf,
        /// SQLite's description.
        detail: String,
    },
    /// SQLite reported another error.
    #[error("cannot open the database {path}: {detail}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// SQLite's description.
        detail: String,
    },
}

/// An error of a transaction. None of its changes were kept.
#[derive(Debug, Error)]
pub enum StoreError {
    /// SQLite reported an error.
    #[error("the database: {0}")]
    Database(#[from] diesel::result::Error),
    /// No connection became available in time.
    #[error("no connection to the database: {0}")]
    Connection(String),
    /// SQLite could not commit the transaction.
    #[error("the database did not commit: {0}")]
    NotCommitted(String),
    /// A row contains a value that this program cannot have written.
    #[error("the row `{key}` of {table} is damaged: {reason}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The row's key.
        key: String,
        /// The reason.
        reason: String,
    },
    /// The request is not the first with its nonce.
    #[error("the nonce was used before")]
    Replayed,
    /// The transaction's code panicked, or the process is stopping.
    #[error("the transaction was interrupted")]
    Interrupted,
}

impl StoreError {
    /// Returns the error for a row of `table` that cannot be parsed.
    pub(super) fn damaged(table: &'static str, key: &str, reason: impl ToString) -> Self {
        Self::Damaged { table, key: key.to_owned(), reason: reason.to_string() }
    }
}
