//! The errors of verifying a signature.

use thiserror::Error;

use super::base::ComponentError;
use super::time_source::{FRESHNESS, TimeSource};

/// A requirement that a request's signature does not meet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The request has no signature.
    #[error("the request is not signed")]
    Unsigned,
    /// A header field cannot be parsed.
    #[error("the {0} header cannot be parsed")]
    Malformed(&'static str),
    /// A label occurs more than once in Signature or Signature-Input.
    #[error("the label `{0}` is given twice")]
    Repeated(String),
    /// The request has more signatures than are examined.
    #[error("the request has more than {0} signatures")]
    TooMany(usize),
    /// Signature-Input and Signature have different labels.
    #[error("Signature and Signature-Input have different labels")]
    Label,
    /// A required signature parameter is missing or malformed.
    #[error("the signature parameter `{0}` is missing or malformed")]
    Param(&'static str),
    /// The signature has neither `created` nor a covered Date field.
    #[error("the signature has no time: the parameter `created`, or a covered `date`, is needed")]
    Undated,
    /// The signature does not cover a required component.
    #[error("the signature must cover {0}")]
    Uncovered(String),
    /// A covered component cannot be derived from the request.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The signature is too old. The number is its age in seconds.
    #[error(
        "by its {0} the signature was made {1} s ago, at most {FRESHNESS} s are allowed: check the clock"
    )]
    Old(TimeSource, i64),
    /// The signature's time is too far in the future. The number is the distance in seconds.
    #[error(
        "by its {0} the signature is from {1} s in the future, at most {FRESHNESS} s are allowed: check the clock"
    )]
    Future(TimeSource, i64),
    /// The signature has expired. The number is the time since then, in seconds.
    #[error("the signature expired {0} s ago: sign anew, and check the clock if it was signed just now")]
    Expired(i64),
    /// The parameter `alg` does not match the key.
    #[error("the signature's `alg` is not the key's")]
    Algorithm,
    /// The request has no Content-Digest with a supported algorithm.
    #[error("a Content-Digest with sha-256 or sha-512 is needed")]
    DigestMissing,
    /// The Content-Digest field cannot be parsed.
    #[error("the Content-Digest header cannot be parsed")]
    DigestMalformed,
    /// The Content-Digest does not match the body.
    #[error("the Content-Digest does not match the body")]
    DigestMismatch,
    /// The signature does not verify with the key.
    #[error("the signature does not verify with the key")]
    Forged,
}
