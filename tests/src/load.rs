//! Continuous load by clients whose requests all have to succeed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::task::JoinSet;

use crate::wait::eventually;

/// The maximum number of different failures in an error.
const MAX_FAILURES: usize = 10;

/// A running load; dropping it stops it.
#[derive(Debug, Default)]
pub struct Load {
    clients: JoinSet<()>,
    counters: Arc<LoadCounters>,
}

/// The counters of the requests.
#[derive(Debug, Default)]
pub struct LoadCounters {
    answered: AtomicU64,
    slowest_ms: AtomicU64,
    over: AtomicBool,
    failed: Mutex<Vec<String>>,
}

impl Load {
    /// Adds a client that sends requests one after the other, each by calling `request`.
    pub fn add_client<V>(&mut self, mut client: V, request: impl AsyncFn(&mut V) -> Result<()> + 'static)
    where
        V: 'static,
    {
        let counters = Arc::clone(&self.counters);
        self.clients.spawn_local(async move {
            while !counters.over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match request(&mut client).await {
                    Ok(()) => counters.answered.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        let mut failed = counters.failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(format!("{error:#}"));
                        // A client that always fails must not fill the memory.
                        if failed.len() > 100 {
                            return;
                        }
                        0
                    }
                };
                let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                counters.slowest_ms.fetch_max(took, Ordering::Relaxed);
            }
        });
    }

    /// Waits until `more` further requests have succeeded.
    pub async fn wait_for_more(&self, more: u64) -> Result<()> {
        let goal = self.counters.answered.load(Ordering::Relaxed) + more;
        eventually("the load goes on", Duration::from_secs(30), async || {
            let answered = self.counters.answered.load(Ordering::Relaxed);
            ensure!(answered >= goal, "{answered} of {goal} requests are answered");
            Ok(())
        })
        .await
    }

    /// Waits for each client's current request and fails if any request failed; otherwise returns the number of
    /// requests and the longest duration, in milliseconds.
    pub async fn end(mut self) -> Result<(u64, u64)> {
        self.counters.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        let answered = self.counters.answered.load(Ordering::Relaxed);
        let failed = self.counters.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed.is_empty() {
            let kinds = failed.iter().collect::<BTreeSet<_>>().into_iter().take(MAX_FAILURES);
            let kinds: Vec<_> = kinds.map(String::as_str).collect();
            bail!("{} of {answered} requests failed: {}", failed.len(), kinds.join("; "));
        }
        Ok((answered, self.counters.slowest_ms.load(Ordering::Relaxed)))
    }
}
