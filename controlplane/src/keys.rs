//! Where public keys come from.

mod directory;
mod http;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use webgateway_proto::httpsig::{InvalidKey, PublicKeys};
use webgateway_proto::model::KeyId;

use self::directory::{Directory, MAX_KEY};
pub use self::http::{KeyServer, KeyServerFailed};
use crate::clock::Clock;
use crate::config::KeySource;

/// A key store. Clones are the same one.
#[derive(Debug, Clone)]
pub struct KeyStore(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Directory(Directory),
    Http(Box<KeyServer>),
}

/// A key store that cannot be opened.
#[derive(Debug, Error)]
pub enum NoKeyStore {
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

/// Why a key that is there cannot be used.
#[derive(Debug, Error)]
pub enum UnusableKey {
    /// The file cannot be read.
    #[error("its file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A directory, a pipe, or a link that leads out of the directory.
    #[error("it is not a regular file inside the key directory")]
    NotAFile,
    /// Over 16 KiB.
    #[error("it is over {MAX_KEY} bytes")]
    TooLarge,
    /// The key server cannot be asked, and there is no earlier answer to go by.
    #[error("the key server cannot be asked: {0}")]
    Away(Arc<KeyServerFailed>),
    /// Not UTF-8, or no key.
    #[error(transparent)]
    Invalid(#[from] InvalidKey),
}

impl KeyStore {
    /// Opens what the configuration names.
    pub fn open(source: &KeySource) -> Result<Self, NoKeyStore> {
        match source {
            KeySource::Directory(path) => {
                let opened = Directory::open(path.clone());
                let directory =
                    opened.map_err(|source| NoKeyStore::Directory { path: path.clone(), source })?;
                Ok(Self(Kind::Directory(directory)))
            }
            KeySource::Http { uri, ttl } => {
                let server = KeyServer::new(uri.clone(), *ttl, Clock::system())?;
                Ok(Self(Kind::Http(Box::new(server))))
            }
        }
    }

    /// The keys of this name; `None` if there are none.
    pub async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKey> {
        match &self.0 {
            Kind::Directory(directory) => directory.find(id).await,
            Kind::Http(server) => server.find(id).await,
        }
    }

    /// The keys of this name, if they may be other ones by now than [`KeyStore::find`] said a moment ago.
    pub async fn find_again(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKey> {
        match &self.0 {
            // It was read anew.
            Kind::Directory(_) => Ok(None),
            Kind::Http(server) => server.find_again(id).await,
        }
    }
}
