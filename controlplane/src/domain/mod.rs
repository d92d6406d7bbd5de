//! The rules: who may do what to which route. Nothing of HTTP, nothing of SQL.

mod audit;
mod caller;
mod certificates;
pub mod explain;
mod host;
mod lists;
mod nodes;
mod page;
mod quotas;
mod refusal;
mod routes;
mod suspension;
mod users;

use tokio::sync::watch;
use webgateway_proto::model::{KeyId, Prefixes};

pub use self::caller::Caller;
pub use self::certificates::Certified;
pub use self::host::{HostPolicy, Named};
pub use self::nodes::{Answered, Awaited, Invitations, NodeDirectory, Settled};
pub use self::page::Paged;
pub use self::quotas::{Granted, Quotas};
pub use self::refusal::{NodeRefusal, Refusal, UserRefusal};
pub use self::routes::{Obstacle, Shown};
use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// The rules over the store.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Where everything is kept.
    pub store: Store,
    /// Which hosts a route may have.
    pub hosts: HostPolicy,
    /// Where backends may be.
    pub allowed_backends: Prefixes,
    /// The key that may do everything.
    pub admin: KeyId,
    /// What new nodes are told; `None` if none can come from afar.
    pub invitations: Option<Invitations>,
    /// What users may have, and how often they may change something.
    pub quotas: Quotas,
    /// Counts the suspensions that were said, for who sees to their ends.
    pub suspensions: watch::Sender<u64>,
    /// The time.
    pub clock: Clock,
}

impl Domain {
    /// The store's revision now; proves that the store answers.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        self.store.read("revision", |tx| tx.revision()).await
    }
}

#[cfg(test)]
mod tests;
