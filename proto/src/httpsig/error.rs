//! The requirements that a signature fails.

use thiserror::Error;

use super::base::ComponentError;
use super::time_source::{FRESHNESS, TimeSource};

/// The requirement that a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// No signature at all.
    #[error("the request is not signed")]
    Unsigned,
    /// A header that does not parse.
    #[error("the {0} header cannot be parsed")]
    Malformed(&'static str),
    /// A label that names several signatures, or several descriptions of one.
    #[error("the label `{0}` is given twice")]
    Repeated(String),
    /// More signatures than are looked at.
    #[error("the request has more than {0} signatures")]
    TooMany(usize),
    /// Signature-Input and Signature name different labels.
    #[error("Signature and Signature-Input have different labels")]
    Label,
    /// A parameter that is needed.
    #[error("the signature parameter `{0}` is missing or malformed")]
    Param(&'static str),
    /// Neither `created` nor a covered Date.
    #[error("the signature has no time: the parameter `created`, or a covered `date`, is needed")]
    Undated,
    /// A component that must be covered.
    #[error("the signature must cover {0}")]
    Uncovered(String),
    /// A covered component that cannot be had.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// Older than is allowed, by this many seconds in all.
    #[error(
        "by its {0} the signature was made {1} s ago, at most {FRESHNESS} s are allowed: check the clock"
    )]
    Old(TimeSource, i64),
    /// Further in the future than is allowed, by this many seconds in all.
    #[error(
        "by its {0} the signature is from {1} s in the future, at most {FRESHNESS} s are allowed: check the clock"
    )]
    Future(TimeSource, i64),
    /// `expires` is over, since this many seconds.
    #[error("the signature expired {0} s ago: sign anew, and check the clock if it was signed just now")]
    Expired(i64),
    /// `alg` contradicts the key.
    #[error("the signature's `alg` is not the key's")]
    Algorithm,
    /// No Content-Digest with an algorithm known here.
    #[error("a Content-Digest with sha-256 or sha-512 is needed")]
    DigestMissing,
    /// A Content-Digest that does not parse.
    #[error("the Content-Digest header cannot be parsed")]
    DigestMalformed,
    /// Another body.
    #[error("the Content-Digest does not match the body")]
    DigestMismatch,
    /// Not the key's signature.
    #[error("the signature does not verify with the key")]
    Forged,
}
