//! Calls that wait for something: few at a time, and over at once when the process stops.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use webgateway_process::Stop;
use webgateway_proto::model::KeyId;

use crate::domain::Refusal;

/// How many calls wait at once: each keeps a connection.
const MOST: usize = 256;
/// How many of them are one caller's, so that nobody keeps the others out.
const MOST_OF_ONE: usize = 16;

/// Who waits. Waiting takes a place here, and neither a thread nor a connection of the store.
pub(super) struct Waiting {
    stop: Stop,
    callers: Arc<Mutex<BTreeMap<KeyId, usize>>>,
}

/// A place among those who wait; dropping it gives it back.
struct Place {
    caller: KeyId,
    callers: Arc<Mutex<BTreeMap<KeyId, usize>>>,
}

impl Waiting {
    /// Nobody yet.
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, callers: Arc::default() }
    }

    /// Waits for `news`, for `limit` at most; no longer once the process stops. `None` if they did not come.
    pub(super) async fn wait<T>(
        &self,
        caller: &KeyId,
        limit: Duration,
        news: impl Future<Output = T>,
    ) -> Result<Option<T>, Refusal> {
        let _place = self.take(caller)?;
        tokio::select! {
            news = news => Ok(Some(news)),
            () = self.stop.begun() => Ok(None),
            () = sleep(limit) => Ok(None),
        }
    }

    fn take(&self, caller: &KeyId) -> Result<Place, Refusal> {
        let mut callers = lock(&self.callers);
        let own = callers.get(caller).copied().unwrap_or(0);
        if own >= MOST_OF_ONE || callers.values().sum::<usize>() >= MOST {
            return Err(Refusal::Crowded);
        }
        callers.insert(caller.clone(), own + 1);
        Ok(Place { caller: caller.clone(), callers: Arc::clone(&self.callers) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = lock(&self.callers);
        match callers.get_mut(&self.caller) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(callers.remove(&self.caller)),
        }
    }
}

fn lock(callers: &Mutex<BTreeMap<KeyId, usize>>) -> MutexGuard<'_, BTreeMap<KeyId, usize>> {
    callers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    fn key(number: usize) -> KeyId {
        format!("user{number}.pub").parse().unwrap()
    }

    #[test]
    fn places_are_few_for_one_and_for_all_and_come_back() {
        let waiting = Waiting::new(Stop::new());
        let mut places: Vec<Place> =
            (0..MOST).map(|at| waiting.take(&key(at / MOST_OF_ONE)).unwrap()).collect();
        assert!(matches!(waiting.take(&key(MOST)), Err(Refusal::Crowded)), "all of them");
        places.truncate(MOST - 1);
        assert!(matches!(waiting.take(&key(0)), Err(Refusal::Crowded)), "all of one's own");
        assert!(waiting.take(&key(MOST)).is_ok());
        places.clear();
        assert!(lock(&waiting.callers).is_empty(), "nobody is remembered");
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
