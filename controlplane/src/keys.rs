//! The store of public keys: a directory, or a server.

mod directory;
mod error;
mod http;

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
use crate::clock::Clock;
use crate::config::KeySource;

/// A key store. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct KeyStore(Arc<ArcSwap<Opened>>);

/// A key store that is opened and not in use yet.
#[derive(Debug)]
pub(crate) struct Opened {
    source: KeySource,
    kind: Kind,
}

#[derive(Debug)]
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
        Ok(Self(Arc::new(ArcSwap::from_pointee(Opened::open(source)?))))
    }

    /// Opens what the configuration names now; `None` if it is the source in use, whose answers are kept.
    pub(crate) fn open_other(&self, source: &KeySource) -> Result<Option<Opened>, KeyStoreError> {
        if self.0.load().source == *source { Ok(None) } else { Opened::open(source).map(Some) }
    }

    /// Looks for keys there from now on.
    pub(crate) fn replace(&self, opened: Opened) {
        self.0.store(Arc::new(opened));
    }

    /// The keys of this name; `None` if there are none.
    pub(crate) async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match &self.0.load_full().kind {
            Kind::Directory(directory) => directory.find(id).await,
            Kind::Http(server) => server.find(id).await,
        }
    }

    /// The keys of this name, if they may be other ones by now than [`KeyStore::find`] said a moment ago.
    pub(crate) async fn find_again(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match &self.0.load_full().kind {
            // It was read anew.
            Kind::Directory(_) => Ok(None),
            Kind::Http(server) => server.find_again(id).await,
        }
    }
}

impl Opened {
    fn open(source: &KeySource) -> Result<Self, KeyStoreError> {
        let kind = match source {
            KeySource::Directory(path) => {
                let opened = Directory::open(path.clone());
                let opened =
                    opened.map_err(|source| KeyStoreError::Directory { path: path.clone(), source })?;
                Kind::Directory(opened)
            }
            KeySource::Http { uri, ttl } => {
                Kind::Http(Box::new(KeyServer::new(uri.clone(), *ttl, Clock::system())?))
            }
        };
        Ok(Self { source: source.clone(), kind })
    }
}
