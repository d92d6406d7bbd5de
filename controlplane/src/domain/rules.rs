//! The domain's dependencies: the store, the callers' keys, the nodes, and the operator's configuration.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use webgateway_proto::model::{KeyId, Prefixes, RemoteAddress};

use super::caller::Caller;
use super::directory::NodeDirectory;
use super::host::HostPolicy;
use super::listeners::GatewayListeners;
use super::ownership::ClaimPolicy;
use super::quotas::Quotas;
use crate::clock::Clock;
use crate::config::RouteLimits;
use crate::keys::KeyStore;
use crate::store::{Store, StoreError};
use crate::traffic::TrafficState;

/// The domain rules and their dependencies. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    /// The database.
    pub store: Store,
    /// The callers' public keys.
    pub keys: KeyStore,
    /// The nodes that are or were connected.
    pub nodes: Arc<dyn NodeDirectory>,
    /// The gateway's own listeners, which no route may have as a backend.
    pub listeners: GatewayListeners,
    /// The policy on hosts of routes.
    pub hosts: HostPolicy,
    /// The policy on claims of hosts outside the base domain.
    pub claims: ClaimPolicy,
    /// The prefixes that may contain backends.
    pub allowed_backends: Prefixes,
    /// The operator's bounds of route options.
    pub route_limits: RouteLimits,
    /// The id of the admin's key.
    pub admin: KeyId,
    /// The contents of join tokens; `None` if this gateway has no listener for remote nodes.
    pub invitations: Option<Invitations>,
    /// The quotas of users.
    pub quotas: Quotas,
    /// The number of changes of suspensions. The task that ends suspensions waits for changes of this number.
    pub suspensions: watch::Sender<u64>,
    /// The traffic that the nodes report.
    pub traffic: TrafficState,
    /// The source of the current time.
    pub clock: Clock,
}

/// The properties of this gateway that a join token contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitations {
    /// The SHA-256 digest of the nodes' CA certificate.
    pub authority: [u8; 32],
    /// The controlplane's address, if the operator configured one.
    pub address: Option<RemoteAddress>,
}

impl Domain {
    /// Returns the store's revision. Succeeds only if the store can be read.
    pub(crate) async fn revision(&self) -> Result<u64, StoreError> {
        self.store.read("revision", |tx| tx.revision()).await
    }

    /// Returns the caller that signed with the key `key_id`, from the address `client`. Only for verified signatures.
    #[must_use]
    pub(crate) fn caller(&self, key_id: KeyId, client: IpAddr) -> Caller {
        let is_admin = key_id == self.admin;
        Caller::new(key_id, is_admin, client)
    }

    /// Returns true if there is a key with this id, even if it cannot be used.
    pub(super) async fn has_key(&self, id: &KeyId) -> bool {
        !matches!(self.keys.find(id).await, Ok(None))
    }
}
