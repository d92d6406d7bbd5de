//! The table of traffic by route, hour and node.

use std::collections::HashSet;

use diesel::dsl::{count_star, min, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use webgateway_proto::model::{KeyId, RouteId, Traffic};

use super::schema::{route_traffic, routes};
use super::{StoreError, Tx, WriteTx};

/// The traffic of a route on one node in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrafficRow {
    /// The route.
    pub route: RouteId,
    /// The hour, in hours since the Unix epoch.
    pub hour: i64,
    /// The node's name.
    pub node: String,
    /// The traffic.
    pub traffic: Traffic,
}

/// The sums by which routes are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TrafficSums {
    /// The number of requests and passthrough connections.
    pub requests: u64,
    /// The number of bytes in both directions.
    pub bytes: u64,
}

impl TrafficSums {
    /// Adds the sums of some traffic.
    pub(crate) fn add(&mut self, traffic: &Traffic) {
        let requests = traffic.requests().saturating_add(traffic.connections);
        self.requests = self.requests.saturating_add(requests);
        self.bytes = self.bytes.saturating_add(traffic.bytes());
    }
}

/// Adds traffic to the rows of its hours. Traffic of routes that do not exist is left out.
pub(crate) fn add(tx: &mut WriteTx<'_>, rows: &[TrafficRow]) -> Result<(), StoreError> {
    for row in rows {
        let id = row.route.to_string();
        let exists = routes::table.find(&id).select(count_star()).first::<i64>(tx.conn)? > 0;
        if !exists {
            continue;
        }
        let stored: Option<String> = route_traffic::table
            .find((&id, row.hour, &row.node))
            .select(route_traffic::counts)
            .first(tx.conn)
            .optional()?;
        let mut traffic =
            stored.as_deref().map_or_else(|| Ok(Traffic::default()), |text| parse(&id, text))?;
        traffic.add(&row.traffic);
        let mut sums = TrafficSums::default();
        sums.add(&traffic);
        let counts =
            serde_json::to_string(&traffic).map_err(|e| StoreError::damaged("route_traffic", &id, e))?;
        diesel::replace_into(route_traffic::table)
            .values((
                route_traffic::route_id.eq(&id),
                route_traffic::hour.eq(row.hour),
                route_traffic::node.eq(&row.node),
                route_traffic::requests.eq(to_column(sums.requests)),
                route_traffic::bytes.eq(to_column(sums.bytes)),
                route_traffic::counts.eq(counts),
            ))
            .execute(tx.conn)?;
    }
    Ok(())
}

/// Returns the rows of a route from `hour` on, by hour and node.
pub(crate) fn rows(tx: &mut Tx<'_>, route: RouteId, hour: i64) -> Result<Vec<TrafficRow>, StoreError> {
    let id = route.to_string();
    let rows: Vec<(i64, String, String)> = route_traffic::table
        .filter(route_traffic::route_id.eq(&id).and(route_traffic::hour.ge(hour)))
        .order((route_traffic::hour, route_traffic::node))
        .select((route_traffic::hour, route_traffic::node, route_traffic::counts))
        .load(tx.conn)?;
    rows.into_iter()
        .map(|(hour, node, counts)| Ok(TrafficRow { route, hour, node, traffic: parse(&id, &counts)? }))
        .collect()
}

/// Returns the sums of each route from `hour` on: of one owner's, or of all.
pub(crate) fn sums(
    tx: &mut Tx<'_>,
    owner: Option<&KeyId>,
    hour: i64,
) -> Result<Vec<(RouteId, TrafficSums)>, StoreError> {
    let total = |column: Option<i64>| column.unwrap_or_default().cast_unsigned();
    let mut query = route_traffic::table
        .filter(route_traffic::hour.ge(hour))
        .group_by(route_traffic::route_id)
        .select((
            route_traffic::route_id,
            sql::<Nullable<BigInt>>("CAST(min(total(requests), 9e18) AS INTEGER)"),
            sql::<Nullable<BigInt>>("CAST(min(total(bytes), 9e18) AS INTEGER)"),
        ))
        .into_boxed();
    if let Some(owner) = owner {
        let own = routes::table.filter(routes::owner.eq(owner.as_str())).select(routes::id);
        query = query.filter(route_traffic::route_id.eq_any(own));
    }
    let rows: Vec<(String, Option<i64>, Option<i64>)> = query.load(tx.conn)?;
    rows.into_iter()
        .map(|(id, requests, bytes)| {
            let route = id.parse().map_err(|e| StoreError::damaged("route_traffic", &id, e))?;
            Ok((route, TrafficSums { requests: total(requests), bytes: total(bytes) }))
        })
        .collect()
}

/// Returns the ids of an owner's routes.
pub(crate) fn ids_of(tx: &mut Tx<'_>, owner: &KeyId) -> Result<HashSet<RouteId>, StoreError> {
    let own = routes::table.filter(routes::owner.eq(owner.as_str())).select(routes::id);
    let ids: Vec<String> = own.load(tx.conn)?;
    ids.into_iter().map(|id| id.parse().map_err(|e| StoreError::damaged("routes", &id, e))).collect()
}

/// Deletes the rows before `hour`, and then the oldest hours until there are at most `max_rows`.
pub(crate) fn prune(tx: &mut WriteTx<'_>, hour: i64, max_rows: i64) -> Result<(), StoreError> {
    diesel::delete(route_traffic::table.filter(route_traffic::hour.lt(hour))).execute(tx.conn)?;
    while route_traffic::table.select(count_star()).first::<i64>(tx.conn)? > max_rows {
        let oldest: Option<i64> = route_traffic::table.select(min(route_traffic::hour)).first(tx.conn)?;
        let Some(oldest) = oldest else { break };
        diesel::delete(route_traffic::table.filter(route_traffic::hour.le(oldest))).execute(tx.conn)?;
    }
    Ok(())
}

fn to_column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn parse(id: &str, counts: &str) -> Result<Traffic, StoreError> {
    serde_json::from_str(counts).map_err(|e| StoreError::damaged("route_traffic", id, e))
}

#[cfg(test)]
mod tests;
