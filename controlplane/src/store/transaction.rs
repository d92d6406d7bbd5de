//! One transaction: what may be done inside it, and how it ends.

use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::prelude::*;

use super::StoreError;
use super::schema::revision;

/// A transaction that sees one consistent state of the database.
pub(crate) struct Tx<'c> {
    pub(super) conn: &'c mut SqliteConnection,
}

/// A transaction that is alone in writing.
pub(crate) struct WriteTx<'c> {
    tx: Tx<'c>,
    effects: WriteEffects,
}

/// The outcome of a transaction, for when it is committed.
#[derive(Default)]
pub(super) struct WriteEffects {
    /// The revision it made.
    pub(super) revised: Option<u64>,
    /// The work that is to be done then.
    pub(super) on_commit: Vec<Box<dyn FnOnce() + Send>>,
}

impl Tx<'_> {
    /// The revision the database stands at.
    pub(crate) fn revision(&mut self) -> Result<u64, StoreError> {
        let value: i64 = revision::table.select(revision::value).first(self.conn)?;
        Ok(value.cast_unsigned())
    }
}

impl WriteTx<'_> {
    /// The number of this change: the revision the database stands at once this commits. Everything that the nodes
    /// are to learn of carries it as its version.
    pub(crate) fn revise(&mut self) -> Result<u64, StoreError> {
        if let Some(revised) = self.effects.revised {
            return Ok(revised);
        }
        let next: i64 = diesel::update(revision::table)
            .set(revision::value.eq(revision::value + 1))
            .returning(revision::value)
            .get_result(self.tx.conn)?;
        let next = next.cast_unsigned();
        self.effects.revised = Some(next);
        Ok(next)
    }

    /// Runs `work` once this transaction is on the disk, in the order of the commits, whether or not anybody still
    /// waits for the answer; never if it is rolled back. For what is held in memory of the store, and for the log.
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

/// A transaction of its own. Also gives the new revision, if there is one; does nothing after it.
pub(super) fn write<T, E: From<StoreError>>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
) -> Result<(T, Option<u64>), E> {
    let (value, effects) =
        conn.immediate_transaction(|conn| run_work(conn, work)).map_err(TxError::into_error)?;
    Ok((value, effects.revised))
}

/// The same inside a transaction of many: what fails, by a panic too, is undone alone.
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

/// Why a transaction is rolled back: Diesel's reason, or the work's own.
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
