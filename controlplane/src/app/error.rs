//! The error of the process.

use std::io;

use thiserror::Error;
use webgateway_process::TaskError;
use webgateway_seal::SecretKeyError;

use crate::certs::https::HttpsError;
use crate::certs::internal::InternalCaError;
use crate::certs::reconciler::PassError;
use crate::dns::resolver::ResolverError;
use crate::dns::zone::ZoneError;
use crate::keys::KeyStoreError;
use crate::live::ReloadError;
use crate::pki::authority::NodeAuthorityError;
use crate::sockets::ListenError;
use crate::store::{OpenError, StoreError};
use crate::tickets::TicketKeyError;

/// The process cannot start, or an essential task failed.
#[derive(Debug, Error)]
pub enum AppError {
    /// A socket cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The nodes' CA cannot be loaded or created.
    #[error(transparent)]
    Authority(#[from] NodeAuthorityError),
    /// The base domain is too long for the names in its zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The key that encrypts private keys cannot be loaded or created.
    #[error(transparent)]
    SecretKey(#[from] SecretKeyError),
    /// The internal CA cannot be loaded or created.
    #[error(transparent)]
    Ca(#[from] InternalCaError),
    /// The HTTPS client for the CAs cannot be created.
    #[error("`local_acme_root`, `acme.fallback`: {0}")]
    Https(#[from] HttpsError),
    /// The DNS resolver cannot be created.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The first pass of the certificate reconciler failed.
    #[error("the first certificates: {0}")]
    Certificates(#[from] PassError),
    /// The session ticket keys cannot be loaded or created.
    #[error(transparent)]
    Tickets(#[from] TicketKeyError),
    /// The store cannot be read or written.
    #[error("cannot read the resources of the nodes: {0}")]
    Catalog(#[from] StoreError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store of public keys cannot be opened.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A reloaded configuration cannot be applied.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// The signal handlers cannot be installed.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    /// An essential task ended.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}
