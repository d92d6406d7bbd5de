//! The table of events that count against the rate limits of CAs: one row per event, deleted when no limit counts it.

use diesel::prelude::*;
use time::{Duration, OffsetDateTime};

use super::schema::budgets;
use super::{StoreError, Tx, WriteTx};

/// The longest window of any limit.
pub(crate) const LONGEST_WINDOW: Duration = Duration::days(7);

/// The key under which events are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BudgetKey {
    /// The URL of the CA's directory.
    pub directory: String,
    /// The kind of the event.
    pub kind: &'static str,
    /// The subject, such as a host or a set of names.
    pub subject: String,
}

/// Returns the times of the events after `since`, oldest first.
pub(crate) fn spent_since(
    tx: &mut Tx<'_>,
    counted: &BudgetKey,
    since: OffsetDateTime,
) -> Result<Vec<OffsetDateTime>, StoreError> {
    let times: Vec<i64> = budgets::table
        .filter(budgets::directory.eq(&counted.directory).and(budgets::kind.eq(counted.kind)))
        .filter(budgets::subject.eq(&counted.subject).and(budgets::at.gt(since.unix_timestamp())))
        .order(budgets::at)
        .select(budgets::at)
        .load(tx.conn)?;
    let read = |at| {
        OffsetDateTime::from_unix_timestamp(at)
            .map_err(|e| StoreError::damaged("budgets", &counted.subject, e))
    };
    times.into_iter().map(read).collect()
}

/// Records an event now. Deletes events that no limit counts any more.
pub(crate) fn record(
    tx: &mut WriteTx<'_>,
    counted: &BudgetKey,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let oldest = (now - LONGEST_WINDOW).unix_timestamp();
    diesel::delete(budgets::table.filter(budgets::at.lt(oldest))).execute(tx.conn)?;
    diesel::insert_into(budgets::table)
        .values((
            budgets::directory.eq(&counted.directory),
            budgets::kind.eq(counted.kind),
            budgets::subject.eq(&counted.subject),
            budgets::at.eq(now.unix_timestamp()),
        ))
        .execute(tx.conn)?;
    Ok(())
}
