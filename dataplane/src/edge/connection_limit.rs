//! The limit on open connections of a worker, `limits.connections`, which a reload may change.

use std::sync::Arc;

use tokio::sync::Semaphore;
use webgateway_process::LocalTasks;

/// The limit on open connections of a worker.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    semaphore: Arc<Semaphore>,
    connections: usize,
}

impl ConnectionLimit {
    /// Creates a limit of `connections`.
    #[must_use]
    pub(crate) fn new(connections: usize) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(connections)), connections }
    }

    /// Returns the semaphore; each open connection holds one of its permits.
    #[must_use]
    pub(crate) fn semaphore(&self) -> Arc<Semaphore> {
        Arc::clone(&self.semaphore)
    }

    /// Changes the limit. If more connections are open, they stay open, and new ones wait until enough have ended.
    pub(crate) fn resize(&mut self, connections: usize, tasks: &LocalTasks) {
        let previous = std::mem::replace(&mut self.connections, connections);
        self.semaphore.add_permits(connections.saturating_sub(previous));
        let fewer = previous.saturating_sub(connections);
        let held = fewer - self.semaphore.forget_permits(fewer);
        if let Some(held) = u32::try_from(held).ok().filter(|held| *held > 0) {
            let semaphore = self.semaphore();
            tasks.spawn("connection limit", async move {
                if let Ok(permits) = semaphore.acquire_many(held).await {
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
    fn connections_over_a_lowered_limit_stay_and_new_ones_wait() {
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
            // The limit is raised before enough have ended: the missing permits are taken from the new ones.
            limit.resize(1, &tasks);
            tokio::task::yield_now().await;
            limit.resize(6, &tasks);
            tokio::task::yield_now().await;
            open.extend(std::iter::from_fn(take));
            assert_eq!(open.len(), 6);
        });
    }
}
