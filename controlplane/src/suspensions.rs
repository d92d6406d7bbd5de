//! The task that lifts suspensions when they end, including those that ended while no controlplane was running.

use std::time::Duration;

use crate::domain::Domain;
use crate::reconcile::Reconciler;
use crate::store::StoreError;

/// The maximum pause between two checks, in case the clock is set meanwhile.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A reconciler that lifts suspensions when they end.
pub(crate) struct SuspensionReconciler {
    domain: Domain,
}

impl SuspensionReconciler {
    /// Creates a reconciler for the suspensions in the store of `domain`.
    #[must_use]
    pub(crate) fn new(domain: Domain) -> Self {
        Self { domain }
    }
}

impl Reconciler for SuspensionReconciler {
    type Error = StoreError;

    async fn pass(&mut self) -> Result<Duration, StoreError> {
        let next = self.domain.end_suspensions().await?;
        let until = |end| Duration::try_from(end - self.domain.clock.now()).unwrap_or_default();
        Ok(next.map_or(MAX_PAUSE, until).min(MAX_PAUSE))
    }
}
