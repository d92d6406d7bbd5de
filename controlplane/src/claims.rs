//! The task that checks the claims of hosts in the DNS when they are due.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;
use tracing::warn;
use webgateway_proto::model::{Host, KeyId};

use crate::domain::Domain;
use crate::fair::FairQueue;
use crate::reconcile::Reconciler;
use crate::store::StoreError;

/// The maximum number of concurrent checks, in all and for the claims of one owner.
const MAX_RUNNING: usize = 16;
const MAX_RUNNING_OF_OWNER: usize = 4;
/// The maximum number of hosts that one pass takes from the store.
const MAX_DUE: u32 = 1000;
/// The delay after a failure of the store.
const RETRY_DELAY: Duration = Duration::from_secs(10);
/// The maximum pause between two passes, in case the clock is set meanwhile.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A reconciler that checks the claims of hosts.
pub(crate) struct ClaimReconciler {
    domain: Domain,
    /// The hosts with a waiting or running check.
    busy: BTreeSet<Host>,
    waiting: FairQueue<KeyId, Host>,
    running: FuturesUnordered<BoxFuture<'static, (KeyId, Host)>>,
}

impl ClaimReconciler {
    /// Creates a reconciler for the claims in the store of `domain`.
    #[must_use]
    pub(crate) fn new(domain: Domain) -> Self {
        let waiting = FairQueue::new(MAX_RUNNING_OF_OWNER);
        Self { domain, busy: BTreeSet::new(), waiting, running: FuturesUnordered::new() }
    }

    fn start_waiting(&mut self) {
        while self.running.len() < MAX_RUNNING
            && let Some((owner, host)) = self.waiting.pop()
        {
            let domain = self.domain.clone();
            self.running.push(Box::pin(async move {
                if let Err(error) = domain.check_host(&host).await {
                    warn!(%host, %error, "cannot record the check of a host");
                    sleep(RETRY_DELAY).await;
                }
                (owner, host)
            }));
        }
    }
}

impl Reconciler for ClaimReconciler {
    type Error = StoreError;

    async fn pass(&mut self) -> Result<Duration, StoreError> {
        let (due, next) = self.domain.due_claims(MAX_DUE).await?;
        for (owner, host) in due {
            if self.busy.insert(host.clone()) {
                self.waiting.push(owner, host);
            }
        }
        let until = |next| Duration::try_from(next - self.domain.clock.now()).unwrap_or_default();
        Ok(next.map_or(MAX_PAUSE, until).min(MAX_PAUSE))
    }

    async fn run_background_work(&mut self) {
        self.start_waiting();
        match self.running.next().await {
            Some((owner, host)) => {
                self.busy.remove(&host);
                self.waiting.finish(&owner);
            }
            None => pending().await,
        }
    }
}
