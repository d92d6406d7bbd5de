//! HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530): what must be signed, for both sides.
//!
//! The structured fields are parsed and written by `sfv`; the signature base is built here, because it must
//! keep the peer's own parameter order and refuse what is covered but absent.

mod base;
mod digest;
mod evidence;
mod key;
mod sign;
mod verify;

pub use base::{Message, UnknownComponent};
pub use digest::{check_digest, content_digest};
pub use evidence::{Evidence, NoEvidence};
pub use key::{Algorithm, InvalidKey, PrivateKey, PublicKey, PublicKeys};
pub use sign::{SignFailure, sign};
pub use verify::{FRESHNESS, Failure, Presented, Signed};

/// What a client is told to cover (RFC 9421 §5.1). It names no algorithm: that is the key's.
pub const ACCEPT_SIGNATURE: &str = r#"sig1=("@method" "@target-uri" "content-digest");created;keyid;nonce"#;
