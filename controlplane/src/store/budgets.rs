//! What was spent_since of the CAs' limits: one row each time, forgotten once no limit looks back so far.

use diesel::prelude::*;
use time::{Duration, OffsetDateTime};

use super::schema::budgets;
use super::{StoreError, Tx, WriteTx};

/// No limit looks back further.
pub(crate) const LONGEST_WINDOW: Duration = Duration::days(7);

/// One thing that is counted: of what kind, for whom, at which CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BudgetKey {
    /// The CA's directory.
    pub directory: String,
    /// What is counted.
    pub kind: &'static str,
    /// Whose it is.
    pub subject: String,
}

/// When this was spent_since since `since`, the oldest first.
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

/// Counts one, now; forgets what is too old to count.
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
