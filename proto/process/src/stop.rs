//! Stopping, as a type: first no new work, then, when patience is over, none at all.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Tells every part of the process that it is to stop. Clones are the same signal.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    begin: CancellationToken,
    cut: CancellationToken,
}

impl Stop {
    /// Not stopping.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Take no new work and finish what is under way.
    pub fn begin(&self) {
        self.begin.cancel();
    }

    /// Leave everything as it is and end. Implies [`Stop::begin`].
    pub fn cut(&self) {
        self.begin.cancel();
        self.cut.cancel();
    }

    /// Whether stopping has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.begin.is_cancelled()
    }

    /// Resolves when stopping begins.
    pub async fn begun(&self) {
        self.begin.cancelled().await;
    }

    /// Resolves when stopping began `patience` ago.
    pub async fn begun_for(&self, patience: Duration) {
        self.begun().await;
        tokio::time::sleep(patience).await;
    }

    /// Resolves when everything is to end at once.
    pub async fn was_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Cancelled when stopping begins; for children of their own.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.begin.clone()
    }
}
