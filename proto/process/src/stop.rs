//! The stop signal of the process with two phases: a graceful stop, and an immediate one.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The stop signal for every part of the process. Clones share the signal.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    begin: CancellationToken,
    cut: CancellationToken,
}

impl Stop {
    /// Creates a signal for a process that is not stopping.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the graceful stop: no new work is accepted, and work in progress is finished.
    pub fn begin(&self) {
        self.begin.cancel();
    }

    /// Cuts the stop short: all work ends at once. Implies [`Stop::begin`].
    pub fn cut(&self) {
        self.begin.cancel();
        self.cut.cancel();
    }

    /// Returns whether the stop has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.begin.is_cancelled()
    }

    /// Resolves when the stop begins.
    pub async fn begun(&self) {
        self.begin.cancelled().await;
    }

    /// Resolves when the stop began `grace` ago.
    pub async fn begun_for(&self, grace: Duration) {
        self.begun().await;
        tokio::time::sleep(grace).await;
    }

    /// Resolves when the stop is cut short.
    pub async fn was_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Returns a token that is cancelled when the stop begins, for callers that need child tokens.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.begin.clone()
    }
}
