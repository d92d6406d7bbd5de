//! `webgateway-dataplane join TOKEN`: this node gets its key and its certificate, once.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use webgateway_proto::model::{InvalidTokenError, JoinToken};
use zeroize::Zeroizing;

use crate::clock::unix_now;
use crate::feed::enrolment::{self, NotGranted};
use crate::identity::{Identity, InvalidCertificate, Request, StateDir, StateFailed, bootstrap};

/// The longest input that is looked at, in bytes.
const LONGEST: u64 = 4096;

/// Why this node has not joined. Nothing was changed on it.
#[derive(Debug, Error)]
pub enum JoinError {
    /// No token.
    #[error(transparent)]
    Token(#[from] InvalidTokenError),
    /// Standard input cannot be read.
    #[error("cannot read the token from standard input: {0}")]
    Input(io::Error),
    /// Too late, by this machine's clock.
    #[error(
        "the token expired {0} s ago by this machine's clock: check the clock; if it is right, ask for another token"
    )]
    Expired(i64),
    /// It is somebody already.
    #[error("this node has joined already, as `{node}`: to join anew, remove {}/identity.json first", folder.display())]
    Joined {
        /// Its name.
        node: String,
        /// Its state folder.
        folder: PathBuf,
    },
    /// The folder.
    #[error(transparent)]
    State(#[from] StateFailed),
    /// No key.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
    /// The controlplane.
    #[error(transparent)]
    NotGranted(#[from] NotGranted),
    /// What it gave.
    #[error(transparent)]
    Invalid(#[from] InvalidCertificate),
}

/// The token as it was given: `-` stands for standard input.
pub(crate) fn token(given: &str) -> Result<JoinToken, JoinError> {
    if given != "-" {
        return Ok(JoinToken::parse(given)?);
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(LONGEST).read_to_string(&mut text).map_err(JoinError::Input)?;
    Ok(JoinToken::parse(&text)?)
}

/// Joins, and keeps what this node is from now on in `folder`.
pub(crate) async fn join(token: &JoinToken, folder: &Path) -> Result<Identity, JoinError> {
    let late = unix_now() - token.expires_at;
    if late >= 0 {
        return Err(JoinError::Expired(late));
    }
    let kept = StateDir::new(folder);
    if let Some(identity) = kept.load()? {
        let node = identity.name.to_string();
        return Err(JoinError::Joined { node, folder: folder.to_owned() });
    }
    // The token is good once: first make sure that what it gives can be kept.
    kept.prepare()?;
    let request = Request::generate()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = bootstrap(token.authority, provider);
    let granted = enrolment::join(token, config, request.csr.clone()).await?;
    let identity = request.granted(granted, token.address.clone(), unix_now())?;
    kept.save(&identity)?;
    Ok(identity)
}
