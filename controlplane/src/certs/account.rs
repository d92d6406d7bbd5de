//! Accounts at CAs: each is created once, stored with sealed credentials, and reused.

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::info;
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::acme::{AcmeError, AcmeSession, Ca};
use crate::clock::Clock;
use crate::store::{Store, StoreError, accounts};

/// The accounts at all CAs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AcmeAccounts {
    store: Store,
    key: Arc<SecretKey>,
    clock: Clock,
    /// A lock held while an account is created, so that two concurrent orders do not create two.
    creation: Arc<Mutex<()>>,
}

/// An error while opening or creating an account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA rejected the request or could not be reached.
    #[error(transparent)]
    Acme(#[from] AcmeError),
}

impl AcmeAccounts {
    /// Creates the collection of accounts in `store`, sealed with `key`.
    #[must_use]
    pub(crate) fn new(store: Store, key: Arc<SecretKey>, clock: Clock) -> Self {
        Self { store, key, clock, creation: Arc::default() }
    }

    /// Opens the account at this CA. The first call creates it.
    pub(crate) async fn session(&self, ca: &Ca) -> Result<AcmeSession, AccountError> {
        let credentials = match self.find(ca).await? {
            Some(credentials) => credentials,
            None => self.create(ca).await?,
        };
        Ok(ca.session(&credentials).await?)
    }

    /// Deletes an account that the CA no longer knows, so that the next session creates another.
    pub(crate) async fn forget(&self, ca: &Ca) -> Result<(), StoreError> {
        let directory = ca.directory().to_owned();
        self.store.write("acme account lost", move |tx| accounts::delete(tx, &directory)).await
    }

    async fn find(&self, ca: &Ca) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let (directory, key) = (ca.directory().to_owned(), Arc::clone(&self.key));
        self.store.read("acme account", move |tx| accounts::find(tx, &directory, &key)).await
    }

    async fn create(&self, ca: &Ca) -> Result<Zeroizing<Vec<u8>>, AccountError> {
        let _guard = self.creation.lock().await;
        if let Some(credentials) = self.find(ca).await? {
            return Ok(credentials);
        }
        let credentials = ca.register().await?;
        let (copy, directory) = (credentials.clone(), ca.directory().to_owned());
        let (key, now) = (Arc::clone(&self.key), self.clock.now());
        let put =
            self.store.write("acme account made", move |tx| accounts::put(tx, &directory, &copy, now, &key));
        put.await?;
        info!(ca = ca.directory(), "account created at the CA");
        Ok(credentials)
    }
}
