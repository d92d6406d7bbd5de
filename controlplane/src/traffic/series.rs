//! The traffic of one route on one node in the last minute and hour.

use std::collections::VecDeque;

use webgateway_proto::model::Traffic;

use crate::store::traffic::TrafficSums;

/// The length of a slot of the last minute, in seconds.
const SHORT_SLOT: i64 = 10;
/// The number of full slots in the last minute.
const SHORT_SLOTS: i64 = 6;
/// The length of a slot of the last hour, in seconds.
const LONG_SLOT: i64 = 60;
/// The number of full slots in the last hour.
const LONG_SLOTS: i64 = 60;

/// The traffic of one route on one node, in slots that have any.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// The number of open connections that the node reported last.
    pub(super) open: u64,
    minute: Slots<SHORT_SLOT, SHORT_SLOTS>,
    hour: Slots<LONG_SLOT, LONG_SLOTS>,
}

/// The traffic in the last minute and hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecentTraffic {
    /// The number of open connections.
    pub open: u64,
    /// The traffic of the last minute.
    pub minute: Traffic,
    /// The traffic of the last hour.
    pub hour: Traffic,
}

/// The slots of `LENGTH` seconds of a window: the current one, and `FULL` before it.
#[derive(Debug, Default)]
struct Slots<const LENGTH: i64, const FULL: i64>(VecDeque<(i64, Traffic)>);

impl<const LENGTH: i64, const FULL: i64> Slots<LENGTH, FULL> {
    fn add(&mut self, now: i64, traffic: &Traffic) {
        let slot = now.div_euclid(LENGTH);
        self.forget(now);
        match self.0.back_mut() {
            // The clock may have been set back: such traffic belongs to the newest slot.
            Some((last, sum)) if *last >= slot => sum.add(traffic),
            Some(_) | None => self.0.push_back((slot, traffic.clone())),
        }
    }

    fn forget(&mut self, now: i64) {
        let first = now.div_euclid(LENGTH) - FULL;
        while self.0.front().is_some_and(|(slot, _)| *slot < first) {
            self.0.pop_front();
        }
    }

    /// Returns the traffic of the slots that end after `since` and are in the window.
    fn sum(&self, since: i64, now: i64) -> Traffic {
        let first = (now.div_euclid(LENGTH) - FULL).max(since.div_euclid(LENGTH));
        let mut sum = Traffic::default();
        self.0.iter().filter(|(slot, _)| *slot >= first).for_each(|(_, traffic)| sum.add(traffic));
        sum
    }

    /// Adds the traffic of the window to `sums`.
    fn add_to(&self, sums: &mut TrafficSums, now: i64) {
        let first = now.div_euclid(LENGTH) - FULL;
        self.0.iter().filter(|(slot, _)| *slot >= first).for_each(|(_, traffic)| sums.add(traffic));
    }
}

impl Series {
    /// Adds traffic that was reported at `now`, in Unix seconds.
    pub(super) fn add(&mut self, now: i64, traffic: &Traffic) {
        self.minute.add(now, traffic);
        self.hour.add(now, traffic);
    }

    /// Forgets what is older than an hour, and returns whether anything is left.
    pub(super) fn is_in_use(&mut self, now: i64) -> bool {
        self.minute.forget(now);
        self.hour.forget(now);
        self.open > 0 || !self.hour.0.is_empty()
    }

    /// Adds the traffic of the last minute to `sums`.
    pub(super) fn add_minute_to(&self, sums: &mut TrafficSums, now: i64) {
        self.minute.add_to(sums, now);
    }

    /// Adds the traffic of the last hour to `sums`.
    pub(super) fn add_hour_to(&self, sums: &mut TrafficSums, now: i64) {
        self.hour.add_to(sums, now);
    }

    /// Returns the traffic of the windows that end at `now`, without what ended before `since`.
    pub(super) fn recent(&self, since: i64, now: i64) -> RecentTraffic {
        let (minute, hour) = (self.minute.sum(since, now), self.hour.sum(since, now));
        RecentTraffic { open: self.open, minute, hour }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_900_000_000;

    fn traffic(sent: u64) -> Traffic {
        Traffic { sent, ..Traffic::default() }
    }

    #[test]
    fn traffic_leaves_the_windows_in_time_and_memory_is_bounded() {
        let mut series = Series::default();
        for at in 0..7200 {
            series.add(NOW + at, &traffic(1));
        }
        assert!(series.minute.0.len() <= 7 && series.hour.0.len() <= 61);
        let now = NOW + 7199;
        let sums = |series: &Series, since, now| {
            let RecentTraffic { minute, hour, .. } = series.recent(since, now);
            (minute.sent, hour.sent)
        };
        let (minute, hour) = sums(&series, 0, now);
        assert!((60..=70).contains(&minute) && (3600..=3660).contains(&hour), "{minute} {hour}");
        let (minute, hour) = sums(&series, 0, now + 80);
        assert!(minute == 0 && hour > 3400, "{minute} {hour}");
        assert_eq!(sums(&series, 0, now + 3700), (0, 0));
        let (minute, hour) = sums(&series, now - 5, now);
        assert!((1..=20).contains(&minute) && (1..=60).contains(&hour), "the route is new: {minute} {hour}");
        assert!(series.is_in_use(now) && !series.is_in_use(now + 3700));
        series.open = 1;
        assert!(series.is_in_use(now + 3700));
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        let mut series = Series::default();
        series.add(NOW, &traffic(1));
        series.add(NOW - 1000, &traffic(2));
        assert_eq!(series.recent(0, NOW).minute.sent, 3);
    }
}
