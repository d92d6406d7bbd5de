//! The table of claims: one row for each route that does not hold its host, with the state of its proof.

use diesel::dsl::count_star;
use diesel::prelude::*;
use time::OffsetDateTime;
use webgateway_proto::model::{DnsRecord, Host, KeyId, RouteId};

use super::issuance::{records_from_json, records_to_json};
use super::routes::{from_millis, to_millis};
use super::schema::claims;
use super::{StoreError, Tx, WriteTx};

/// A claim of a route to a host that the route does not hold. Times are in whole milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredClaim {
    /// The route.
    pub route: RouteId,
    /// The route's owner.
    pub owner: KeyId,
    /// The host.
    pub host: Host,
    /// True if the route held the host until another owner proved theirs.
    pub displaced: bool,
    /// The time since when the route has claimed the host.
    pub since: OffsetDateTime,
    /// The time from which the claim may be dropped.
    pub expires_at: OffsetDateTime,
    /// The time of the next check of the DNS.
    pub check_at: OffsetDateTime,
    /// The time of the last check.
    pub checked_at: Option<OffsetDateTime>,
    /// The reason why the route does not hold the host.
    pub reason: String,
    /// The DNS records that would prove the claim.
    pub records: Vec<DnsRecord>,
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = claims, treat_none_as_null = true)]
struct ClaimRow {
    route_id: String,
    owner: String,
    host: String,
    displaced: bool,
    since: i64,
    expires_at: i64,
    check_at: i64,
    checked_at: Option<i64>,
    reason: String,
    records: String,
}

/// Returns the claim of a route; `None` if the route holds its host.
pub(crate) fn find(tx: &mut Tx<'_>, route: RouteId) -> Result<Option<StoredClaim>, StoreError> {
    let query = claims::table.find(route.to_string()).select(ClaimRow::as_select());
    query.first(tx.conn).optional()?.map(ClaimRow::parse).transpose()
}

/// Stores the claim of a route in place of an earlier one.
pub(crate) fn put(tx: &mut WriteTx<'_>, claim: &StoredClaim) -> Result<(), StoreError> {
    let row = ClaimRow::from_claim(claim)?;
    delete(tx, claim.route)?;
    diesel::insert_into(claims::table).values(row).execute(tx.conn)?;
    Ok(())
}

/// Deletes the claim of a route, because the route holds its host now.
pub(crate) fn delete(tx: &mut WriteTx<'_>, route: RouteId) -> Result<(), StoreError> {
    diesel::delete(claims::table.find(route.to_string())).execute(tx.conn)?;
    Ok(())
}

/// Returns the number of an owner's claims.
pub(crate) fn count(tx: &mut Tx<'_>, owner: &KeyId) -> Result<u64, StoreError> {
    let query = claims::table.filter(claims::owner.eq(owner.as_str())).select(count_star());
    Ok(query.first::<i64>(tx.conn)?.cast_unsigned())
}

/// Returns the hosts of claims whose check is due, each with the owner of the claim, at most `limit`.
pub(crate) fn due(
    tx: &mut Tx<'_>,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<(KeyId, Host)>, StoreError> {
    let rows: Vec<(String, String)> = claims::table
        .filter(claims::check_at.le(to_millis(now)))
        .order(claims::check_at)
        .limit(limit.into())
        .select((claims::owner, claims::host))
        .load(tx.conn)?;
    let parse = |(owner, host): (String, String)| {
        let damaged = |what: String| StoreError::damaged("claims", &host, what);
        Ok((
            owner.parse().map_err(|e| damaged(format!("{e}")))?,
            host.parse().map_err(|e| damaged(format!("{e}")))?,
        ))
    };
    rows.into_iter().map(parse).collect()
}

/// Returns the time of the next check after `now`.
pub(crate) fn next_check(tx: &mut Tx<'_>, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, StoreError> {
    let query = claims::table.filter(claims::check_at.gt(to_millis(now))).order(claims::check_at);
    let next: Option<i64> = query.select(claims::check_at).first(tx.conn).optional()?;
    Ok(next.and_then(from_millis))
}

/// Makes the checks of all claims to a host due at once, and wakes the task that makes them.
pub(crate) fn check_soon(tx: &mut WriteTx<'_>, host: &Host, now: OffsetDateTime) -> Result<(), StoreError> {
    let claimed = claims::table.filter(claims::host.eq(host.as_str()));
    if diesel::update(claimed).set(claims::check_at.eq(to_millis(now))).execute(tx.conn)? > 0 {
        tx.revise()?;
    }
    Ok(())
}

impl ClaimRow {
    fn from_claim(claim: &StoredClaim) -> Result<Self, StoreError> {
        let records = records_to_json(&claim.records);
        Ok(Self {
            route_id: claim.route.to_string(),
            owner: claim.owner.to_string(),
            host: claim.host.to_string(),
            displaced: claim.displaced,
            since: to_millis(claim.since),
            expires_at: to_millis(claim.expires_at),
            check_at: to_millis(claim.check_at),
            checked_at: claim.checked_at.map(to_millis),
            reason: claim.reason.clone(),
            records: records.map_err(|e| StoreError::damaged("claims", claim.host.as_str(), e))?,
        })
    }

    fn parse(self) -> Result<StoredClaim, StoreError> {
        let damaged = |what: String| StoreError::damaged("claims", &self.route_id, what);
        let time = |millis: i64| from_millis(millis).ok_or_else(|| damaged(format!("time {millis}")));
        Ok(StoredClaim {
            route: self.route_id.parse().map_err(|e| damaged(format!("{e}")))?,
            owner: self.owner.parse().map_err(|e| damaged(format!("{e}")))?,
            host: self.host.parse().map_err(|e| damaged(format!("{e}")))?,
            displaced: self.displaced,
            since: time(self.since)?,
            expires_at: time(self.expires_at)?,
            check_at: time(self.check_at)?,
            checked_at: self.checked_at.map(time).transpose()?,
            records: records_from_json(&self.records).map_err(|e| damaged(e.to_string()))?,
            reason: self.reason,
        })
    }
}
