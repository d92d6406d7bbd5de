//! The reasons why there is no key to verify a signature with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;
use webgateway_proto::httpsig::InvalidKeysError;

/// The most bytes that the keys of one name have.
pub(super) const MAX_KEY: u64 = 16 * 1024;
/// The time that one request to a key server may take, waiting for its turn included.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A key that is there cannot be used.
#[derive(Debug, Error)]
pub(crate) enum UnusableKeyError {
    /// The file cannot be read.
    #[error("its file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A directory, a pipe or a device.
    #[error("it is not a regular file, nor a link to one")]
    NotAFile,
    /// Over 16 KiB.
    #[error("it is over {MAX_KEY} bytes")]
    TooLarge,
    /// The key server cannot be asked, and there is no earlier answer to go by.
    #[error("the key server cannot be asked: {0}")]
    Away(Arc<KeyServerError>),
    /// Not UTF-8, or no key.
    #[error(transparent)]
    Invalid(#[from] InvalidKeysError),
}

/// A key server gives no answer.
#[derive(Debug, Error)]
pub(crate) enum KeyServerError {
    /// Connecting or the exchange failed.
    #[error("{0}")]
    Unreachable(String),
    /// The answer took too long, or too many requests are under way.
    #[error("there was no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Late,
    /// Another status than 200 and 404.
    #[error("it answered {0}; redirects are not followed")]
    Status(StatusCode),
}
