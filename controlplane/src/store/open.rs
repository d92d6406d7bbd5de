//! Opening the database. The file is inspected before anything is written; unknown data is never overwritten.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::OpenError;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!();
/// The header of every SQLite database (SQLite's file format §1.2).
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The settings of the writer. `busy_timeout` comes first because the others may have to wait. The checkpointer makes
/// the checkpoints.
const WRITER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0;";
/// The settings of a reader. The file is not memory-mapped: each write by another connection would invalidate the
/// mapping.
const READER_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;";

/// A database that is ours, migrated, and locked against other processes.
pub(super) struct OpenDatabase {
    /// The absolute path.
    pub(super) path: String,
    /// The writer's connection.
    pub(super) writer: SqliteConnection,
    /// The lock, held for as long as the store is open.
    pub(super) lock: File,
}

/// Opens the database at `path`, creates it if it does not exist, and migrates its schema.
pub(super) fn open(path: &Path) -> Result<OpenDatabase, OpenError> {
    let path = std::path::absolute(path).map_err(|_| OpenError::Path(path.to_owned()))?;
    let text = path.to_str().ok_or_else(|| OpenError::Path(path.clone()))?.to_owned();
    let lock = lock(&path)?;
    check_file(&path)?;
    let failed = |detail: String| classify(&path, detail);
    let mut conn = SqliteConnection::establish(&text).map_err(|e| failed(e.to_string()))?;
    conn.batch_execute("PRAGMA busy_timeout = 5000").map_err(|e| failed(e.to_string()))?;
    let found = inspect(&mut conn, &path)?;
    migrate(&mut conn, &path, found)?;
    drop(conn);
    let writer = writer(&text).map_err(failed)?;
    Ok(OpenDatabase { path: text, writer, lock })
}

/// Opens a writer's connection to a database that [`open`] has prepared.
pub(super) fn writer(path: &str) -> Result<SqliteConnection, String> {
    let mut conn = SqliteConnection::establish(path).map_err(|e| e.to_string())?;
    conn.batch_execute(WRITER_PRAGMAS).map_err(|e| e.to_string())?;
    Ok(conn)
}

/// Configures a connection for reading only.
pub(super) fn make_reader(conn: &mut SqliteConnection) -> QueryResult<()> {
    conn.batch_execute(READER_PRAGMAS)
}

/// Locks a file beside the database. A lock on the database itself would release SQLite's own when it is closed.
fn lock(database: &Path) -> Result<File, OpenError> {
    let path = sibling(database, ".lock");
    let unwritable = |source| OpenError::Unwritable { path: path.clone(), source };
    let file = private_options().create(true).truncate(false).open(&path).map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(database.to_owned())),
        Err(TryLockError::Error(source)) => Err(unwritable(source)),
    }
}

/// Creates the file with mode 0600, or checks that it may be an SQLite database. Closes it before SQLite opens it.
fn check_file(path: &Path) -> Result<(), OpenError> {
    let unwritable = |source| OpenError::Unwritable { path: path.to_owned(), source };
    let mut file = private_options().create(true).truncate(false).open(path).map_err(unwritable)?;
    let metadata = file.metadata().map_err(unwritable)?;
    if !metadata.is_file() {
        return Err(OpenError::NotADatabase(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(unwritable)?;
    }
    let mut magic = Vec::new();
    file.by_ref().take(SQLITE_MAGIC.len() as u64).read_to_end(&mut magic).map_err(unwritable)?;
    if magic.is_empty() || magic == SQLITE_MAGIC {
        Ok(())
    } else {
        Err(OpenError::NotADatabase(path.to_owned()))
    }
}

enum DatabaseState {
    Empty,
    Existing,
}

/// Rejects a database that is damaged, of another program, or of a newer build. Writes nothing.
fn inspect(conn: &mut SqliteConnection, path: &Path) -> Result<DatabaseState, OpenError> {
    let failed = |e: diesel::result::Error| classify(path, e.to_string());
    let check: Vec<String> = sql::<Text>("PRAGMA quick_check(1)").load(conn).map_err(failed)?;
    if check != ["ok"] {
        return Err(OpenError::Corrupt { path: path.to_owned(), detail: check.join("; ") });
    }
    let tables: Vec<String> =
        sql::<Text>("SELECT name FROM sqlite_master WHERE type = 'table'").load(conn).map_err(failed)?;
    if tables.is_empty() {
        return Ok(DatabaseState::Empty);
    }
    if !tables.iter().any(|name| name == "__diesel_schema_migrations") {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let applied: Vec<String> = sql::<Text>("SELECT version FROM __diesel_schema_migrations ORDER BY version")
        .load(conn)
        .map_err(failed)?;
    let known_migrations = known_migrations(path)?;
    match applied.into_iter().find(|version| !known_migrations.contains(version)) {
        Some(migration) => Err(OpenError::Newer { path: path.to_owned(), migration }),
        None => Ok(DatabaseState::Existing),
    }
}

/// Applies the pending migrations, after a backup if the database is not empty.
fn migrate(conn: &mut SqliteConnection, path: &Path, found: DatabaseState) -> Result<(), OpenError> {
    let failed = |detail: String| OpenError::Failed { path: path.to_owned(), detail };
    let pending = conn.pending_migrations(MIGRATIONS).map_err(|e| failed(e.to_string()))?;
    let Some(first) = pending.first().map(|migration| migration.name().version().to_string()) else {
        return Ok(());
    };
    match found {
        DatabaseState::Empty => {}
        DatabaseState::Existing => back_up(conn, &sibling(path, &format!(".before-{first}")))?,
    }
    conn.run_migrations(&pending).map_err(|e| classify(path, e.to_string()))?;
    Ok(())
}

/// Copies the database to `target`, and replaces an older copy there.
fn back_up(conn: &mut SqliteConnection, target: &Path) -> Result<(), OpenError> {
    let failed = |detail: String| OpenError::Backup { path: target.to_owned(), detail };
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error.to_string())),
        Ok(()) | Err(_) => {}
    }
    // `VACUUM INTO` accepts an empty file. Creating the file first gives it the right mode.
    private_options().create_new(true).open(target).map_err(|e| failed(e.to_string()))?;
    let text = target.to_str().unwrap_or_default();
    let copied = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(text).execute(conn);
    copied.map(drop).map_err(|e| failed(e.to_string()))
}

/// Returns the versions of the migrations in this build.
fn known_migrations(path: &Path) -> Result<Vec<String>, OpenError> {
    let migrations: Result<Vec<Box<dyn Migration<Sqlite>>>, _> = MIGRATIONS.migrations();
    let migrations =
        migrations.map_err(|e| OpenError::Failed { path: path.to_owned(), detail: e.to_string() })?;
    Ok(migrations.iter().map(|migration| migration.name().version().to_string()).collect())
}

/// Classifies an error by SQLite's message (`sqlite3_errstr`), because Diesel does not expose the error code.
fn classify(path: &Path, detail: String) -> OpenError {
    let path = path.to_owned();
    match detail.as_str() {
        d if d.contains("is locked") => OpenError::Locked(path),
        d if d.contains("readonly") => {
            OpenError::Unwritable { path, source: io::Error::new(io::ErrorKind::PermissionDenied, detail) }
        }
        d if d.contains("malformed") || d.contains("not a database") => OpenError::Corrupt { path, detail },
        _ => OpenError::Failed { path, detail },
    }
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Returns the path with `suffix` appended to the file name.
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
