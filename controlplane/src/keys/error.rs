//! The errors of looking up public keys.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;
use webgateway_proto::httpsig::InvalidKeysError;

/// The maximum size of the keys of one key id, in bytes.
pub(super) const MAX_KEY: u64 = 16 * 1024;
/// The time limit of one request to a key server, including the wait for a permit.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of a key id cannot be used.
#[derive(Debug, Error)]
pub(crate) enum UnusableKeyError {
    /// The file cannot be read.
    #[error("its file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The path is a directory, a pipe or a device.
    #[error("it is not a regular file, nor a link to one")]
    NotAFile,
    /// The keys are larger than [`MAX_KEY`].
    #[error("it is over {MAX_KEY} bytes")]
    TooLarge,
    /// The key server is unavailable, and there is no cached response to use.
    #[error("the key server is unavailable: {0}")]
    ServerUnavailable(Arc<KeyServerError>),
    /// The content is not UTF-8, or contains no valid key.
    #[error(transparent)]
    Invalid(#[from] InvalidKeysError),
}

/// A request to a key server failed.
#[derive(Debug, Error)]
pub(crate) enum KeyServerError {
    /// The connection or the HTTP exchange failed.
    #[error("{0}")]
    Unreachable(String),
    /// The response took too long, or too many requests were in progress.
    #[error("no response within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// The response has a status other than 200, 404 and 410.
    #[error("the response has the status {0}; redirects are not followed")]
    Status(StatusCode),
}
