//! Stopping, as a type: first no new work, then none at all.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The signal to every part of the process that it is to stop. Clones are the same signal.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    begin: CancellationToken,
    cut: CancellationToken,
}

impl Stop {
    /// Makes a signal that is not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the stop: no new work is taken, and what is under way finishes.
    pub fn begin(&self) {
        self.begin.cancel();
    }

    /// Cuts the stop short: everything ends at once. Implies [`Stop::begin`].
    pub fn cut(&self) {
        self.begin.cancel();
        self.cut.cancel();
    }

    /// Returns whether stopping has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.begin.is_cancelled()
    }

    /// Resolves when stopping begins.
    pub async fn begun(&self) {
        self.begin.cancelled().await;
    }

    /// Resolves when stopping began `grace` ago.
    pub async fn begun_for(&self, grace: Duration) {
        self.begun().await;
        tokio::time::sleep(grace).await;
    }

    /// Resolves when everything is to end at once.
    pub async fn was_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Returns a token that is cancelled when stopping begins, for those who need children of it.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.begin.clone()
    }
}
