//! The numbers of certificates by state, for the metrics. They are counted without reading the certificates.

use diesel::dsl::{count_star, exists, min, not};
use diesel::prelude::*;
use time::OffsetDateTime;

use super::certificates::STATE_ACTIVE;
use super::schema::{certificates, issuance};
use super::{StoreError, Tx};
use crate::metrics::CertificateCounts;

/// Counts the certificates in use, and those that wait to be issued.
pub(crate) fn count(tx: &mut Tx<'_>, now: OffsetDateTime) -> Result<CertificateCounts, StoreError> {
    let seconds = now.unix_timestamp();
    let in_use = || certificates::table.filter(certificates::state.eq(STATE_ACTIVE));
    let number = |count: i64| usize::try_from(count).unwrap_or_default();
    let valid: i64 = in_use().filter(certificates::not_after.gt(seconds)).count().get_result(tx.conn)?;
    let expired: i64 = in_use().filter(certificates::not_after.le(seconds)).count().get_result(tx.conn)?;
    let first: Option<i64> = in_use().select(min(certificates::not_after)).first(tx.conn)?;
    let of_state = in_use().filter(certificates::id.eq(issuance::certificate_id));
    let waiting: i64 = issuance::table.filter(not(exists(of_state))).select(count_star()).first(tx.conn)?;
    let failing: i64 =
        issuance::table.filter(issuance::failures.gt(0)).select(count_star()).first(tx.conn)?;
    #[expect(clippy::cast_precision_loss, reason = "a time until an expiry is far below 2^52 s")]
    let expiry_seconds = first.map(|first| (first - seconds) as f64);
    let [valid, expired, waiting, failing] = [valid, expired, waiting, failing].map(number);
    Ok(CertificateCounts { valid, expired, waiting, failing, expiry_seconds })
}
