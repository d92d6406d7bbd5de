//! The command `webgateway-dataplane join TOKEN`, which gets this node its key and its first certificate.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use webgateway_proto::model::{InvalidTokenError, JoinToken};
use zeroize::Zeroizing;

use crate::clock::unix_now;
use crate::feed::enrolment::{self, EnrolmentError};
use crate::identity::{
    CertificateRequest, Identity, NodeCertificateError, StateDir, StateDirError, join_config,
};

/// The maximum number of bytes read from standard input.
const MAX_INPUT: u64 = 4096;

/// The node has not joined; its identity is unchanged.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The token is malformed.
    #[error(transparent)]
    Token(#[from] InvalidTokenError),
    /// Standard input cannot be read.
    #[error("cannot read the token from standard input: {0}")]
    Input(io::Error),
    /// The token has expired by this machine's clock, by this many seconds.
    #[error(
        "the token expired {0} s ago by this machine's clock: check the clock; if it is right, ask for another token"
    )]
    Expired(i64),
    /// The state folder has an identity already.
    #[error("this node has joined already, as `{node}`: to join again, remove {}/identity.json first", folder.display())]
    AlreadyJoined {
        /// The name in the identity.
        node: String,
        /// The state folder.
        folder: PathBuf,
    },
    /// The state folder cannot be read or written.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// No key can be generated.
    #[error("cannot generate a key: {0}")]
    Key(#[from] rcgen::Error),
    /// The controlplane issued no certificate.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// The certificate that the controlplane issued cannot be used.
    #[error(transparent)]
    Certificate(#[from] NodeCertificateError),
}

/// Parses the token given as `argument`, or read from standard input if that is `-`.
pub(crate) fn token(argument: &str) -> Result<JoinToken, JoinError> {
    if argument != "-" {
        return Ok(JoinToken::parse(argument)?);
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text).map_err(JoinError::Input)?;
    Ok(JoinToken::parse(&text)?)
}

/// Joins with `token`, and saves the new identity in `folder`.
pub(crate) async fn join(token: &JoinToken, folder: &Path) -> Result<Identity, JoinError> {
    let expired_for = unix_now() - token.expires_at;
    if expired_for >= 0 {
        return Err(JoinError::Expired(expired_for));
    }
    let state_dir = StateDir::new(folder);
    if let Some(identity) = state_dir.load()? {
        let node = identity.name.to_string();
        return Err(JoinError::AlreadyJoined { node, folder: folder.to_owned() });
    }
    // A token can be used once only, so check first that the identity can be saved.
    state_dir.prepare()?;
    let request = CertificateRequest::generate()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = join_config(token.authority, provider);
    let issued = enrolment::join(token, config, request.csr.clone()).await?;
    let identity = request.into_identity(issued, token.address.clone(), unix_now())?;
    state_dir.save(&identity)?;
    Ok(identity)
}
