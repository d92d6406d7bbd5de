//! The rules' collaborators: the store, the callers' keys, the nodes, and the operator's configuration.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use webgateway_proto::model::{KeyId, Prefixes, RemoteAddress};

use super::caller::Caller;
use super::directory::NodeDirectory;
use super::host::HostPolicy;
use super::listeners::GatewayListeners;
use super::quotas::Quotas;
use crate::clock::Clock;
use crate::keys::KeyStore;
use crate::store::{Store, StoreError};

/// The rules over the store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    /// The database.
    pub store: Store,
    /// The callers' public keys.
    pub keys: KeyStore,
    /// The nodes that are, or were, connected.
    pub nodes: Arc<dyn NodeDirectory>,
    /// The listeners of the gateway, where no backend may be.
    pub listeners: GatewayListeners,
    /// The hosts that a route may have.
    pub hosts: HostPolicy,
    /// The addresses that a backend may have.
    pub allowed_backends: Prefixes,
    /// The key that may do everything.
    pub admin: KeyId,
    /// The facts that new nodes are told; `None` if this gateway takes no remote nodes.
    pub invitations: Option<Invitations>,
    /// The quotas of users.
    pub quotas: Quotas,
    /// Counts the changes of suspensions, for the task that ends them.
    pub suspensions: watch::Sender<u64>,
    /// The time.
    pub clock: Clock,
}

/// The facts about this gateway that a join token holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitations {
    /// SHA-256 of the certificate of the nodes' CA.
    pub authority: [u8; 32],
    /// The controlplane's address, if the operator configured one.
    pub address: Option<RemoteAddress>,
}

impl Domain {
    /// Returns the store's revision; proves that the store answers.
    pub(crate) async fn revision(&self) -> Result<u64, StoreError> {
        self.store.read("revision", |tx| tx.revision()).await
    }

    /// Returns the caller who signed with the key `key_id`, from the address `client`. Only for verified signatures.
    #[must_use]
    pub(crate) fn caller(&self, key_id: KeyId, client: IpAddr) -> Caller {
        let is_admin = key_id == self.admin;
        Caller::new(key_id, is_admin, client)
    }

    /// Returns true if there is a key of this name; one that is there counts, even if it cannot be used.
    pub(super) async fn has_key(&self, id: &KeyId) -> bool {
        !matches!(self.keys.find(id).await, Ok(None))
    }
}
