//! The store of public keys: a directory, or a server.

mod directory;
mod error;
mod http;

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use webgateway_proto::httpsig::PublicKeys;
use webgateway_proto::model::KeyId;

use self::directory::Directory;
pub(crate) use self::error::{KeyServerError, UnusableKeyError};
pub(crate) use self::http::KeyServer;
use crate::clock::Clock;
use crate::config::KeySource;

/// A key store. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct KeyStore(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Directory(Directory),
    Http(Box<KeyServer>),
}

/// A key store that cannot be opened.
#[derive(Debug, Error)]
pub enum KeyStoreError {
    /// The directory.
    #[error("cannot read the key directory {path} (`pub_key_store.path`): {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system's roots.
    #[error("`pub_key_store.uri`: the system's root certificates cannot be used: {0}")]
    Roots(#[from] rustls::Error),
}

impl KeyStore {
    /// Opens what the configuration names.
    pub(crate) fn open(source: &KeySource) -> Result<Self, KeyStoreError> {
        match source {
            KeySource::Directory(path) => {
                let opened = Directory::open(path.clone());
                let directory =
                    opened.map_err(|source| KeyStoreError::Directory { path: path.clone(), source })?;
                Ok(Self(Kind::Directory(directory)))
            }
            KeySource::Http { uri, ttl } => {
                let server = KeyServer::new(uri.clone(), *ttl, Clock::system())?;
                Ok(Self(Kind::Http(Box::new(server))))
            }
        }
    }

    /// The keys of this name; `None` if there are none.
    pub(crate) async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match &self.0 {
            Kind::Directory(directory) => directory.find(id).await,
            Kind::Http(server) => server.find(id).await,
        }
    }

    /// The keys of this name, if they may be other ones by now than [`KeyStore::find`] said a moment ago.
    pub(crate) async fn find_again(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match &self.0 {
            // It was read anew.
            Kind::Directory(_) => Ok(None),
            Kind::Http(server) => server.find_again(id).await,
        }
    }
}
