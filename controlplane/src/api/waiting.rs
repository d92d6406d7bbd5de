//! Calls that wait for something: few at a time, and over at once when the process stops.

use std::time::Duration;

use tokio::time::sleep;
use webgateway_process::{Slot, Slots, Stop};
use webgateway_proto::model::KeyId;

use crate::domain::DomainError;

/// How many calls wait at once: each keeps a connection.
const MOST: usize = 256;
/// How many of them are one caller's, so that nobody keeps the others out.
const MOST_OF_ONE: usize = 16;

/// The calls that wait. Waiting takes a slot here, and neither a thread nor a connection of the store.
pub(super) struct Waiting {
    stop: Stop,
    slots: Slots<KeyId>,
}

impl Waiting {
    /// Nobody yet.
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, slots: Slots::new(MOST, MOST_OF_ONE) }
    }

    /// Waits for `news`, for `limit` at most; no longer once the process stops. `None` if they did not come.
    pub(super) async fn wait<T>(
        &self,
        caller: &KeyId,
        limit: Duration,
        news: impl Future<Output = T>,
    ) -> Result<Option<T>, DomainError> {
        let _slot = self.take(caller)?;
        tokio::select! {
            news = news => Ok(Some(news)),
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
    fn slots_are_few_for_one_and_for_all() {
        let waiting = Waiting::new(Stop::new());
        let mut slots: Vec<Slot<KeyId>> =
            (0..MOST).map(|at| waiting.take(&key(at / MOST_OF_ONE)).unwrap()).collect();
        assert!(matches!(waiting.take(&key(MOST)), Err(DomainError::Crowded)), "all of them");
        slots.truncate(MOST - 1);
        assert!(matches!(waiting.take(&key(0)), Err(DomainError::Crowded)), "all of one's own");
        assert!(waiting.take(&key(MOST)).is_ok());
    }

    #[tokio::test]
    async fn a_wait_ends_with_a_change_with_its_time_or_with_the_process() {
        let (stop, revision) = (Stop::new(), watch::Sender::new(7));
        let waiting = Waiting::new(stop.clone());
        let caller = key(1);
        let (long, began) = (Duration::from_secs(1000), tokio::time::Instant::now());
        let wait = async |known, limit| {
            let mut revision = revision.subscribe();
            let risen = async { *revision.wait_for(|now| *now > known).await.unwrap() };
            waiting.wait(&caller, limit, risen).await.unwrap()
        };
        assert_eq!(wait(6, long).await, Some(7), "what is newer already is not waited for");
        assert_eq!(wait(7, Duration::from_millis(20)).await, None);
        assert!(began.elapsed() >= Duration::from_millis(20));
        let change = async {
            tokio::task::yield_now().await;
            revision.send_replace(8);
        };
        assert_eq!(tokio::join!(wait(7, long), change).0, Some(8));
        let end = async {
            tokio::task::yield_now().await;
            stop.begin();
        };
        assert_eq!(tokio::join!(wait(8, long), end).0, None);
        assert!(began.elapsed() < long);
    }
}
