//! Our account at a CA: made once, sealed in the store, used ever after.

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::info;
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::acme::{AcmeError, AcmeSession, Ca};
use crate::clock::Clock;
use crate::store::{Store, StoreError, accounts};

/// Our accounts. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct AcmeAccounts {
    store: Store,
    key: Arc<SecretKey>,
    clock: Clock,
    /// Held while an account is made, so that two orders do not create two.
    creation: Arc<Mutex<()>>,
}

/// Why there is no account to order with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA.
    #[error(transparent)]
    Acme(#[from] AcmeError),
}

impl AcmeAccounts {
    /// In this store, under this key.
    #[must_use]
    pub(crate) fn new(store: Store, key: Arc<SecretKey>, clock: Clock) -> Self {
        Self { store, key, clock, creation: Arc::default() }
    }

    /// A session with this CA; the first one makes the account.
    pub(crate) async fn session(&self, ca: &Ca) -> Result<AcmeSession, AccountError> {
        let credentials = match self.find(ca).await? {
            Some(credentials) => credentials,
            None => self.create(ca).await?,
        };
        Ok(ca.session(&credentials).await?)
    }

    /// Forgets an account that the CA does not know any more; the next session makes a new one.
    pub(crate) async fn forget(&self, ca: &Ca) -> Result<(), StoreError> {
        let directory = ca.directory().to_owned();
        self.store.write("acme account lost", move |tx| accounts::delete(tx, &directory)).await
    }

    async fn find(&self, ca: &Ca) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let (directory, key) = (ca.directory().to_owned(), Arc::clone(&self.key));
        self.store.read("acme account", move |tx| accounts::find(tx, &directory, &key)).await
    }

    async fn create(&self, ca: &Ca) -> Result<Zeroizing<Vec<u8>>, AccountError> {
        let _making = self.creation.lock().await;
        if let Some(credentials) = self.find(ca).await? {
            return Ok(credentials);
        }
        let credentials = ca.register().await?;
        let (kept, directory) = (credentials.clone(), ca.directory().to_owned());
        let (key, now) = (Arc::clone(&self.key), self.clock.now());
        let put =
            self.store.write("acme account made", move |tx| accounts::put(tx, &directory, &kept, now, &key));
        put.await?;
        info!(ca = ca.directory(), "an account was made at the CA");
        Ok(credentials)
    }
}
