//! The routes that hold or claim a host, and those at the hosts above and below it.

use diesel::prelude::*;
use time::OffsetDateTime;
use webgateway_proto::model::{Host, KeyId, Route, RouteId};

use super::routes::{RouteRow, reversed, to_millis};
use super::schema::routes;
use super::{StoreError, Tx, WriteTx};

/// Returns the owner's route with this host, whether it holds the host or only claims it.
pub(crate) fn find_own(tx: &mut Tx<'_>, host: &Host, owner: &KeyId) -> Result<Option<Route>, StoreError> {
    let query = routes::table.filter(routes::owner.eq(owner.as_str()).and(routes::host.eq(host.as_str())));
    let row = query.select(RouteRow::as_select()).first(tx.conn).optional()?;
    row.map(RouteRow::parse).transpose()
}

/// Returns every route with this host, and whether it holds the host, oldest first.
pub(crate) fn of_host(tx: &mut Tx<'_>, host: &Host) -> Result<Vec<(Route, bool)>, StoreError> {
    let rows: Vec<(RouteRow, bool)> = routes::table
        .filter(routes::host.eq(host.as_str()))
        .order((routes::created_at, routes::id))
        .select((RouteRow::as_select(), routes::held))
        .load(tx.conn)?;
    rows.into_iter().map(|(row, held)| Ok((row.parse()?, held))).collect()
}

/// Returns the routes that hold one of the names above `host`, nearest first. Names above the base domain `base` are not
/// above the hosts below it.
pub(crate) fn above(tx: &mut Tx<'_>, host: &Host, base: &Host) -> Result<Vec<Route>, StoreError> {
    let dots = host.as_str().match_indices('.');
    let parents = dots.map(|(at, _)| &host.as_str()[at + 1..]);
    let parents: Vec<&str> =
        parents.take_while(|name| *name != base.as_str() && name.contains('.')).collect();
    let query = routes::table.filter(routes::host.eq_any(parents).and(routes::held.eq(true)));
    let rows: Vec<RouteRow> = query.select(RouteRow::as_select()).load(tx.conn)?;
    let mut found: Vec<Route> = rows.into_iter().map(RouteRow::parse).collect::<Result<_, _>>()?;
    found.sort_by_key(|route| std::cmp::Reverse(route.host.as_str().len()));
    Ok(found)
}

/// Returns a route of another owner that holds a host below `host`. Hosts below the base domain `base` are not below the
/// names above it.
pub(crate) fn below(
    tx: &mut Tx<'_>,
    host: &Host,
    base: &Host,
    owner: &KeyId,
) -> Result<Option<Route>, StoreError> {
    // `/` is the character after `.`.
    let range = |host: &Host| (format!("{}.", reversed(host)), format!("{}/", reversed(host)));
    let (from, to) = range(host);
    let mut query = routes::table
        .filter(routes::reversed.gt(from).and(routes::reversed.lt(to)))
        .filter(routes::owner.ne(owner.as_str()).and(routes::held.eq(true)))
        .into_boxed();
    if base.is_below(host) {
        let (from, to) = range(base);
        query = query.filter(routes::reversed.lt(from).or(routes::reversed.ge(to)));
    }
    let row = query.select(RouteRow::as_select()).first(tx.conn).optional()?;
    row.map(RouteRow::parse).transpose()
}

/// Sets whether a route holds its host. The route gets this version.
pub(crate) fn set_held(
    tx: &mut WriteTx<'_>,
    id: RouteId,
    held: bool,
    version: u64,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    diesel::update(routes::table.find(id.to_string()))
        .set((
            routes::held.eq(held),
            routes::version.eq(version.cast_signed()),
            routes::updated_at.eq(to_millis(now)),
        ))
        .execute(tx.conn)?;
    Ok(())
}
