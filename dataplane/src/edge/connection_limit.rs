//! The limit for connections on a worker, as many as `limits.connections` says, also after a reload.

use std::sync::Arc;

use tokio::sync::Semaphore;
use webgateway_process::LocalTasks;

/// The limit for connections on a worker.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    semaphore: Arc<Semaphore>,
    connections: usize,
}

impl ConnectionLimit {
    /// Has limit for so many connections.
    #[must_use]
    pub(crate) fn new(connections: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(connections)), connections }
    }

    /// Returns the semaphore whose permits the connections hold.
    #[must_use]
    pub(crate) fn semaphore(&self) -> Arc<Semaphore> {
        Arc::clone(&self.semaphore)
    }

    /// Has limit for so many connections from now on. Where there are more of them, none ends for that: new ones wait
    /// until there are fewer.
    pub(crate) fn resize(&mut self, connections: usize, tasks: &LocalTasks) {
        let before = std::mem::replace(&mut self.connections, connections);
        self.semaphore.add_permits(connections.saturating_sub(before));
        let fewer = before.saturating_sub(connections);
        let held = fewer - self.semaphore.forget_permits(fewer);
        if let Some(held) = u32::try_from(held).ok().filter(|held| *held > 0) {
            let limit = self.semaphore();
            tasks.spawn("connection limit", async move {
                if let Ok(permits) = limit.acquire_many(held).await {
                    permits.forget();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_over_a_lowered_limit_stay_and_none_comes_before_enough_have_ended() {
        tokio::runtime::LocalRuntime::new().unwrap().block_on(async {
            let (tasks, mut limit) = (LocalTasks::default(), ConnectionLimit::new(4));
            let semaphore = limit.semaphore();
            let take = || Arc::clone(&semaphore).try_acquire_owned().ok();
            let mut open: Vec<_> = std::iter::from_fn(take).collect();
            assert_eq!(open.len(), 4);
            limit.resize(2, &tasks);
            tokio::task::yield_now().await;
            for left in [3, 2] {
                open.pop();
                tokio::task::yield_now().await;
                assert!(take().is_none(), "{left} are open");
            }
            open.pop();
            open.extend(take());
            assert_eq!(open.len(), 2);
            assert!(take().is_none());
            limit.resize(5, &tasks);
            open.extend(std::iter::from_fn(take));
            assert_eq!(open.len(), 5);
            // Raised again before enough have ended: what is due is paid from the new limit.
            limit.resize(1, &tasks);
            tokio::task::yield_now().await;
            limit.resize(6, &tasks);
            tokio::task::yield_now().await;
            open.extend(std::iter::from_fn(take));
            assert_eq!(open.len(), 6);
        });
    }
}
