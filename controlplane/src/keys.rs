//! The store of the callers' public keys: a directory or an HTTP server.

mod directory;
mod error;
mod http;
mod problems;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use webgateway_proto::httpsig::PublicKeys;
use webgateway_proto::model::KeyId;

use self::directory::Directory;
pub(crate) use self::error::{KeyServerError, UnusableKeyError};
pub(crate) use self::http::KeyServer;
pub(crate) use self::problems::{SetupError, problems};
use crate::clock::Clock;
use crate::config::KeySource;

/// A store of public keys. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct KeyStore(Arc<ArcSwap<OpenKeyStore>>);

/// An open key store with its source.
#[derive(Debug)]
pub(crate) struct OpenKeyStore {
    source: KeySource,
    kind: KeyStoreKind,
}

#[derive(Debug)]
enum KeyStoreKind {
    Directory(Directory),
    Http(Box<KeyServer>),
}

/// A key store cannot be opened.
#[derive(Debug, Error)]
pub enum KeyStoreError {
    /// The directory cannot be read.
    #[error("cannot read the key directory {path} (`pub_key_store.path`): {source}")]
    Directory {
        /// The path of the directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system's root certificates cannot be used.
    #[error("`pub_key_store.uri`: the system's root certificates cannot be used: {0}")]
    Roots(#[from] rustls::Error),
}

impl KeyStore {
    /// Opens the key store that the configuration names.
    pub(crate) fn open(source: &KeySource) -> Result<Self, KeyStoreError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(OpenKeyStore::open(source)?))))
    }

    /// Opens the key store that a new configuration names. Returns `None` if the source is unchanged, so that its cache
    /// is kept.
    pub(crate) fn open_if_changed(&self, source: &KeySource) -> Result<Option<OpenKeyStore>, KeyStoreError> {
        if self.0.load().source == *source { Ok(None) } else { OpenKeyStore::open(source).map(Some) }
    }

    /// Replaces the key store in use.
    pub(crate) fn replace(&self, opened: OpenKeyStore) {
        self.0.store(Arc::new(opened));
    }

    /// Returns the public keys of a key id; `None` if there are none.
    pub(crate) async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match &self.0.load_full().kind {
            KeyStoreKind::Directory(directory) => directory.find(id).await,
            KeyStoreKind::Http(server) => server.find(id).await,
        }
    }

    /// Returns newer keys than a preceding [`KeyStore::find`] may have returned from its cache; `None` if there are
    /// none.
    pub(crate) async fn refresh(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match &self.0.load_full().kind {
            // A directory has no cache.
            KeyStoreKind::Directory(_) => Ok(None),
            KeyStoreKind::Http(server) => server.refresh(id).await,
        }
    }
}

impl OpenKeyStore {
    fn open(source: &KeySource) -> Result<Self, KeyStoreError> {
        let kind = match source {
            KeySource::Directory(path) => {
                let opened = Directory::open(path.clone());
                let opened =
                    opened.map_err(|source| KeyStoreError::Directory { path: path.clone(), source })?;
                KeyStoreKind::Directory(opened)
            }
            KeySource::Http { uri, ttl } => {
                KeyStoreKind::Http(Box::new(KeyServer::new(uri.clone(), *ttl, Clock::system())?))
            }
        };
        Ok(Self { source: source.clone(), kind })
    }
}
