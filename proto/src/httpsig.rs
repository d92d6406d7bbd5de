//! HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530): signing, verification and the required
//! components.
//!
//! The crate `sfv` parses and serializes the structured fields. This module builds the signature base itself, because
//! the base must keep the peer's order of parameters, and a covered component that is absent must be an error.

mod base;
mod coverage;
mod digest;
mod error;
mod evidence;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    //! The fuzz targets of signatures and keys.

    pub(crate) use super::key::fuzz::keys;
    pub(crate) use super::verify::fuzz::signatures;
}
mod key;
mod parameters;
mod sign;
mod time_source;
mod verify;

pub use base::{ComponentError, Message};
pub use coverage::{InvalidComponentError, RequiredComponent, accept_signature};
pub use digest::{check_digest, content_digest};
pub use error::SignatureError;
pub use evidence::{Evidence, EvidenceError};
pub use key::{Algorithm, InvalidKeyError, InvalidKeysError, PrivateKey, PublicKey, PublicKeys, SkippedKey};
pub use sign::{SignError, sign};
pub use time_source::{FRESHNESS, TimeSource};
pub use verify::{Candidate, MAX_SIGNATURES, RequestSignature, VerifiedSignature, candidates};
