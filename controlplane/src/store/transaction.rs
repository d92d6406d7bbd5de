//! Read and write transactions.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::prelude::*;

use super::StoreError;
use super::schema::revision;

/// A transaction that sees one consistent state of the database.
pub(crate) struct Tx<'c> {
    pub(super) conn: &'c mut SqliteConnection,
}

/// A write transaction. Only one runs at a time.
pub(crate) struct WriteTx<'c> {
    tx: Tx<'c>,
    effects: WriteEffects,
}

/// The effects of a transaction beyond its own changes, which apply when it is committed.
#[derive(Default)]
pub(super) struct WriteEffects {
    /// The new revision, if the transaction created one.
    pub(super) new_revision: Option<u64>,
    /// The functions to call after the commit.
    pub(super) on_commit: Vec<Box<dyn FnOnce() + Send>>,
}

impl Tx<'_> {
    /// Returns the revision of the database.
    pub(crate) fn revision(&mut self) -> Result<u64, StoreError> {
        let value: i64 = revision::table.select(revision::value).first(self.conn)?;
        Ok(value.cast_unsigned())
    }
}

impl WriteTx<'_> {
    /// Returns the revision that this transaction creates. All changes that nodes are to receive carry it as their
    /// version.
    pub(crate) fn revise(&mut self) -> Result<u64, StoreError> {
        if let Some(new_revision) = self.effects.new_revision {
            return Ok(new_revision);
        }
        let next: i64 = diesel::update(revision::table)
            .set(revision::value.eq(revision::value + 1))
            .returning(revision::value)
            .get_result(self.tx.conn)?;
        let next = next.cast_unsigned();
        self.effects.new_revision = Some(next);
        Ok(next)
    }

    /// Calls `work` after this transaction is on the disk, in the order of the commits, even if the caller no longer
    /// waits for the result. Does not call it if the transaction is rolled back. Meant for caches of the store and for
    /// logging.
    pub(crate) fn on_commit(&mut self, work: impl FnOnce() + Send + 'static) {
        self.effects.on_commit.push(Box::new(work));
    }
}

impl<'c> Deref for WriteTx<'c> {
    type Target = Tx<'c>;

    fn deref(&self) -> &Tx<'c> {
        &self.tx
    }
}

impl<'c> DerefMut for WriteTx<'c> {
    fn deref_mut(&mut self) -> &mut Tx<'c> {
        &mut self.tx
    }
}

pub(super) fn read<T, E: From<StoreError>>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let outcome = conn.transaction(|conn| work(&mut Tx { conn }).map_err(TxError::Work));
    outcome.map_err(TxError::into_error)
}

/// Runs a transaction of its own and returns the new revision, if there is one. The effects `on_commit` are ignored.
pub(super) fn write<T, E: From<StoreError>>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
) -> Result<(T, Option<u64>), E> {
    let (value, effects) =
        conn.immediate_transaction(|conn| run_work(conn, work)).map_err(TxError::into_error)?;
    Ok((value, effects.new_revision))
}

/// Runs a transaction nested in a batch. An error or a panic rolls back this transaction alone.
pub(super) fn write_nested<T, E: From<StoreError>>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
) -> Result<(T, WriteEffects), E> {
    let caught = |conn: &mut SqliteConnection| {
        let outcome = catch_unwind(AssertUnwindSafe(|| run_work(conn, work)));
        outcome.unwrap_or_else(|_| Err(TxError::Work(StoreError::Interrupted.into())))
    };
    conn.transaction(caught).map_err(TxError::into_error)
}

fn run_work<T, E: From<StoreError>>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
) -> Result<(T, WriteEffects), TxError<E>> {
    let mut tx = WriteTx { tx: Tx { conn }, effects: WriteEffects::default() };
    let value = work(&mut tx).map_err(TxError::Work)?;
    Ok((value, tx.effects))
}

/// The reason for a rollback: an error of Diesel or of the work itself.
enum TxError<E> {
    Database(diesel::result::Error),
    Work(E),
}

impl<E: From<StoreError>> TxError<E> {
    fn into_error(self) -> E {
        match self {
            Self::Database(error) => StoreError::from(error).into(),
            Self::Work(error) => error,
        }
    }
}

impl<E> From<diesel::result::Error> for TxError<E> {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}
