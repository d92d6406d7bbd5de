//! HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530): what must be signed, for both sides.
//!
//! The structured fields are parsed and written by `sfv`; the signature base is built here, because it must
//! keep the peer's own parameter order and refuse what is covered but absent.

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
