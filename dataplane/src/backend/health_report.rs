//! The health of backends as it was last reported to the controlplane, and the changes since then.

use std::sync::Arc;

use webgateway_proto::feed::BackendHealth;

use super::unhealthy::UnhealthySet;

/// The maximum number of backends in one message.
const MAX_BACKENDS: usize = 500;

/// The health of backends as last reported on one stream of the feed.
#[derive(Debug, Default)]
pub(crate) struct HealthReport(Arc<UnhealthySet>);

impl HealthReport {
    /// Returns the differences between the last report and `now`, in messages of bounded size. `now` becomes the last
    /// report.
    pub(crate) fn changes(&mut self, now: &Arc<UnhealthySet>) -> Vec<Vec<BackendHealth>> {
        if Arc::ptr_eq(&self.0, now) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.0, Arc::clone(now));
        let known = |backend, reason: &str| before.first_reason(backend) == Some(reason);
        let failed = now.iter().filter(|(backend, reason)| !known(*backend, reason));
        let failed = failed.map(|(backend, reason)| BackendHealth { backend, down: Some(reason.to_owned()) });
        let recovered = before.iter().filter(|(backend, _)| now.first_reason(*backend).is_none());
        let recovered = recovered.map(|(backend, _)| BackendHealth { backend, down: None });
        let changed: Vec<BackendHealth> = failed.chain(recovered).collect();
        changed.chunks(MAX_BACKENDS).map(<[_]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::unhealthy::CheckTarget;

    #[test]
    fn the_first_report_is_complete_and_later_ones_are_differences() {
        let target = |n: usize| CheckTarget {
            backend: format!("[400::{n:x}]:80").parse().unwrap(),
            transport: None,
            check: None,
        };
        let mut down = UnhealthySet::default();
        (1..=1200).for_each(|n| down.insert(&target(n), "refused"));
        let mut reported = HealthReport::default();
        assert!(reported.changes(&Arc::default()).is_empty());
        let first = reported.changes(&Arc::new(down.clone()));
        let sizes: Vec<usize> = first.iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 200]);
        assert!(reported.changes(&Arc::new(down.clone())).is_empty());
        down.remove(&target(7));
        down.insert(&target(8), "timeout");
        let mut changes = reported.changes(&Arc::new(down)).concat();
        changes.sort_by_key(|health| health.backend);
        let expected = [(7, None), (8, Some("timeout".to_owned()))];
        assert_eq!(changes, expected.map(|(n, down)| BackendHealth { backend: target(n).backend, down }));
    }
}
