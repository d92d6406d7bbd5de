//! Long polling: bounds the number of calls that wait for a change, and ends them when the process stops.

use std::time::Duration;

use tokio::time::sleep;
use webgateway_process::{Slot, Slots, Stop};
use webgateway_proto::model::KeyId;

use crate::domain::DomainError;

/// The maximum number of calls that wait at once. Each occupies a connection.
const MAX_WAITING: usize = 256;
/// The maximum number of calls of one caller that wait at once.
const MAX_WAITING_PER_CALLER: usize = 16;

/// The slots of the calls that wait. A waiting call occupies no thread and no connection of the store.
pub(super) struct LongPolls {
    stop: Stop,
    slots: Slots<KeyId>,
}

impl LongPolls {
    /// Creates the slots, all of them free. Waiting ends once `stop` begins.
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, slots: Slots::new(MAX_WAITING, MAX_WAITING_PER_CALLER) }
    }

    /// Waits for `change` and returns its output; returns `None` after `limit` or when the process stops.
    ///
    /// # Errors
    ///
    /// Too many calls wait already, of this caller or of all.
    pub(super) async fn wait<T>(
        &self,
        caller: &KeyId,
        limit: Duration,
        change: impl Future<Output = T>,
    ) -> Result<Option<T>, DomainError> {
        let _slot = self.take(caller)?;
        tokio::select! {
            output = change => Ok(Some(output)),
            () = self.stop.begun() => Ok(None),
            () = sleep(limit) => Ok(None),
        }
    }

    fn take(&self, caller: &KeyId) -> Result<Slot<KeyId>, DomainError> {
        self.slots.take(caller.clone()).ok_or(DomainError::Crowded)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    fn key(number: usize) -> KeyId {
        format!("user{number}.pub").parse().unwrap()
    }

    #[test]
    fn slots_are_bounded_per_caller_and_in_total() {
        let long_polls = LongPolls::new(Stop::new());
        let mut slots: Vec<Slot<KeyId>> =
            (0..MAX_WAITING).map(|at| long_polls.take(&key(at / MAX_WAITING_PER_CALLER)).unwrap()).collect();
        assert!(
            matches!(long_polls.take(&key(MAX_WAITING)), Err(DomainError::Crowded)),
            "all slots are taken"
        );
        slots.truncate(MAX_WAITING - 1);
        assert!(
            matches!(long_polls.take(&key(0)), Err(DomainError::Crowded)),
            "the caller has taken all of its slots"
        );
        assert!(long_polls.take(&key(MAX_WAITING)).is_ok());
    }

    #[tokio::test]
    async fn a_wait_ends_on_a_change_a_timeout_or_a_stop() {
        let (stop, revision) = (Stop::new(), watch::Sender::new(7));
        let long_polls = LongPolls::new(stop.clone());
        let caller = key(1);
        let (long, began) = (Duration::from_secs(1000), tokio::time::Instant::now());
        let wait = async |known, limit| {
            let mut revision = revision.subscribe();
            let change = async { *revision.wait_for(|now| *now > known).await.unwrap() };
            long_polls.wait(&caller, limit, change).await.unwrap()
        };
        assert_eq!(wait(6, long).await, Some(7), "the revision is newer already");
        assert_eq!(wait(7, Duration::from_millis(20)).await, None);
        assert!(began.elapsed() >= Duration::from_millis(20));
        let update = async {
            tokio::task::yield_now().await;
            revision.send_replace(8);
        };
        assert_eq!(tokio::join!(wait(7, long), update).0, Some(8));
        let shutdown = async {
            tokio::task::yield_now().await;
            stop.begin();
        };
        assert_eq!(tokio::join!(wait(8, long), shutdown).0, None);
        assert!(began.elapsed() < long);
    }
}
