//! The backends' health as reported to the controlplane, and what has changed since. Pure.

use std::sync::Arc;

use webgateway_proto::feed::BackendHealth;

use super::unhealthy::UnhealthySet;

/// The number of backends that one message names at most.
const MAX_NAMED: usize = 500;

/// The health of backends as last reported on one stream of the feed.
#[derive(Debug, Default)]
pub(crate) struct HealthReport(Arc<UnhealthySet>);

impl HealthReport {
    /// Returns what differs from `now`, in messages of bounded size, and takes it for reported.
    pub(crate) fn changes(&mut self, now: &Arc<UnhealthySet>) -> Vec<Vec<BackendHealth>> {
        if Arc::ptr_eq(&self.0, now) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.0, Arc::clone(now));
        let known = |backend, reason: &str| before.first_reason(backend) == Some(reason);
        let out = now.iter().filter(|(backend, reason)| !known(*backend, reason));
        let out = out.map(|(backend, reason)| BackendHealth { backend, down: Some(reason.to_owned()) });
        let back = before.iter().filter(|(backend, _)| now.first_reason(*backend).is_none());
        let back = back.map(|(backend, _)| BackendHealth { backend, down: None });
        let changed: Vec<BackendHealth> = out.chain(back).collect();
        changed.chunks(MAX_NAMED).map(<[_]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::unhealthy::CheckTarget;

    #[test]
    fn the_first_names_all_and_what_follows_the_difference() {
        let subject =
            |n: usize| CheckTarget { backend: format!("[400::{n:x}]:80").parse().unwrap(), check: None };
        let mut down = UnhealthySet::default();
        (1..=1200).for_each(|n| down.insert(&subject(n), "refused"));
        let mut reported = HealthReport::default();
        assert!(reported.changes(&Arc::default()).is_empty());
        let first = reported.changes(&Arc::new(down.clone()));
        let sizes: Vec<usize> = first.iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 200]);
        assert!(reported.changes(&Arc::new(down.clone())).is_empty());
        down.remove(&subject(7));
        down.insert(&subject(8), "timeout");
        let mut changes = reported.changes(&Arc::new(down)).concat();
        changes.sort_by_key(|health| health.backend);
        let expected = [(7, None), (8, Some("timeout".to_owned()))];
        assert_eq!(changes, expected.map(|(n, down)| BackendHealth { backend: subject(n).backend, down }));
    }
}
