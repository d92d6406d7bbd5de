//! The traffic of routes: for owners of their own, for the admin of all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use webgateway_proto::model::{Host, Route, RouteId, Traffic};

use super::caller::Caller;
use super::error::DomainError;
use super::page::MAX_PAGE;
use super::rules::Domain;
use crate::store::traffic::{TrafficRow, TrafficSums};
use crate::store::{Tx, routes, traffic};
use crate::traffic::{LogEntries, RecentTraffic, Window, hour_of, unix_micros};

/// The number of full hours in a day.
const DAY: i64 = 24;
/// The maximum number of hours of history.
const MAX_HOURS: u32 = 720;
/// The number of routes that are listed by default.
const DEFAULT_LIMIT: u32 = 20;

/// A query of the traffic of routes.
#[derive(Debug, Clone)]
pub(crate) struct TrafficQuery {
    /// The window by which routes are selected and sorted.
    pub window: Window,
    /// Sorts by bytes instead of requests.
    pub by_bytes: bool,
    /// The maximum number of routes; 20 by default.
    pub limit: Option<u32>,
}

/// The traffic of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteTraffic {
    /// The route.
    pub route: Route,
    /// The traffic by node.
    pub nodes: BTreeMap<String, TrafficWindows>,
    /// The traffic of each hour on all nodes, by hours since the Unix epoch.
    pub history: BTreeMap<i64, Traffic>,
}

/// The traffic in the windows that end now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrafficWindows {
    /// The number of open connections, the last minute and the last hour.
    pub recent: RecentTraffic,
    /// The last day.
    pub day: Traffic,
}

impl TrafficWindows {
    /// Adds the traffic of another node.
    pub(crate) fn add(&mut self, other: &Self) {
        self.recent.open = self.recent.open.saturating_add(other.recent.open);
        self.recent.minute.add(&other.recent.minute);
        self.recent.hour.add(&other.recent.hour);
        self.day.add(&other.day);
    }
}

impl Domain {
    /// Returns the traffic of the route of a host. `hours` of history are added, if given.
    pub(crate) async fn host_traffic(
        &self,
        caller: &Caller,
        host: &Host,
        hours: Option<u32>,
    ) -> Result<RouteTraffic, DomainError> {
        if hours.is_some_and(|hours| !(1..=MAX_HOURS).contains(&hours)) {
            return Err(DomainError::Hours(MAX_HOURS));
        }
        let (caller, host) = (caller.clone(), host.clone());
        let first = hour_of(self.clock.now()) - hours.map_or(DAY, |hours| DAY.max(i64::from(hours) - 1));
        let read = self.store.read("routes.stats", move |tx| {
            let route = find_visible(tx, &caller, &host)?;
            let rows = traffic::rows(tx, route.id, first)?;
            Ok::<_, DomainError>((route, rows))
        });
        let (route, rows) = read.await?;
        let mut found = self.traffic_of(route, rows);
        let first = hours.map_or(i64::MAX, |hours| hour_of(self.clock.now()) - i64::from(hours) + 1);
        found.history.retain(|hour, _| *hour >= first);
        Ok(found)
    }

    /// Returns the traffic of the routes that the caller can see and that have traffic, those with the most first, and
    /// the number of all such routes.
    pub(crate) async fn list_traffic(
        &self,
        caller: &Caller,
        query: &TrafficQuery,
    ) -> Result<(Vec<RouteTraffic>, u64), DomainError> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(DomainError::Limit(MAX_PAGE));
        }
        let now = self.clock.now();
        let (first, is_day) = (hour_of(now) - DAY, query.window == Window::Day);
        let mut sums = self.traffic.memory.sums(query.window, now);
        let (owner, by_bytes) = (caller.as_user().cloned(), query.by_bytes);
        let read = self.store.read("routes.stats", move |tx| {
            if is_day {
                for (route, stored) in traffic::sums(tx, owner.as_ref(), first)? {
                    let sum = sums.entry(route).or_default();
                    sum.requests = sum.requests.saturating_add(stored.requests);
                    sum.bytes = sum.bytes.saturating_add(stored.bytes);
                }
            }
            if let Some(owner) = &owner {
                let own = traffic::ids_of(tx, owner)?;
                sums.retain(|id, _| own.contains(id));
            }
            let routes = by_traffic(sums, by_bytes);
            let (mut total, mut found) = (routes.len() as u64, Vec::new());
            for id in routes {
                if found.len() == limit as usize {
                    break;
                }
                match routes::find(tx, id)? {
                    Some(route) => found.push((route, traffic::rows(tx, id, first)?)),
                    // It was deleted within the last hour.
                    None => total -= 1,
                }
            }
            Ok::<_, DomainError>((found, total))
        });
        let (found, total) = read.await?;
        let without_history =
            |(route, rows)| RouteTraffic { history: BTreeMap::new(), ..self.traffic_of(route, rows) };
        Ok((found.into_iter().map(without_history).collect(), total))
    }

    fn traffic_of(&self, route: Route, rows: Vec<TrafficRow>) -> RouteTraffic {
        let now = self.clock.now();
        let connected: Vec<String> =
            self.nodes.nodes().into_iter().filter(|node| node.connected).map(|node| node.name).collect();
        let recent = self.traffic.memory.recent(route.id, route.created_at, now);
        let mut nodes: BTreeMap<String, TrafficWindows> = BTreeMap::new();
        for (node, mut recent) in recent {
            if !connected.contains(&node) {
                recent.open = 0;
            }
            nodes.entry(node).or_default().recent = recent;
        }
        let unsaved = self.traffic.memory.unsaved(route.id);
        let unsaved = unsaved.into_iter().filter(|row| row.hour >= hour_of(route.created_at));
        let mut history: BTreeMap<i64, Traffic> = BTreeMap::new();
        for TrafficRow { hour, node, traffic, .. } in rows.into_iter().chain(unsaved) {
            if hour >= hour_of(now) - DAY {
                nodes.entry(node).or_default().day.add(&traffic);
            }
            history.entry(hour).or_default().add(&traffic);
        }
        RouteTraffic { route, nodes, history }
    }

    /// Returns the id of the route of a host, if the caller may see it, and lets the nodes send its access log.
    pub(crate) async fn follow_log(&self, caller: &Caller, host: &Host) -> Result<RouteId, DomainError> {
        let (viewer, host) = (caller.clone(), host.clone());
        let find = move |tx: &mut Tx<'_>| find_visible(tx, &viewer, &host);
        let route = self.store.read("routes.logs", find).await?.id;
        if self.traffic.followers.follow(route, caller.key_id(), unix_micros(self.clock.now())) {
            Ok(route)
        } else {
            Err(DomainError::Crowded)
        }
    }

    /// Returns the lines of a followed access log after a cursor, and keeps following.
    pub(crate) fn read_log(&self, caller: &Caller, route: RouteId, after: Option<u64>) -> LogEntries {
        // It was followed a moment ago; if it no longer can be, the next call says so.
        let _ = self.traffic.followers.follow(route, caller.key_id(), unix_micros(self.clock.now()));
        self.traffic.followers.read(route, after)
    }
}

/// Returns the route of a host, if the caller can see it.
fn find_visible(tx: &mut Tx<'_>, caller: &Caller, host: &Host) -> Result<Route, DomainError> {
    let found = routes::find_by_host(tx, host)?.filter(|route| caller.can_see(&route.owner));
    found.ok_or_else(|| DomainError::NoRouteAt(host.clone()))
}

/// Returns the routes by their traffic, the ones with the most first. Those without any are left out.
fn by_traffic(sums: HashMap<RouteId, TrafficSums>, by_bytes: bool) -> Vec<RouteId> {
    let mut sums: Vec<_> = sums.into_iter().filter(|(_, sums)| *sums != TrafficSums::default()).collect();
    sums.sort_by_key(|(id, TrafficSums { requests, bytes })| {
        let most = if by_bytes { (*bytes, *requests) } else { (*requests, *bytes) };
        (Reverse(most), *id)
    });
    sums.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_sorted_by_requests_or_bytes() {
        let id = |n| RouteId::from_bytes([n; 16]);
        let sums = |requests, bytes| TrafficSums { requests, bytes };
        let all = HashMap::from([
            (id(1), sums(1, 900)),
            (id(2), sums(5, 1)),
            (id(3), sums(5, 2)),
            (id(4), sums(0, 0)),
            (id(5), sums(1, 900)),
        ]);
        let ids = |by_bytes| by_traffic(all.clone(), by_bytes);
        assert_eq!(ids(false), [id(3), id(2), id(1), id(5)]);
        assert_eq!(ids(true), [id(1), id(5), id(3), id(2)]);
    }
}
