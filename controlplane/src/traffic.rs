//! The traffic that nodes report: the last hour in memory, hourly rows in the store, and followed access logs.

mod followers;
mod memory;
mod series;
mod writer;

use time::OffsetDateTime;
use webgateway_proto::feed::TrafficReport;

pub(crate) use self::followers::{Followers, LogEntries, LogEntry};
pub(crate) use self::memory::{TrafficMemory, Window};
pub(crate) use self::series::RecentTraffic;
pub(crate) use self::writer::{TrafficWriter, hour_of};
use crate::clock::Clock;

/// Returns a time in Unix microseconds; 0 for one before 1970.
#[must_use]
pub(crate) fn unix_micros(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or_default()
}

/// Everything about traffic that the rules and the feed share. Clones share the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrafficState {
    /// The traffic of the last hour.
    pub memory: TrafficMemory,
    /// The followed access logs.
    pub followers: Followers,
    /// The source of the current time.
    pub clock: Clock,
}

impl TrafficState {
    /// Counts a node's report, unless it was counted before. Returns whether it may be acknowledged.
    #[must_use]
    pub(crate) fn count(&self, node: &str, report: &TrafficReport) -> bool {
        self.memory.apply(node, report, self.clock.now())
    }
}
