//! The traffic of the last hour, and what is not in the store yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tracing::warn;
use webgateway_proto::feed::{RouteTraffic, TrafficReport};
use webgateway_proto::model::{RouteId, Traffic};

use super::series::{RecentTraffic, Series};
use super::units::hour_of;
use crate::store::traffic::{TrafficRow, TrafficSums};

/// The maximum number of routes with traffic, those on several nodes counted for each.
const MAX_SERIES: usize = 10_000;
/// The maximum number of rows that wait to be stored. There are more only while the store fails.
const MAX_UNSAVED: usize = 20_000;
/// The maximum number of nodes whose last report is remembered.
const MAX_NODES: usize = 2000;

/// A time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// The last minute.
    Minute,
    /// The last hour.
    Hour,
    /// The last day.
    Day,
}

/// The traffic of the last hour. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrafficMemory(Arc<Mutex<MemoryState>>);

#[derive(Debug, Default)]
struct MemoryState {
    series: HashMap<RouteId, BTreeMap<Arc<str>, Series>>,
    count: usize,
    /// The instance and the number of each node's last report.
    reports: HashMap<Arc<str>, (u64, u64)>,
    unsaved: HashMap<(RouteId, i64, Arc<str>), Traffic>,
    /// Is true once the process stops: what is reported then would not be stored any more.
    is_closed: bool,
}

impl TrafficMemory {
    fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a node's stream: what it had open is reported anew.
    pub(crate) fn begin_stream(&self, node: &str) {
        for nodes in self.state().series.values_mut() {
            if let Some(series) = nodes.get_mut(node) {
                series.open = 0;
            }
        }
    }

    /// Counts a report, unless it was counted before. Returns whether it may be acknowledged.
    #[must_use]
    pub(crate) fn apply(&self, node: &str, report: &TrafficReport, now: OffsetDateTime) -> bool {
        let mut state = self.state();
        if state.is_closed {
            return false;
        }
        let number = (report.instance, report.sequence);
        if state.reports.get(node) == Some(&number) {
            return true;
        }
        let node: Arc<str> =
            state.reports.get_key_value(node).map_or_else(|| node.into(), |(key, _)| Arc::clone(key));
        if state.reports.len() >= MAX_NODES && !state.reports.contains_key(&node) {
            state.reports.clear();
        }
        state.reports.insert(Arc::clone(&node), number);
        let (hour, now) = (hour_of(now), now.unix_timestamp());
        for RouteTraffic { route, open, traffic } in &report.routes {
            state.add(*route, &node, (*open, traffic), now);
            state.add_unsaved((*route, hour, Arc::clone(&node)), traffic);
        }
        true
    }

    /// Returns the recent traffic of a route by node, without what ended before `since`.
    #[must_use]
    pub(crate) fn recent(
        &self,
        route: RouteId,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> BTreeMap<String, RecentTraffic> {
        let (since, now) = (since.unix_timestamp(), now.unix_timestamp());
        let state = self.state();
        let nodes = state.series.get(&route).into_iter().flatten();
        nodes.map(|(node, series)| (node.to_string(), series.recent(since, now))).collect()
    }

    /// Returns the sums of every route in a window; for a day, of what is not in the store yet.
    #[must_use]
    pub(crate) fn sums(&self, window: Window, now: OffsetDateTime) -> HashMap<RouteId, TrafficSums> {
        let (mut sums, state): (HashMap<RouteId, TrafficSums>, _) = (HashMap::new(), self.state());
        let add = match window {
            Window::Day => {
                for ((route, ..), traffic) in &state.unsaved {
                    sums.entry(*route).or_default().add(traffic);
                }
                return sums;
            }
            Window::Minute => Series::add_minute_to,
            Window::Hour => Series::add_hour_to,
        };
        for (route, nodes) in &state.series {
            let sums = sums.entry(*route).or_default();
            nodes.values().for_each(|series| add(series, sums, now.unix_timestamp()));
        }
        sums
    }

    /// Returns the traffic of a route that is not in the store yet.
    #[must_use]
    pub(crate) fn unsaved(&self, route: RouteId) -> Vec<TrafficRow> {
        let state = self.state();
        let of_route = state.unsaved.iter().filter(|((of, ..), _)| *of == route);
        of_route.map(|((_, hour, node), traffic)| row((route, *hour, node), traffic.clone())).collect()
    }

    /// Takes the traffic that is to be stored, and forgets routes without traffic.
    pub(super) fn take_unsaved(&self, now: OffsetDateTime) -> Vec<TrafficRow> {
        let mut state = self.state();
        state.forget_idle(now.unix_timestamp());
        state
            .unsaved
            .drain()
            .map(|((route, hour, node), traffic)| row((route, hour, &node), traffic))
            .collect()
    }

    /// Takes back traffic that could not be stored.
    pub(super) fn put_back(&self, rows: Vec<TrafficRow>) {
        let mut state = self.state();
        for TrafficRow { route, hour, node, traffic } in rows {
            state.add_unsaved((route, hour, node.into()), &traffic);
        }
    }

    /// Counts nothing more: the nodes keep what they report from now on.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
    }
}

fn row((route, hour, node): (RouteId, i64, &Arc<str>), traffic: Traffic) -> TrafficRow {
    TrafficRow { route, hour, node: node.to_string(), traffic }
}

impl MemoryState {
    fn add(&mut self, route: RouteId, node: &Arc<str>, (open, traffic): (u64, &Traffic), now: i64) {
        let is_known = self.series.get(&route).is_some_and(|nodes| nodes.contains_key(node));
        if !is_known {
            if self.count >= MAX_SERIES {
                self.forget_idle(now);
            }
            if self.count >= MAX_SERIES {
                return;
            }
            self.count += 1;
        }
        let series = self.series.entry(route).or_default().entry(Arc::clone(node)).or_default();
        series.open = open;
        if !traffic.is_empty() {
            series.add(now, traffic);
        }
    }

    fn add_unsaved(&mut self, key: (RouteId, i64, Arc<str>), traffic: &Traffic) {
        if traffic.is_empty() {
            return;
        }
        if self.unsaved.len() >= MAX_UNSAVED && !self.unsaved.contains_key(&key) {
            return warn!(route = %key.0, "traffic not counted: too much waits to be stored");
        }
        self.unsaved.entry(key).or_default().add(traffic);
    }

    fn forget_idle(&mut self, now: i64) {
        self.series.retain(|_, nodes| {
            nodes.retain(|_, series| series.is_in_use(now));
            !nodes.is_empty()
        });
        self.count = self.series.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests;
