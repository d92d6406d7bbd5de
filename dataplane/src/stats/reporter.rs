//! The reports of the node: what the workers collect, added up until the controlplane has acknowledged it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use webgateway_proto::feed::{AccessLines, FromNode, MAX_REPORTED_ROUTES, RouteTraffic, TrafficReport};
use webgateway_proto::model::{RouteId, Traffic};

use super::channels::{
    COLLECTIONS, CollectedRoute, FollowedRoutes, LINE_MESSAGES, MAX_ROUTES, StatsChannels,
};
use super::line_budget::LineBudget;
use crate::clock::unix_now;

/// The interval between reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// The number of intervals after which a report that was not acknowledged is sent again.
const REPEAT_TICKS: u32 = 15;

/// The reports and access log lines of this node. One report at a time is on its way, until it is acknowledged.
#[derive(Debug)]
pub(crate) struct TrafficReporter {
    pub(super) collected: mpsc::Receiver<Vec<CollectedRoute>>,
    pub(super) lines: mpsc::Receiver<AccessLines>,
    followed: watch::Sender<FollowedRoutes>,
    unattributed: Counter,
    /// A random number by which the controlplane tells the reports of this process from those of an earlier one.
    instance: u64,
    sequence: u64,
    /// The traffic that is not in a report yet.
    pending: HashMap<RouteId, Traffic>,
    /// The numbers of open connections that are not zero.
    open: HashMap<RouteId, i64>,
    in_flight: Option<TrafficReport>,
    /// The number of ticks until the report in flight is sent again; 0 if it was not sent on the current stream.
    repeat_in: u32,
    budgets: HashMap<RouteId, LineBudget>,
    ticks: Option<Interval>,
}

/// Creates the reporter, and the channels of the workers to it. `unattributed` counts what belongs to too many routes.
pub(crate) fn traffic_reporter(unattributed: Counter) -> (TrafficReporter, StatsChannels) {
    let (collections, collected) = mpsc::channel(COLLECTIONS);
    let (lines, logged) = mpsc::channel(LINE_MESSAGES);
    let (follow, followed) = watch::channel(FollowedRoutes::default());
    let reporter = TrafficReporter::new(collected, logged, follow, unattributed.clone());
    (reporter, StatsChannels { collections, lines, followed, unattributed })
}

impl TrafficReporter {
    /// Creates a reporter of what it receives.
    fn new(
        collected: mpsc::Receiver<Vec<CollectedRoute>>,
        lines: mpsc::Receiver<AccessLines>,
        followed: watch::Sender<FollowedRoutes>,
        unattributed: Counter,
    ) -> Self {
        Self {
            collected,
            lines,
            followed,
            unattributed,
            instance: fastrand::u64(1..),
            sequence: 0,
            pending: HashMap::new(),
            open: HashMap::new(),
            in_flight: None,
            repeat_in: 0,
            budgets: HashMap::new(),
            ticks: None,
        }
    }

    /// Waits for the next message to send. Cancel safe.
    pub(crate) async fn next(&mut self) -> FromNode {
        loop {
            let ticks = self.ticks.get_or_insert_with(|| {
                let mut ticks = interval(REPORT_INTERVAL);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            });
            tokio::select! {
                Some(collected) = self.collected.recv() => self.merge(collected),
                Some(lines) = self.lines.recv() => return FromNode::AccessLines(self.within_budget(lines)),
                _ = ticks.tick() => {
                    if let Some(report) = self.due_report() {
                        return FromNode::Traffic(report);
                    }
                }
            }
        }
    }

    fn merge(&mut self, collected: Vec<CollectedRoute>) {
        for CollectedRoute { route, opened, traffic } in collected {
            if opened != 0 {
                let open = self.open.entry(route).or_default();
                *open += opened;
                if *open == 0 {
                    self.open.remove(&route);
                }
            }
            if self.pending.len() < MAX_ROUTES || self.pending.contains_key(&route) {
                self.pending.entry(route).or_default().add(&traffic);
            } else {
                self.unattributed.inc_by(traffic.requests() + traffic.connections);
            }
        }
    }

    /// Returns the report to send now: the one in flight if the stream is new or the acknowledgement overdue, otherwise
    /// the next one.
    fn due_report(&mut self) -> Option<TrafficReport> {
        self.repeat_in = self.repeat_in.saturating_sub(1);
        if self.repeat_in > 0 {
            return None;
        }
        if self.in_flight.is_none() {
            self.in_flight = Some(self.take_report()?);
        }
        self.repeat_in = REPEAT_TICKS;
        self.in_flight.clone()
    }

    fn take_report(&mut self) -> Option<TrafficReport> {
        let routes: Vec<RouteId> = self.pending.keys().copied().take(MAX_REPORTED_ROUTES).collect();
        if routes.is_empty() {
            return None;
        }
        self.sequence += 1;
        let take = |route: RouteId| {
            let open = self.open.get(&route).copied().unwrap_or_default();
            let traffic = self.pending.remove(&route).unwrap_or_default();
            RouteTraffic { route, open: u64::try_from(open).unwrap_or_default(), traffic }
        };
        let routes = routes.into_iter().map(take).collect();
        Some(TrafficReport { instance: self.instance, sequence: self.sequence, routes })
    }

    /// Forgets the report in flight, which the controlplane has counted.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        if self.in_flight.take_if(|report| report.sequence == sequence).is_none() {
            return;
        }
        self.repeat_in = 0;
        if self.pending.len() >= MAX_REPORTED_ROUTES
            && let Some(ticks) = &mut self.ticks
        {
            ticks.reset_immediately();
        }
    }

    /// Sends the lines of these routes from now on, and of no others.
    pub(crate) fn follow(&mut self, routes: Vec<RouteId>) {
        self.budgets.retain(|route, _| routes.contains(route));
        self.followed.send_replace(Arc::new(routes.into_iter().collect()));
    }

    /// Prepares for the next stream: nobody follows, the report in flight is sent again, and then every number of open
    /// connections.
    pub(crate) fn disconnected(&mut self) {
        self.follow(Vec::new());
        self.repeat_in = 0;
        for route in self.open.keys() {
            self.pending.entry(*route).or_default();
        }
    }

    /// Leaves out what exceeds the limit of the node; each worker has kept to the same limit.
    fn within_budget(&mut self, AccessLines { route, lines, left_out }: AccessLines) -> AccessLines {
        let (budget, now, all) = (self.budgets.entry(route).or_default(), unix_now(), lines.len());
        let lines: Vec<_> = lines.into_iter().filter(|_| budget.spend(now)).collect();
        let left_out = left_out + (all - lines.len()) as u64;
        AccessLines { route, lines, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(n: u16) -> RouteId {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        RouteId::from_bytes(id)
    }

    fn collected(n: u16, opened: i64, sent: u64) -> CollectedRoute {
        CollectedRoute { route: route(n), opened, traffic: Traffic { sent, ..Traffic::default() } }
    }

    fn reporter() -> (TrafficReporter, StatsChannels) {
        traffic_reporter(Counter::default())
    }

    #[test]
    fn a_report_is_repeated_until_it_is_acknowledged() {
        let (mut reporter, _channels) = reporter();
        assert_eq!(reporter.due_report(), None);
        reporter.merge(vec![collected(1, 2, 10)]);
        let first = reporter.due_report().unwrap();
        assert_eq!((first.sequence, first.routes[0].open, first.routes[0].traffic.sent), (1, 2, 10));
        reporter.merge(vec![collected(1, 0, 5)]);
        assert_eq!(reporter.due_report(), None, "one report at a time");
        reporter.acknowledge(7);
        assert_eq!(reporter.due_report(), None, "that was another one");
        let repeated: Vec<_> = (0..REPEAT_TICKS * 2).filter_map(|_| reporter.due_report()).collect();
        assert_eq!(repeated, [first.clone(), first.clone()]);
        reporter.disconnected();
        assert_eq!(reporter.due_report(), Some(first), "unchanged, so that it can be recognised");
        reporter.acknowledge(1);
        let second = reporter.due_report().unwrap();
        assert_eq!((second.sequence, second.routes[0].traffic.sent), (2, 5));
        reporter.acknowledge(2);
        assert_eq!(reporter.due_report(), None);
    }

    #[test]
    fn open_connections_are_reported_anew_on_a_new_stream() {
        let (mut reporter, _channels) = reporter();
        reporter.merge(vec![collected(1, 2, 0), collected(1, -1, 0), collected(2, 1, 0)]);
        reporter.merge(vec![collected(2, -1, 0)]);
        let open = |report: Option<TrafficReport>| {
            let mut open: Vec<_> = report.unwrap().routes.iter().map(|r| (r.route, r.open)).collect();
            open.sort();
            open
        };
        assert_eq!(open(reporter.due_report()), [(route(1), 1), (route(2), 0)]);
        reporter.acknowledge(1);
        reporter.disconnected();
        assert_eq!(open(reporter.due_report()), [(route(1), 1)]);
    }

    #[test]
    fn reports_and_memory_are_bounded() {
        let (mut reporter, channels) = reporter();
        let many = u16::try_from(MAX_ROUTES).unwrap() + 3;
        reporter.merge((0..many).map(|n| collected(n, 0, 1)).collect());
        assert_eq!(reporter.pending.len(), MAX_ROUTES);
        assert_eq!(channels.unattributed.get(), 0, "no request was lost, only bytes");
        let one = Traffic { responses: [0, 1, 0, 0, 0], ..Traffic::default() };
        reporter.merge(vec![CollectedRoute { route: route(many), opened: 0, traffic: one }]);
        assert_eq!(channels.unattributed.get(), 1);
        let mut sent = 0;
        while let Some(report) = reporter.due_report() {
            assert!(report.routes.len() <= MAX_REPORTED_ROUTES);
            sent += report.routes.len();
            reporter.acknowledge(report.sequence);
        }
        assert_eq!(sent, MAX_ROUTES);
    }
}
