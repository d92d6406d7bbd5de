//! The state about traffic that the rules and the feed share.

use webgateway_proto::feed::TrafficReport;

use super::followers::Followers;
use super::memory::TrafficMemory;
use crate::clock::Clock;

/// The recent traffic and the followed access logs. Clones share them.
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
