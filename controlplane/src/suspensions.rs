//! Sees to it that suspensions end when they are over, also those that were over before this process began.

use std::time::Duration;

use crate::domain::Domain;
use crate::reconcile::Reconciler;
use crate::store::StoreError;

/// The clock may be set meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Ends suspensions in time.
pub(crate) struct Suspensions {
    domain: Domain,
}

impl Suspensions {
    /// Those of this store, by this clock.
    #[must_use]
    pub(crate) fn new(domain: Domain) -> Self {
        Self { domain }
    }
}

impl Reconciler for Suspensions {
    type Error = StoreError;

    async fn pass(&mut self) -> Result<Duration, StoreError> {
        let next = self.domain.end_suspensions().await?;
        let until = |end| Duration::try_from(end - self.domain.clock.now()).unwrap_or_default();
        Ok(next.map_or(LONGEST_PAUSE, until).min(LONGEST_PAUSE))
    }
}
